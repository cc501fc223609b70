"""The slots of one worker: started, watched, replaced. Knows processes, not studies."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import psutil

from objectives.memory import own_memory
from objectives.objective import Assignment, Finish
from topo_search import forking
from topo_search.slot import Ended, Reported, Stop, Surroundings, main

RECYCLED_AFTER = 300  # Assignments; no library is free of leaks.
RECYCLED_ABOVE = 256 * 2**20  # Bytes of its own, or twice what its first trial left it with.
LONGEST_STOP = 5.0  # Seconds a slot has to end after its pipe was closed.
HEARING = 60.0  # Seconds a slot has to say something after it was told to stop its trial.
STILLBORN = 3  # Slots in a row for each one wanted, before the machine is held to be unfit.

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Died:
    """A slot's process ended, or was ended, with an assignment in hand."""

    reason: str
    again: bool = True  # Whether the assignment may be tried again.


class Slot:
    """One training process, seen from its supervisor."""

    def __init__(self, index: int, surroundings: Surroundings) -> None:
        self.index = index
        self.assignment: Assignment | Finish | None = None
        self.since = 0.0  # When it got the assignment, on this machine's monotonic clock.
        self.told_at: float | None = None  # When it was told to stop that.
        self.step, self.value = 0, float("nan")  # Of the last report.
        self.given = 0
        self.bytes = self.first_bytes = 0  # Memory of its own: last looked at, and early.
        self.killed_for: Died | None = None
        context = multiprocessing.get_context("forkserver")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=main, args=(other, surroundings), name=f"slot-{index}", daemon=True
        )
        forking.start(self.process, surroundings.log)
        other.close()  # So that the pipe ends when the slot does.
        # Which tells it from a stranger that is given its number when it is gone; None where it is.
        self._there: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            self._there = psutil.Process(self.process.pid)

    @property
    def idle(self) -> bool:
        """Whether it lives and has nothing to do."""
        return self.assignment is None and self.killed_for is None

    @property
    def worn(self) -> bool:
        """Whether a new one would serve better: it has done much, or has grown."""
        grown = self.bytes > max(RECYCLED_ABOVE, 2 * self.first_bytes)
        return self.given >= RECYCLED_AFTER or (self.given > 1 and grown)

    @property
    def deaf(self) -> bool:
        """Whether it was told to stop a trial and has said nothing for too long."""
        if self.assignment is None or self.told_at is None:
            return False
        return time.monotonic() - self.told_at > HEARING

    @property
    def seconds(self) -> float:
        """For how long it has had its assignment, in seconds."""
        return time.monotonic() - self.since

    def give(self, assignment: Assignment | Finish) -> None:
        """Hand it something to do; a slot that has just died answers with `Died` later."""
        self.assignment, self.since, self.told_at = assignment, time.monotonic(), None
        self.step, self.value, self.given = 0, float("nan"), self.given + 1
        self._send(assignment)

    def stop_trial(self) -> None:
        """Tell it that its trial need not go on."""
        if self.assignment is not None:
            self.told_at = self.told_at or time.monotonic()
            self._send(Stop(trial=self.assignment.trial))

    def kill(self, reason: str, *, again: bool = True) -> None:
        """End it at once; its assignment then comes back as `Died` with this reason."""
        self.killed_for = self.killed_for or Died(reason=reason, again=again)  # The first stands.
        self._end()

    def close(self) -> None:
        """Ask it to end, and see to it that it does."""
        self.connection.close()
        self.process.join(LONGEST_STOP if self.idle else 0)
        if self.process.is_alive():
            self._end()
            self.process.join(LONGEST_STOP)

    def own_bytes(self) -> int:
        """Return the memory that would be free without it, in bytes; 0 where it has just ended."""
        try:
            if self._there is not None and self._there.is_running():
                return own_memory(self._there.pid)
        except psutil.Error:
            pass
        return 0

    def _end(self) -> None:
        if self._there is not None:
            with suppress(psutil.NoSuchProcess):
                self._there.kill()

    def _send(self, message: Assignment | Finish | Stop) -> None:
        try:
            self.connection.send(message)
        except OSError:
            self.kill("the slot did not take messages any more")


