"""Tables with a column of every kind, and plans of studies of them, for tests that train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from objectives import metrics
from objectives.defaults import TableFacts
from objectives.frames import csv_bytes
from objectives.named_spaces import named_space
from objectives.space import Space
from objectives.table import Overrides, choose_target, read_table, split_target

ROWS = 120
CLASSES = ("high", "low", "mid")
KINDS = {"city": "categorical", "notes": "text", "kind": "categorical"}
# Small networks, few epochs: what is tested is not how well they do.
LIMITS = {"width": "4:16", "depth": "1:4", "batch_size": "16:64"}


def mixed(target: str = "class", rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A table with a column of every kind, missing values and names that are hard on networks.

    Its target is `class` (high, low, mid) or `price`, about 50,000 ± 10,000.
    """
    random = np.random.default_rng(seed)
    size, rate = random.normal(size=rows), random.normal(100, 20, rows)
    signal = size + (rate - 100) / 20 + random.normal(0, 0.3, rows)
    words = np.array(["quiet", "noisy", "old", "new", "near the lake"])
    notes = [" ".join(random.permutation(words)) + f" n{k}" for k in range(rows)]
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(rows) < 0.1, np.nan, size).round(4),
            "rate km/h": rate.round(3),
            "head": random.normal(size=rows).round(4),
            "on": random.choice(["yes", "no"], rows),
            "kind": random.choice(["a", "b", "c", "d", ""], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
            "city": [f"city {k}" for k in random.integers(0, 40, rows)],
            "notes": notes,
            "when": pd.date_range("2020-01-01", periods=rows, freq="9D").strftime("%Y-%m-%d"),
        }
    )
    if target == "price":
        frame["price"] = (50_000 + 10_000 * signal / signal.std()).round(2)
    else:
        cuts = np.quantile(signal, [1 / 3, 2 / 3])
        frame["class"] = np.array(["low", "mid", "high"])[np.digitize(signal, cuts)]
    return frame


def plan_of(
    frame: pd.DataFrame,
    target: str = "class",
    *,
    space: str = "mlp",
    limits: Mapping[str, str] = LIMITS,
    epochs: int = 3,
    **changed: Any,
) -> dict[str, Any]:
    """The plan of a study of a table: classes, or numbers if they are many."""
    known = Overrides(kinds={k: v for k, v in KINDS.items() if k in frame})  # type: ignore[misc]
    table = read_table(csv_bytes(frame), overrides=known)
    chosen = choose_target(table, target)
    kinds = [feature.kind for feature in split_target(table, chosen).features]
    asked = changed.get("metric")
    metric = metrics.METRICS[asked] if asked else metrics.default_metric(chosen.task)
    facts = TableFacts(
        task=chosen.task,
        rows=len(frame),
        numeric=kinds.count("numeric"),
        categorical=kinds.count("categorical"),
        inputs=len(kinds),
        classes=len(chosen.classes),
        metric=metric.name,
    )
    return {
        "objective": "tabular",
        "target": chosen.column,
        "task": chosen.task,
        "classes": list(chosen.classes),
        "metric": metric.name,
        "direction": metric.direction,
        "reading": table.reading.to_json(),
        "drop": [],
        "space": named_space(space, limits=limits, facts=facts, epochs=epochs).to_json(),
        "validation": "holdout",
        "test_share": 0.2,
        "seed": 3,
        **changed,
    }


def point(plan: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """A point of the plan's space."""
    return {**Space.from_json(plan["space"]).portfolio[0], **values}
