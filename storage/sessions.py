"""Sessions: how long an operator who logged in is known, whoever has a copy of the cookie."""

from datetime import timedelta

import sqlalchemy as sa

from storage import keys, tables
from storage.clock import NOW
from storage.connection import Storage

LASTS = timedelta(hours=12)


def begin(storage: Storage, mark: str) -> str:
    """Begin a session and return what names it, this once: only a hash is kept.

    Args:
        storage: Where to.
        mark: Hash of the operator's password; with another password the session is closed.
    """
    key = keys.draw()
    with storage.transaction() as connection:
        connection.execute(
            sa.insert(tables.session).values(hash=_hash(key, mark), ends_at=NOW + LASTS)
        )
    return key


def is_open(storage: Storage, key: str, mark: str) -> bool:
    """Tell whether a session was begun with this password and has not ended."""
    column = tables.session.c
    known = sa.exists().where(column.hash == _hash(key, mark), column.ends_at > NOW)
    with storage.transaction() as connection:
        return bool(connection.scalar(sa.select(known)))


def end(storage: Storage, key: str, mark: str) -> None:
    """End a session, if there is one."""
    with storage.transaction() as connection:
        connection.execute(
            sa.delete(tables.session).where(tables.session.c.hash == _hash(key, mark))
        )


def drop_ended(storage: Storage) -> None:
    """Forget the sessions whose time is over."""
    with storage.transaction() as connection:
        connection.execute(sa.delete(tables.session).where(tables.session.c.ends_at <= NOW))


def _hash(key: str, mark: str) -> str:
    return keys.hash_of(f"{mark} {key}")
