"""The way to the database: one engine, shared by Optuna's storage and ours."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import psycopg2

from storage import hanging, migrating
from storage.errors import StorageError, unavailable_as_storage_error
from storage.json_text import to_json
from storage.trial_rows import QuickRDBStorage

MINIMUM_SERVER = 13
_DRIVER = "postgresql+psycopg2"
# Any number will do, as long as nobody else's locks in this database have it.
_MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"topo-search migrations").digest()[:7])
_CONNECT_ARGS = {
    "connection_factory": hanging.Connection,
    "application_name": "topo-search",
    "connect_timeout": 10,  # seconds
    # A server that vanished without a word is noticed in half a lease, mid-answer or mid-send.
    "keepalives": 1,
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
# Of the transaction, not the session, so that they work behind PgBouncer too. A machine that froze
# or was cut off with a row locked loses the lock before its lease runs out.
_TIMEOUTS = (
    "SET LOCAL idle_in_transaction_session_timeout = '30s'; "
    "SET LOCAL lock_timeout = '30s'; "
    "SET LOCAL statement_timeout = '5min'"
)
# Of who makes the tables: it may be at a statement for long, but who froze is given up.
_GUARD_TIMEOUTS = (
    "SET LOCAL idle_in_transaction_session_timeout = '3min'; SET LOCAL lock_timeout = '3min'"
)
_LONGEST_PAUSE = 3.0  # Seconds between looks at whether another process has made the tables.
_LONGEST_WAIT = 600.0  # Seconds until who waits for that gives up.
_WAITED_IN_VAIN = (
    "Expected the tables of another process, which is making or upgrading them. Received none in "
    f"{_LONGEST_WAIT / 60:.0f} min: it is still at it, or hangs. See which it is (SELECT * FROM "
    "pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'), end it if it hangs, "
    "and try again."
)


@dataclass(frozen=True, kw_only=True)
class Storage:
    """An open way to one database, for any number of threads; at most 3 connections."""

    url: str = field(repr=False)  # holds the password
    engine: sa.Engine
    backend: QuickRDBStorage = field(repr=False)  # Optuna's, over the same engine
    optuna: BaseStorage  # the same, cached

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open one transaction (READ COMMITTED), committed at the end of the block.

        Raises:
            StorageError: The database could not be reached, or gave up on the transaction; whether
                it was committed is then unknown.
            ValueError: A value that cannot be stored, as `to_json` says.
        """
        try:
            with unavailable_as_storage_error(self.url), self.engine.begin() as connection:
                yield connection
        except sa.exc.StatementError as error:
            if isinstance(error.orig, ValueError):  # SQLAlchemy wraps what `to_json` raises.
                raise error.orig from None
            raise

    def with_own_cache(self) -> Storage:
        """Return the same storage with another cache of Optuna's, which goes when it is let go."""
        return replace(self, optuna=optuna.storages.get_storage(self.backend))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


class JoinedOptuna(RDBStorage):
    """Optuna's own storage code on a connection of ours, so that both commit together.

    An error of Optuna's rolls the whole transaction back.
    """

    def __init__(self, connection: sa.Connection) -> None:
        sessions = orm.sessionmaker(bind=connection, join_transaction_mode="rollback_only")

        def session() -> orm.Session:
            # Optuna tries again when a transaction breaks: this one is not Optuna's to repeat.
            if connection.closed or connection.invalidated or not connection.in_transaction():
                raise StorageError("The connection broke in the middle of a transaction.")
            return sessions()

        self.engine = connection.engine
        self.scoped_session = session  # type: ignore[assignment]


