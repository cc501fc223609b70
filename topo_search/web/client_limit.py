"""How much one client may hold of what all share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class ClientLimit:
    """Places, of which one client may have some, so that others find one, too."""

    def __init__(self, each: int) -> None:
        """Let each client have so many places."""
        self.each = each
        self._taken = Counter[str]()
        self._lock = threading.Lock()

    def take(self, asker: str) -> bool:
        """Take a place; return whether there was one. Who is nobody has as many as there are."""
        with self._lock:
            if asker and self._taken[asker] >= self.each:
                return False
            self._taken[asker] += 1
            return True

    def give_back(self, asker: str) -> None:
        """Give a place back that was taken."""
        with self._lock:
            self._taken[asker] -= 1
            if not self._taken[asker]:
                del self._taken[asker]

    @contextmanager
    def place(self, asker: str, refused: Exception) -> Iterator[None]:
        """Hold a place while the block runs; raise `refused` where there is none."""
        if not self.take(asker):
            raise refused
        try:
            yield
        finally:
            self.give_back(asker)
