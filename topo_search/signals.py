"""Signals that ask a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_end(call: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM call `call` while the block runs; yield those that came so far.

    Python drops a KeyboardInterrupt that comes while it calls back a weak reference or `__del__`.
    What `call` does interrupts the main thread anywhere: it must take no lock, not even an Event's.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        call()

    with _handled((signal.SIGINT, signal.SIGTERM), handle):
        yield came


@contextmanager
def left_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as an exit does, with code 0: what was begun is ended first."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    with _handled((signal.SIGTERM,), handle):
        yield


@contextmanager
def _handled(
    numbers: tuple[int, ...], handle: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Handlers belong to the main thread; what they call can be called from any.
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
