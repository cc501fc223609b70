"""Claiming: what is most worth doing in a study is leased to whoever asks.

A trial that was left behind comes first, then a new one, then the study's end.
"""

import uuid
from typing import Any, Protocol

import sqlalchemy as sa

from storage import events, tables
from storage.clock import NOW, is_free
from storage.connection import Storage
from storage.failures import pause_failed, pause_failing
from storage.finishing import has_complete
from storage.leases import release, spent
from storage.rows import (
    LEASE_COLUMNS,
    OPEN,
    Drawn,
    Lease,
    Standing,
    Taker,
    change,
    hand_over,
    insert_lease,
    lock_if_there,
    peek,
    tick,
    to_lease,
    why_left,
)
from storage.tables import MAX_ATTEMPTS
from storage.trials import OUTCOMES, adopt_end, close, end_lease, has_begun, with_trials

_UNDRAWN = Drawn(parameters={}, seed=-1)  # No seed is negative, while a space may vary nothing.


class Draws(Protocol):
    """What draws the parameters of a study's units."""

    def prepare(self) -> None:
        """Read what draws go by; called outside of transactions, each of which holds a connection.

        Two that each waited for another's could deadlock.
        """

    def draw(self, unit: int) -> Drawn:
        """Draw for a unit; called again for a later one where others were faster."""


def claim(
    storage: Storage,
    study_id: str,
    taker: Taker,
    draws: Draws,
    standing: Standing | None = None,
) -> Lease | None:
    """Take what is most worth doing in a study: a unit left behind, a new one, or finishing it.

    What you hold yourself is not taken over, even when it has run out: renew it.

    Args:
        storage: Where the study is.
        study_id: The study.
        taker: Who claims.
        draws: Draws the parameters of a new unit.
        standing: How far the study was a moment ago, when nothing in it was left behind: then that
            is not looked for again.

    Returns:
        The lease, or None where there is nothing to do now, or no such study.
    """
    taken, study = None, standing
    if study is None:
        taken, study = _take_over(storage, study_id, taker)
    if taken is None:
        taken = _take_unit(storage, study, draws, taker)
    if taken is not None and _is_undrawn(taken):
        taken = _draw(storage, taken, draws)
    return taken or _take_finish(storage, study_id, taker)


def claimed(storage: Storage, study_id: str, taker: Taker, draws: Draws) -> Lease | None:
    """Return the open lease that an earlier claim of this taker gave, if its answer was lost."""
    taken = _taken(storage, study_id, taker)
    return _draw(storage, taken, draws) if taken is not None and _is_undrawn(taken) else taken


def _taken(storage: Storage, study_id: str, taker: Taker) -> Lease | None:
    """Return the open lease that was taken with this token, if any.

    The COMMIT of an earlier try may still be under way. Such a try has locked the study, or what
    was left behind in it: whoever holds one of these is waited for.
    """
    lease = tables.lease.c
    open_ones = sa.and_(lease.study == study_id, lease.ended_at.is_(None))
    with storage.transaction() as connection:
        lock_if_there(connection, study_id)
        left_behind = sa.select(lease.id).where(open_ones, _may_take(taker)).order_by(lease.id)
        connection.execute(left_behind.with_for_update())
        # By itself, as a statement sees what was committed before it began.
        mine = sa.select(*LEASE_COLUMNS).where(open_ones, lease.token == taker.token)
        row = connection.execute(mine).one_or_none()
    return None if row is None else to_lease(row)


def _take_over(
    storage: Storage, study_id: str, taker: Taker
) -> tuple[Lease | None, Standing | None]:
    """Take the first trial that was left behind; end those that need nobody any more.

    Returns:
        The lease, or where there was none how far the study is.
    """
    left_behind = (
        with_trials()
        .where(
            tables.lease.c.study == study_id,
            tables.lease.c.kind == "trial",
            tables.lease.c.ended_at.is_(None),
            tables.study.c.state.in_(OPEN),
            _may_take(taker),
        )
        .order_by(tables.lease.c.unit)
        .limit(1)
        .with_for_update(of=tables.lease, skip_locked=True)
    )
    while True:
        with storage.transaction() as connection:
            found = connection.execute(left_behind).one_or_none()
            if found is None:
                return None, peek(connection, study_id)
            if found.trial_state in OUTCOMES:  # ended by other means, as optuna-dashboard's
                adopt_end(connection, found)
            elif (attempts := _attempts(connection, found)) >= MAX_ATTEMPTS:
                attributes = {"attempts": found.attempt, "reason": _why_given_up(found)}
                attributes |= spent(connection, found)
                close(connection, found, state="failed", attributes=attributes, token=uuid.uuid4())
            else:
                _tell(connection, found, taker)
                return hand_over(connection, found, taker, attempts), None
        pause_failing(storage, study_id)


def _take_unit(
    storage: Storage,
    study: Standing | None,
    draws: Draws,
    taker: Taker,
) -> Lease | None:
    """Take the next unit of a study that was so far a moment ago, if there is one left."""
    if study is None or not study.units_left:
        return None
    draws.prepare()
    unit, drawn = study.drawn, draws.draw(study.drawn)
    with storage.transaction() as connection:
        study = tick(connection, study.id, taker.lease)
        if study is None or not study.units_left:
            return None
        if study.drawn != unit:
            # Others were faster. To draw ahead again would mostly be in vain, and to draw here
            # could keep them waiting: the unit is taken first, and drawn when it is ours.
            drawn = _UNDRAWN
        return _hand_out(connection, study, drawn, taker)


