"""Rows of studies and leases: what they say, and the statements that change them.

Whoever locks several rows does so in this order: a study, its leases by their ids, Optuna's rows.
"""

import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from storage import tables
from storage.clock import LEASE, NOW, seconds_at_work, seconds_from_now

State = Literal["created", "running", "paused", "finished", "cancelled"]
OPEN: tuple[State, ...] = ("created", "running")
"""States in which a study hands out work."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a study is: what handing out its work goes by, and no more."""

    id: str  # public
    optuna_study_id: int
    state: State
    reason: str | None  # why it is paused, or ended as it did
    trials: int  # the budget
    units: int | None  # how many its space has in all; None: without end
    seconds: float | None  # the budget in time, None where there is none
    drawn: int  # units handed out so far
    spent_seconds: float  # of time in which some worker was at it, as last counted

    @property
    def time_is_spent(self) -> bool:
        """Whether the budget in time is used up."""
        return self.seconds is not None and self.spent_seconds >= self.seconds

    @property
    def budget_left(self) -> bool:
        """Whether the budgets have room for another unit."""
        return self.drawn < self.trials and not self.time_is_spent

    @property
    def units_left(self) -> bool:
        """Whether a worker may have a new unit now."""
        return self.state in OPEN and self.budget_left

    @property
    def exhausted(self) -> bool:
        """Whether its whole space has been handed out."""
        return self.units is not None and self.drawn >= self.units

    @property
    def why_through(self) -> str:
        """Which budget of the study is used up, or that its space is."""
        if self.exhausted:
            return f"its whole space tried, in {self.drawn} trial" + "s" * (self.drawn != 1)
        if self.drawn < self.trials:
            return f"time budget of {self.seconds:g} s spent after {self.drawn} trials"
        return "the only trial done" if self.trials == 1 else f"all {self.trials} trials done"


@dataclass(frozen=True, kw_only=True)
class StudyRow(Standing):
    """One study as it stood when it was read, its time counted to that moment."""

    name: str | None
    failed: bool  # it is paused, or finished, because it came to nothing
    dataset: str | None  # SHA-256
    test_dataset: str | None  # SHA-256
    plan: dict[str, Any] = field(repr=False)
    last_active_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: dict[str, Any] | None = field(repr=False)
    tags: list[str]  # of workers that may be limited to them
    parent: str | None  # the study whose trials this one began with
    keep: timedelta | None  # how long after it was last worked at it is deleted; None: never
    expires_at: datetime | None  # when that is, as things stand

    @property
    def optuna_name(self) -> str:
        """Name of the Optuna study."""
        return f"topo-{self.id}"


# Not a column: it moves with each of these, of which GREATEST passes over nulls.
EXPIRES_AT = (
    sa.func.greatest(
        tables.study.c.created_at,
        tables.study.c.last_active_at,
        tables.study.c.ended_at,
        tables.study.c.resumed_at,
        type_=sa.DateTime(timezone=True),
    )
    + tables.study.c.keep
)
# Nor is this, of which the column has what was counted so far.
SPENT_SECONDS = tables.study.c.spent_seconds + seconds_at_work()
MADE = {"expires_at": EXPIRES_AT, "spent_seconds": SPENT_SECONDS}
STUDY_COLUMNS = [
    *(tables.study.c[column.name] for column in fields(StudyRow) if column.name not in MADE),
    *(made.label(name) for name, made in MADE.items()),
]
STANDING_COLUMNS = [tables.study.c[column.name] for column in fields(Standing)]


def to_study(row: sa.Row[Any]) -> StudyRow:
    """Return a row of `topo_study`, as selected or returned by a statement, as a value."""
    return StudyRow(**{column.name: getattr(row, column.name) for column in fields(StudyRow)})


def to_standing(row: sa.Row[Any]) -> Standing:
    """Return the columns of `topo_study` that a `Standing` has as a value."""
    return Standing(**{column.name: getattr(row, column.name) for column in fields(Standing)})


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a sampler drew for one unit."""

    parameters: dict[str, Any]  # JSON
    seed: int  # 63 bits


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A worker's right to one unit of a study, or to finishing it."""

    id: uuid.UUID
    study: str
    kind: Literal["trial", "finish"]
    unit: int
    parameters: dict[str, Any] = field(repr=False)
    seed: int
    trial_number: int | None  # None until the trial has begun
    owner: str | None  # None while it waits to be taken up
    token: uuid.UUID = field(repr=False)
    attempt: int  # 1 at first
    reason: str | None  # why the attempt before came to nothing
    renewed_at: datetime  # by the database's clock, as the next
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Taker:
    """Who takes a lease, and for how long."""

    owner: str  # a name that no other worker has
    token: uuid.UUID = field(default_factory=uuid.uuid4)  # of the lease to be, unlike any other
    lease: float = LEASE  # seconds until it must be renewed


