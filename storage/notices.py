"""Notices: word that there is work to claim, heard at once by whoever listens.

They only quicken what polling finds as well: a notice may be missed, and nobody need listen.
"""

import logging
import time
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import sqlalchemy as sa

from storage.connection import Storage
from storage.errors import StorageError, unavailable_as_storage_error

CHANNEL = "topo_search_work"
RETRY = 30.0  # Seconds between two beginnings: a connection that breaks at once is not chased.

logger = logging.getLogger(__name__)


def announce(connection: sa.Connection) -> None:
    """Tell whoever listens that there is work, when the caller's transaction is committed."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))


class Listener:
    """Hears notices on one of the storage's own connections, which it keeps.

    Behind PgBouncer in transaction mode, where a session is everybody's, it never listens.
    """

    def __init__(self, storage: Storage) -> None:
        """Make a listener that does not listen yet."""
        self.storage = storage
        self._connection: sa.PoolProxiedConnection | None = None
        self._next = 0.0  # When it may begin again, on this machine's monotonic clock.

    @property
    def sources(self) -> list[Any]:
        """What becomes readable when something comes, for `multiprocessing.connection.wait`."""
        return [] if self._connection is None else [self._connection.driver_connection]

    def begin(self) -> None:
        """Listen, unless it does, cannot here, or began a short while ago; never raises.

        Call it before looking for work: of what was announced earlier nothing is heard.
        """
        now = time.monotonic()
        if self._connection is not None or now < self._next:
            return
        self._next = now + RETRY
        try:
            with unavailable_as_storage_error(self.storage.url):
                self._connection = self.storage.engine.raw_connection()
            session: Any = self._connection.driver_connection
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                # A pooler between gives its clients keys of its own to cancel statements with.
                if cursor.fetchone() != (session.info.backend_pid,):
                    self._next = float("inf")
                    self.close()
                    return
                cursor.execute(f"LISTEN {CHANNEL}")
        except (StorageError, psycopg2.Error) as error:
            self._lose(error)

    def heard(self) -> bool:
        """Tell, without waiting, whether there may be news since it was last asked."""
        if self._connection is None:
            return False
        session: Any = self._connection.driver_connection
        try:
            session.poll()
        except psycopg2.Error as error:
            self._lose(error)
            return True  # What was announced while the connection broke was missed.
        heard = bool(session.notifies)
        session.notifies.clear()
        return heard

    def close(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.invalidate()  # Else the pool would give the listening session away.
            self._connection.close()
            self._connection = None

    def _lose(self, error: Exception) -> None:
        text = str(error).strip().partition("\n")[0]
        logger.debug("Not listening for work, only looking for it: %s", text)
        self.close()
