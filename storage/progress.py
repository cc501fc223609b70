"""Progress: how far a study is, in units of its budget."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage import tables
from storage.clock import is_free
from storage.connection import Storage


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is, in units."""

    units: int  # the budget
    drawn: int
    running: int  # with a worker that is there
    waiting: int  # still to be run: not drawn yet, handed back, or left behind
    finished: int  # = complete + pruned + failed
    complete: int
    pruned: int
    failed: int


def _count(name: str, *conditions: sa.ColumnElement[bool]) -> sa.Label[int]:
    trial = tables.lease.c.kind == "trial"
    return sa.func.count().filter(trial, *conditions).label(name)


COUNTS = (
    _count("running", tables.lease.c.ended_at.is_(None), sa.not_(is_free())),
    *(_count(end, tables.lease.c.outcome == end) for end in ("complete", "pruned", "failed")),
)
"""What a query selects, grouped by study, to have what became of its units."""


def progress_of(storage: Storage, study_id: str) -> Progress:
    """Count what became of the units of a study.

    Raises:
        LookupError: No such study.
    """
    with storage.transaction() as connection:
        row = connection.execute(_counted().where(tables.study.c.id == study_id)).one_or_none()
    if row is None:
        raise LookupError(f"Expected the id of a study. Received {study_id!r}.")
    return to_progress(row)


def progress_of_all(storage: Storage) -> dict[str, Progress]:
    """Count what became of the units of every study, by its id."""
    with storage.transaction() as connection:
        return {row.id: to_progress(row) for row in connection.execute(_counted())}


def _counted() -> sa.Select[Any]:
    study = tables.study.c
    return (
        sa.select(study.id, study.trials, study.drawn, study.state, *COUNTS)
        .select_from(tables.study.outerjoin(tables.lease))
        .group_by(study.id)
    )


def to_progress(row: sa.Row[Any]) -> Progress:
    """Return a row with `COUNTS` and the study's `trials`, `drawn` and `state` as a value."""
    finished = row.complete + row.pruned + row.failed
    over = row.state in ("finished", "cancelled")
    return Progress(
        units=row.trials,
        drawn=row.drawn,
        running=row.running,
        waiting=0 if over else row.trials - finished - row.running,
        finished=finished,
        complete=row.complete,
        pruned=row.pruned,
        failed=row.failed,
    )
