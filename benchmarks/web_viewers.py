"""People who watch a study, in a process of their own, and what they cost."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from surroundings import family_cpu
from web_world import Web

from storage import embedded

EVERY = 2.0  # Seconds between two calls of one viewer.
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def viewers(control: Connection, address: str, key: str, count: int, seed: int) -> None:
    """Be so many viewers until told to end; answer with the milliseconds of every call.

    In a process of its own, so that its interpreter's lock is not in the way of what is measured.
    """
    control.send(asyncio.run(_watch(control, address, key, count, random.Random(seed))))


async def _watch(
    control: Connection, address: str, key: str, count: int, chance: random.Random
) -> dict[str, Any]:
    found: dict[str, Any] = {"ms": [], "events": 0, "bytes": 0, "errors": []}
    imported = time.process_time()
    host, port = address.split(":")
    loop = asyncio.get_running_loop()
    people: list[_Person] = []
    for number in range(count):
        people += [_Follower(address, key, found), _Reader(address, key, found, number, chance)]
    for person in people:
        await loop.create_connection(lambda person=person: person, host, int(port))  # type: ignore[misc]
    while not control.poll():
        await asyncio.sleep(0.05)
    for person in people:
        person.leave()
    found["cpu"] = time.process_time() - imported
    return found


class _Person(asyncio.Protocol):
    """One connection of a viewer; costs little, as on the service's cores it takes its time."""

    def __init__(self, address: str, key: str, found: dict[str, Any]) -> None:
        self.address, self.key, self.found = address, key, found
        self.transport: asyncio.WriteTransport | None = None
        self.left = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.left:
            self.found["errors"].append(repr(error))

    def ask(self, path: str) -> None:
        assert self.transport is not None
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\n\r\n".encode())

    def leave(self) -> None:
        self.left = True
        assert self.transport is not None
        self.transport.close()


class _Follower(_Person):
    """Listens to a study's events."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.ask(f"/v1/studies/{self.key}/events")

    def data_received(self, data: bytes) -> None:
        self.found["bytes"] += len(data)
        self.found["events"] += data.count(b"event: change")


class _Reader(_Person):
    """Reads JSON again and again, on one connection."""

    def __init__(
        self, address: str, key: str, found: dict[str, Any], turn: int, chance: random.Random
    ) -> None:
        super().__init__(address, key, found)
        self.turn, self.first = turn, chance.uniform(0, EVERY)
        self.began, self.data = 0.0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._after(self.first)

    def _after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._read)

    def _read(self) -> None:
        if self.left:
            return
        paths = (f"/v1/studies/{self.key}", f"/v1/studies/{self.key}/trials?page=1&size=20")
        self.turn += 1
        self.data, self.began = b"", time.perf_counter()
        self.ask(paths[self.turn % 2])

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, _, body = self.data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        took = time.perf_counter() - self.began
        self.found["ms"].append(took * 1000)
        if b" 200 " not in head[:20]:
            self.found["errors"].append(head.decode().splitlines()[0])
        self._after(max(0.0, EVERY - took))


class Busy:
    """The cores that each side has used, summed over the windows with viewers."""

    def __init__(self, web: Web, worker: subprocess.Popen[bytes], home: Path) -> None:
        self.used, self.seconds = {"service": 0.0, "PostgreSQL": 0.0, "worker": 0.0}, 0.0
        self._web, self._worker = web, psutil.Process(worker.pid)
        text = (embedded._Server.of(home).data / "postmaster.pid").read_text()
        self._server = psutil.Process(int(text.split()[0]))

    @contextmanager
    def measured(self) -> Iterator[None]:
        before, began = self._look(), time.monotonic()
        yield
        after = self._look()
        self.seconds += time.monotonic() - began
        self.used = {name: self.used[name] + after[name] - before[name] for name in self.used}

    def _look(self) -> dict[str, float]:
        families = {"PostgreSQL": self._server, "worker": self._worker}
        return {
            "service": self._web.cpu,
            **{name: family_cpu(process) for name, process in families.items()},
        }


@contextmanager
def watched(web: Web, key: str, count: int, found: list[dict[str, Any]]) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    people = context.Process(target=viewers, args=(there, web.address, key, count, len(found)))
    people.start()
    try:
        yield
    finally:
        here.send("end")
        found.append(here.recv())
        people.join()