def _is_undrawn(lease: Lease) -> bool:
    return lease.seed == _UNDRAWN.seed


def _draw(storage: Storage, lease: Lease, draws: Draws) -> Lease | None:
    """Draw for a unit that was taken undrawn, perhaps by an owner that was lost before it drew.

    Returns:
        The lease with its parameters; None where it was lost meanwhile.
    """
    try:
        draws.prepare()
        drawn = draws.draw(lease.unit)
    except Exception:
        release(storage, lease)
        raise
    column = tables.lease.c
    with storage.transaction() as connection:
        kept = connection.execute(
            sa.update(tables.lease)
            .where(column.id == lease.id, column.token == lease.token, column.ended_at.is_(None))
            .values(parameters=drawn.parameters, seed=drawn.seed)
            .returning(*LEASE_COLUMNS)
        ).one_or_none()
    return None if kept is None else to_lease(kept)


def _take_finish(storage: Storage, study_id: str, taker: Taker) -> Lease | None:
    """Take the finishing of a study whose units are through, if nobody else is at it."""
    with storage.transaction() as connection:
        study = peek(connection, study_id)
        if not _is_through(study) or _open_trial(connection, study_id):
            return None
    with storage.transaction() as connection:
        study = tick(connection, study_id, taker.lease)
        if study is None or not _is_through(study) or _open_trial(connection, study_id):
            return None
        finishing = connection.execute(
            sa.select(tables.lease, _may_take(taker).label("may_be_taken"))
            .where(
                tables.lease.c.study == study_id,
                tables.lease.c.kind == "finish",
                tables.lease.c.ended_at.is_(None),
            )
            .with_for_update()
        ).one_or_none()
        if finishing is None:
            return _start_finish(connection, study, taker)
        if not finishing.may_be_taken:
            return None
        if finishing.attempt < MAX_ATTEMPTS:
            _tell(connection, finishing, taker)
            return hand_over(connection, finishing, taker, finishing.attempt)
        end_lease(connection, finishing.id, "failed", token=uuid.uuid4())
        reason = f"finishing {_why_given_up(finishing)}; resume the study to try again"
        pause_failed(connection, study_id, reason)
        return None


def _start_finish(connection: sa.Connection, study: Standing, taker: Taker) -> Lease | None:
    """Begin the finishing of a locked study; one in which no trial came through just ends."""
    if not has_complete(connection, study):
        reason = f"{study.why_through}, none complete"
        ended = {"state": "finished", "failed": True, "reason": reason, "ended_at": NOW}
        change(connection, study.id, **ended)
        events.record(connection, "study finished", study=study.id, text=reason)
        return None
    finishings = connection.scalar(
        sa.select(sa.func.count()).where(
            tables.lease.c.study == study.id, tables.lease.c.kind == "finish"
        )
    )
    nothing = Drawn(parameters={}, seed=0)
    return insert_lease(connection, study.id, "finish", finishings or 0, nothing, taker)


def _hand_out(connection: sa.Connection, study: Standing, drawn: Drawn, taker: Taker) -> Lease:
    """Give the next unit of a study whose row the caller has locked."""
    connection.execute(
        sa.update(tables.study)
        .where(tables.study.c.id == study.id)
        .values(
            drawn=study.drawn + 1,
            state="running",
            started_at=sa.func.coalesce(tables.study.c.started_at, NOW),
        )
    )
    return insert_lease(connection, study.id, "trial", study.drawn, drawn, taker)


def _may_take(taker: Taker) -> sa.ColumnElement[bool]:
    """Whether a lease is free for somebody; what is their own they still train."""
    return sa.and_(is_free(), tables.lease.c.owner.is_distinct_from(taker.owner))


def _is_through(study: Standing | None) -> bool:
    return study is not None and study.state in OPEN and not study.units_left


def _open_trial(connection: sa.Connection, study_id: str) -> bool:
    is_open = sa.exists().where(
        tables.lease.c.study == study_id,
        tables.lease.c.kind == "trial",
        tables.lease.c.ended_at.is_(None),
    )
    return bool(connection.scalar(sa.select(is_open)))


def _tell(connection: sa.Connection, found: sa.Row[Any], taker: Taker) -> None:
    """Record that a trial, or a finishing, was lost by one worker and is taken up by another."""
    lost = why_left(found)
    if lost is not None and found.attempt:  # Else it was handed back before anything was lost.
        taken = {"study": found.study, "trial": found.trial_number, "worker": taker.owner}
        events.record(connection, "trial taken over", text=lost, **taken)


def _attempts(connection: sa.Connection, found: sa.Row[Any]) -> int:
    """Return how many attempts at what was left behind count: one that never began does not."""
    if found.owner is None:  # Whoever handed it back has seen to that.
        return int(found.attempt)
    lease = tables.lease.c
    begun = connection.scalar(
        sa.select(lease.id).where(lease.id == found.id, has_begun(found.owner))
    )
    return int(found.attempt) - (begun is None)


def _why_given_up(found: sa.Row[Any]) -> str:
    return f"gave up after {MAX_ATTEMPTS} attempts: {why_left(found) or 'handed back'}"
