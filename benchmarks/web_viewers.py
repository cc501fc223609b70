"""People who watch a study, in a process of their own, and what they cost."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from web_world import Web

from storage import embedded

EVERY = 2.0  # Seconds between two calls of one viewer.


def viewers(control: Connection, address: str, key: str, count: int, seed: int) -> None:
    """Be so many viewers until told to end; answer with the milliseconds of every call.

    In a process of its own, so that its interpreter's lock is not in the way of what is measured.
    """
    control.send(asyncio.run(_watch(control, address, key, count, random.Random(seed))))


async def _watch(
    control: Connection, address: str, key: str, count: int, chance: random.Random
) -> dict[str, Any]:
    found: dict[str, Any] = {"ms": [], "events": 0, "bytes": 0, "errors": []}
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(_follow(address, key, found)))
        first = chance.uniform(0, EVERY)
        tasks.append(asyncio.create_task(_call(address, key, number, first, found)))
    while not control.poll():
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    found["errors"] += [repr(one) for one in ended if isinstance(one, Exception)]
    found["cpu"] = time.process_time()
    return found


async def _follow(address: str, key: str, found: dict[str, Any]) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    path = f"/v1/studies/{key}/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    try:
        while part := await reader.read(2**16):
            found["bytes"] += len(part)
            found["events"] += part.count(b"event: change")
    finally:
        writer.close()


async def _call(address: str, key: str, number: int, first: float, found: dict[str, Any]) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    paths = (f"/v1/studies/{key}", f"/v1/studies/{key}/trials?page=1&size=20")
    await asyncio.sleep(first)
    turn = number
    try:
        while True:
            began = time.perf_counter()
            writer.write(f"GET {paths[turn % 2]} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(_fields(head.decode().splitlines()[1:]))
            await reader.readexactly(int(fields["content-length"]))
            took = time.perf_counter() - began
            found["ms"].append(took * 1000)
            if b" 200 " not in head:
                found["errors"].append(head.decode().splitlines()[0])
            turn += 1
            await asyncio.sleep(max(0.0, EVERY - took))
    finally:
        writer.close()


def _fields(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        if value:
            yield name.lower(), value.strip()


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
            **{name: _cpu_of_family(process) for name, process in families.items()},
        }


def _cpu_of_family(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue  # It has just ended, and its parent counts it.
        total += times.user + times.system + times.children_user + times.children_system
    return total


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
