"""Children: processes that do for the web service what may take too much, and may be killed for it.

They are forked from a fork server that has loaded what tables and the storage need, TensorFlow not
among it, so that one costs little more than what it does. What they are asked and what they answer
goes over one pipe; hostile bytes are read there, with a limit on memory and time. What comes back
is JSON, so that a child which such bytes took over cannot make the server run anything.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from topo_search import forking
from topo_search.web import child_answers
from topo_search.web.child_process import answer, limit_memory, limit_time, settle
from topo_search.web.client_limit import ClientLimit

PRELOAD = (
    *("numpy", "pandas", "objectives.table", "storage.connection"),
    *(
        "topo_search.study",
        "topo_search.results",
        "topo_search.predictor",
        "topo_search.web.uploaded_tables",
    ),
)
WAITING = 32  # Threads of the server that may wait for children: others have to answer, too.
LONGEST_STOP = 5.0  # Seconds that a process may take to vanish once it was killed.
FEWER = "Give a table with fewer rows or columns."

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)


class TooMuchError(ValueError):
    """What was asked for needs more memory than there is for it."""


class TooLongError(ValueError):
    """What was asked for takes longer than it may."""


class BusyError(RuntimeError):
    """All children have something to do, or the service is ending; another time it may work."""


class EndedError(RuntimeError):
    """A child ended by itself with a question in hand.

    Attributes:
        code: its exit code.
    """

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__(f"A child process ended without an answer, with exit code {code}.")


class Child:
    """One process, seen from the service; one thread at a time may ask it something."""

    def __init__(self, main: Callable[..., None], *args: Any, memory: int) -> None:
        """Start a process.

        Args:
            main: Top-level function; called with its end of the pipe and `args`.
            args: Plain values.
            memory: Bytes it will be limited to, said where they are too few.

        Raises:
            OSError: Where no process can be started.
        """
        self.memory = memory
        self.ended_for: Exception | None = None
        context = multiprocessing.get_context("forkserver")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=main, args=(other, *args), daemon=True)
        try:
            forking.start(self.process, None, PRELOAD)
        except BaseException:
            self.connection.close()
            raise
        finally:
            other.close()  # So that the pipe ends when the child does.

    @property
    def waits(self) -> bool:
        """Whether it lives and waits to be asked: then nothing is in the pipe, not even its end."""
        return self.ended_for is None and not self.connection.poll()

    def ask(self, question: Any, *, seconds: float) -> Any:
        """Return its answer, or raise what it raised.

        Raises:
            TooMuchError: It ran out of memory, or was killed.
            TooLongError: It had no answer in time, and was killed.
            EndedError: It ended by itself.
        """
        late = TooLongError(f"The table takes longer than the {seconds:g} seconds it may. {FEWER}")
        # A thread keeps the time, as the pipe may also fill, or run dry in the midst of an answer.
        timer = threading.Timer(seconds, self.kill, (late,))
        timer.daemon = True
        timer.start()
        try:
            self.connection.send(question)
            told = self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._end() from error
        finally:
            timer.cancel()
            timer.join()
        try:
            return child_answers.read(told)
        except MemoryError as error:
            raise self._too_much() from error

    def kill(self, reason: Exception) -> None:
        """End it at once; who waits for its answer gets the reason."""
        self.ended_for = self.ended_for or reason
        self.process.kill()

    def close(self) -> int | None:
        """End it and return its exit code; None where that cannot be known."""
        if not self.connection.closed:
            self.connection.close()
            self.process.kill()
            multiprocessing.connection.wait([self.process.sentinel], LONGEST_STOP)
            with forking.STARTING:  # Whoever starts a process looks after all that have ended.
                self._code = self.process.exitcode
                if self._code is not None:
                    self.process.close()
        return self._code

    _code: int | None = None

    def _end(self) -> Exception:
        """Return why its pipe has ended."""
        multiprocessing.connection.wait([self.process.sentinel], LONGEST_STOP)
        code = self.close()
        if self.ended_for is not None:
            return self.ended_for
        self.ended_for = self._too_much() if code is not None and code < 0 else EndedError(code)
        return self.ended_for

    def _too_much(self) -> TooMuchError:
        limit = f"{self.memory / 2**20:,.0f} MiB"
        return TooMuchError(f"The table needs more memory than the {limit} it may have. {FEWER}")


class Children:
    """Runs functions in fresh children, a few at a time, for any number of threads."""

    def __init__(self, *, count: int = 2, log: Path | None = None) -> None:
        """Start the fork server.

        Args:
            count: Children at a time.
            log: File for what they print; by default it is dropped.
        """
        self.log, self._free, self._closed = log, count, False
        self._running: set[Child] = set()
        self._changed, self._places = threading.Condition(), threading.Semaphore(WAITING)
        self._limit, self._turns = ClientLimit(WAITING // 2), ClientLimit(1)
        forking.warm_up(None, PRELOAD)

    def __call__(
        self,
        function: Callable[[*Ts], T],
        *args: *Ts,
        seconds: float,
        memory: int,
        asker: str = "",
    ) -> T:
        """Return what `function(*args)` returns in a child.

        Args:
            function: A top-level function.
            args: What it takes; goes through a pipe, as does what it returns, as JSON.
            seconds: It may take, and may have to wait for its turn before.
            memory: Bytes it may take beyond what a child and `args` have.
            asker: Who has one child at a time, so that others have one, too; empty for nobody.

        Raises:
            TooMuchError, TooLongError: It needs more memory or time.
            BusyError: It did not get its turn.
            ValueError, LookupError, OSError: As it raises them.
            RuntimeError: It raised anything else; a note has the child's traceback.
        """
        with self._turn(seconds, asker):
            child = Child(_run, self.log, memory=memory)
            try:
                with self._changed:
                    self._running.add(child)
                    if self._closed:
                        raise ending()
                answer: T = child.ask((function, args, seconds, memory), seconds=seconds)
                return answer
            finally:
                with self._changed:
                    self._running.discard(child)
                child.close()

    def close(self) -> None:
        """End what runs, and take no more."""
        with self._changed:
            self._closed = True
            for child in self._running:
                child.kill(ending())
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, LONGEST_STOP)

    @contextmanager
    def _turn(self, seconds: float, asker: str) -> Iterator[None]:
        busy = BusyError("Other tables are being read. Try again in a moment.")
        with self._limit.place(asker, busy), place(self._places, busy):
            with self._changed:
                mine = self._changed.wait_for(lambda: self._closed or self._begins(asker), seconds)
                if self._closed:
                    raise ending()
                if not mine:
                    raise busy
            try:
                yield
            finally:
                with self._changed:
                    self._free += 1
                    self._turns.give_back(asker)
                    self._changed.notify_all()

    def _begins(self, asker: str) -> bool:
        """Take a child, where one is free and the asker has none."""
        if not self._free or not self._turns.take(asker):
            return False
        self._free -= 1
        return True


@contextmanager
def place(places: threading.Semaphore, busy: BusyError) -> Iterator[None]:
    """Hold one of some places while the block runs; raise `busy` at once where none is free."""
    if not places.acquire(blocking=False):
        raise busy
    try:
        yield
    finally:
        places.release()


def ending() -> BusyError:
    """Return what is raised to who asks while the service ends."""
    return BusyError("The service is ending. Try again in a moment.")


def _run(connection: Connection, log: Path | None) -> None:
    """Answer one question: what a function returns."""
    settle(log)
    answer(connection, _called, connection)


def _called(connection: Connection) -> Any:
    function, args, seconds, memory = connection.recv()
    limit_memory(memory)
    limit_time(seconds)
    return function(*args)
