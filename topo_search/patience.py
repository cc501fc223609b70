"""Patience with the database: calls that are tried again until it answers, within limits."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from storage.connection import Storage
from storage.errors import StorageError, unavailable_as_storage_error

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0  # Seconds between two tries to reach the database.
TELL = 60.0  # Seconds until it is told again that the database is away.
LONGEST_OUTAGE = 3600.0  # Seconds until a worker gives up; its service manager starts it again.

Value = TypeVar("Value")


class Patience:
    """Calls the database until it answers; slots train on meanwhile."""

    def __init__(self, storage: Storage, meanwhile: Callable[[], None]) -> None:
        """Make patience with a storage, which calls `meanwhile` before every new try."""
        self.storage, self.meanwhile = storage, meanwhile
        self.until = float("inf")  # When the worker stops, on this machine's monotonic clock.
        self.answered_at = time.monotonic()  # When the database last answered.

    @property
    def ended(self) -> bool:
        """Whether there is no more waiting."""
        return time.monotonic() >= self.until

    def __call__(self, call: Callable[[], Value]) -> Value:
        """Return what `call` returns, trying again for as long as the database is away.

        Raises:
            StorageError: The database is away and the worker is to stop, or has been for too long.
        """
        since = time.monotonic()
        pause, told_at = 0.1, float("-inf")
        while True:
            try:
                with unavailable_as_storage_error(self.storage.url):
                    value = call()
                self.answered_at = time.monotonic()
                if told_at >= since:
                    away = self.answered_at - since
                    logger.warning("PostgreSQL answers again after %.0f s.", away)
                return value
            except StorageError as error:
                if self.ended or time.monotonic() - since > LONGEST_OUTAGE:
                    raise
                if time.monotonic() - told_at >= TELL:
                    told_at = time.monotonic()
                    logger.warning("%s Trying again.", error)
                self.meanwhile()
                # Up to twice as long for some as for others: a fleet does not come back as one.
                threading.Event().wait(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE)
