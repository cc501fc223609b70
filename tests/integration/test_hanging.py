"""A server that hangs, of which one process is frozen: who waits for it goes on, or may leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from databases import execute
from sqlalchemy.dialects import postgresql
from stories import DEADLINE, wait_until

from storage import bulk, hanging, tables
from storage.connection import Storage
from storage.errors import StorageError

ASLEEP = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def frozen(storage: Storage) -> Iterator[list[int]]:
    """Processes of the server that are frozen; they go on at the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def freeze(connection: sa.Connection, frozen: list[int]) -> None:
    pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    os.kill(pid, signal.SIGSTOP)
    frozen.append(pid)


@pytest.mark.parametrize("what", ["SELECT 1", "commit", "rollback", "many"])
def test_who_waits_for_a_server_that_hangs_is_told_and_goes_on(
    storage: Storage, frozen: list[int], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(hanging.Connection, "longest", 1.0)
    error = "server closed the connection unexpectedly"
    with pytest.raises(StorageError, match=error), storage.transaction() as connection:
        freeze(connection, frozen)
        if what == "rollback":
            connection.rollback()
        elif what == "many":
            rows = [{"name": name, "hash": name} for name in "ab"]
            connection.execute(sa.insert(tables.token), rows)
        elif what != "commit":
            connection.exec_driver_sql(what)
    with storage.transaction() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_what_takes_long_to_send_is_not_taken_for_hanging(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hanging.Connection, "longest", 0.5)
    slow = sa.select(sa.literal("a"), sa.literal("h"), sa.func.pg_sleep(3)).subquery()
    names = sa.select(slow.c[0], slow.c[1])
    statement = postgresql.insert(tables.token).from_select(["name", "hash"], names)
    with storage.transaction() as connection:
        assert bulk.insert(connection, statement) == 1
    with pytest.raises(StorageError), storage.transaction() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(3)")


def test_a_command_that_waits_for_a_server_that_hangs_can_be_ended(
    database_url: str,
) -> None:
    waiting = (
        "import sys; from storage import connection, hanging; hanging.hear_signals()\n"
        "with connection.connect(sys.argv[1]).transaction() as opened:\n"
        "    opened.exec_driver_sql('SELECT pg_sleep(400)')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", waiting, database_url], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: bool(execute(database_url, ASLEEP)), "it waits")
        ((pid,),) = execute(database_url, ASLEEP)
        os.kill(pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE)
        finally:
            os.kill(pid, signal.SIGCONT)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
