"""What faults came to: trials ended, lost, counted twice; and the training time that kills cost."""

from __future__ import annotations

import statistics
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fleet_checks import exact, fates, repeated_ends
from fleet_harness import LEASE, ended

from storage import studies
from storage.check import violations
from storage.connection import Storage

MOMENT = 1.5  # Seconds: until a free worker looks again, and what this machine adds.


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A trial that was being trained when its worker was killed."""

    lease: str
    attempt: int
    began_at: float  # Like the others, on the database's clock, which is this machine's.
    killed_at: float
    runs_out_at: float  # Its lease, as the killed worker had renewed it last.
    own: float  # Seconds that the study's trials last where nothing else runs.


def figures(
    storage: Storage,
    made: Sequence[str],
    happened: Counter[str],
    killed: Sequence[Killed],
    disturbed: Sequence[tuple[float, float]],
) -> tuple[dict[str, Any], list[str]]:
    """Return the figures by what they are of, and every promise that was not kept."""
    states, lost, twice = Counter[str](), 0, 0
    broken: list[str] = [f"{one.study}: {one.rule}: {one.what}" for one in violations(storage)]
    for study in made:
        row = studies.get(storage, study)
        lost += (row.trials if row.state == "finished" else row.drawn) - ended(storage, study)
        twice += len(repeated_ends(storage, study))
        try:
            states += fates(exact(storage, study, state=row.state))
        except AssertionError:
            broken.append(f"{study}: {traceback.format_exc(limit=1)}")
    rows: list[tuple[str, Any]] = [(kind, count) for kind, count in sorted(happened.items())]
    rows += [("**faults**", sum(happened.values()) - happened["join"])]
    rows += [("studies", len(made))]
    rows += [(f"trials ended: {state.lower()}", count) for state, count in sorted(states.items())]
    rows += [("**trials ended**", states.total()), ("**trials lost**", lost)]
    rows += [("**trials counted twice**", twice), ("**violations**", len(broken))]
    rows += _costs(storage, killed, disturbed)
    if lost or twice:
        broken.append(f"{lost} trials are lost, {twice} are counted twice.")
    return dict(rows), broken


def table(figures: dict[str, Any]) -> str:
    """Return figures as a table in Markdown."""
    lines = (f"| {name} | {figure} |" for name, figure in figures.items())
    return "\n".join(["| | |", "|---|---|", *lines])


def _costs(
    storage: Storage, killed: Sequence[Killed], disturbed: Sequence[tuple[float, float]]
) -> list[tuple[str, str]]:
    """Return what kills cost: from a trial's start at the dead worker to its start at the next."""
    costs, in_vain, causes = [], [], Counter[str]()
    with storage.transaction() as connection:
        for one in killed:
            again_at = _taken_again(connection, one)
            if again_at is None:  # It had just ended, or was given up, or its study was cancelled.
                continue
            if any(one.began_at < end and begin < again_at for begin, end in disturbed):
                continue  # Nobody could take it over: the database was away, or people paused it.
            costs.append(again_at - one.began_at)
            in_vain.append(one.killed_at - one.began_at)
            if costs[-1] > LEASE + one.own + MOMENT:
                causes[_cause(connection, one, again_at)] += 1
    if not costs:
        return [("training time lost per kill", "no trial was taken over")]
    return [
        ("kills that cost training time", str(len(costs))),
        ("training time lost per kill, median", f"{statistics.median(costs):.1f} s"),
        ("training time lost per kill, worst", f"{max(costs):.1f} s"),
        ("of it trained in vain, worst", f"{max(in_vain):.1f} s"),
        (f"above one lease ({LEASE:g} s), the trial's own time and a moment", str(causes.total())),
        *((f"of them: {cause}", str(count)) for cause, count in causes.most_common()),
    ]


def _taken_again(connection: sa.Connection, one: Killed) -> float | None:
    query = sa.text(
        """
        SELECT extract(epoch FROM taken_at) FROM fleet_audit WHERE kind = 'lease taken'
        AND lease = :lease AND attempt > :attempt AND owner IS NOT NULL ORDER BY id LIMIT 1"""
    )
    found = connection.scalar(query, {"lease": one.lease, "attempt": one.attempt})
    return None if found is None else float(found)


def _cause(connection: sa.Connection, one: Killed, again_at: float) -> str:
    """Return why a trial cost more than a lease and its own time: of the two parts, the longer."""
    if one.killed_at - one.began_at - one.own > again_at - one.runs_out_at:
        return "the trial took longer than its own time, on a machine with too much to do"
    query = sa.text(
        """
        SELECT count(*) FROM (
            SELECT taken_at FROM topo_lease
            UNION ALL SELECT taken_at FROM fleet_audit WHERE kind = 'lease taken'
        ) AS claims WHERE extract(epoch FROM taken_at) BETWEEN :since AND :until"""
    )
    # Whoever looked just before it ran out could not see it.
    between = {"since": one.runs_out_at + MOMENT / 2, "until": again_at - 0.01}
    if connection.scalar(query, between):
        return "something else was claimed first"
    return "nobody claimed anything meanwhile: all trained, or were away"
