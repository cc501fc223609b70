"""Tokens: what programs of the operator show instead of a password."""

import hmac
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import keys, names, tables
from storage.clock import NOW
from storage.connection import Storage

PREFIX = "topo_"
"""How every token begins, so that it is known for one where it should not be, as in a commit."""

_NOTED = timedelta(minutes=1)  # Use is noted at most this often: each note is a write.


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is known of a token; not the token itself."""

    name: str
    created_at: datetime
    last_used_at: datetime | None  # to the minute; None of one that was never used


_COLUMNS = [tables.token.c[column.name] for column in fields(Token)]


def create(storage: Storage, name: str) -> str:
    """Make a token and return it, this once: only its SHA-256 is kept.

    Raises:
        ValueError: A name that another token has, or that cannot be shown.
    """
    names.check(name)
    token = keys.draw(PREFIX)
    with storage.transaction() as connection:
        made = connection.execute(
            postgresql.insert(tables.token)
            .values(name=name, hash=keys.hash_of(token))
            .on_conflict_do_nothing(index_elements=["name"])
        )
    if not made.rowcount:
        raise ValueError(
            f"Expected a name no token has. Received {name!r}, which is taken; choose another, or "
            "revoke that token first."
        )
    return token


def find(storage: Storage, token: str) -> Token | None:
    """Return what is known of a token, and note its use; None where there is no such token."""
    if not (token.isascii() and token.startswith(PREFIX)):
        return None
    column, hashed = tables.token.c, keys.hash_of(token)
    unnoted = sa.or_(column.last_used_at.is_(None), column.last_used_at < NOW - _NOTED)
    with storage.transaction() as connection:
        row = connection.execute(
            sa.select(*_COLUMNS)
            .add_columns(column.hash, unnoted.label("unnoted"))
            .where(column.hash == hashed)
        ).one_or_none()
        if row is None or not hmac.compare_digest(row.hash, hashed):
            return None
        if row.unnoted:
            connection.execute(
                sa.update(tables.token)
                .where(column.hash == hashed, unnoted)
                .values(last_used_at=NOW)
            )
    return _token(row)


def list_tokens(storage: Storage) -> list[Token]:
    """Return what is known of every token, oldest first."""
    query = sa.select(*_COLUMNS).order_by(tables.token.c.created_at, tables.token.c.name)
    with storage.transaction() as connection:
        return [_token(row) for row in connection.execute(query)]


def revoke(storage: Storage, name: str) -> None:
    """Delete a token: whoever shows it from now on is refused.

    Raises:
        LookupError: No such token; the message lists those there are.
    """
    with storage.transaction() as connection:
        gone = connection.execute(sa.delete(tables.token).where(tables.token.c.name == name))
    if not gone.rowcount:
        known = ", ".join(token.name for token in list_tokens(storage))
        raise LookupError(
            f"Expected the name of a token: {known or 'there is none'}. Received {name!r}."
        )


def _token(row: sa.Row[Any]) -> Token:
    return Token(**{column.name: getattr(row, column.name) for column in fields(Token)})
