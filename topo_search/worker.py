"""A worker: takes leases of trials, has its slots train them, and delivers how they ended."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from storage import datasets, leases, notices
from storage.clock import LEASE
from storage.connection import Storage
from storage.errors import StorageError, unavailable_as_storage_error
from topo_search import finish
from topo_search.heartbeat import Heartbeat, OutdatedError
from topo_search.liveness import Liveness
from topo_search.machine import Serving, memory_for_each, usable_gpus, usable_slots
from topo_search.outcomes import in_a_line
from topo_search.pool import Pool, Slot
from topo_search.retries import Retries, patient
from topo_search.runner import TrialRunner
from topo_search.scheduler import Held, Scheduler
from topo_search.settings import SLOTS_LOG
from topo_search.signals import asked_to_end
from topo_search.slot import Reported, Surroundings

logger = logging.getLogger(__name__)

TICK = 0.25  # Seconds between looks at the clock while slots are silent.
POLL = 1.0  # Seconds between looks for work while there is none.
REFUSED = 60.0  # Seconds until a study is tried again that this machine could not serve.
LEAVING = 5.0  # Seconds that a worker asked to end, which holds nothing, waits for the database.
HANDING_BACK = 2.0  # Seconds in which a worker that leaves asks it again to take its trials back.
TIDY = 3600.0  # Seconds between looks for datasets that were deleted.
WATCH = 2.0  # Seconds between looks at memory, at time limits and at budgets in time.
FINISHING = 10  # Times as long as a trial may a finishing take: it trains, scores and explains.


class Worker:
    """Serves studies with the slots of one machine until told to stop."""

    def __init__(
        self,
        storage: Storage,
        home: Path,
        serving: Serving,
        *,
        only: Collection[str] = (),
        tags: Collection[str] = (),
        until_idle: bool = False,
        drain: float | None = None,
        lease: float = LEASE,
        on_tick: Callable[[Worker], None] = lambda worker: None,
    ) -> None:
        """Make a worker.

        Args:
            storage: Where the studies are.
            home: Folder of this machine's data: datasets fetched, the slots' log, who lives.
            serving: With what; a finishing may take ten times as long as a trial, and is then
                tried again.
            only: Ids of the studies to serve; all open ones by default.
            tags: Tags, one of which a study must have to be served; any by default.
            until_idle: Whether to end when no study it serves is open any more.
            drain: Seconds that running trials have when it is asked to end; no end by default.
            lease: Seconds of silence after which others may take its trials over.
            on_tick: Called a few times a second, for a live view.
        """
        self.storage, self.until_idle, self.lease_seconds = storage, until_idle, lease
        self.trial_timeout, self.on_tick = serving.trial_timeout, on_tick
        self.count = serving.slots or usable_slots(serving.slots_per_gpu)
        self.retry = Retries(storage, self._meanwhile, holds=lambda: bool(self.held), lease=lease)
        self.heartbeat = Heartbeat(self.retry, slots=self.count, lease=lease, only=only, tags=tags)
        self.name = self.heartbeat.worker.name
        self.liveness = Liveness(self.retry, home, self.name)
        self.pool = Pool(
            self.count,
            Surroundings(log=home / SLOTS_LOG, shared=self.liveness.own),
            memory=memory_for_each(self.count),
            gpus=usable_gpus(),
        )
        self.scheduler = Scheduler(
            self.retry,
            home / "datasets",
            self.heartbeat.worker,
            objectives={"tabular", *serving.objectives},
            lease=lease,
        )
        refuse = partial(self.scheduler.refuse, seconds=REFUSED)
        self.runner = TrialRunner(self.retry, refuse, self.scheduler.serves)
        self.listener = notices.Listener(storage)
        self.ahead: Held | None = None  # Claimed while all slots train.
        self.turned_at = time.monotonic()
        self.asked: list[int] = []  # Signals that asked it to end.
        self.draining, self.longest_drain = False, drain
        self._due = dict.fromkeys(
            ("poll", "watch", "limits", "renewal", "heartbeat", "meanwhile", "tidying"), 0.0
        )

    def run(self) -> None:
        """Serve until idle, drained or stopped; SIGINT and SIGTERM drain, a second one stops."""
        with asked_to_end(self.drain) as self.asked, self.liveness.shared(), self.pool:
            logger.info("Worker %s serves with %d slots.", self.name, self.count)
            failure: Exception | None = None
            try:
                self._serve()
            except StorageError:
                raise  # What it was at is not to blame.
            except Exception as error:
                failure = error
                raise
            finally:
                self._leave(failure)

    def _serve(self) -> None:
        self.liveness.reap()
        self.liveness.join()
        while not self._through():
            self.turned_at = time.monotonic()
            self._tell()
            self._renew()  # First: others take what has run out, as does this one.
            self._hand_out()
            for slot, message in self.pool.messages(TICK, self.listener.sources):
                self.runner.take(slot, message, self._go_on)
                if not isinstance(message, Reported):  # It may want more, or be the last.
                    self._due["poll"] = 0.0
            if self.listener.heard():
                self._due["poll"] = 0.0
            self._watch()
            self._tidy()
            self._show()

    def drain(self) -> None:
        """Take nothing new and let running trials end; called again, stop at once."""
        if self.draining:
            self.retry.give_up_at(0.0)
        elif not (self.held or self.ahead):
            self.retry.give_up_at(time.monotonic() + LEAVING)
        elif self.longest_drain is not None:
            self.retry.give_up_at(time.monotonic() + self.longest_drain)
        self.draining = True
        self._due["heartbeat"] = 0.0

    @property
    def delivered(self) -> int:
        """How many trials it delivered the end of."""
        return self.runner.outcomes.total()

    @property
    def held(self) -> dict[str, Held]:
        """What its slots train, by the tag that their messages carry."""
        return self.runner.held

    @property
    def stopping(self) -> bool:
        """Whether it stops at once."""
        return self.retry.over

    def _hand_out(self) -> None:
        """Give every idle slot a trial, then claim one ahead while all of them train."""
        if self.draining:
            if self.ahead is not None:  # It has not begun: others may have it at once.
                self.retry(leases.release, self.storage, self.ahead.lease)
                self.ahead = None
            return
        for slot in self.pool.idle():
            held, self.ahead = self.ahead or self._claim(), None
            if held is None:
                return
            if self.draining:  # Since it was claimed: others may have it.
                self.ahead = held
                return
            self.runner.start(slot, held)
        if self.ahead is None and not self.pool.idle():
            self.ahead = self._claim(spare=self.count)

    def _go_on(self, slot: Slot) -> None:
        """Give a slot what was claimed ahead of its time, if anything was."""
        if self.ahead is not None and not self.draining and slot in self.pool.idle():
            held, self.ahead = self.ahead, None
            self.runner.start(slot, held)

    def _claim(self, *, spare: int = 0) -> Held | None:
        """Take the next lease, if there is any and it is time to look."""
        if self.draining or not self._is_due("poll", 0):
            return None
        self.listener.begin()
        held = self.scheduler.next(spare=spare)
        if held is None:
            self._due["poll"] = time.monotonic() + POLL
        return held

    def _through(self) -> bool:
        busy = bool(self.held)
        if self.stopping or (self.draining and not busy):
            return True
        return self.until_idle and self.scheduler.idle and not busy and self.ahead is None

    def _renew(self) -> None:
        """Renew all leases in one statement; drop trials that others have taken over."""
        held = [*self.held.values(), *([self.ahead] if self.ahead else [])]
        timed = any(one.served.row.seconds is not None for one in held)
        # Renewing is what counts a study's time.
        every = WATCH if timed else self.lease_seconds / 3
        if not held or not self._is_due("renewal", every):
            return
        mine = [one.lease for one in held]
        kept = self.retry(leases.renew, self.storage, mine, lease=self.lease_seconds)
        if self.ahead is not None and self.ahead.lease.id not in kept:
            self.ahead = None
        for slot in self.pool.slots:
            lost = self.runner.of(slot)
            if lost is not None and lost.lease.id not in kept:
                self.runner.lose(slot, lost)

    def _watch(self) -> None:
        """End what takes too much memory or too long."""
        self._limit()
        if not self._is_due("watch", WATCH):
            return
        spent = {
            served.row.id
            for served in {one.served.row.id: one.served for one in self.held.values()}.values()
            if served.row.seconds is not None and self.retry(finish.is_time_up, served)
        }
        for slot in self.pool.slots:
            held = self.runner.of(slot)
            if held is not None and held.lease.kind == "trial" and held.lease.study in spent:
                self.runner.prune(slot, held, "the study's time is up")
                slot.kill("the study's time is up")  # Its next report may be long in coming.

    def _limit(self) -> None:
        """End slots that take too much memory or too long, which needs no database."""
        if not self._is_due("limits", WATCH):
            return
        self.pool.watch()
        for slot in self.pool.slots:
            if slot.idle:
                continue
            held = self.runner.of(slot)
            finishing = held is not None and held.lease.kind == "finish"
            longest = (self.trial_timeout or math.inf) * (FINISHING if finishing else 1)
            if slot.seconds > longest:
                slot.kill(f"took longer than {longest:g} s", again=finishing)

    def _meanwhile(self) -> None:
        """Do what cannot wait for the end of a long call of the database."""
        self.turned_at = time.monotonic()
        self._limit()
        self._show()
        if not self._is_due("meanwhile", self.lease_seconds / 6):
            return
        try:
            self._tell()
            self._renew()
        except StorageError:
            self._due.update(heartbeat=0.0, renewal=0.0)  # At once when the database is back.
            raise

    def _tidy(self) -> None:
        """Delete what this machine has of datasets that were deleted."""
        if not self._is_due("tidying", TIDY):
            return
        try:
            datasets.drop_deleted(self.storage, self.scheduler.cache)
        except (OSError, StorageError) as error:
            logger.warning("Datasets that were deleted may lie here still: %s", error)

    def _leave(self, failure: Exception | None) -> None:
        """Hand back at once what was not trained to its end.

        What it had begun counts as an attempt where it ends by a failure: it may be due to that.
        """
        if isinstance(failure, OutdatedError):  # What it would write may not fit the tables.
            self.liveness.leave(owing=True)
            self.listener.close()
            return
        reason = "its worker was stopped"
        if failure is not None:
            reason = f"its worker failed: {in_a_line(failure)}"
        retry = patient(self.storage, HANDING_BACK)
        begun = {held.lease.id: held for held in self.held.values()}
        owing = False
        for held in [*begun.values(), *([self.ahead] if self.ahead else [])]:
            spent = failure is not None and held.lease.id in begun
            try:
                retry(leases.release, self.storage, held.lease, spent=spent, reason=reason)
            except StorageError as error:
                # Then it is taken over when the lease has run out; to ask for the next would take
                # as long, and whoever stops this worker waits.
                logger.warning("%s", error, extra=held.about)
                owing = True
                break
        told = not owing and self.heartbeat.leave()
        self.liveness.leave(owing=not told)
        self.listener.close()

    def _tell(self) -> None:
        """Tell the fleet that this worker is there."""
        if self._is_due("heartbeat", self.lease_seconds / 3):
            self.heartbeat.tell("draining" if self.draining else "serving")

    def _show(self) -> None:
        """Let a view look; what it cannot see while the database is away it sees later."""
        try:
            with unavailable_as_storage_error(self.storage.url):
                self.on_tick(self)
        except StorageError as error:
            logger.debug("%s", error)

    def _is_due(self, what: str, seconds: float) -> bool:
        """Tell whether something is due, and if so set when it is due again."""
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True
