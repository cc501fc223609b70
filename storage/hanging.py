"""Servers that hang: they keep their connections and say nothing, and libpq waits for ever.

Keepalives do not help, which the server's kernel answers, nor do PostgreSQL's own timeouts, which
stand still with it. So connections note when they began to wait, and a thread shuts the sockets of
those that have waited for too long; to whoever waits, the server has then closed the connection.
"""

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import extensions

LONGEST = 330.0  # Seconds; PostgreSQL that does not hang has given up on a statement by then.
LONGEST_SENDING = 3600.0  # Seconds that a statement with very many bytes in it may take.
PROMPT = 3.0  # Seconds that a statement has yet when a signal asks the process to end.
LOOK = 1.0  # Seconds between looks.
ENDING = (signal.SIGINT, signal.SIGTERM)


class _Watch:
    """Looks after all connections of the process."""

    def __init__(self) -> None:
        self._signals: socket.socket | None = None
        self.reset()

    def reset(self) -> None:
        """Look after nothing yet: also in a child that was forked from who had connections."""
        # Who holds it keeps connections from being given up. What is collected as garbage while it
        # is held may be a connection, which is then rolled back: the thread that has it may go on.
        self._changing = threading.RLock()
        self._waiting: dict[Any, float] = {}  # Since when, on this machine's monotonic clock.
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        """Look after a connection while the block waits for its server."""
        with self._changing:
            self._waiting[connection] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._go_round, name="hanging", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changing:
                self._waiting.pop(connection, None)

    def hear_signals(self) -> None:
        """Let signals that ask this process to end cut waits short: libpq goes on through them."""
        if self._signals is not None or threading.current_thread() is not threading.main_thread():
            return
        self._signals, written = socket.socketpair()
        self._signals.settimeout(LOOK)
        written.setblocking(False)
        signal.set_wakeup_fd(written.detach(), warn_on_full_buffer=False)

    def _go_round(self) -> None:
        asked_at = again_at = math.inf
        while True:
            if self._asked():
                asked_at, again_at = time.monotonic(), asked_at
            now = time.monotonic()
            with self._changing:
                for connection, since in [*self._waiting.items()]:
                    # What is on its way may come through while others drain: it is asked twice.
                    asked = again_at < math.inf or not connection.sends
                    cut = asked and since <= asked_at <= now - PROMPT
                    if cut or now - since > connection.longest:
                        _shut(connection)
                        self._waiting.pop(connection, None)

    def _asked(self) -> bool:
        """Wait a while; tell whether a signal meanwhile asked the process to end."""
        if self._signals is None:
            threading.Event().wait(LOOK)
            return False
        with suppress(TimeoutError):
            return not set(self._signals.recv(1024)).isdisjoint(ENDING)
        return False


_WATCH = _Watch()
os.register_at_fork(after_in_child=_WATCH.reset)
hear_signals = _WATCH.hear_signals


class Cursor(extensions.cursor):  # type: ignore[misc]
    """A cursor that waits for some time at most."""

    def execute(self, *given: Any, **more: Any) -> None:
        """Run a statement."""
        with _WATCH.over(self.connection):
            super().execute(*given, **more)

    def executemany(self, *given: Any, **more: Any) -> None:
        """Run a statement with each of some values."""
        with _WATCH.over(self.connection):
            super().executemany(*given, **more)


class Connection(extensions.connection):  # type: ignore[misc]
    """A connection that waits for some time at most; then the server has closed it."""

    longest, sends = LONGEST, False

    def __init__(self, *given: Any, **more: Any) -> None:
        """Connect."""
        super().__init__(*given, **more)
        self.cursor_factory = Cursor

    def commit(self) -> None:
        """Commit the transaction."""
        with _WATCH.over(self):
            super().commit()

    def rollback(self) -> None:
        """Undo the transaction."""
        with _WATCH.over(self):
            super().rollback()


@contextmanager
def sending(connection: Connection) -> Iterator[None]:
    """Let statements take as long as it takes to send very many bytes while the block runs."""
    connection.longest, connection.sends = LONGEST_SENDING, True
    try:
        yield
    finally:
        del connection.longest, connection.sends


class UnhurriedConnection(Connection):
    """A connection whose statements may take any time, as those that make tables."""

    longest = math.inf


def _shut(connection: Any) -> None:
    """Shut a connection's socket, whatever thread waits for it."""
    with suppress(OSError, psycopg2.InterfaceError):  # It has just been closed.
        with socket.socket(fileno=os.dup(connection.fileno())) as opened:
            opened.shutdown(socket.SHUT_RDWR)
