"""`topo-search web` as a process: many clients, large and slow ones, signals, its worker."""

import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from databases import Databases, remove_home
from finished_studies import finished
from stories import IMPORT_PATH
from web_processes import (
    COMMAND,
    DEADLINE,
    IRIS,
    Web,
    all_of,
    around,
    ends,
    read_until,
    started,
    wait_until,
)

from storage import workers
from storage.connection import Storage
from topo_search.web.quota import MB, Limits
from topo_search.web.request_parser import HEADERS
from topo_search.web.server import CONNECTIONS, FILES
from topo_search.web.watching import EACH, STREAMS

OTHER = "127.0.0.2"  # Another address of this machine.
AT_ONCE = 60.0  # Seconds: "within a few", on a machine that others load.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def web(databases: Databases, place: Path) -> Iterator[Web]:
    """One service for all tests that leave it as it is."""
    url = databases.take()
    with started(place, storage=url) as running:
        yield running
    databases.give_back(url)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Leave to have as many connections as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def light(tmp_path: Path) -> dict[str, str]:
    """An environment in which a worker's slots do without TensorFlow: none here trains."""
    code = "from topo_search import forking; forking.PRELOAD = 'light_preload'"
    (tmp_path / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{IMPORT_PATH}"}


@pytest.fixture(scope="module")
def study(web: Web) -> dict[str, str]:
    return web.study()


def test_many_watch_and_calls_are_answered_meanwhile(web: Web, study: dict[str, str]) -> None:
    page = f"/v1/studies/{study['key']}"
    with ExitStack() as stack:
        viewers = [stack.enter_context(web.watch(study["key"])) for _ in range(EACH)]
        for viewer in viewers:
            assert b"text/event-stream" in read_until(viewer, b"event: change")
        for _ in range(20):
            assert web.json("GET", page)["state"] == "created"
        assert web.json("POST", f"{page}/pause")["state"] == "paused"
        for viewer in viewers:
            read_until(viewer, b'"state":"paused"')
        status, headers, body = web.request("GET", f"{page}/events")
        assert (status, headers["retry-after"]) == (503, "30")
        assert "from where you are" in json.loads(body)["detail"]
        others = [
            stack.enter_context(web.watch(study["key"], OTHER)) for _ in range(STREAMS - EACH)
        ]
        for viewer in others:
            read_until(viewer, b"event: change")
        with web.watch(study["key"], OTHER) as one:
            assert b"Very many are watching just now" in read_until(one, b"just now")
        assert web.json("GET", page)["state"] == "paused"
    # All have hung up, and others can watch, though there was nothing to tell those who have gone.
    began = time.monotonic()
    with ExitStack() as stack:
        for _ in range(EACH):
            wait_until(lambda: seen(web, study["key"], stack), "somebody's place is free again")
        assert time.monotonic() - began < AT_ONCE


def seen(web: Web, key: str, stack: ExitStack) -> bool:
    """Watch a study until the block ends, where there is a place."""
    viewer = stack.enter_context(web.watch(key))
    return b" 200 " in read_until(viewer, b"\r\n\r\n").splitlines()[0]


def test_slow_clients_hold_up_nobody(web: Web, many_files: None) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS - 10):  # More files than `select` takes.
            slow = socket.create_connection((web.host, web.port), DEADLINE)
            stack.enter_context(slow).sendall(b"GET / HTTP/1.1\r\nHost: slow\r\nX-")
        began = time.monotonic()
        for _ in range(3):
            assert web.request("GET", "/healthz")[0] == 200
        assert time.monotonic() - began < AT_ONCE, "they were waited for"