class Pool:
    """A worker's slots. A context manager: on leaving, all of them have ended."""

    def __init__(
        self,
        count: int,
        surroundings: Surroundings,
        *,
        memory: int | None,
        gpus: Sequence[str] = (),
    ) -> None:
        """Make a pool.

        Args:
            count: Slots.
            surroundings: What each may use.
            memory: Bytes each may have of its own; None for no limit.
            gpus: Dealt out to the slots in turn.
        """
        self.gpus = gpus
        self.count, self.surroundings, self.memory = count, surroundings, memory
        self.slots: list[Slot] = []
        self._stillborn = 0  # Slots in a row that ended before they had anything to do.

    def __enter__(self) -> Pool:
        forking.warm_up(self.surroundings.log)
        self.slots = [self._new(index) for index in range(self.count)]
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self.slots:
            slot.close()

    def idle(self) -> list[Slot]:
        """Return the slots that have nothing to do, worn-out ones replaced."""
        for slot in self.slots:
            if slot.idle and slot.worn:
                self._replace(slot)
        return [slot for slot in self.slots if slot.idle]

    def messages(
        self, seconds: float, others: Sequence[Any] = ()
    ) -> Iterator[tuple[Slot, Reported | Ended | Died]]:
        """Wait at most `seconds` for slots to say something, and yield what they said.

        The wait ends as well when one of the `others` can be read, which is left to the caller.
        The pipe tells whether a slot lives, not its sentinel: that fires for living slots too when
        the fork server was killed.
        """
        by_connection = {slot.connection: slot for slot in self.slots}
        for ready in multiprocessing.connection.wait([*by_connection, *others], seconds):
            if ready in others:
                continue
            slot = by_connection[ready]  # type: ignore[index]
            try:
                message = slot.connection.recv()
            except (EOFError, OSError):
                died = slot.killed_for or Died(reason=_reason_of_death(slot))
                self._count_stillborn(slot, died)
                self._replace(slot)
                if slot.assignment is not None:
                    yield slot, died
                continue
            self._stillborn = 0
            if slot.assignment is None or message.trial != slot.assignment.trial:
                continue
            if isinstance(message, Reported):
                slot.step, slot.value = message.step, message.value
            yield slot, message

    def watch(self) -> None:
        """End slots that have more memory than they may, or do not stop what they were told to."""
        for slot in self.slots:
            slot.bytes = slot.own_bytes()
            if slot.given > 1 and not slot.first_bytes:
                slot.first_bytes = slot.bytes
            if self.memory is not None and slot.bytes > self.memory:
                slot.kill(f"used more than its {self.memory / 2**30:.1f} GiB of memory")
            if slot.deaf:
                slot.kill("the slot did not stop its trial")

    def _new(self, index: int) -> Slot:
        gpu = self.gpus[index % len(self.gpus)] if self.gpus else None
        return Slot(index, replace(self.surroundings, gpu=gpu))

    def _count_stillborn(self, slot: Slot, died: Died) -> None:
        if slot.given:
            return
        logger.warning("Slot %d had nothing to do: %s.", slot.index + 1, died.reason)
        self._stillborn += 1
        if self._stillborn > STILLBORN * self.count:
            raise OSError(
                f"Expected slots that wait for trials. {self._stillborn} in a row ended as soon as "
                f"they had started: {died.reason}. What they printed is in {self.surroundings.log}."
            )

    def _replace(self, slot: Slot) -> Slot:
        slot.close()
        new = self._new(slot.index)
        self.slots[self.slots.index(slot)] = new
        return new


def _reason_of_death(slot: Slot) -> str:
    slot.process.join(LONGEST_STOP)
    code = slot.process.exitcode
    if code is not None and code < 0:
        return f"the slot was ended by {signal.Signals(-code).name}"
    return f"the slot's process ended with exit code {code}"
