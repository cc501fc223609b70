"""A fleet: workers as real processes that are started, killed, frozen and waited for."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from fleet_children import Forked, nursery

from storage import tables
from storage.connection import Storage
from storage.errors import StorageError

HERE = Path(__file__).parent
TREE = Path(__file__).parents[3]  # The code under test, wherever it was copied to.
DEADLINE = 400.0  # Seconds that anything is waited for; on an idle machine a few do.
LEASE = 2.0  # Seconds.
LABELS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One worker of the fleet."""

    label: str
    home: Path
    process: Forked | subprocess.Popen[bytes]

    @property
    def alive(self) -> bool:
        """Whether its supervisor runs."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it has logged so far."""
        with suppress(FileNotFoundError):  # It has only just been asked to begin.
            return (self.home / "log").read_text(errors="replace")
        return ""

    @property
    def status(self) -> dict[str, Any]:
        """What it said of itself last: its name, how much it holds and ended, its slots."""
        try:
            said: dict[str, Any] = json.loads((self.home / "status.json").read_text())
        except FileNotFoundError:
            return {"name": None, "held": 0, "ended": 0, "slots": []}
        return said

    @property
    def slots(self) -> list[int]:
        """Its slots that run."""
        return [slot for slot in self.status["slots"] if self._has(slot)]

    @property
    def fork_servers(self) -> list[int]:
        """The process its slots are forked from, if it runs."""
        parents = set()
        for slot in self.slots:
            try:
                parents.add(psutil.Process(slot).ppid())
            except psutil.NoSuchProcess:  # It has just ended.
                continue
        return [parent for parent in parents if self._has(parent)]

    def kill(self, *, with_slots: bool = False) -> None:
        """Kill -9 its supervisor, or all of its processes at once, as a power cut does."""
        if with_slots:
            self.signal(signal.SIGKILL)
        self.process.kill()
        self.process.wait(DEADLINE)

    def kill_one(self, process: int) -> None:
        """Kill -9 one of its processes, unless it has just ended."""
        if self._has(process):
            os.kill(process, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the supervisor, the fork server and the slots, all at the same moment."""
        self.signal(signal.SIGSTOP)

    def freeze_supervisor(self) -> None:
        """Stop the supervisor alone; its slots train on."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let them go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Signal all of its processes."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def _has(self, process: int) -> bool:
        """Tell whether a process runs and is its own: numbers are used again."""
        try:
            return process != self.process.pid and os.getpgid(process) == self.process.pid
        except ProcessLookupError:
            return False

    def join(self) -> None:
        """Wait until it has ended, which must be well."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)  # Then the log ends with where they were.
            code = self.process.wait(DEADLINE)
        assert code == 0, f"worker {self.label} ended with {code}:\n{self.log[-3000:]}"


class Fleet:
    """All workers of a test, over one database."""

    def __init__(self, url: str, folder: Path) -> None:
        """Make a fleet without workers, whose homes lie in `folder`."""
        self.url, self.folder = url, folder
        self.members: list[Member] = []

    def start(
        self,
        *,
        slots: int = 1,
        only: Sequence[str] = (),
        until_idle: bool = True,
        lease: float = LEASE,
        tensorflow: bool = False,
        url: str | None = None,
        cache: Path | None = None,
        clock: float = 0.0,
        dies_at: int | None = None,
        dies_after: int = 0,
        memory: int | None = None,
        prefix: Sequence[str] = (),
    ) -> Member:
        """Start a worker.

        Args:
            slots: Training processes.
            only: Ids of the studies it serves; all by default.
            until_idle: Whether it ends when there is no more to do.
            lease: Seconds it may be silent.
            tensorflow: Whether its slots load TensorFlow, as the built-in objective needs.
            url: The database as this worker sees it.
            cache: The folder of its datasets and its slots' log, by default in its home.
            clock: Seconds by which its clock is wrong.
            dies_at: The number of the statement before which it dies.
            dies_after: Trials that it ends before statements count.
            memory: Bytes that each slot may take; by default a share of what is free.
            prefix: A command that runs the worker's, as in a network of its own.
        """
        label = f"w{next(LABELS)}"
        home = self.folder / label
        home.mkdir(parents=True)
        told = {
            "url": url or self.url,
            "home": str(home),
            "cache": str(cache or home),
            "slots": slots,
            "only": list(only),
            "until_idle": until_idle,
            "lease": lease,
            "dies_at": dies_at,
            "dies_after": dies_after,
            "memory": memory,
            "tensorflow": tensorflow,
        }
        around = environment() | {"FLEET_LABEL": label, "FLEET_CLOCK_OFFSET": str(clock)}
        process: Forked | subprocess.Popen[bytes]
        if clock or prefix:
            command = [*prefix, sys.executable, "-P", str(HERE / "fleet_worker.py")]
            with (home / "log").open("wb") as log:
                process = subprocess.Popen(
                    [*command, json.dumps(told)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=around,
                    start_new_session=True,  # A group of its own, to be signalled as one.
                )
        else:
            process = nursery().fork(told, around, home / "log")
        member = Member(label=label, home=home, process=process)
        self.members.append(member)
        return member

    @property
    def alive(self) -> list[Member]:
        """The workers that run, frozen or not."""
        return [member for member in self.members if member.alive]

    def join(self) -> None:
        """Wait until every worker that was not killed has ended well."""
        for member in self.members:
            if member.process.returncode != -signal.SIGKILL:
                member.join()

    def ready(self, count: int, **how: Any) -> list[Member]:
        """Start workers that stay, and wait until all are there.

        What is given to them then is shared by all, however long one took to start.
        """
        ready = [self.start(until_idle=False, **how) for _ in range(count)]
        wait_until(lambda: all(member.status["name"] for member in ready), "all are there")
        return ready

    def dismiss(self) -> None:
        """Have every worker that was not killed end, and wait until it has, well."""
        for member in self.alive:
            member.process.terminate()
        self.join()

    def close(self) -> None:
        """End whatever still runs."""
        for member in self.members:
            member.kill(with_slots=True)


def environment() -> dict[str, str]:
    """Return what the processes of a fleet see: the code under test, and few threads each."""
    kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}
    path = [str(TREE), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    few = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    traces = {"PYTHONFAULTHANDLER": "1"}
    return kept | few | traces | {"PYTHONPATH": os.pathsep.join(path)}


def wait_until(true: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Wait until something is true; what never is fails by this name.

    A database that is away meanwhile is asked again.
    """
    deadline = time.monotonic() + seconds
    while not _answers(true):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.02)


