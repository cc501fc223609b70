"""Signals that ask a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_end(call: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call `call` while the block runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        call()

    if threading.current_thread() is not threading.main_thread():
        yield  # Handlers belong to the main thread; what they call can be called from any.
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
