"""Leases: who may work at which unit, until when.

A lease is timed by the database's clock alone. It ends when another worker takes it over, not when
its time passes: an owner that was silent for long goes on if nobody took over meanwhile.
"""

import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models

from storage import notices, tables
from storage.clock import LEASE, NOW, is_free, seconds_from_now
from storage.connection import Storage
from storage.rows import Lease, tick


def renew(storage: Storage, leases: Iterable[Lease], lease: float = LEASE) -> set[uuid.UUID]:
    """Renew leases, for `lease` seconds from now, and return the ids of those still the caller's.

    The rest were taken over, or ended, as by a cancelled study.
    """
    held = [(mine.id, mine.token) for mine in leases]
    if not held:
        return set()
    # Locked in the order of their ids, as everybody does who locks several.
    mine = (
        sa.select(tables.lease.c.id)
        .where(
            sa.tuple_(tables.lease.c.id, tables.lease.c.token).in_(held),
            tables.lease.c.ended_at.is_(None),
        )
        .order_by(tables.lease.c.id)
        .with_for_update()
        .cte("mine")
    )
    with storage.transaction() as connection:
        kept = connection.execute(
            sa.update(tables.lease)
            .where(tables.lease.c.id == mine.c.id)
            .values(renewed_at=NOW, expires_at=seconds_from_now(lease))
            .returning(tables.lease.c.id, tables.lease.c.study)
        ).all()
    for study_id in sorted({row.study for row in kept}):
        with storage.transaction() as connection:  # its own, not to lock a study after a lease
            tick(connection, study_id, lease)
    return {row.id for row in kept}


def release(
    storage: Storage, lease: Lease, *, spent: bool = False, reason: str | None = None
) -> bool:
    """Hand a lease back, for anybody to claim at once.

    Args:
        storage: Where the study is.
        lease: The caller's.
        spent: Whether the attempt counts, as when a slot died of it; of a lease that was drained
            or never begun it does not.
        reason: What became of the attempt.

    Returns:
        Whether it was the caller's.
    """
    with storage.transaction() as connection:
        tick(connection, lease.study)  # First, not to lock a study after a lease.
        released = connection.execute(
            sa.update(tables.lease)
            .where(
                tables.lease.c.id == lease.id,
                tables.lease.c.token == lease.token,
                tables.lease.c.ended_at.is_(None),
            )
            .values(
                owner=None,
                token=uuid.uuid4(),
                attempt=tables.lease.c.attempt - (0 if spent else 1),
                reason=reason,
                expires_at=NOW,
            )
        )
        if released.rowcount:
            notices.announce(connection)
        return released.rowcount == 1


def spent(connection: sa.Connection, left: sa.Row[Any]) -> dict[str, Any]:
    """Return the furthest epoch that any attempt at what was left told of, and the last's seconds.

    Args:
        connection: To the database.
        left: The lease, not ended, of a trial.
    """
    report = models.TrialIntermediateValueModel.__table__.c
    step = connection.scalar(
        sa.select(sa.func.max(report.step)).where(report.trial_id == left.trial_id)
    )
    heard_at = left.expires_at if left.owner is None else left.renewed_at
    return {"epochs": step or 0, "seconds": max(0.0, (heard_at - left.taken_at).total_seconds())}


def live_trials(storage: Storage, study_id: str) -> set[int]:
    """Return the numbers of a study's trials that a worker is at: neither handed back nor left."""
    lease = tables.lease.c
    query = sa.select(lease.trial_number).where(
        lease.study == study_id,
        lease.ended_at.is_(None),
        lease.trial_number.is_not(None),
        sa.not_(is_free()),
    )
    with storage.transaction() as connection:
        return set(connection.scalars(query))
