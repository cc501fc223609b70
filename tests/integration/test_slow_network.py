"""Many bytes over a network so slow that PostgreSQL takes their sender for an idle one."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
import sqlalchemy as sa
from databases import execute
from stored_studies import begun, make_study, open_leases, run_to_the_end
from stories import DEADLINE, wait_until

from storage import artifacts, datasets, finishing, studies, trials
from storage.connection import Storage, connect
from storage.rows import StudyRow, lock_if_there

LIMIT = 2.0  # Seconds that a transaction may be idle here.
DATA = os.urandom(2**21)
FREELY = 2**20  # Bytes that a connection brings before the network gets stuck.
SENDERS = """
SELECT count(*), coalesce(bool_or(clock_timestamp() - state_change > interval '{} s'), false)
FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"""


class Network:
    """A way to the server that stands still amid many bytes, until it is told to go on."""

    def __init__(self, url: str, sockets: ExitStack) -> None:
        given = sa.make_url(url)
        self._server = f"{given.query['host']}/.s.PGSQL.{given.query['port']}"
        self._sockets = sockets
        self._listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        there = {"host": "127.0.0.1", "port": self._listener.getsockname()[1]}
        self.url = given.set(query={}, **there).render_as_string(False)
        self.stuck, self.free = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # It is closed at the end.
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._server)
                for one in (near, far):
                    self._sockets.callback(one.close)
                for way in ((near, far, FREELY), (far, near, float("inf"))):
                    threading.Thread(target=self._bring, args=way, daemon=True).start()

    def _bring(self, source: socket.socket, target: socket.socket, freely: float) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                freely -= len(data)
                if freely < 0 and not self.free.is_set():
                    self.stuck.set()
                    self.free.wait(DEADLINE)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def network(database_url: str) -> Iterator[Network]:
    with ExitStack() as sockets:
        yield Network(database_url, sockets)


@pytest.fixture
def far(network: Network) -> Iterator[Storage]:
    """The test's database, over that network; only there may a transaction not be idle for long."""
    opened = connect(network.url)
    short = f"SET LOCAL idle_in_transaction_session_timeout = '{LIMIT:g}s'"
    sa.event.listen(opened.engine, "begin", lambda begun: begun.exec_driver_sql(short))
    yield opened
    network.free.set()
    opened.close()


def a_dataset(storage: Storage, study: StudyRow) -> Callable[[Storage], object]:
    return lambda far: datasets.put(far, DATA, "a.csv")


def an_artifact(storage: Storage, study: StudyRow) -> Callable[[Storage], object]:
    return lambda far: artifacts.put(far, study.id, "file", DATA) is None


def the_weights_of_a_trial(storage: Storage, study: StudyRow) -> Callable[[Storage], object]:
    lease = begun(storage, study)
    files = {"weights/0": DATA}
    return lambda far: trials.end(far, lease, state="complete", value=1.0, files=files)


def a_finished_study(storage: Storage, study: StudyRow) -> Callable[[Storage], object]:
    lease = run_to_the_end(storage, study)
    assert lease is not None
    files = {"network.keras": DATA, "reading.json": b"{}"}
    return lambda far: finishing.finish(far, lease, {}, files=files)


@pytest.mark.parametrize(
    "prepared", [a_dataset, an_artifact, the_weights_of_a_trial, a_finished_study]
)
def test_many_bytes_come_through_however_long_they_take_and_nobody_waits_for_them(
    storage: Storage,
    database_url: str,
    network: Network,
    far: Storage,
    prepared: Callable[[Storage, StudyRow], Callable[[Storage], object]],
) -> None:
    study = make_study(storage, trials=1)
    send = prepared(storage, study)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send, far)
        assert network.stuck.wait(DEADLINE)
        wait_until(lambda: _was_idle_for_long(database_url), "the sender was idle for long")
        with storage.transaction() as other:
            assert lock_if_there(other, study.id, to_delete=True, skip_locked=True) is not None
            assert _leases_not_locked(other) == len(open_leases(storage))
        network.free.set()
        assert sent.result()


def _was_idle_for_long(url: str) -> bool:
    """Tell whether a transaction has been idle for twice the limit, or was ended for it."""
    ((senders, long),) = execute(url, SENDERS.format(2 * LIMIT))
    return bool(long) or not senders


def _leases_not_locked(other: sa.Connection) -> int:
    free = "SELECT id FROM topo_lease WHERE ended_at IS NULL FOR UPDATE SKIP LOCKED"
    return len(other.exec_driver_sql(free).all())


def test_who_has_sent_many_bytes_may_not_be_idle_with_what_that_locked(storage: Storage) -> None:
    study = make_study(storage)
    limit = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with storage.transaction() as sender:
        assert artifacts.insert_artifacts(sender, study.id, {"a": b"1", "b": b"2"}) == 2
        assert sender.exec_driver_sql(limit).scalar_one() == "30s"


def test_what_was_finished_keeps_its_files_when_an_earlier_end_is_given_again(
    storage: Storage,
) -> None:
    study = make_study(storage, trials=1)
    first = run_to_the_end(storage, study)
    assert first is not None and finishing.finish(storage, first, {}, files={"n": b"first"})
    studies.resume(storage, study.id, trials=1)
    second = run_to_the_end(storage, study)
    assert second is not None and finishing.finish(storage, second, {}, files={"n": b"second"})
    assert finishing.finish(storage, first, {}, files={"n": b"first"})
    assert artifacts.get(storage, study.id, "n") == b"second"
