"""Retries with the database: calls that are tried again until it answers, within limits."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from storage.clock import LEASE
from storage.connection import Storage
from storage.errors import StorageError, unavailable_as_storage_error

logger = logging.getLogger(__name__)

LOOK = 0.25  # Seconds between looks at what cannot wait while a long call goes on.
LONGEST_PAUSE = 5.0  # Seconds between two tries to reach the database.
TELL = 60.0  # Seconds until it is told again that the database is away.
LONGEST_OUTAGE = 3600.0  # Seconds until a worker gives up; its service manager starts it again.

PATIENCE = 30.0  # Seconds that what follows a search waits for a database that is away.

Value = TypeVar("Value")
Given = ParamSpec("Given")


class Retries:
    """Calls the database until it answers; slots train on meanwhile."""

    def __init__(
        self,
        storage: Storage,
        meanwhile: Callable[[], None],
        *,
        holds: Callable[[], bool] = lambda: False,
        lease: float = LEASE,
    ) -> None:
        """Retry calls to a storage.

        Args:
            storage: What is called.
            meanwhile: Called before every new try; what it asks of the database is tried once.
            holds: Whether anything would be lost by giving up: then no outage is too long.
            lease: Seconds until a lease must be renewed.
        """
        self.storage, self.meanwhile, self.holds = storage, meanwhile, holds
        self.lease_seconds = lease
        self.answered_at = time.monotonic()  # When the database last answered.
        self._until = float("inf")  # When the worker stops, on this machine's monotonic clock.
        self._away_at = float("-inf")  # When it last stalled, or was away for a while.
        self._attending = False

    @property
    def over(self) -> bool:
        """Whether there is no more waiting."""
        return time.monotonic() >= self._until

    def give_up_at(self, moment: float) -> None:
        """Wait until then at most, on this machine's monotonic clock."""
        self._until = moment

    @property
    def others_may_be_back(self) -> bool:
        """Whether workers that are silent may have been cut off, as this one was, a lease ago."""
        return time.monotonic() - self._away_at < self.lease_seconds

    def __call__(
        self, call: Callable[Given, Value], *given: Given.args, **named: Given.kwargs
    ) -> Value:
        """Return what `call` returns, trying again for as long as the database is away.

        Raises:
            StorageError: The database is away and the worker is to stop, or has been for too long
                with nothing held.
        """
        since = time.monotonic()
        pause, told_at = 0.1, float("-inf")
        while True:
            try:
                with unavailable_as_storage_error(self.storage.url):
                    value = call(*given, **named)
                self.answered_at = time.monotonic()
                took = self.answered_at - since
                if took > 2 / 3 * self.lease_seconds:  # What is renewed each third may be over.
                    self._away_at = self.answered_at
                if told_at >= since:
                    logger.warning("PostgreSQL answers again after %.0f s.", took)
                return value
            except StorageError as error:
                seconds = time.monotonic() - since
                if seconds > self.lease_seconds / 3:
                    self._away_at = time.monotonic()
                too_long = seconds > LONGEST_OUTAGE and not self.holds()
                if self._attending or self.over or too_long:
                    raise
                if time.monotonic() - told_at >= TELL:
                    told_at = time.monotonic()
                    logger.warning("%s Trying again.", error)
                self.attend()
                # Up to twice as long for some as for others: a fleet does not come back as one.
                threading.Event().wait(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE)

    def beside(
        self, call: Callable[Given, Value], *given: Given.args, **named: Given.kwargs
    ) -> Value:
        """Return what `call` returns, which may take long: what cannot wait goes on meanwhile."""
        with ThreadPoolExecutor(1, "long call") as threads:
            calling = threads.submit(call, *given, **named)
            while not wait([calling], timeout=LOOK).done:
                self.attend()
        try:
            return calling.result()
        finally:
            del calling  # Else its error, with all that was sent, waits for garbage collection.

    def attend(self) -> None:
        """Do what cannot wait for the end of a long call; what then fails is tried later."""
        if self._attending:
            return
        self._attending = True
        try:
            self.meanwhile()
        except StorageError as error:
            logger.debug("%s", error)
        finally:
            self._attending = False


def patient(storage: Storage, seconds: float | None = None) -> Retries:
    """Return what asks again, for so many seconds from now, where the database is away.

    By default `PATIENCE`: a server that starts anew just as a search is through does not cost its
    report.
    """
    retry = Retries(storage, lambda: None)
    retry.give_up_at(time.monotonic() + (PATIENCE if seconds is None else seconds))
    return retry
