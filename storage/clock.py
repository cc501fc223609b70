"""The database's clock, by which all leases are timed, and all work at a study."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from storage import tables

LEASE = 60.0
"""Seconds a worker may be silent before another may take over."""

NOW = sa.func.clock_timestamp()
SERVER_STARTED = sa.func.pg_postmaster_start_time(type_=sa.DateTime(timezone=True))


def is_free() -> sa.ColumnElement[bool]:
    """Whether anybody may take a lease: handed back, or its owner silent for too long."""
    column = tables.lease.c
    length = column.expires_at - column.renewed_at
    # While the server was down nobody could renew: it has to be up for as long as the lease.
    silent = sa.and_(column.expires_at < NOW, SERVER_STARTED + length < NOW)
    # Renewed in the future: the clock was set back, and its owner has not renewed since.
    set_back = column.renewed_at > NOW + length
    return sa.or_(column.owner.is_(None), silent, set_back)


def seconds_from_now(seconds: float) -> sa.ColumnElement[datetime]:
    """Return that moment of the database's clock."""
    return NOW + timedelta(seconds=seconds)


def seconds_at_work(lease: float = LEASE) -> sa.ColumnElement[float]:
    """Return the time in which somebody was at a study since it was last counted.

    It begins when something was taken up, where nobody was at the study, and without a live lease
    it ends with the last one. Of a longer silence one lease is counted.
    """
    # As text: in what an UPDATE returns, SQLAlchemy would read the table once more for a column.
    study = sa.literal_column("topo_study.id", sa.Text)
    before = sa.literal_column("topo_study.last_active_at", sa.DateTime(timezone=True))
    of = tables.lease.c
    live = sa.and_(of.ended_at.is_(None), ~is_free())
    until = sa.case((sa.func.bool_or(of.ended_at.is_(None)), NOW), else_=sa.func.max(of.ended_at))
    since = sa.func.greatest(before, sa.func.min(of.taken_at))
    worked = sa.select(sa.func.extract("epoch", until - since)).where(
        of.study == study, before.is_not(None), sa.or_(live, of.ended_at > before)
    )
    # Nothing where nobody was at it, and the first time, when there is no silence to count.
    known = sa.func.coalesce(worked.scalar_subquery(), 0)
    return sa.func.greatest(sa.func.least(known, lease), 0)
