"""Studies of the null objective: as large as wanted, and what became of their last trials."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from service_objective import STEPS, score
from web_world import copy_rows

from objectives.parameters import Choice, Range
from objectives.space import Space
from storage import studies, tables
from storage.connection import Storage
from storage.rows import StudyRow

OBJECTIVE = "service_objective:null"
AT_ONCE = 10_000  # Trials that are copied together.
SPACE = Space(
    name="own",
    parameters={
        **{f"x{number}": Range(low=0.0, high=1.0) for number in range(5)},
        "rate": Range(low=1e-5, high=1.0, log=True),
        "width": Range(low=1, high=512, log=True),
        "depth": Range(low=1, high=20),
        "kind": Choice(choices=("relu", "gelu", "selu", "silu")),
        "form": Choice(choices=("plain", "residual")),
    },
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A trial that has ended: by the database's clock, and by the slots'."""

    taken_at: float
    ended_at: float
    began: float
    ended: float
    slot: int


def make(storage: Storage, *, trials: int, sampler: str = "tpe", seconds: float = 0.0) -> StudyRow:
    """Make a study whose trials take so long each."""
    plan = {
        "objective": OBJECTIVE,
        "space": SPACE.to_json(),
        "epochs": STEPS[-1],
        "seed": 0,
        "pruner": "asha",
        "sampler": sampler,
        "metric": "value",
        "direction": "maximize",
        "target": None,
        "dataset_name": "",
        "seconds": seconds,
    }
    return studies.create(storage, plan=plan, direction="maximize", dataset=None, trials=trials)[0]


def fill(storage: Storage, row: StudyRow, count: int, seed: int = 0) -> None:
    """Write the first trials of a study, ended, with every row the real calls would have left.

    Their parameters are drawn at random, whatever the study's sampler.
    """
    chance, start = random.Random(seed), time.time() - count
    query = sa.select(sa.func.coalesce(sa.func.max(tables.optuna_trial.c.trial_id), 0))
    with storage.transaction() as connection:
        before = connection.scalar(query) or 0
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(count, first + AT_ONCE))
        copy_rows(storage, _rows(row, numbers, before, start, chance))
    with storage.transaction() as connection:
        connection.execute(
            sa.text("SELECT setval('trials_trial_id_seq', :last)"), {"last": before + count}
        )
        connection.exec_driver_sql(
            "UPDATE topo_study SET state = 'running', drawn = %s, spent_seconds = %s, "
            "started_at = now(), last_active_at = now() WHERE id = %s",
            (count, float(count), row.id),
        )
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _rows(
    row: StudyRow, numbers: range, before: int, start: float, chance: random.Random
) -> dict[str, list[tuple[Any, ...]]]:
    kinds = SPACE.distributions()
    written = {name: distribution_to_json(kind) for name, kind in kinds.items()}
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for number in numbers:
        trial, drawn = before + number + 1, _drawn(chance)
        lease = str(uuid.uuid4())
        moment = time.strftime("%F %T", time.gmtime(start + number))
        attributes = {"lease": lease, "unit": number, "seed": number, "worker": "host-1"}
        attributes |= {"attempts": 1, "began": float(number), "ended": number + 1.0, "slot": 1}
        rows["trials"].append((trial, number, row.optuna_study_id, "COMPLETE", moment, moment))
        rows["trial_values"].append((trial, 0, score(drawn), "FINITE"))
        rows["trial_params"] += [
            (trial, name, kinds[name].to_internal_repr(value), written[name])
            for name, value in drawn.items()
        ]
        rows["trial_user_attributes"] += [
            (trial, name, json.dumps(value)) for name, value in attributes.items()
        ]
        rows["trial_intermediate_values"] += [(trial, step, 0.5, "FINITE") for step in STEPS]
        whose = (number, trial, "host-1", lease, 1)
        rows["topo_lease"].append(
            (lease, row.id, "trial", number, json.dumps(drawn), number, *whose)
            + (f"{moment}+00",) * 4
            + ("complete",)
        )
    return rows


def _drawn(chance: random.Random) -> dict[str, Any]:
    drawn: dict[str, Any] = {f"x{number}": chance.random() for number in range(5)}
    drawn |= {"rate": 10 ** chance.uniform(-5, 0), "width": int(2 ** chance.uniform(0, 9))}
    drawn |= {"depth": chance.randint(1, 20)}
    kinds = ("relu", "gelu", "selu", "silu"), ("plain", "residual")
    return drawn | {"kind": chance.choice(kinds[0]), "form": chance.choice(kinds[1])}


def ended_since(storage: Storage, study: str, first: int) -> list[Ended]:
    """Return the trials of a study from a unit on, in the order of their ends."""
    query = sa.text(
        """
        SELECT extract(epoch FROM l.taken_at), extract(epoch FROM l.ended_at),
            json_object_agg(a.key, a.value_json::json)
        FROM topo_lease l JOIN trial_user_attributes a ON a.trial_id = l.trial_id
        WHERE l.study = :study AND l.kind = 'trial' AND l.unit >= :first
            AND l.outcome = 'complete' AND a.key IN ('began', 'ended', 'slot')
        GROUP BY l.id ORDER BY l.ended_at"""
    )
    with storage.transaction() as connection:
        found = connection.execute(query, {"study": study, "first": first}).all()
    return [Ended(taken_at=float(row[0]), ended_at=float(row[1]), **row[2]) for row in found]


def idle_times(trials: Sequence[Ended]) -> list[float]:
    """Return for how long slots had nothing to do between two trials, in seconds."""
    slots: dict[int, list[Ended]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.began):
        slots[trial.slot].append(trial)
    return [after.began - before.ended for one in slots.values() for before, after in pairwise(one)]


def busy_seconds(trials: Sequence[Ended], since: float, until: float) -> float:
    """Return for how long slots trained in a span of time, summed over all of them."""
    return sum(max(0.0, min(until, one.ended) - max(since, one.began)) for one in trials)