@pytest.mark.parametrize("how", ["length", "chunked", "expect"])
def test_a_table_that_is_too_large_is_refused_in_words(web: Web, how: str) -> None:
    size = Limits().upload + 2 * MB
    piece = bytes(MB)
    request = "POST /v1/uploads?name=large.csv HTTP/1.1"
    length = f"Content-Length: {size}"
    with ExitStack() as stack:
        if how == "expect":
            client = stack.enter_context(web.open(request, length, "Expect: 100-continue"))
        else:
            header = length if how == "length" else "Transfer-Encoding: chunked"
            client = stack.enter_context(web.open(request, header))
            begin, end = (b"", b"") if how == "length" else (b"%x\r\n" % MB, b"\r\n")
            for _ in range(size // MB):
                client.sendall(begin + piece + end)
            if how == "chunked":
                client.sendall(b"0\r\n\r\n")
        head, _, body = all_of(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert "at most 200 MiB" in problem["detail"]
    assert psutil.Process(web.process.pid).memory_info().rss < 300 * MB
    assert list((web.log.parent / "home" / "uploads").glob("*-*")) == []
    wait_until(lambda: "POST /v1/uploads 413" in web.said(), "it is logged")


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies/KEY/predict"])
def test_json_that_would_fill_the_memory_is_refused(
    web: Web, study: dict[str, str], path: str
) -> None:
    body = b'{"rows": [' + b" " * (9 * MB) + b"]}"
    kind = {"Content-Type": "application/json"}
    status, _, answer = web.request("POST", path.replace("KEY", study["key"]), body, kind)
    assert status == 413
    assert "at most 8 MiB" in json.loads(answer)["detail"]


def test_a_body_that_never_ends_is_cut_off(web: Web) -> None:
    with web.open("POST /v1/uploads HTTP/1.1", f"Content-Length: {10**12}") as client:
        assert all_of(client).startswith(b"HTTP/1.1 413 ")


def test_headers_that_are_too_long_are_refused(web: Web) -> None:
    status, _, _ = web.request("GET", "/healthz", headers={"X-Long": "x" * HEADERS})
    assert status == 431


def test_its_health_is_told_without_a_key(web: Web) -> None:
    status, headers, body = web.request("GET", "/healthz")
    assert (status, body) == (200, b"ok\n")
    assert "nosniff" in headers["x-content-type-options"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_whoever_is_there(
    database_url: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started(tmp_path, storage=database_url) as web, ExitStack() as stack:
        key = web.study()["key"]
        viewers = [stack.enter_context(web.watch(key)) for _ in range(200)]
        for viewer in viewers:
            read_until(viewer, b"event: change")
        upload = web.open("POST /v1/uploads HTTP/1.1", "Content-Length: 1000000")
        stack.enter_context(upload).sendall(b"a,b\n" * 1000)
        ended, seconds = ends(web.process, number)
        assert ended == code, web.said()
        assert seconds < AT_ONCE
        assert "Traceback" not in web.said()
        assert "did not end in time" not in web.said()
        assert ("Interrupted." in web.said()) == (number == signal.SIGINT)
        for viewer in viewers:  # They were told, not cut off in the midst of an event.
            assert all_of(viewer).endswith(b"0\r\n\r\n")


def test_on_its_own_it_starts_and_stops_the_private_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        with started(tmp_path) as web:
            assert web.request("GET", "/healthz")[0] == 200
            running = (home / "server").resolve() / "data" / "postmaster.pid"
            assert running.exists()
            assert ends(web.process, signal.SIGTERM)[0] == 0
            assert not running.exists()
    finally:
        remove_home(home)


def test_its_worker_lives_and_dies_with_it(
    database_url: str, storage: Storage, tmp_path: Path, light: dict[str, str]
) -> None:
    given = ("--with-worker", "--storage", database_url)
    with started(tmp_path, *given, **light) as web:
        first = present(web, storage)
        assert not any("postgresql" in word for word in first.cmdline())
        first.kill()
        again = present(web, storage, other=first)  # Started by another thread than the first.
        assert "The worker ended with -9." in web.said()
        web.process.kill()
        again.wait(DEADLINE)
    with started(tmp_path, *given, **light) as web:
        one = present(web, storage)
        web.process.kill()
        one.wait(DEADLINE)


def test_its_worker_is_drained_when_it_ends(
    database_url: str, storage: Storage, tmp_path: Path, light: dict[str, str]
) -> None:
    with started(tmp_path, "--with-worker", storage=database_url, **light) as web:
        one = present(web, storage)
        assert ends(web.process, signal.SIGTERM)[0] == 0, web.said()
        assert not one.is_running()
        assert [known.state for known in workers.known(storage)] == ["left"]
        assert "Traceback" not in web.said()


def present(web: Web, storage: Storage, *, other: psutil.Process | None = None) -> psutil.Process:
    """Wait until a worker serves, which is not the other one; return its process."""

    def serves() -> bool:
        found = web.worker
        if found is None or found == other:
            return False
        known = [one.worker.name for one in workers.known(storage) if one.state == "serving"]
        return any(f"-{found.pid}-" in name for name in known)

    wait_until(serves, "a worker serves")
    found = web.worker
    assert found is not None
    return found


def test_tensorflow_never_comes_into_its_process(
    database_url: str, storage: Storage, tmp_path: Path
) -> None:
    _, key = finished(storage)
    with started(tmp_path, storage=database_url) as web:
        for path in (f"/s/{key}", f"/v1/studies/{key}/results", f"/v1/studies/{key}/columns", "/"):
            assert web.request("GET", path)[0] == 200
        upload = web.json("POST", "/v1/uploads?name=iris.csv", IRIS.read_bytes())["upload"]
        web.json("POST", f"/v1/uploads/{upload}/choices", {"target": "species"})
        rows = [{"petal_length": "5.1", "petal_width": "1.8", "sepal_length": "6"}]
        rows[0]["sepal_width"] = "3"
        assert web.json("POST", f"/v1/studies/{key}/predict", {"rows": rows})["rows"]
        assert web.request("GET", f"/v1/studies/{key}/downloads/predictions.csv")[0] == 200
        process = psutil.Process(web.process.pid)
        assert "numpy" in mapped(process)
        assert "tensorflow" not in mapped(process)
        assert any("tensorflow" in mapped(one) for one in process.children(recursive=True))


def mapped(process: psutil.Process) -> str:
    """Return what a process has mapped: libraries by their paths."""
    return Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--host", "0.0.0.0"], {}, "an operator's password to serve on 0.0.0.0"),
        (["--proxied"], {}, "an operator's password to serve behind a proxy"),
        (["--host", "203.0.113.9"], {}, "Port 0 of 203.0.113.9 cannot be used"),
        (["--host", "no.such.host.invalid"], {}, "of no.such.host.invalid cannot be used"),
        ([], {"TOPO_SEARCH_OPERATOR_PASSWORD_FILE": "/no/such"}, "names /no/such, which cannot"),
        ([], {"TOPO_SEARCH_OPERATOR_PASSWORD_FILE": "/dev/null"}, "Received an empty file"),
        ([], {"TOPO_SEARCH_STORAGE_FILE": "/no/such"}, "names /no/such, which cannot be read"),
    ],
)
def test_what_keeps_it_from_serving_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    assert told in refused(tmp_path, ["--port", "0", *arguments], environment)
    assert not (tmp_path / "home").exists()  # Nor was a server started to find out.


def test_a_port_that_is_taken_is_said_in_a_line(web: Web, tmp_path: Path) -> None:
    assert "Address already in use. Name another with --port" in refused(
        tmp_path, ["--port", str(web.port)], {}
    )


def refused(folder: Path, arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [COMMAND, "web", *arguments],
        env=around(folder, None) | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
