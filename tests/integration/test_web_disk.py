"""What a table that is being sent takes of the disk."""

import http.client
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import waitress
from apiflask import APIFlask
from waitress import wasyncore

from topo_search.web.request_parser import RequestLimits
from topo_search.web.service import Service

DEADLINE = 120.0
SIZE = 4 * 2**20
HEAD = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=cut"}


@contextmanager
def served(app: APIFlask) -> Iterator[tuple[int, RequestLimits]]:
    """Serve an application as `server.serve` does; yields its port, and what it takes in."""
    taking = RequestLimits(limit=4 * SIZE, too_large="")
    listening, sockets, ended = socket.socket(), dict[int, Any](), threading.Event()
    listening.bind(("127.0.0.1", 0))
    server = waitress.create_server(app, sockets, sockets=[listening], threads=1)
    taking.tend(server)

    def turn() -> None:
        while not ended.is_set():
            wasyncore.loop(timeout=0.05, use_poll=True, map=sockets, count=1)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield listening.getsockname()[1], taking
    finally:
        ended.set()
        thread.join()
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)


def held_in(folder: Path) -> int:
    """Return the bytes of the files in a folder, with those this process only has open still."""
    sizes = {path.stat().st_ino: path.stat().st_size for path in folder.iterdir()}
    for opened in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(opened).startswith(f"{folder}/"):
                found = opened.stat()
                sizes[found.st_ino] = found.st_size
        except FileNotFoundError:  # Of this very look.
            continue
    return sum(sizes.values())


@pytest.mark.parametrize(("as_form", "copies"), [(True, 3), (False, 2)])
def test_a_table_that_waits_to_be_read_takes_as_much_of_the_disk_as_the_docs_say(
    app: APIFlask, service: Service, monkeypatch: pytest.MonkeyPatch, as_form: bool, copies: int
) -> None:
    uploads, waits, go = service.home / "uploads", threading.Event(), threading.Event()

    def read(*given: Any, **_: Any) -> Any:
        waits.set()
        assert go.wait(DEADLINE)
        raise ValueError("Nobody needs it.")

    monkeypatch.setattr(service, "children", read)
    monkeypatch.setattr(tempfile, "tempdir", str(uploads))  # As the server does.
    data, answers = b"a,b\n" + b"1,2\n" * (SIZE // 4 - 1), []
    body, headers = (HEAD + data + b"\r\n--cut--\r\n", FORM) if as_form else (data, {})

    def send(port: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        client.request("POST", "/v1/uploads?name=a.csv", body, headers)
        answers.append(client.getresponse().status)
        client.close()

    with served(app) as (port, taking):
        sender = threading.Thread(target=send, args=(port,))
        sender.start()
        try:
            assert waits.wait(DEADLINE)
            assert copies * SIZE <= held_in(uploads) < copies * SIZE + 2**16
            assert taking.taken == len(body), "it counts for as long as it waits"
        finally:
            go.set()
            sender.join(DEADLINE)
        assert answers == [422]
    assert held_in(uploads) == 0
