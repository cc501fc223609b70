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
    "study resumed",
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
    after: int = 0,
    count: int = 100,
) -> list[Event]:
    """Return the last `count` events, oldest first; of a study or some kinds, or after an id."""
    query = sa.select(*_COLUMNS).where(tables.event.c.id > after)
    if study is not None:
        query = query.where(tables.event.c.study == study)
    if kinds is not None:
        query = query.where(tables.event.c.kind.in_(kinds))
    with storage.transaction() as connection:
        rows = connection.execute(query.order_by(tables.event.c.id.desc()).limit(count)).all()
    return [Event(**row._mapping) for row in reversed(rows)]


def forget(connection: sa.Connection) -> None:
    """Delete events older than `KEPT`."""
    old = sa.func.now() - sa.text(f"interval '{KEPT}'")
    connection.execute(sa.delete(tables.event).where(tables.event.c.at < old))
