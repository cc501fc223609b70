"""A server that hangs, of which one process is frozen: who waits for it goes on, or may leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from databases import execute
from sqlalchemy.dialects import postgresql
from stories import DEADLINE, wait_until

from storage import bulk, hanging, tables
from storage.connection import Storage
from storage.errors import StorageError

ASLEEP = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND query = 'SELECT pg_sleep(400)'"
)


@pytest.fixture
def frozen() -> Iterator[list[int]]:
    """Processes of the server that are frozen; they go on at the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def freeze(pid: int, frozen: list[int]) -> None:
    os.kill(pid, signal.SIGSTOP)
    frozen.append(pid)


def session(connection: sa.Connection) -> Any:
    """Return the driver's own connection."""
    return connection.connection.driver_connection


@pytest.mark.parametrize("what", ["SELECT 1", "commit", "rollback", "many"])
def test_who_waits_for_a_server_that_hangs_is_told_and_goes_on(
    storage: Storage, frozen: list[int], what: str
) -> None:
    error = "server closed the connection unexpectedly"
    with pytest.raises(StorageError, match=error), storage.transaction() as connection:
        freeze(session(connection).info.backend_pid, frozen)
        session(connection).longest = 1.0
        if what == "rollback":
            connection.rollback()
        elif what == "many":
            column = tables.token.c
            change = sa.update(tables.token).where(column.name == sa.bindparam("one"))
            rows = [{"one": name, "other": name} for name in "ab"]
            connection.execute(change.values(hash=sa.bindparam("other")), rows)
        elif what != "commit":
            connection.exec_driver_sql(what)
    with storage.transaction() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_what_takes_long_to_send_is_not_taken_for_hanging(storage: Storage) -> None:
    slow = sa.select(sa.literal("a"), sa.literal("h"), sa.func.pg_sleep(3)).subquery()
    names = sa.select(slow.c[0], slow.c[1])
    statement = postgresql.insert(tables.token).from_select(["name", "hash"], names)
    with storage.transaction() as connection:
        session(connection).longest = 0.5
        assert bulk.insert(connection, statement) == 1
        assert (session(connection).longest, session(connection).sends) == (hanging.LONGEST, False)
    with pytest.raises(StorageError), storage.transaction() as connection:
        session(connection).longest = 0.5
        connection.exec_driver_sql("SELECT pg_sleep(5)")


@pytest.mark.parametrize("sends", [False, True], ids=["waits", "sends"])
def test_a_command_that_waits_for_a_server_that_hangs_can_be_ended(
    database_url: str, frozen: list[int], sends: bool
) -> None:
    """What is being sent may come through while the process drains: it is asked twice."""
    waiting = (
        # Where the tests run in the background, SIGINT is ignored, and would be here.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from storage import connection, hanging; hanging.hear_signals()\n"
        "with connection.connect(sys.argv[1]).transaction() as opened:\n"
        f"    opened.connection.driver_connection.sends = {sends}\n"
        "    opened.exec_driver_sql('SELECT pg_sleep(400)')"
    )
    command = [sys.executable, "-c", waiting, database_url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: bool(execute(database_url, ASLEEP)), "it waits")
            ((pid,),) = execute(database_url, ASLEEP)
            freeze(pid, frozen)
            process.send_signal(signal.SIGINT)
            if sends:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(hanging.PROMPT + 3 * hanging.LOOK)
                process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
