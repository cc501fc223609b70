"""Signing: the key with which all web servers of one database sign what they hand out."""

import secrets

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import tables
from storage.connection import Storage

_NAME = "signing"


def signing_key(storage: Storage) -> str:
    """Return the key, 256 random bits in hexadecimal; whoever asks first makes it."""
    kept = sa.select(tables.secret.c.value).where(tables.secret.c.name == _NAME)
    with storage.transaction() as connection:
        key = connection.scalar(kept)
        if key is None:
            # Waits for another server that is at it: then that one's key is read, not ours.
            connection.execute(
                postgresql.insert(tables.secret)
                .values(name=_NAME, value=secrets.token_hex(32))
                .on_conflict_do_nothing()
            )
            key = connection.execute(kept).scalar_one()
    return str(key)