def passes(seconds: float) -> Callable[[], bool]:
    """Return what becomes true when so much time has passed."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def is_finished(storage: Storage, *studies: str) -> Callable[[], bool]:
    """Return what becomes true when these studies are finished."""
    query = sa.select(tables.study.c.state).where(tables.study.c.id.in_(studies))

    def finished() -> bool:
        with storage.transaction() as connection:
            return set(connection.scalars(query)) == {"finished"}

    return finished


def ended(storage: Storage, study: str) -> int:
    """Return how many trials of a study have ended."""
    lease = tables.lease.c
    query = sa.select(sa.func.count()).where(
        lease.study == study, lease.kind == "trial", lease.ended_at.is_not(None)
    )
    with storage.transaction() as connection:
        return connection.scalar(query) or 0


def renewed(storage: Storage, study: str) -> Callable[[], bool]:
    """Return what becomes true when the open leases of a study have been renewed again.

    Just then a worker has nothing to ask of the database, and listens to its slots.
    """
    lease = tables.lease.c
    query = sa.select(sa.func.max(lease.renewed_at)).where(
        lease.study == study, lease.ended_at.is_(None)
    )

    def look() -> Any:
        with storage.transaction() as connection:
            return connection.scalar(query)

    before = look()
    return lambda: look() != before


def ran_out(storage: Storage, study: str) -> bool:
    """Tell whether the open leases of a study have all run out, by the database's clock."""
    lease = tables.lease.c
    alive = sa.exists().where(
        lease.study == study, lease.ended_at.is_(None), lease.expires_at > sa.func.now()
    )
    with storage.transaction() as connection:
        return not connection.scalar(sa.select(alive))


def _answers(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except StorageError:
        return False
