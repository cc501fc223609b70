"""What all sides of `throughput.py` share: the list of networks, the tables, what a trial gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Point = dict[str, Any]  # Of every name in NAMES.

NAMES = ("depth", "width", "activation", "dropout", "learning_rate")
LISTED: tuple[tuple[int, int, str, float, float], ...] = (
    (3, 64, "relu", 0.0, 1e-3), (1, 128, "relu", 0.0, 3e-3), (6, 16, "relu", 0.0, 2e-3),
    (2, 128, "gelu", 0.1, 1e-3), (4, 32, "relu", 0.0, 2e-3), (5, 128, "mish", 0.1, 5e-4),
    (1, 32, "tanh", 0.0, 3e-3), (6, 64, "tanh", 0.0, 5e-4), (2, 16, "selu", 0.0, 3e-3),
    (4, 128, "relu", 0.2, 1e-3), (3, 32, "mish", 0.0, 2e-3), (5, 64, "relu", 0.0, 1e-3),
    (1, 64, "gelu", 0.1, 2e-3), (2, 64, "silu", 0.0, 1e-3), (3, 16, "relu", 0.0, 3e-3),
    (6, 128, "relu", 0.1, 5e-4), (4, 64, "selu", 0.0, 5e-4), (5, 16, "silu", 0.0, 2e-3),
    (1, 16, "relu", 0.0, 3e-3), (3, 128, "tanh", 0.2, 5e-4), (2, 32, "relu", 0.0, 2e-3),
    (6, 32, "selu", 0.0, 1e-3), (5, 32, "gelu", 0.0, 1e-3), (4, 16, "gelu", 0.0, 2e-3),
)  # fmt: skip
ACTIVATIONS = ("relu", "gelu", "silu", "selu", "tanh", "mish")
WEIGHT_DECAY = 1e-4
LOW_RATE, HIGH_RATE = 1e-4, 1e-2  # Of the learning rates, in every round.
WIDEST = 256
TARGET = "target"
TEST_ROWS = 50  # Copies of rows of the table, for the study's finish alone; nothing is said of them


@dataclass(frozen=True, kw_only=True)
class Job:
    """A table and what is done with it, the same for all sides."""

    table: str
    rows: int
    columns: int
    classes: int
    batch: int
    epochs: int  # At most 10: then our patience, 10 at least, never ends a trial early.
    wider: int = 1  # Factor of the list's widths.
    rounds: int = 1  # How often topo-search takes the list in a search; else it takes it once.


JOBS = {
    job.table: job
    for job in (
        Job(table="iris", rows=150, columns=4, classes=3, batch=32, epochs=10, rounds=8),
        Job(table="digits", rows=1_797, columns=64, classes=10, batch=32, epochs=10, rounds=8),
        Job(table="adult-sized", rows=40_000, columns=108, classes=2, batch=128, epochs=5, wider=2),
        Job(table="large", rows=500_000, columns=50, classes=2, batch=512, epochs=3, wider=2),
    )
}


def points(job: Job, count: int = len(LISTED), rounds: int = 1) -> list[Point]:
    """Return the first of the list for a table, so many times over with new learning rates."""
    random, chosen = np.random.default_rng(0), []
    for turn in range(rounds):
        for values in LISTED[:count]:
            point = dict(zip(NAMES, values, strict=True))
            point["width"] *= job.wider
            if turn:
                factor = 10 ** random.uniform(-0.5, 0.5)
                rate = min(max(point["learning_rate"] * factor, LOW_RATE), HIGH_RATE)
                point["learning_rate"] = float(f"{rate:.4g}")
            chosen.append(point)
    return chosen


def flops(job: Job, point: Point, train: int, valid: int) -> int:
    """Return the operations of a trial's matrix products, in training and in validation.

    2 for each weight and row forward, 4 backward; the first layer's gradient by its input, which
    nobody needs, is counted, activations and the optimiser are not.
    """
    sides = [job.columns, *[point["width"]] * point["depth"], job.classes]
    weights = sum(here * there for here, there in zip(sides, sides[1:], strict=False))
    return job.epochs * weights * (6 * train + 2 * valid)


def write_table(job: Job, folder: Path) -> None:
    """Write a table as CSV, whole numbers all of them, and some of its rows again as test rows."""
    import pandas as pd

    x, y = arrays(job)
    frame = pd.DataFrame(
        (x * 1000).round().astype(np.int32),
        columns=[f"x{place + 1}" for place in range(x.shape[1])],
    )
    frame[TARGET] = y
    frame.to_csv(folder / "table.csv", index=False)
    frame.iloc[:: max(1, len(y) // TEST_ROWS)].to_csv(folder / "test.csv", index=False)


def arrays(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Return a table's standardised columns and its classes."""
    if job.table != "large":
        from training import table_named

        table = table_named(job.table)
        return table.x, table.y
    random = np.random.default_rng(0)
    x = random.normal(size=(job.rows, job.columns)).astype(np.float32)
    hidden = np.tanh(x @ random.normal(size=(job.columns, 8)) / 4)
    y = (hidden.sum(axis=1) + random.normal(size=job.rows) > 0).astype(np.int32)
    return x, y


def write_job(job: Job, points: Sequence[Point], folder: Path) -> None:
    text = json.dumps({"job": asdict(job), "points": list(points)})
    (folder / "job.json").write_text(text, encoding="utf-8")


def read_job(folder: Path) -> tuple[Job, list[Point]]:
    data = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    return Job(**data["job"]), data["points"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial, on whichever side."""

    start: float  # When it was claimed, in seconds since 1970.
    end: float
    seconds: float  # Of them in training.
    score: float  # Of its best epoch, on the validation rows.
    epochs: int  # Trained.
    epoch_seconds: float | None = None  # The median of its epochs, where it is known.


def write_trials(trials: Sequence[Trial], folder: Path) -> None:
    text = json.dumps([asdict(trial) for trial in trials])
    (folder / "trials.json").write_text(text, encoding="utf-8")


def read_trials(folder: Path) -> list[Trial]:
    data = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    return [Trial(**trial) for trial in data]
