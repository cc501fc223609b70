"""What the named spaces try unasked: ranges that suit the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from objectives.limits import span
from objectives.metrics import Task
from objectives.parameters import Choice, Parameter, Value
from objectives.topology import (
    ACTIVATIONS,
    CLASS_WEIGHTS,
    EMBEDDINGS,
    NORMALISATIONS,
    RARE_LEVELS,
    SCALINGS,
)


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """What a space needs to know of the table it is for."""

    task: Task
    rows: int  # A network is trained on: without the test and the validation rows.
    numeric: int  # Numeric columns.
    categorical: int  # Categorical columns.
    inputs: int  # Columns the first hidden layer sees, after preprocessing.
    classes: int  # 0 for regression.
    metric: str  # By which networks are compared.


def widest(rows: int) -> int:
    """Return the widest hidden layer tried unasked: few rows neither need nor repay more."""
    return 128 if rows < 1_000 else 256 if rows < 10_000 else 512


def batch_sizes(rows: int) -> tuple[int, int]:
    """Return the smallest and largest batch tried unasked: powers of two, 16:64 to 128:512."""
    largest = min(max(power_of_two(rows // 16), 64), 512)
    return largest // 4, largest


def power_of_two(number: int) -> int:
    """Return the largest power of two not above `number`, at least 1."""
    return 1 << max(number.bit_length() - 1, 0)


def _mlp(facts: TableFacts) -> dict[str, Parameter | Value]:
    return {
        "depth": span("depth", 1, 6),
        "width": span("width", 16, widest(facts.rows)),
        "activation": Choice(choices=ACTIVATIONS),
        "normalisation": Choice(choices=NORMALISATIONS),
        "residual": Choice(choices=(False, True)),
        "dropout": span("dropout", 0.0, 0.5),
        "embedding": Choice(choices=EMBEDDINGS),
        "label_smoothing": span("label_smoothing", 0.0, 0.2),
        "learning_rate": span("learning_rate", 3e-4, 3e-2),
        "weight_decay": span("weight_decay", 1e-5, 1e-1),
        "batch_size": span("batch_size", *batch_sizes(facts.rows)),
        "scaling": Choice(choices=SCALINGS),
        "rare_levels": Choice(choices=RARE_LEVELS),
        "class_weights": Choice(choices=CLASS_WEIGHTS),
    }


def _layers(facts: TableFacts) -> dict[str, Parameter | Value]:
    # Residual links add a layer's input to its output: they need equal widths.
    usual = {key: value for key, value in _mlp(facts).items() if key != "residual"}
    return usual | {"depth": span("depth", 1, 4)}


def _depth(facts: TableFacts) -> dict[str, Parameter | Value]:
    return {
        "depth": span("depth", 1, 10),
        "width": max(1, facts.inputs),
        "activation": "relu",
        "normalisation": "none",
        "residual": False,
        "dropout": 0.0,
        "embedding": "none",
        "label_smoothing": 0.0,
        "learning_rate": 3e-3,
        "weight_decay": 1e-4,
        "batch_size": batch_sizes(facts.rows)[0] * 2,
        "scaling": "standard",
        "rare_levels": "keep",
        "class_weights": "none",
    }


USUAL: dict[str, Callable[[TableFacts], dict[str, Parameter | Value]]] = {
    "mlp": _mlp,
    "layers": _layers,
    "depth": _depth,
}


def without_effect(facts: TableFacts) -> dict[str, tuple[Value, str]]:
    """Return the value of each parameter that cannot matter for the table, and why."""
    without: dict[str, tuple[Value, str]] = {}
    if facts.numeric == 0:
        why = "it has no numeric columns"
        without |= {"embedding": ("none", why), "scaling": ("standard", why)}
    if facts.categorical == 0:
        without["rare_levels"] = ("keep", "it has no categorical columns")
    if facts.task == "regression":
        why = "its target is a number, not a class"
        without |= {"label_smoothing": (0.0, why), "class_weights": ("none", why)}
    return without
