"""The real web service in a process of its own, and its clients."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
IRIS = ROOT / "examples" / "iris.csv"
COMMAND = Path(sys.executable).with_name("topo-search")
DEADLINE = 300.0  # Seconds for anything; on an idle machine nothing takes more than 5.


class Web:
    """A running `topo-search web`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process, self.log, self.url = process, log, url
        self.host, _, port = url.removeprefix("http://").strip("/").rpartition(":")
        self.port = int(port)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"}
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """Return what a call that succeeds answers."""
        status, _, answer = self.request(method, path, body)
        assert status < 300, answer
        return json.loads(answer)

    def study(self, **given: Any) -> dict[str, str]:
        """Make a study of the iris table; return its id and key."""
        upload = self.json("POST", "/v1/uploads?name=iris.csv", IRIS.read_bytes())["upload"]
        asked = {"upload": upload, "target": "species", "trials": 3, **given}
        made: dict[str, str] = self.json("POST", "/v1/studies", asked)
        return {**made, "upload": upload}

    def open(self, request: str, *headers: str, address: str = "") -> socket.socket:
        """Send a request without a body, or the beginning of one; return the connection."""
        here = (address, 0)
        connection = socket.create_connection((self.host, self.port), DEADLINE, here)
        lines = [request, f"Host: {self.host}:{self.port}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return connection

    def watch(self, key: str, address: str = "") -> socket.socket:
        """Open an event stream, from one of this machine's addresses where one is given."""
        return self.open(f"GET /v1/studies/{key}/events HTTP/1.1", address=address)

    @property
    def worker(self) -> psutil.Process | None:
        """The worker beside it."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # It has just ended.
                if "--drain" in child.cmdline():
                    return child
        return None

    def said(self) -> str:
        """Return all it has written so far."""
        return self.log.read_text(errors="replace")


@contextmanager
def started(
    folder: Path, *arguments: str, storage: str | None = None, **environment: str
) -> Iterator[Web]:
    """Let the web service run while the block does; it is killed at the end."""
    log = folder / f"web-{time.monotonic_ns()}.log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [COMMAND, "web", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env=around(folder, storage) | environment,
        ) as process,
    ):
        try:
            wait_until(lambda: "Open http" in log.read_text() or process.poll() is not None, "up")
            found = re.search(r"Open (\S+) in", log.read_text())
            assert found, log.read_text()
            yield Web(process, log, found[1])
        finally:
            process.kill()


def around(folder: Path, storage: str | None) -> dict[str, str]:
    """Return the environment of a service."""
    kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}
    kept["TOPO_SEARCH_HOME"] = str(folder / "home")
    return kept | ({"TOPO_SEARCH_STORAGE": storage} if storage else {})


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    """Return what comes until something is in it."""
    came = b""
    while wanted not in came:
        more = connection.recv(65_536)
        assert more, f"it ended without {wanted!r}: {came[-300:]!r}"
        came += more
    return came


def all_of(connection: socket.socket) -> bytes:
    """Return what comes until the connection ends."""
    came = b""
    while more := connection.recv(65_536):
        came += more
    return came


def ends(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, float]:
    """Send a signal; return the exit code, and the seconds until then."""
    began = time.monotonic()
    process.send_signal(number)
    return process.wait(DEADLINE), time.monotonic() - began


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true; what never is fails by this name."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.02)
