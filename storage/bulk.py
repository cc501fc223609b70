"""Bulk: INSERTs of so many bytes that a slow network takes long to bring them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import hanging

_LIMIT = "idle_in_transaction_session_timeout"


def insert(connection: sa.Connection, statement: postgresql.Insert) -> int:
    """Run an INSERT for a caller who has locked nothing yet, and return how many rows it touched.

    PostgreSQL takes the time in which a statement arrives for idleness. While nothing is locked
    nobody waits for its end, so it may take any time; a peer that is gone is left to keepalives.
    """
    usual = connection.scalar(sa.select(sa.func.current_setting(_LIMIT)))
    connection.exec_driver_sql(f"SET LOCAL {_LIMIT} = 0")
    session: Any = connection.connection.driver_connection
    # Back with the INSERT, which locks: who froze meanwhile would send no word of his own.
    back = sa.func.set_config(_LIMIT, usual, True)
    with hanging.sending(session):
        return len(connection.execute(statement.returning(back)).all())