def normalise(url: str) -> str:
    """Return the one form of a PostgreSQL URL that SQLAlchemy, Optuna and we all read alike.

    Raises:
        ValueError: Not a PostgreSQL URL. The message never holds the password.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in ("postgresql", "postgres", _DRIVER):
        named = re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme, re.IGNORECASE)
        received = f"{scheme}://…" if named else "something that is not a URL"
        raise ValueError(
            "Expected a PostgreSQL URL such as postgresql://user:password@host:5432/database. "
            f"Received {received}. Other databases lack the row locks that keep two workers from "
            "one trial; leave --storage out to use a private PostgreSQL server on this machine."
        )
    try:
        parsed = sa.make_url(url)
        psycopg2.dialect().create_connect_args(parsed)  # type: ignore[no-untyped-call]
        if _may_be_cut_in_a_password(url, parsed):
            raise ValueError
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError(
            "Expected a PostgreSQL URL such as postgresql://user:password@host:5432/database. "
            "Received one whose parts cannot be told apart (not shown: it may hold a password). "
            "Write special characters of the password as %XX, an @ as %40."
        ) from None
    return parsed.set(drivername=_DRIVER).render_as_string(hide_password=False)


def _may_be_cut_in_a_password(url: str, parsed: sa.URL) -> bool:
    """Tell whether an @ may be of a password: what follows it would be shown as the host."""
    return (
        url.count("@") > 1
        or "@" in (parsed.database or "")  # Of a user's name with a slash.
        or re.search(r"password=[^&]*@", url) is not None
    )


def hidden(url: str) -> str:
    """Return a URL with its passwords hidden, to be shown."""
    parsed = sa.make_url(url)
    secret = {name: "hidden" for name in parsed.query if name.endswith("password")}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def holds_password(url: str) -> bool:
    """Tell whether a URL has a password in it."""
    parsed = sa.make_url(url)
    return bool(parsed.password) or any(name.endswith("password") for name in parsed.query)


def connect(
    url: str,
    *,
    upgrade: bool = False,
    before: Callable[[sa.Connection], None] = lambda connection: None,
) -> Storage:
    """Open the database at `url`, making its tables where there are none.

    Any number of processes may do so at once on an empty database.

    Args:
        url: Of a PostgreSQL database.
        upgrade: Whether to bring tables of an older topo-search to the form that this one needs;
            workers of the older one then cannot go on.
        before: Called before older tables are upgraded, on a connection; what it raises is raised.

    Raises:
        ValueError: Not a PostgreSQL URL.
        StorageError: No such server or database, wrong password, missing rights, server too old,
            tables of another topo-search, or waited in vain for who makes them.
    """
    url = normalise(url)
    logging.getLogger("optuna.storages._rdb.storage").setLevel(logging.WARNING)
    with unavailable_as_storage_error(url):
        backend = _open(url, upgrade, before)
    cached = optuna.storages.get_storage(backend)
    return Storage(url=url, engine=backend.engine, backend=backend, optuna=cached)


def schema(storage: Storage) -> str:
    """Return the version of an open storage's tables."""
    with storage.transaction() as connection:
        return str(migrating.version(connection))


def _open(url: str, upgrade: bool, before: Callable[[sa.Connection], None]) -> QuickRDBStorage:
    unhurried = {**_CONNECT_ARGS, "connection_factory": hanging.UnhurriedConnection}
    guard = sa.create_engine(url, poolclass=sa.NullPool, connect_args=unhurried)
    pause, until = 0.1, time.monotonic() + _LONGEST_WAIT
    while True:
        with guard.begin() as connection:
            _check_server(connection)
            if migrating.is_usable(connection, upgrade):
                break
            connection.exec_driver_sql(_GUARD_TIMEOUTS)
            # Of the transaction, not the session, so that it works behind PgBouncer too, where
            # whoever waited would keep a connection from the one who needs a second.
            lock = sa.func.pg_try_advisory_xact_lock(_MIGRATION_LOCK)
            if connection.scalar(sa.select(lock)):
                if migrating.version(connection) is not None:
                    before(connection)
                backend = _backend(url, make_tables=True)
                migrating.migrate(connection)
                return backend
        if time.monotonic() > until:
            raise StorageError(_WAITED_IN_VAIN)
        threading.Event().wait(pause)  # Another process makes them.
        pause = min(2 * pause, _LONGEST_PAUSE)
    return _backend(url, make_tables=False)


def _backend(url: str, *, make_tables: bool) -> QuickRDBStorage:
    try:
        backend = QuickRDBStorage(
            url,
            engine_kwargs={
                # One to work with, one to listen on, one for a second thread. No thread holds
                # two: those who wait behind PgBouncer for a second would hold all first ones.
                "pool_size": 2,
                "max_overflow": 1,
                "pool_pre_ping": True,
                "connect_args": _CONNECT_ARGS,
                "json_serializer": to_json,
            },
            skip_table_creation=not make_tables,
            skip_compatibility_check=True,
        )
        versions = backend._version_manager
        if versions.get_current_version() != migrating.needed_of_optuna():
            versions.check_table_schema_compatibility()  # It takes two connections, and complains.
    except RuntimeError as error:  # Optuna's tables are of another version than Optuna
        raise StorageError(str(error)) from error
    sa.event.listen(backend.engine, "begin", lambda begun: begun.exec_driver_sql(_TIMEOUTS))
    return backend


def _check_server(connection: sa.Connection) -> None:
    version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    if int(version) // 10_000 < MINIMUM_SERVER:
        raise StorageError(
            f"Expected a PostgreSQL server of version {MINIMUM_SERVER} or newer. Received version "
            f"{int(version) // 10_000}. Upgrade the server, or name another with --storage."
        )
