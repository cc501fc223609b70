"""A cache of texts: answers that are given again without being worked out again."""

from __future__ import annotations

import threading
from collections import OrderedDict


class TextCache:
    """Texts by what was asked for them: those used last, up to so many characters in all."""

    def __init__(self, most: int) -> None:
        """Make an empty cache."""
        self._most = most
        self._texts = OrderedDict[str, str]()
        self._lock = threading.Lock()

    def get(self, asked: str) -> str | None:
        """Return the text, None where it is not remembered."""
        with self._lock:
            if asked in self._texts:
                self._texts.move_to_end(asked)
            return self._texts.get(asked)

    def put(self, asked: str, text: str) -> None:
        """Remember a text in place of those used longest ago; not one that is too long."""
        if len(asked) + len(text) > self._most:
            return
        with self._lock:
            self._texts[asked] = text
            self._texts.move_to_end(asked)
            while sum(len(key) + len(held) for key, held in self._texts.items()) > self._most:
                self._texts.popitem(last=False)
