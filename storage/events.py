"""Events: what happened to workers and studies, for whoever watches the fleet."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from storage import tables
from storage.connection import Storage

Kind = Literal[
    "worker joined",
    "worker left",
    "worker lost",
    "worker back",
    "study created",
    "study paused",
    "study failed",
    "study resumed",
    "study refused",
    "study served",
    "study cancelled",
    "study finished",
    "study deleted",
    "trial failed",
    "trial taken over",
]
KEPT = "90 days"
"""How long events are kept."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened."""

    id: int
    at: datetime
    kind: Kind
    study: str | None
    trial: int | None  # its number
    worker: str | None
    text: str


_COLUMNS = [tables.event.c[column.name] for column in fields(Event)]


def record(connection: sa.Connection, kind: Kind, **details: Any) -> None:
    """Keep an event, in the transaction that makes it true."""
    connection.execute(sa.insert(tables.event).values(kind=kind, **details))


def latest(
    storage: Storage,
    *,
    study: str | None = None,
    kinds: Collection[Kind] | None = None,
    count: int = 100,
) -> list[Event]:
    """Return the last `count` events, oldest first; of a study or some kinds."""
    query = _select(study, kinds).order_by(tables.event.c.id.desc()).limit(count)
    with storage.transaction() as connection:
        rows = connection.execute(query).all()
    return [Event(**row._mapping) for row in reversed(rows)]


def following(
    storage: Storage, after: int, *, study: str | None = None, count: int = 100
) -> list[Event]:
    """Return the first `count` events after that of an id, in an order that misses none.

    Ids are given when an event is recorded, and events are there when its transaction is through:
    a lower id may come later. So they come in the order of their transactions, and not before all
    earlier transactions are through.

    Args:
        storage: Where they are.
        after: The id of the last event of the answer before; 0 at first.
        study: Only of this one.
        count: At most so many.
    """
    event = tables.event.c
    # In transactions from now backwards, as their numbers, of 32 bits, begin anew.
    age = sa.func.age(sa.literal_column("topo_event.xmin"), type_=sa.Integer)
    active = sa.text("age(pg_snapshot_xmin(pg_current_snapshot())::xid)")
    last = tables.event.alias("last")
    known = sa.func.age(sa.literal_column("last.xmin"), type_=sa.Integer)
    since = sa.select(known).where(last.c.id == after).scalar_subquery()
    # Of an event that was forgotten, or of none, the transaction is not known.
    later = sa.case(
        (since.is_(None), event.id > after),
        else_=sa.tuple_(-age, event.id) > sa.tuple_(-since, after),
    )
    query = _select(study, None).where(later, age > active).order_by(age.desc(), event.id)
    with storage.transaction() as connection:
        return [Event(**row._mapping) for row in connection.execute(query.limit(count))]


def _select(study: str | None, kinds: Collection[Kind] | None) -> sa.Select[Any]:
    query = sa.select(*_COLUMNS)
    if study is not None:
        query = query.where(tables.event.c.study == study)
    if kinds is not None:
        query = query.where(tables.event.c.kind.in_(kinds))
    return query


def forget(connection: sa.Connection) -> None:
    """Delete events older than `KEPT`."""
    old = sa.func.now() - sa.text(f"interval '{KEPT}'")
    connection.execute(sa.delete(tables.event).where(tables.event.c.at < old))
