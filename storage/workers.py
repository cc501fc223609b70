"""Workers: who serves, since when, with what; who has left and who was lost."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import events, tables
from storage.clock import LEASE, NOW, SERVER_STARTED
from storage.connection import Storage
from storage.errors import StorageError

State = Literal["serving", "draining", "left", "lost"]
HERE: tuple[State, ...] = ("serving", "draining")
NAMED = 5
"""How many are named where they are in the way."""
REFUSAL: tuple[events.Kind, ...] = ("study refused", "study served")
"""Events of which the last says whether a worker refuses a study."""
SHOWN = timedelta(hours=1)
"""How long a worker that is gone is still shown."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker as it makes itself known."""

    name: str
    host: str
    version: str  # of topo-search
    device: str  # what its slots work with, as "2 cores"
    slots: int
    studies: Sequence[str] = ()  # ids of those it is limited to; none: all
    tags: Sequence[str] = ()  # of which a study must have one; none: it need not

    def may_serve(self, study: str, tags: Collection[str]) -> bool:
        """Tell whether a study with these tags is within what the worker is limited to."""
        if self.studies and study not in self.studies:
            return False
        return not self.tags or not set(self.tags).isdisjoint(tags)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trial, or the finishing of a study, that a worker has a lease of."""

    study: str
    kind: Literal["trial", "finish"]
    trial: int | None  # its number; None of a finishing, and of what has not begun
    attempt: int
    seconds: float  # since the lease was taken


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the database knows of a worker."""

    worker: Worker
    state: State
    joined_at: datetime
    seen_at: datetime
    silence: float  # seconds since it was seen, by the database's clock
    trials_last_hour: int  # that it ended
    trains: Sequence[Trained]


def heard(
    storage: Storage,
    worker: Worker,
    *,
    lease: float,
    state: State = "serving",
    others_may_be_back: bool = False,
) -> None:
    """Keep that a worker is there, or leaves; and which others have not been heard of for long.

    Args:
        storage: Where it serves.
        worker: The worker.
        lease: Seconds; whoever is silent for two of them is lost.
        state: What it does.
        others_may_be_back: Whether others could not be heard of either: then nobody is lost now.
    """
    told = {
        "version": worker.version,
        "device": worker.device,
        "slots": worker.slots,
        "studies": list(worker.studies),
        "tags": list(worker.tags),
    }
    row = {"name": worker.name, "host": worker.host, **told, "state": state}
    with storage.transaction() as connection:
        before = connection.scalar(
            sa.select(tables.worker.c.state).where(tables.worker.c.name == worker.name)
        )
        connection.execute(
            postgresql.insert(tables.worker)
            .values(**row)
            .on_conflict_do_update(
                index_elements=["name"], set_={**told, "state": state, "seen_at": NOW}
            )
        )
        if state == "left":
            events.record(connection, "worker left", worker=worker.name)
            events.forget(connection)
        elif before is None:
            what = f"{worker.slots} slot{'s' * (worker.slots != 1)} on {worker.device}"
            events.record(connection, "worker joined", worker=worker.name, text=what)
            events.forget(connection)
            _forget(connection)
        elif before == "lost":
            events.record(connection, "worker back", worker=worker.name)
        if not others_may_be_back:
            _find_lost(connection, lease, worker.name)


def known(storage: Storage) -> list[Known]:
    """Return the workers that serve, then those lost and those that left lately.

    Each by host, then by age.

    Who has been silent for two leases is lost, also where no other worker is left to note it.
    """
    worker, lease = tables.worker.c, tables.lease.c
    ended = (
        sa.select(lease.owner, sa.func.count().label("count"))
        .where(lease.ended_at > NOW - timedelta(hours=1), lease.kind == "trial")
        .group_by(lease.owner)
        .subquery()
    )
    silence = sa.func.extract("epoch", NOW - worker.seen_at)
    state = sa.case((is_lost(LEASE), "lost"), else_=worker.state)
    gone = sa.case((state.in_(HERE), 0), (state == "lost", 1), else_=2)
    query: sa.Select[Any] = (
        sa.select(
            *(column for column in worker if column is not worker.state),
            state.label("state"),
            silence.label("silence"),
            sa.func.coalesce(ended.c.count, 0).label("trials_last_hour"),
        )
        .outerjoin(ended, ended.c.owner == worker.name)
        .where(sa.or_(state.in_(HERE), worker.seen_at > NOW - SHOWN))
        .order_by(gone, worker.host, worker.joined_at, worker.name)
    )
    with storage.transaction() as connection:
        rows = connection.execute(query).all()
        leased = connection.execute(
            sa.select(
                lease.owner,
                lease.study,
                lease.kind,
                lease.trial_number,
                lease.attempt,
                sa.func.extract("epoch", NOW - lease.taken_at).label("seconds"),
            )
            .where(lease.ended_at.is_(None), lease.owner.is_not(None))
            .order_by(lease.taken_at)
        ).all()
    trains: dict[str, list[Trained]] = {}
    for row in leased:
        trains.setdefault(row.owner, []).append(
            Trained(
                study=row.study,
                kind=row.kind,
                trial=row.trial_number,
                attempt=row.attempt,
                seconds=float(row.seconds),
            )
        )
    return [_known(row, trains.get(row.name, ())) for row in rows]


