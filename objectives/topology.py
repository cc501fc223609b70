"""What a network is (`Topology`) and how it is trained (`Recipe`): frozen, checked, JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

ACTIVATIONS = ("relu", "gelu", "silu", "selu", "tanh", "mish")
NORMALISATIONS = ("none", "batch", "layer")
EMBEDDINGS = ("none", "periodic")
SCALINGS = ("standard", "robust", "quantile")
RARE_LEVELS = ("keep", "merge")
CLASS_WEIGHTS = ("none", "balanced")
DEEPEST = 1000  # Hidden layers; beyond it nothing has been measured.
ORDINARY_DEPTH = 200  # Hidden layers; a functional model of 1,000 exceeds Python's recursion limit.
WIDEST = 65_536  # Units of a layer; one square layer of that width is 16 GiB of weights.
SHOWN = 6  # Layers of differing widths a topology's text names before it abbreviates.


@dataclass(frozen=True)
class _Described:
    """Fields that go through JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; tuples become lists."""
        items = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: list(item) if isinstance(item, tuple) else item for name, item in items}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what gave `data` as its `to_json`.

        Raises:
            ValueError: Where a field is unknown, missing or out of bounds.
        """
        if unknown := sorted(set(data) - {field.name for field in fields(cls)}):
            raise ValueError(f"A {cls.__name__.lower()} has no field {unknown[0]!r}.")
        required = {field.name for field in fields(cls) if field.default is MISSING}
        if missing := sorted(required - set(data)):
            raise ValueError(f"A {cls.__name__.lower()} needs a field {missing[0]!r}.")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


@dataclass(frozen=True, kw_only=True)
class Topology(_Described):
    """One network: a stack of hidden layers between the encoder and the head.

    Raises:
        ValueError: On construction, where a field is out of its bounds or the fields disagree.
    """

    depth: int  # Hidden layers, 1 to 1,000.
    width: int | tuple[int, ...]  # Units of every hidden layer, or of each.
    activation: str | tuple[str, ...]  # Of every hidden layer, or of each.
    normalisation: str = "none"  # After each hidden layer's product, before its activation.
    residual: bool = False  # Each hidden layer's input is added to its output.
    embedding: str = "none"  # Of the numeric columns.

    def __post_init__(self) -> None:
        _check_int("depth", self.depth, 1, DEEPEST)
        for width in self._each("width", self.width):
            _check_int("width", width, 1, WIDEST)
        for activation in self._each("activation", self.activation):
            _check_one_of("activation", activation, ACTIVATIONS)
        _check_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _check_one_of("embedding", self.embedding, EMBEDDINGS)
        if not isinstance(self.residual, bool):
            raise ValueError(f"Expected residual to be true or false. Received: {self.residual!r}.")
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError(
                "Residual links need hidden layers of one width. "
                f"Received: width={self.width!r}. Give one width, or residual=False."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, from the input to the head."""
        return self.width if isinstance(self.width, tuple) else (self.width,) * self.depth

    @property
    def activations(self) -> tuple[str, ...]:
        """Activation of each hidden layer, from the input to the head."""
        if isinstance(self.activation, tuple):
            return self.activation
        return (self.activation,) * self.depth

    @property
    def uniform(self) -> bool:
        """Whether all hidden layers have one width and one activation."""
        return len(set(self.widths)) == 1 and len(set(self.activations)) == 1

    @property
    def needs_stack(self) -> bool:
        """Whether it is handed over with `objectives.stack.Stack`, not Keras's layers alone."""
        return self.uniform and self.depth > ORDINARY_DEPTH

    def __str__(self) -> str:
        parts = [self._stack_text()]
        if self.normalisation != "none":
            parts.append(f"{self.normalisation} norm")
        if self.residual:
            parts.append("residual")
        if self.embedding != "none":
            parts.append(self.embedding)
        return ", ".join(parts)

    def _each(self, name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple):
            return (value,)
        if len(value) != self.depth:
            raise ValueError(
                f"Expected one {name} or one for each of {self.depth} hidden layers. "
                f"Received: {len(value)} of them."
            )
        return value

    def _stack_text(self) -> str:
        if self.uniform:
            return f"{self.depth} × {self.widths[0]} {self.activations[0]}"
        if len(set(self.activations)) == 1:
            return f"{_abbreviate(self.widths)} {self.activations[0]}"
        pairs = zip(self.widths, self.activations, strict=True)
        return _abbreviate(f"{width} {activation}" for width, activation in pairs)


@dataclass(frozen=True, kw_only=True)
class Recipe(_Described):
    """How a network is trained, and on which variant of the data.

    Raises:
        ValueError: On construction, where a field is out of its bounds.
    """

    learning_rate: float  # The schedule's highest, after warm-up.
    weight_decay: float  # AdamW's, decoupled.
    dropout: float | tuple[float, ...]  # Share of units dropped after each hidden layer.
    label_smoothing: float = 0.0  # Classification only.
    batch_size: int  # Rows.
    epochs: int  # At most; early stopping may end sooner.
    scaling: str = "standard"  # Of the numeric columns.
    rare_levels: str = "keep"  # Of the categorical columns.
    class_weights: str = "none"  # In the loss.

    def __post_init__(self) -> None:
        _check_real("learning_rate", self.learning_rate, 0.0, math.inf)
        if self.learning_rate == 0:
            raise ValueError("Expected learning_rate above 0. Received: 0.")
        _check_real("weight_decay", self.weight_decay, 0.0, math.inf)
        for rate in self.dropout if isinstance(self.dropout, tuple) else (self.dropout,):
            _check_real("dropout", rate, 0.0, 1.0)
        _check_real("label_smoothing", self.label_smoothing, 0.0, 1.0)
        _check_int("batch_size", self.batch_size, 1, 2**31 - 1)
        _check_int("epochs", self.epochs, 1, 2**31 - 1)
        _check_one_of("scaling", self.scaling, SCALINGS)
        _check_one_of("rare_levels", self.rare_levels, RARE_LEVELS)
        _check_one_of("class_weights", self.class_weights, CLASS_WEIGHTS)

    @property
    def variant(self) -> tuple[str, str]:
        """The variant of the data: scaling and the treatment of rare levels."""
        return self.scaling, self.rare_levels

    def dropouts(self, depth: int) -> tuple[float, ...]:
        """Return the dropout rate of each of `depth` hidden layers.

        Raises:
            ValueError: Where the recipe names rates for another number of layers.
        """
        if not isinstance(self.dropout, tuple):
            return (self.dropout,) * depth
        if len(self.dropout) != depth:
            raise ValueError(
                f"Expected one dropout rate or one for each of {depth} hidden layers. "
                f"Received: {len(self.dropout)} of them."
            )
        return self.dropout


def _abbreviate(layers: Iterable[object]) -> str:
    texts = [str(layer) for layer in layers]
    if len(texts) > SHOWN:
        texts = [*texts[: SHOWN - 2], "…", texts[-1]]
    return " · ".join(texts)


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(
            f"Expected {name} to be a whole number from {low:,} to {high:,}. Received: {value!r}."
        )


def _check_real(name: str, value: object, low: float, below: float) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not low <= number < below:
        raise ValueError(
            f"Expected {name} to be a number from {low:g} to below {below:g}. Received: {value!r}."
        )


def _check_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Expected {name} to be one of {', '.join(choices)}. Received: {value!r}.")
