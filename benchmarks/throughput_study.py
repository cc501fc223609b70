"""Our side of `throughput.py`: a study whose space has the list as its portfolio."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from throughput_world import (
    ACTIVATIONS,
    HIGH_RATE,
    LOW_RATE,
    TARGET,
    WEIGHT_DECAY,
    WIDEST,
    Job,
    Point,
    Trial,
)

from objectives import splits
from objectives.parameters import Choice, Range
from objectives.space import Space
from objectives.table import (
    Examples,
    Overrides,
    Reading,
    Target,
    apply_reading,
    split_target,
)
from storage import datasets, studies, tables, trials
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import study


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A table as topo-search reads and splits it."""

    data: bytes
    test: bytes
    plan: dict[str, Any]
    train: int  # Rows.
    valid: int


def prepare(job: Job, folder: Path) -> Prepared:
    """Read and split a table as a slot will, and write the rows of each part for the others.

    Raises:
        AssertionError: Where topo-search would not take all rows and columns as they are.
    """
    data, test = (folder / "table.csv").read_bytes(), (folder / "test.csv").read_bytes()
    kinds = {f"x{place + 1}": "numeric" for place in range(job.columns)}
    plan = study.tabular_plan(
        study.Options(
            data=data, test_data=test, file=f"{job.table}.csv", target=TARGET, metric="accuracy",
            task="binary" if job.classes == 2 else "multiclass", epochs=job.epochs,
            validation="holdout", pruner="none", overrides=Overrides(kinds=kinds),  # type: ignore[arg-type]
        )
    )  # fmt: skip
    examples = taken(data, plan)
    assert len(examples.y) == job.rows, f"{len(examples.y)} of {job.rows} rows were taken"
    (split,) = splits.validation(examples.y, plan["task"], "holdout", plan["seed"])
    np.savez(folder / "rows.npz", train=split.train, valid=split.held_out)
    return Prepared(
        data=data, test=test, plan=plan, train=len(split.train), valid=len(split.held_out)
    )


def taken(data: bytes, plan: dict[str, Any]) -> Examples:
    """Return the rows and columns of a table that a slot will take by a study's plan."""
    target = Target(column=plan["target"], task=plan["task"], classes=tuple(plan["classes"]))
    return split_target(apply_reading(data, Reading.from_json(plan["reading"])), target, ())


def space_of(job: Job, points: Sequence[Point]) -> Space:
    """Return a space that has every point of the list in it, and tries these first."""
    space = Space(
        name="mlp",
        parameters={
            "depth": Range(low=1, high=6),
            "width": Range(low=16, high=WIDEST, log=True),
            "activation": Choice(choices=ACTIVATIONS),
            "dropout": Range(low=0.0, high=0.5),
            "learning_rate": Range(low=LOW_RATE, high=2 * HIGH_RATE, log=True),
        },
        fixed={
            "normalisation": "none",
            "residual": False,
            "embedding": "none",
            "weight_decay": WEIGHT_DECAY,
            "label_smoothing": 0.0,
            "batch_size": job.batch,
            "epochs": job.epochs,
            "scaling": "standard",
            "rare_levels": "keep",
            "class_weights": "none",
        },
        portfolio=tuple(points),
    )
    assert all(space.contains(point) for point in points)
    return space


def with_our_rates(points: Sequence[Point]) -> list[Point]:
    """Return the list with peaks of twice the rate, as ours falls: its mean is the others' rate."""
    return [{**point, "learning_rate": 2 * point["learning_rate"]} for point in points]


def create(storage: Storage, prepared: Prepared, space: Space) -> StudyRow:
    """Create the study, whose budget is as long as the list."""
    row, _ = studies.create(
        storage,
        plan={**prepared.plan, "space": space.to_json()},
        direction="maximize",
        dataset=datasets.put(storage, prepared.data, "table.csv"),
        test_dataset=datasets.put(storage, prepared.test, "test.csv"),
        trials=len(space.portfolio),
    )
    return row


def worker(row: StudyRow, home: Path) -> tuple[list[str], dict[str, str]]:
    """Return the real command on all cores, and its environment."""
    environment = {**os.environ, "TOPO_SEARCH_HOME": str(home)}
    for name in ("TOPO_SEARCH_STORAGE", "TOPO_SEARCH_STORAGE_FILE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "topo_search.cli", "worker", "--study", row.id]
    return [*command, "--until-idle"], environment


def results(storage: Storage, row: StudyRow) -> tuple[list[Trial], float]:
    """Return what the trials gave, in their order, and the seconds of finishing.

    Times are by the database's clock.

    Raises:
        SystemExit: Where not every trial is complete, or the study was not finished.
    """
    leases = leases_of(storage, row)
    ended = studies.get(storage, row.id)
    if ended.state != "finished":
        raise SystemExit(f"The study is {ended.state}: {ended.reason}.")
    by_number = {one.number: one for one in trials.optuna_study(storage, row).get_trials()}
    found, finishing = [], 0.0
    for kind, number, taken, end in sorted(leases, key=lambda lease: lease[1] or 0):
        if kind == "finish":
            finishing = (end - taken).total_seconds()
            continue
        trial = by_number[number]
        if trial.value is None:
            raise SystemExit(f"Trial {number} is {trial.state.name}: {trial.user_attrs}.")
        found.append(
            Trial(
                start=taken.timestamp(),
                end=end.timestamp(),
                seconds=trial.user_attrs["seconds"],
                score=trial.value,
                epochs=trial.user_attrs["epochs"],
                epoch_seconds=trial.user_attrs["epoch_seconds"],
            )
        )
    if len(found) != row.trials:
        raise SystemExit(f"{len(found)} of {row.trials} trials are there.")
    return found, finishing


def leases_of(storage: Storage, row: StudyRow) -> list[Any]:
    """Return what was claimed of a study, and when it ended, by the database's clock."""
    lease = tables.lease.c
    with storage.transaction() as connection:
        asked = sa.select(lease.kind, lease.trial_number, lease.taken_at, lease.ended_at)
        return list(connection.execute(asked.where(lease.study == row.id)).all())