def refuse(storage: Storage, worker: str, study: str, reason: str) -> None:
    """Keep that a worker does not serve a study, and why; once, and not of one deleted by now."""
    with storage.transaction() as connection:
        there = connection.scalar(sa.select(tables.study.c.id).where(tables.study.c.id == study))
        if there is not None and not _refuses(connection, worker, study):
            events.record(connection, "study refused", worker=worker, study=study, text=reason)


def serve_again(storage: Storage, worker: str, study: str) -> None:
    """Keep that a worker serves a study that it refused."""
    with storage.transaction() as connection:
        if _refuses(connection, worker, study):
            events.record(connection, "study served", worker=worker, study=study, text="again")


def _refuses(connection: sa.Connection, worker: str, study: str) -> bool:
    event = tables.event.c
    last = (
        sa.select(event.kind)
        .where(event.study == study, event.worker == worker, event.kind.in_(REFUSAL))
        .order_by(event.id.desc())
        .limit(1)
    )
    return connection.scalar(last) == "study refused"


def refusals(storage: Storage, study: str | None = None) -> dict[str, dict[str, str]]:
    """Return why workers that are here do not serve a study, by study and worker.

    Args:
        storage: Where they are.
        study: Only of this one.
    """
    event, worker = tables.event.c, tables.worker.c
    query = (
        sa.select(event.study, event.worker, event.kind, event.text)
        .join(tables.worker, worker.name == event.worker)
        .where(event.kind.in_(REFUSAL), worker.state.in_(HERE), ~is_lost(LEASE))
        .order_by(event.id)
    )
    if study is not None:
        query = query.where(event.study == study)
    found: dict[str, dict[str, str]] = {}
    with storage.transaction() as connection:
        for row in connection.execute(query):
            of_study = found.setdefault(row.study, {})
            of_study.pop(row.worker, None)  # The last to refuse comes last.
            if row.kind == "study refused":
                of_study[row.worker] = row.text
    return found


def require_none(connection: sa.Connection) -> None:
    """Refuse what running workers would not survive; older tables will do.

    Raises:
        StorageError: Some were heard of within two leases, and have not left.
    """
    worker = tables.worker.c
    if not sa.inspect(connection).has_table(tables.worker.name):
        return
    names = connection.scalars(
        sa.select(worker.name)
        .where(worker.state.in_(HERE), worker.seen_at > NOW - timedelta(seconds=2 * LEASE))
        .order_by(worker.name)
    ).all()
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise StorageError(
            "Expected no worker beside an upgrade of the tables, which older ones do not survive. "
            f"Heard of in the last {2 * LEASE:.0f} s: {', '.join(names[:NAMED])}{more}. Stop them, "
            "or if they are gone: topo-search storage upgrade --yes"
        )


def _known(row: sa.Row[Any], trains: Sequence[Trained]) -> Known:
    return Known(
        worker=Worker(
            name=row.name,
            host=row.host,
            version=row.version,
            device=row.device,
            slots=row.slots,
            studies=tuple(row.studies),
            tags=tuple(row.tags),
        ),
        state=row.state,
        joined_at=row.joined_at,
        seen_at=row.seen_at,
        silence=float(row.silence),
        trials_last_hour=row.trials_last_hour,
        trains=tuple(trains),
    )


def _forget(connection: sa.Connection) -> None:
    """Delete workers that have been gone for as long as events are kept."""
    worker, old = tables.worker.c, sa.func.now() - sa.text(f"interval '{events.KEPT}'")
    connection.execute(
        sa.delete(tables.worker).where(worker.state.not_in(HERE), worker.seen_at < old)
    )


def is_lost(lease: float) -> sa.ColumnElement[bool]:
    """Tell whether a worker has been silent for two leases while the server was there."""
    worker, silence = tables.worker.c, timedelta(seconds=2 * lease)
    return sa.and_(
        worker.state.in_(HERE), worker.seen_at < NOW - silence, SERVER_STARTED < NOW - silence
    )


def _find_lost(connection: sa.Connection, lease: float, finder: str) -> None:
    """Note the workers that are lost."""
    worker = tables.worker.c
    silent = (
        sa.select(worker.name)
        # The finder was just heard of, however long this transaction takes.
        .where(worker.name != finder, is_lost(lease))
        .order_by(worker.name)
        .with_for_update(skip_locked=True)
        .cte("silent")
    )
    lost = connection.scalars(
        sa.update(tables.worker)
        .where(worker.name == silent.c.name)
        .values(state="lost")
        .returning(worker.name)
    ).all()
    for name in lost:
        events.record(connection, "worker lost", worker=name)
