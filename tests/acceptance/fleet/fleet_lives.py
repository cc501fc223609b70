"""Lives of a worker, each with what was left behind for it, and slots without processes.

`own` is that of a study with an objective of its own, of which workers that vanished have begun one
trial and taken another undrawn; each of its trials gives weights, which are to be kept. `table` is
that of a study of a table, whose first trial has been lost by as many as may lose one and is to be
given up, and whose winner a slot trains once more.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fleet_checks import Trial, make_study
from fleet_harness import TREE
from fleet_objectives import score

from objectives.objective import Assignment, Final, Finish, Outcome
from storage import artifacts, claiming, finishing, studies, tables, trials
from storage.connection import Storage
from storage.rows import StudyRow, Taker, peek
from storage.tables import MAX_ATTEMPTS
from topo_search import study as tables_study
from topo_search.serving import ServedStudy
from topo_search.slot import Ended, Reported
from topo_search.study import Options

TRIALS = 3
IRIS = TREE / "examples" / "iris.csv"


@dataclass(frozen=True, kw_only=True)
class Life:
    """What a worker is to come through, and to come to."""

    prepare: Callable[[Storage], StudyRow]
    score: Callable[[Mapping[str, Any], int], float]
    attempts: Sequence[int]  # Of its trials, where nothing disturbs it.
    files: Callable[[list[Trial]], set[str]]  # That it is to keep.
    looks: int  # At the test rows.

    def wrong(self, storage: Storage, study: StudyRow, seen: list[Trial]) -> str | None:
        """Return what is not as it is to be when the study is finished."""
        kept = {file.name for file in artifacts.list_artifacts(storage, study.id)}
        if kept != self.files(seen):
            return f"kept are {kept}"
        if len(finishing.looks(storage, study.id)) != self.looks:
            return f"looks: {finishing.looks(storage, study.id)}"
        outcome = studies.get(storage, study.id).outcome or {}
        complete = [trial for trial in seen if trial.state == "COMPLETE"]
        best = max(complete, key=lambda trial: trial.value or 0.0)
        return None if outcome["best"]["trial"] == best.number else f"outcome: {outcome}"


def score_of_a_table(parameters: Mapping[str, Any], seed: int) -> float:
    """Return what a trial of a table's study scores: by chance, the same anywhere."""
    return random.Random(json.dumps([dict(parameters), seed], sort_keys=True)).random()


class InlineSlot:
    """A slot without a process."""

    def __init__(self) -> None:
        self.assignment: Assignment | Finish | None = None
        self.step, self.value, self.seconds = 0, float("nan"), 0.0
        self.process = threading.current_thread()

    @property
    def idle(self) -> bool:
        return self.assignment is None

    def give(self, assignment: Assignment | Finish) -> None:
        self.assignment = assignment

    def stop_trial(self) -> None:
        pass


class InlinePool:
    """A pool of one slot, which trains in the worker's process when it is listened to."""

    def __init__(self, *_: object, **__: object) -> None:
        self.slots = [InlineSlot()]

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def idle(self) -> list[InlineSlot]:
        return [slot for slot in self.slots if slot.idle]

    def watch(self) -> None:
        pass

    def messages(
        self, seconds: float, others: object = ()
    ) -> Iterator[tuple[InlineSlot, Reported | Ended]]:
        (slot,) = self.slots
        given = slot.assignment
        if given is None:
            threading.Event().wait(0.005)
        elif isinstance(given, Finish):
            outcome = {"best": dict(given.winner), "test": {"value": 0.5, "rows": 30}}
            final = Final(outcome=outcome, files={"network.keras": b"network"})
            yield slot, Ended(trial=given.trial, result=final)
        else:
            own = given.plan["objective"] != "tabular"
            value = (score if own else score_of_a_table)(given.parameters, given.seed)
            yield slot, Reported(trial=given.trial, step=1, value=value)
            weights = b"weights" if own else None
            yield slot, Ended(trial=given.trial, result=Outcome(value=value, weights=weights))


def left_behind(storage: Storage, study: StudyRow, *, begun: int) -> StudyRow:
    """Have workers that vanished begin a study's first trial so often, and take one undrawn."""
    served = ServedStudy(storage=storage, row=study, cache=Path())
    with storage.transaction() as connection:
        at_first = peek(connection, study.id)
    for owner in range(begun):
        let_leases_run_out(storage, study)
        lease = claiming.claim(storage, study.id, Taker(owner=f"gone {owner}"), served)
        assert lease is not None and lease.attempt == owner + 1
        trials.begin(storage, lease, served.space.distributions())
    undrawn = claiming._take_unit(storage, at_first, served, Taker(owner="late"))
    assert undrawn is not None and claiming._is_undrawn(undrawn)
    let_leases_run_out(storage, study)
    return study


def let_leases_run_out(storage: Storage, study: StudyRow) -> None:
    """Let everybody have been silent for longer than a lease."""
    now, second = sa.func.now(), timedelta(seconds=1)
    with storage.transaction() as connection:
        connection.execute(
            sa.update(tables.lease)
            .where(tables.lease.c.study == study.id, tables.lease.c.ended_at.is_(None))
            .values(renewed_at=now - 2 * second, expires_at=now - second)
        )


def _own(storage: Storage) -> StudyRow:
    study = make_study(storage, trials=TRIALS, pruner="asha", sampler="tpe")
    return left_behind(storage, study, begun=1)


def _of_a_table(storage: Storage) -> StudyRow:
    options = Options(data=IRIS.read_bytes(), file="iris.csv", target="species", trials=TRIALS)
    study, _ = tables_study.create(storage, options)
    return left_behind(storage, study, begun=MAX_ATTEMPTS)


LIVES = {
    "own": Life(
        prepare=_own,
        score=score,
        attempts=[2, 1, 1],
        files=lambda seen: {f"weights/{trial.number}" for trial in seen},  # All are among the best.
        looks=0,
    ),
    "table": Life(
        prepare=_of_a_table,
        score=score_of_a_table,
        attempts=[MAX_ATTEMPTS, 1, 1],
        files=lambda seen: {"network.keras", "reading.json"},
        looks=1,
    ),
}
