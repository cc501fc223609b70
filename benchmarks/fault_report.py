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


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A trial that was being trained when its worker was killed."""

    lease: str
    attempt: int
    study: str
    taken_at: float  # Like the next, on the database's clock, which is this machine's.
    killed_at: float
    bound: float  # Seconds: one lease and what the study's trials last.


def table(
    storage: Storage,
    made: Sequence[str],
    happened: Counter[str],
    killed: Sequence[Killed],
    disturbed: Sequence[tuple[float, float]],
) -> tuple[str, bool]:
    """Return a Markdown table of everything, and whether every promise was kept."""
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
    lines = ["| | |", "|---|---|", *(f"| {name} | {count} |" for name, count in rows), *broken]
    return "\n".join(lines), not (lost or twice or broken)


def _costs(
    storage: Storage, killed: Sequence[Killed], disturbed: Sequence[tuple[float, float]]
) -> list[tuple[str, str]]:
    """Return what kills cost: from a trial's start at the dead worker to its start at the next."""
    query = sa.text(
        """
        SELECT extract(epoch FROM taken_at) FROM fleet_audit WHERE kind = 'lease taken'
        AND lease = :lease AND attempt > :attempt AND owner IS NOT NULL ORDER BY id LIMIT 1"""
    )
    costs, in_vain, over = [], [], 0
    with storage.transaction() as connection:
        for one in killed:
            found = connection.scalar(query, {"lease": one.lease, "attempt": one.attempt})
            if found is None:  # It had just ended, or was given up, or its study was cancelled.
                continue
            again_at = float(found)
            if any(one.taken_at < end and begin < again_at for begin, end in disturbed):
                continue  # Nobody could take it over: the database was away, or people paused it.
            costs.append(again_at - one.taken_at)
            in_vain.append(one.killed_at - one.taken_at)
            over += again_at - one.taken_at > one.bound
    if not costs:
        return [("training time lost per kill", "no trial was taken over")]
    return [
        ("kills that cost training time", str(len(costs))),
        ("training time lost per kill, median", f"{statistics.median(costs):.1f} s"),
        ("training time lost per kill, worst", f"{max(costs):.1f} s"),
        ("of it trained in vain, worst", f"{max(in_vain):.1f} s"),
        (f"above one lease ({LEASE:g} s), the trial's own time and a moment", str(over)),
    ]
