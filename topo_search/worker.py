"""A worker: takes leases of trials, has its slots train them, and delivers how they ended."""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from objectives.objective import Final, Outcome
from storage import finishing, leases, studies, trials
from storage.connection import Storage, StorageError, unavailable_as_storage_error
from storage.leases import Lease
from storage.rows import OPEN, StudyRow
from topo_search import finish
from topo_search.machine import memory_for_each, usable_cores, usable_gpus
from topo_search.pool import Died, Pool, Slot
from topo_search.serving import Served
from topo_search.slot import Ended, Reported, Surroundings

logger = logging.getLogger(__name__)

TICK = 0.25  # Seconds between looks at the clock while slots are silent.
POLL = 1.0  # Seconds between looks for work while there is none.
WATCH = 2.0  # Seconds between looks at memory, at time limits and at budgets in time.
LONGEST_PAUSE = 5.0  # Seconds between two tries to reach the database.

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease in hand, and the study it is of."""

    lease: Lease
    served: Served
    number: int = -1  # Of the trial, once it has begun.


class Worker:
    """Serves studies with the slots of one machine until told to stop."""

    def __init__(
        self,
        storage: Storage,
        home: Path,
        *,
        slots: int | None = None,
        only: Collection[str] = (),
        until_idle: bool = False,
        objectives: Collection[str] = (),
        trial_timeout: float | None = None,
        lease: float = leases.LEASE,
        on_tick: Callable[[Worker], None] = lambda worker: None,
    ) -> None:
        """Make a worker.

        Args:
            storage: Where the studies are.
            home: Folder of this machine's data: datasets fetched, the slots' log.
            slots: Training processes; by default one for each GPU, or without one for each core.
            only: Ids of the studies to serve; all open ones by default.
            until_idle: Whether to end when no study it serves is open any more.
            objectives: Names of own objectives that may run here, beside the built-in one.
            trial_timeout: Seconds after which a trial is failed.
            lease: Seconds of silence after which others may take its trials over.
            on_tick: Called a few times a second, for a live view.
        """
        self.storage, self.home, self.only = storage, home, frozenset(only)
        self.until_idle, self.lease_seconds, self.on_tick = until_idle, lease, on_tick
        self.objectives = {"tabular", *objectives}
        self.trial_timeout = trial_timeout
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        gpus = usable_gpus()
        self.count = slots or len(gpus) or usable_cores()
        self.held: dict[str, Held] = {}  # By the tag that the slots' messages carry.
        self.ahead: Held | None = None  # Claimed while all slots train.
        self.ended = 0  # Trials it delivered the end of.
        self.draining = self.stopping = False
        self.serving: dict[str, Served] = {}
        self._refused: set[str] = set()  # Studies whose objective may not run here.
        self._idle = False
        self._due = {"poll": 0.0, "watch": 0.0, "renewal": 0.0}
        threads = max(1, usable_cores() // self.count)
        surroundings = Surroundings(threads=threads, log=home / "slots.log")
        memory = memory_for_each(self.count)
        self.pool = Pool(self.count, surroundings, memory=memory, gpus=gpus)

    def run(self) -> None:
        """Serve until idle, drained or stopped; SIGINT and SIGTERM drain, a second one stops."""
        with self._signals(), self.pool:
            while not self._through():
                self._hand_out()
                for slot, message in self.pool.messages(TICK):
                    self._take(slot, message)
                self._renew()
                self._watch()
                self._show()
            self._leave()

    def drain(self) -> None:
        """Take nothing new and let running trials end; called again, stop at once."""
        self.stopping = self.draining
        self.draining = True

    # The life of a trial: claimed, handed to a slot, judged at its rungs, ended once.

    def _hand_out(self) -> None:
        """Give every idle slot a trial, then claim one ahead while all of them train."""
        if self.draining:
            return
        for slot in self.pool.idle():
            held, self.ahead = self.ahead or self._claim(), None
            if held is None:
                return
            self._start(slot, held)
        if self.ahead is None and not self.pool.idle():
            self.ahead = self._claim(ahead=True)

    def _claim(self, *, ahead: bool = False) -> Held | None:
        """Take a lease of any study served, each in its turn."""
        if not self._is_due("poll", 0):
            return None
        rows = self._persist(partial(studies.list_studies, self.storage, OPEN))
        rows = [row for row in rows if self._serves(row)]
        self._idle = not rows
        random.shuffle(rows)
        for row in rows:
            if ahead and row.seconds is not None:
                continue  # What is drawn is run: a budget in time would be overdrawn.
            served = self.serving.setdefault(
                row.id, Served(storage=self.storage, row=row, cache=self.home / "datasets")
            )
            claim = partial(leases.claim, self.storage, row.id, self.name, served.draw)
            if lease := self._persist(partial(claim, lease=self.lease_seconds)):
                return Held(lease=lease, served=served)
        self._is_due("poll", POLL)
        return None

    def _start(self, slot: Slot, held: Held) -> None:
        """Hand a leased trial, or the finishing of a study, to a slot."""
        if held.lease.kind == "finish":
            self._start_finish(slot, held)
            return
        distributions = held.served.space.distributions()
        try:
            number = self._persist(partial(trials.begin, self.storage, held.lease, distributions))
        except trials.LeaseLostError:
            return
        tag = str(held.lease.token)
        self.held[tag] = Held(lease=held.lease, served=held.served, number=number)
        slot.give(self._persist(partial(held.served.assignment, held.lease)))

    def _take(self, slot: Slot, message: Reported | Ended | Died) -> None:
        """Act on what a slot said; what it says of a trial that has ended is dropped."""
        if slot.assignment is None:
            return
        held = self.held.get(slot.assignment.trial)
        if not isinstance(message, Reported):
            slot.assignment = None
        if held is None:
            return
        match message:
            case Reported():
                self._judge(slot, held, message)
            case Died():
                self._hand_back(held, message)
            case Ended(result=Outcome() as outcome):
                self._end(
                    held, "complete", outcome.value, {**outcome.metrics, **outcome.attributes}
                )
                if outcome.weights is not None:
                    self._persist(partial(finish.keep_weights, held.served, held.number, outcome))
            case Ended(result=Final() as final):
                self._persist(partial(finish.keep, held.served, held.lease, final))
                self._drop(held)
            case Ended(diverged=True):
                self._end(held, "pruned", None, {"reason": "diverged", "seconds": slot.seconds})
            case Ended():
                self._fail(held, message.reason or "failed", message.traceback)

    def _judge(self, slot: Slot, held: Held, report: Reported) -> None:
        """Keep a report; where it is not good enough, end the trial with its value."""
        step, value = report.step, report.value
        if not self._persist(partial(trials.report, self.storage, held.lease, step, value)):
            slot.stop_trial()
            self._drop(held)
        elif self._persist(partial(held.served.prunes, held.number, step, value)):
            self._prune(slot, held, f"pruned at step {step}")

    def _prune(self, slot: Slot, held: Held, reason: str) -> None:
        """End a running trial with the value it has reached."""
        slot.stop_trial()
        attributes = {"reason": reason, "epochs": slot.step, "seconds": slot.seconds}
        self._end(held, "pruned", slot.value if slot.step else None, attributes)

    def _end(
        self, held: Held, state: trials.State, value: float | None, attributes: dict[str, Any]
    ) -> None:
        """Deliver how a trial ended; the first end stands."""
        attributes = held.served.described(held.lease.parameters) | attributes
        end = partial(trials.end, self.storage, held.lease, state=state, value=value)
        if self._persist(partial(end, attributes=attributes)):
            self.ended += 1
            what = attributes.get("reason") or (value if value is None else f"{value:.6g}")
            logger.info("Trial %s of study %s: %s, %s.", held.number, held.lease.study, state, what)
        else:
            logger.info("Trial %s of study %s had ended.", held.number, held.lease.study)
        self._drop(held)

    def _fail(self, held: Held, reason: str, traceback: str | None) -> None:
        """End a trial that failed by its own fault; a study that cannot be finished is paused."""
        if held.lease.kind == "finish":
            reason = f"finishing failed: {reason}"
            logger.error("Study %s: %s\n%s", held.lease.study, reason, traceback or "")
            self._persist(partial(finishing.finish, self.storage, held.lease, None, reason=reason))
            self._drop(held)
            return
        self._end(held, "failed", None, {"reason": reason, "traceback": traceback or ""})

    def _hand_back(self, held: Held, died: Died) -> None:
        """Let a trial whose slot died be tried again, unless it was ended for its own fault."""
        if not died.again:
            self._fail(held, died.reason, None)
            return
        logger.warning("Trial %s of study %s: %s.", held.number, held.lease.study, died.reason)
        release = partial(leases.release, self.storage, held.lease, spent=True)
        self._persist(partial(release, reason=died.reason))
        self._drop(held)
        self._due["poll"] = 0.0

    # The end of a study.

    def _start_finish(self, slot: Slot, held: Held) -> None:
        winner = self._persist(partial(finish.winner_of, held.served))
        if winner is None or held.served.space.name == "own":
            outcome = {"best": winner}
            self._persist(partial(finishing.finish, self.storage, held.lease, outcome))
            return
        self.held[str(held.lease.token)] = held
        slot.give(self._persist(partial(finish.finish_assignment, held.served, held.lease, winner)))

    # Clockwork.

    def _through(self) -> bool:
        busy = bool(self.held)
        if self.stopping or (self.draining and not busy):
            return True
        return self.until_idle and self._idle and not busy and self.ahead is None

    def _renew(self) -> None:
        """Renew all leases in one statement; drop trials that others have taken over."""
        held = [*self.held.values(), *([self.ahead] if self.ahead else [])]
        timed = any(one.served.row.seconds is not None for one in held)
        # Renewing is what counts a study's time.
        if not held or not self._is_due("renewal", WATCH if timed else self.lease_seconds / 3):
            return
        renew = partial(leases.renew, self.storage, [one.lease for one in held])
        kept = self._persist(partial(renew, lease=self.lease_seconds))
        if self.ahead is not None and self.ahead.lease.id not in kept:
            self.ahead = None
        for slot in self.pool.slots:
            mine = self.held.get(slot.assignment.trial) if slot.assignment else None
            if mine is not None and mine.lease.id not in kept:
                slot.stop_trial()
                self._drop(mine)

    def _watch(self) -> None:
        """End what takes too much memory or too long."""
        if not self._is_due("watch", WATCH):
            return
        self.pool.watch_memory()
        spent = {
            served.row.id
            for served in {one.served.row.id: one.served for one in self.held.values()}.values()
            if served.row.seconds is not None and self._persist(partial(finish.is_time_up, served))
        }
        for slot in self.pool.slots:
            held = self.held.get(slot.assignment.trial) if slot.assignment else None
            if slot.idle or (held is not None and held.lease.kind == "finish"):
                continue
            if self.trial_timeout is not None and slot.seconds > self.trial_timeout:
                slot.kill(f"took longer than {self.trial_timeout:g} s", again=False)
            elif held is not None and held.lease.study in spent:
                self._prune(slot, held, "the study's time is up")
                slot.kill("the study's time is up")  # Its next report may be long in coming.

    def _leave(self) -> None:
        """Hand back at once what was not trained to its end."""
        for held in [*self.held.values(), *([self.ahead] if self.ahead else [])]:
            try:
                leases.release(self.storage, held.lease, reason="its worker was stopped")
            except StorageError as error:  # Then it is taken over when the lease has run out.
                logger.warning("%s", error)

    def _serves(self, row: StudyRow) -> bool:
        if self.only and row.id not in self.only:
            return False
        objective = row.plan["objective"]
        if objective in self.objectives:
            return True
        if row.id not in self._refused:
            self._refused.add(row.id)
            logger.error(
                "Study %s runs %s, which this worker may not. Allow it here: "
                "topo-search worker --allow-objective %s",
                *(row.id, objective, objective),
            )
        return False

    def _persist(self, call: Callable[[], Value]) -> Value:
        """Call the database until it answers; slots train on meanwhile."""
        pause = 0.1
        while True:
            try:
                with unavailable_as_storage_error(self.storage.url):
                    return call()
            except StorageError as error:
                if self.stopping:
                    raise
                logger.warning("%s Trying again.", error)
                self._show()
                threading.Event().wait(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _show(self) -> None:
        """Let a view look; what it cannot see while the database is away it sees later."""
        try:
            with unavailable_as_storage_error(self.storage.url):
                self.on_tick(self)
        except StorageError as error:
            logger.debug("%s", error)

    def _drop(self, held: Held) -> None:
        self.held.pop(str(held.lease.token), None)

    def _is_due(self, what: str, seconds: float) -> bool:
        """Tell whether something is due, and if so set when it is due again."""
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self.drain()

        if threading.current_thread() is not threading.main_thread():
            yield  # Handlers belong to the main thread; `drain` can be called from any.
            return
        before = {
            number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