LEASE_COLUMNS = [tables.lease.c[column.name] for column in fields(Lease)]


def lock(connection: sa.Connection, study_id: str, *, to_delete: bool = False) -> StudyRow:
    """Lock a study until the transaction's end and return it as it then stands.

    Args:
        connection: Whose transaction it is.
        study_id: The study.
        to_delete: Whether nobody may refer to it meanwhile, as a study that begins with it does.

    Raises:
        LookupError: No such study.
    """
    study = lock_if_there(connection, study_id, to_delete=to_delete)
    if study is None:
        raise LookupError(f"Expected the id of a study. Received {study_id!r}.")
    return study


def lock_if_there(
    connection: sa.Connection,
    study_id: str,
    *,
    to_delete: bool = False,
    skip_locked: bool = False,
) -> StudyRow | None:
    """Do as `lock`, or return None where there is no such study.

    With `skip_locked` also where another transaction has locked it.
    """
    row = connection.execute(
        # NO KEY UPDATE lets rows that refer to the study be added meanwhile, UPDATE has them wait.
        sa.select(*STUDY_COLUMNS)
        .where(tables.study.c.id == study_id)
        .with_for_update(key_share=not to_delete, skip_locked=skip_locked)
    ).one_or_none()
    return None if row is None else to_study(row)


def change(connection: sa.Connection, study_id: str, **changes: Any) -> StudyRow:
    """Change columns of a study the caller has locked, and return it."""
    return to_study(
        connection.execute(
            sa.update(tables.study)
            .where(tables.study.c.id == study_id)
            .values(**changes)
            .returning(*STUDY_COLUMNS)
        ).one()
    )


def peek(connection: sa.Connection, study_id: str) -> Standing | None:
    """Read how far a study is without locking it."""
    row = connection.execute(
        sa.select(*STANDING_COLUMNS).where(tables.study.c.id == study_id)
    ).one_or_none()
    return None if row is None else to_standing(row)


def tick(connection: sa.Connection, study_id: str, lease: float = LEASE) -> Standing | None:
    """Count the time in which somebody was at a study since it last was, lock it and return it.

    What counts is said by `seconds_at_work`.
    """
    column = tables.study.c
    counted = seconds_at_work(lease)
    row = connection.execute(
        sa.update(tables.study)
        .where(column.id == study_id)
        .values(spent_seconds=column.spent_seconds + counted, last_active_at=NOW)
        .returning(*STANDING_COLUMNS)
    ).one_or_none()
    return None if row is None else to_standing(row)


def insert_lease(
    connection: sa.Connection,
    study_id: str,
    kind: str,
    unit: int,
    drawn: Drawn,
    taker: Taker,
) -> Lease:
    """Add the lease of a new unit to a study the caller has locked."""
    return to_lease(
        connection.execute(
            sa.insert(tables.lease)
            .values(
                id=uuid.uuid4(),
                study=study_id,
                kind=kind,
                unit=unit,
                parameters=drawn.parameters,
                seed=drawn.seed,
                owner=taker.owner,
                token=taker.token,
                attempt=1,
                renewed_at=NOW,
                expires_at=seconds_from_now(taker.lease),
            )
            .returning(*LEASE_COLUMNS)
        ).one()
    )


def why_left(found: sa.Row[Any]) -> str | None:
    """Return why the last attempt at a lease that is free now came to nothing."""
    if found.owner is not None:
        return vanished(found.owner)
    return None if found.reason is None else str(found.reason)


def vanished(owner: str) -> str:
    """Return why an attempt came to nothing whose owner is silent, or dead."""
    return f"its worker {owner} vanished"


def hand_over(connection: sa.Connection, found: sa.Row[Any], taker: Taker, attempts: int) -> Lease:
    """Give a lease whose row the caller has locked to another, after so many attempts."""
    return to_lease(
        connection.execute(
            sa.update(tables.lease)
            .where(tables.lease.c.id == found.id)
            .values(
                owner=taker.owner,
                token=taker.token,
                attempt=attempts + 1,
                reason=why_left(found),
                taken_at=NOW,
                renewed_at=NOW,
                expires_at=seconds_from_now(taker.lease),
            )
            .returning(*LEASE_COLUMNS)
        ).one()
    )


def to_lease(row: sa.Row[Any]) -> Lease:
    """Return a row of `topo_lease` as a value."""
    return Lease(**{column.name: getattr(row, column.name) for column in fields(Lease)})
