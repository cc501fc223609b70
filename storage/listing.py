"""Listing: many studies at a glance, a page at a time, and all of them in a few numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage import tables
from storage.clock import is_free
from storage.connection import Storage
from storage.progress import COUNTS, Progress, to_progress
from storage.rows import EXPIRES_AT, OPEN, State


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One study in a list, without its plan and outcome, which may be large."""

    id: str  # public
    name: str | None
    table: str | None  # the name its table was given with
    target: str | None
    state: State
    reason: str | None  # why it is paused, or ended as it did
    progress: Progress
    bytes: int  # of its datasets, which other studies may share, and its artifacts
    created_at: datetime
    last_active_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the studies."""

    total: int  # of those asked for, on all pages
    studies: Sequence[Listed]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All studies in a few numbers."""

    studies: Mapping[State, int]  # how many are in each state, 0 not left out
    waiting: int  # units of open studies still to be run, as each one's `Progress` counts them

    @property
    def open(self) -> int:
        """How many studies hand out work."""
        return sum(self.studies[state] for state in OPEN)


def page(
    storage: Storage, *, states: Collection[State] | None = None, page: int = 1, size: int = 25
) -> Page:
    """Return a page of the studies, newest first, however many there are, in one query.

    Args:
        storage: Where they are.
        states: Only studies in one of these, where given.
        page: From 1; one beyond the last is empty.
        size: Studies a page.
    """
    study = tables.study.c
    wanted = sa.true() if states is None else study.state.in_(states)
    shown = (
        sa.select(study.id)
        .where(wanted)
        .order_by(study.created_at.desc(), study.id)
        .limit(size)
        .offset((page - 1) * size)
        .subquery()
    )
    # Of each study by itself: a join would read the leases of all studies there are.
    counted = sa.select(*COUNTS).where(tables.lease.c.study == shown.c.id).lateral()
    query = (
        sa.select(
            *(study[name] for name in ("id", "name", "state", "reason", "trials", "drawn")),
            *(study[name] for name in ("created_at", "last_active_at")),
            EXPIRES_AT.label("expires_at"),
            study.plan["dataset_name"].as_string().label("table"),
            study.plan["target"].as_string().label("target"),
            _bytes().label("bytes"),
            *(counted.c[column.name] for column in COUNTS),
        )
        .select_from(shown.join(tables.study, study.id == shown.c.id).join(counted, sa.true()))
        .order_by(study.created_at.desc(), study.id)
    )
    with storage.transaction() as connection:
        total = connection.scalar(
            sa.select(sa.func.count()).select_from(tables.study).where(wanted)
        )
        rows = connection.execute(query).all()
    return Page(total=int(total or 0), studies=tuple(_listed(row) for row in rows))


def totals(storage: Storage) -> Totals:
    """Count the studies in each state, and what waits for workers."""
    study, lease = tables.study.c, tables.lease.c
    handed_back = (
        sa.select(sa.func.count())
        .where(lease.study == study.id, lease.kind == "trial")
        .where(lease.ended_at.is_(None), is_free())
        .scalar_subquery()
    )
    waiting = sa.func.sum(study.trials - study.drawn + handed_back).filter(study.state.in_(OPEN))
    with storage.transaction() as connection:
        rows = connection.execute(
            sa.select(
                study.state, sa.func.count().label("studies"), waiting.label("waiting")
            ).group_by(study.state)
        ).all()
    found: dict[State, int] = {row.state: row.studies for row in rows}
    states: Sequence[State] = tables.STUDY_STATES  # type: ignore[assignment]
    return Totals(
        studies={state: found.get(state, 0) for state in states},
        waiting=sum(int(row.waiting or 0) for row in rows),
    )


def open_tags(storage: Storage) -> dict[str, Sequence[str]]:
    """Return the tags of each open study by its id, oldest study first."""
    study = tables.study.c
    query = sa.select(study.id, study.tags).where(study.state.in_(OPEN))
    with storage.transaction() as connection:
        rows = connection.execute(query.order_by(study.created_at, study.id))
        return {row.id: tuple(row.tags) for row in rows}


def names(storage: Storage, ids: Collection[str]) -> dict[str, str]:
    """Return the names of those studies of these ids that have one, by id."""
    study = tables.study.c
    query = sa.select(study.id, study.name).where(study.id.in_(ids), study.name.is_not(None))
    with storage.transaction() as connection:
        return {row.id: row.name for row in connection.execute(query)}


def existing(storage: Storage, ids: Collection[str]) -> frozenset[str]:
    """Return those of these ids whose studies were not deleted."""
    study = tables.study.c
    with storage.transaction() as connection:
        return frozenset(connection.scalars(sa.select(study.id).where(study.id.in_(ids))))


def _bytes() -> sa.ColumnElement[int]:
    study, dataset, artifact = tables.study.c, tables.dataset.c, tables.artifact.c
    given = (
        sa.select(sa.func.coalesce(sa.func.sum(dataset.size), 0))
        .where(dataset.sha256.in_([study.dataset, study.test_dataset]))
        .correlate(tables.study)
        .scalar_subquery()
    )
    made = (
        sa.select(sa.func.coalesce(sa.func.sum(artifact.size), 0))
        .where(artifact.study == study.id)
        .correlate(tables.study)
        .scalar_subquery()
    )
    return given + made


def _listed(row: Any) -> Listed:
    return Listed(
        id=row.id,
        name=row.name,
        table=row.table,
        target=row.target,
        state=row.state,
        reason=row.reason,
        progress=to_progress(row),
        bytes=int(row.bytes),
        created_at=row.created_at,
        last_active_at=row.last_active_at,
        expires_at=row.expires_at,
    )
