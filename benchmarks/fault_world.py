"""A fleet over a database of its own, and the means by which faults befall it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa
from fault_report import Killed
from fleet_checks import make_study
from fleet_disks import barred, full_disk, spoilt
from fleet_harness import LEASE, Fleet, Member, wait_until
from fleet_hosts import Relay
from fleet_server import running_server

from storage import datasets, studies, tables
from storage.connection import Storage, connect
from storage.errors import StorageError
from storage.rows import OPEN

DATABASE = "faults"
OPEN_STUDIES = 3
MEMORY = 2**29  # Bytes that a slot may take; of a hungry study every fourth trial takes more.
LAST = 600.0  # Seconds in which whatever is open when the faults end must be worked off.


class World:
    """Server, studies and workers; who is away, and what is to be put right later."""

    def __init__(self, seed: int, stack: ExitStack, folder: Path) -> None:
        self.chance, self.folder, self.began = random.Random(seed), folder, time.monotonic()
        self.stack, self.numbers = stack, itertools.count(1)
        self.server = stack.enter_context(running_server())
        self.server.make_database(DATABASE)
        self.storage: Storage = connect(self.server.url(DATABASE))
        self.fleet = Fleet(self.server.url(DATABASE), folder)
        stack.callback(self.close)
        self.lost: list[Killed] = []
        self.disturbed: list[tuple[float, float]] = []  # When nobody could take anything over.
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.away: set[str] = set()  # Labels of workers frozen or cut off just now.
        self.relays: dict[str, tuple[Relay, ExitStack]] = {}  # Each worker's way to the server.
        self.lasting: dict[str, float] = {}  # By study, the seconds each of its trials takes.
        self.dataset = datasets.put(self.storage, bytes(range(250)) * 12_000, "large.csv")

    def close(self) -> None:
        """End all workers and all ways to the server."""
        self.fleet.close()
        for _, running in self.relays.values():
            running.close()
        self.storage.close()

    def relay(self) -> tuple[Relay, ExitStack]:
        """Return a new way to the server."""
        made, running = Relay(target=self.server.port), ExitStack()
        running.enter_context(made.running())
        return made, running

    def cache(self, kind: str) -> Path | None:
        """Return a folder that does not keep datasets as it should; None where none can be had."""
        folder = self.folder / f"{kind}-{next(self.numbers)}"
        if kind == "barred":
            return barred(folder)
        if kind == "spoilt":
            return spoilt(folder, self.dataset)
        folder.mkdir()
        try:
            return self.stack.enter_context(full_disk(folder))
        except OSError:
            return None

    def keep_studies_open(self) -> None:
        """Make studies where there are few to serve."""
        try:
            missing = OPEN_STUDIES - len(studies.list_studies(self.storage, OPEN))
            for _ in range(missing):
                seconds = self.chance.uniform(0.1, 1.0)
                study = make_study(
                    self.storage,
                    trials=self.chance.randint(5, 60),
                    seconds=seconds,
                    objective=self.chance.choice(("timed",) * 5 + ("hungry",)),
                    sampler=self.chance.choice(("random", "tpe")),
                    pruner=self.chance.choice(("asha", "none")),
                    dataset=self.dataset if self.chance.random() < 0.3 else None,
                )
                self.lasting[study.id] = seconds
        except StorageError:
            return

    def victim(self, leave: int = 0) -> Member | None:
        """Choose a worker at work, unless fewer than `leave` would be left."""
        here = [
            member
            for member in self.fleet.alive
            if member.status["name"] and member.label not in self.away
        ]
        return self.chance.choice(here) if len(here) > leave else None

    def killed(self, member: Member, *, with_slots: bool) -> str:
        lease, trial = tables.lease.c, tables.optuna_trial.c
        query = (
            sa.select(
                *(lease.id, lease.attempt, lease.study, lease.expires_at),
                sa.func.greatest(
                    lease.taken_at, sa.func.timezone("UTC", trial.datetime_start)
                ).label("began_at"),
            )
            .join(tables.optuna_trial, trial.trial_id == lease.trial_id)
            .where(lease.owner == member.status["name"], lease.ended_at.is_(None))
        )
        with self.storage.transaction() as connection:
            held = connection.execute(query).all()
        member.kill(with_slots=with_slots)
        now = time.time()
        for row in held:
            self.lost.append(
                Killed(
                    lease=str(row.id),
                    attempt=row.attempt,
                    began_at=row.began_at.timestamp(),
                    killed_at=now,
                    runs_out_at=row.expires_at.timestamp(),
                    own=self.lasting[row.study],
                )
            )
        return f"{member.label}, which trained {len(held)}"

    def killed_one(self, member: Member, processes: list[int]) -> str | None:
        if not processes:
            return None
        member.kill_one(self.chance.choice(processes))
        return member.label

    def silence(self, member: Member, begin: Callable[[], None], end: Callable[[], None]) -> str:
        seconds = self.chance.uniform(0.3, 3) * LEASE
        begin()
        self.away.add(member.label)

        def back() -> None:
            self.away.discard(member.label)
            end()

        self.later.append((time.monotonic() + seconds, back))
        return f"{member.label}, {seconds:.1f} s"

    @contextmanager
    def away_database(self) -> Iterator[None]:
        before = time.time()
        self.server.stop("immediate")
        yield
        self.server.start()
        self.disturbed.append((before, time.time() + 2 * LEASE))

    def disturb(self, seconds: float) -> None:
        self.disturbed.append((time.time(), time.time() + seconds))

    def an_open_study(self) -> str | None:
        found = [row.id for row in studies.list_studies(self.storage, OPEN)]
        return self.chance.choice(found) if found else None

    def resume(self, study: str) -> None:
        if studies.get(self.storage, study).state == "paused":
            studies.resume(self.storage, study)

    def come_back(self, *, all_: bool = False) -> None:
        """End silences and pauses whose time has come, and the ways of workers that are gone."""
        for member in self.fleet.members:
            if not member.alive and member.label in self.relays:
                self.relays.pop(member.label)[1].close()
        now = time.monotonic()
        due = [item for item in self.later if all_ or item[0] <= now]
        for item in due:
            try:
                item[1]()
                self.later.remove(item)
            except StorageError:
                pass

    def put_right(self) -> None:
        """End every fault and wait until every study is through."""
        while self.later:
            self.come_back(all_=True)
        for _ in range(3):
            self.fleet.start(until_idle=False, memory=MEMORY)
        print(f"{time.monotonic() - self.began:6.1f} s  no more faults", flush=True)
        idle = lambda: not studies.list_studies(self.storage, OPEN)  # noqa: E731
        wait_until(idle, "all studies are through", LAST)
        print(f"{time.monotonic() - self.began:6.1f} s  all studies are through", flush=True)
