"""A fleet on one machine: many workers whose slots sleep, over one PostgreSQL on TCP."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from service_fleet import kill, worker
from service_study import busy_seconds, ended_since, make
from surroundings import family_cpu, own_cpu, postmaster

from storage import tables
from storage.connection import Storage, connect

sys.path.append(str(Path(__file__).parents[1] / "tests" / "acceptance" / "fleet"))

from fleet_server import SETTINGS, running_server  # noqa: E402

DATABASE = "growth"
# As docker-compose.yml has it; the rest are the tests', which put the server into a folder.
TUNED = {name: SETTINGS[name] for name in ("unix_socket_directories", "log_min_messages")} | {
    "max_connections": 200,
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "max_parallel_workers_per_gather": 0,
    "jit": "off",
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
OF_A_SLOT, OF_A_WORKER = 20 * 2**20, 200 * 2**20  # Bytes, without TensorFlow.
STARTED = 600.0  # Seconds in which all slots must be at work.
LOOK = 1.0  # Seconds between two looks at the database.
MANY = 10_000_000  # Trials of a budget that nobody uses up.


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a fleet is, and for how long it is looked at."""

    workers: int
    slots: int  # Of each.
    seconds: float  # Of a trial.
    window: float  # Seconds; a few trials of every slot.
    studies: int  # That are open at once, in the end.


class CrowdedError(SystemExit):
    """This machine has no room for such a fleet."""


def measured(size: Size, folder: Path) -> dict[str, Any]:
    """Let a fleet work at one study, then at many, and return what was seen of both."""
    needed = size.workers * (OF_A_WORKER + size.slots * OF_A_SLOT)
    free = psutil.virtual_memory().available
    if free < needed:
        raise CrowdedError(f"{needed / 2**30:.0f} GiB are needed, {free / 2**30:.0f} are free.")
    with ExitStack() as stack:
        server = stack.enter_context(running_server(TUNED))
        server.make_database(DATABASE, empty=True)
        storage = connect(server.url(DATABASE))
        stack.callback(storage.close)
        studies = [make(storage, trials=MANY, seconds=size.seconds).id]
        began = time.monotonic()
        fleet = [started(stack, folder / f"w{at}", server.url(DATABASE), size.slots)
                 for at in range(size.workers)]  # fmt: skip
        slots = size.workers * size.slots
        wait_until(lambda: running(storage) >= slots, fleet, "all slots train")
        taken = time.monotonic() - began
        # Whoever began in the rush has begun another by then.
        look(storage, size.seconds, fleet)
        one = window(storage, size, fleet)
        studies += [make(storage, trials=MANY, seconds=size.seconds).id
                    for _ in range(size.studies - 1)]  # fmt: skip
        look(storage, 1.5 * size.seconds, fleet)
        many = window(storage, size, fleet)
        look(storage, 1.1 * size.seconds, fleet)  # What ran at a window's end has ended.
        memory = family_memory([process for process, _ in fleet])
        drained(fleet)
        trials = [one for study in studies for one in ended_since(storage, study, 0)]
        claims = [json.loads((home / "accounts").read_text()) for _, home in fleet]
    for seen in (one, many):
        # What wall clocks say of a span, and monotonic clocks of trials, are the same seconds.
        span = seen["since"], seen["until"]
        seen["busy"] = busy_seconds(trials, *span) / (slots * (span[1] - span[0]))
        seen["ended"] = sum(span[0] <= trial.ended < span[1] for trial in trials)
        for kind in ("claims", "claims_in_database"):
            timed = [claim for told in claims for claim in told[kind]]
            seen[kind] = [took for at, took in timed if span[0] <= at < span[1]]
    return {"slots": slots, "starting": taken, "memory": memory, "one": one, "many": many}


def started(
    stack: ExitStack, home: Path, url: str, slots: int
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a worker, which is killed at the stack's end if it still runs."""
    home.mkdir()
    told = {"light": True, "accounts": str(home / "accounts")}
    options = ("--slots", str(slots), "--drain", "0s")
    process = worker(home, *options, log=home / "log", storage=url, told=told)
    stack.callback(kill, process)
    return process, home


def window(storage: Storage, size: Size, fleet: list[Any]) -> dict[str, Any]:
    """Look at a fleet for a while."""
    database = postmaster(storage)
    supervisors = [psutil.Process(process.pid) for process, _ in fleet]
    cpu = sum(map(own_cpu, supervisors)), family_cpu(database)
    since = time.monotonic()
    connections = look(storage, size.window, fleet)
    until = time.monotonic()
    span = until - since
    return {
        "since": since,
        "until": until,
        "connections": max(connections),
        "supervisors": (sum(map(own_cpu, supervisors)) - cpu[0]) / span,  # Cores.
        "postgresql": (family_cpu(database) - cpu[1]) / span,
    }


def look(storage: Storage, seconds: float, fleet: list[Any]) -> list[int]:
    """Wait so long, and return how many connections the fleet had, again and again."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
        "datname = :database AND pid <> pg_backend_pid()"
    )
    until, seen = time.monotonic() + seconds, list[int]()
    while time.monotonic() < until or not seen:
        with storage.transaction() as connection:
            seen.append(connection.scalar(query, {"database": DATABASE}) or 0)
        all_live(fleet)
        time.sleep(max(0.0, min(LOOK, until - time.monotonic())))
    return seen


def running(storage: Storage) -> int:
    """Return how many trials have begun and not ended."""
    lease = tables.lease.c
    query = sa.select(sa.func.count()).where(
        lease.trial_id.is_not(None), lease.ended_at.is_(None)
    )  # fmt: skip
    with storage.transaction() as connection:
        return connection.scalar(query) or 0


def wait_until(true: Callable[[], bool], fleet: list[Any], what: str) -> None:
    """Wait until something is true of a fleet that lives."""
    until = time.monotonic() + STARTED
    while not true():
        all_live(fleet)
        if time.monotonic() > until:
            raise SystemExit(f"Waited in vain until {what}.")
        time.sleep(LOOK / 4)


def all_live(fleet: list[tuple[subprocess.Popen[bytes], Path]]) -> None:
    """Check that no worker has ended."""
    for process, home in fleet:
        if process.poll() is not None:
            raise SystemExit(f"A worker has ended:\n{(home / 'log').read_text()[-3_000:]}")


def drained(fleet: list[tuple[subprocess.Popen[bytes], Path]]) -> None:
    """Ask all workers to stop, which they do at once, and wait until they have."""
    for process, _ in fleet:
        process.send_signal(signal.SIGTERM)
    for process, _ in fleet:
        process.wait(STARTED)


def family_memory(processes: list[subprocess.Popen[bytes]]) -> int:
    """Return the memory of workers and their slots in bytes, what they share counted once."""
    total = 0
    for process in processes:
        supervisor = psutil.Process(process.pid)
        for one in (supervisor, *supervisor.children(recursive=True)):
            total += one.memory_full_info().pss
    return total


def ninety_nine(values: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[-1] if len(values) > 1 else max(values, default=0.0)
