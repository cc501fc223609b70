"""The process that slots are forked from: it imports their libraries once, and keeps to itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

PRELOAD = "topo_search.preload"
TRIES = 10  # To start a process; one that is dying may be met more than once.
LONGEST_LOG = 10 * 2**20  # Bytes of what was printed, until a new file is begun; one is kept.
GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # From a terminal, or a service manager.
STARTING = threading.Lock()  # To start a process changes, for a moment, what all threads share.


def warm_up(log: Path | None, preload: Sequence[str] | None = None) -> None:
    """Start the fork server, which imports its modules (seconds) while the caller goes on.

    A process has one fork server, which keeps to what it was first started with.

    Args:
        log: File for what it prints; by default what the caller prints to.
        preload: Modules to import; by default what slots need, TensorFlow among it.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with STARTING:
        forkserver.set_forkserver_preload([PRELOAD] if preload is None else [*preload])
        with _starting(log):
            forkserver.ensure_running()


def start(process: BaseProcess, log: Path | None, preload: Sequence[str] | None = None) -> None:
    """Start a process; a fork server that is just dying is replaced by the next try.

    This waits until the fork server has imported its modules; signals are heard meanwhile.

    Args:
        process: What to start.
        log: As `warm_up` takes it.
        preload: As `warm_up` takes it.

    Raises:
        OSError: Where no fork server lives long enough.
    """
    for _ in range(TRIES):
        try:
            warm_up(log, preload)
            with STARTING, _without_main():
                process.start()
            return
        except (EOFError, ConnectionError) as error:
            failed = error
            threading.Event().wait(0.1)
    raise OSError("The fork server ends whenever it is started.") from failed


@contextmanager
def _starting(log: Path | None) -> Iterator[None]:
    """Start processes quietly, deaf to the terminal, without the user's script and folder."""
    with _printing_to(log), _without_main(), _without_folder():
        resource_tracker.ensure_running()  # To start it lets signals through.
        with _holding_signals():
            yield


@contextmanager
def _holding_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, which reach the whole process group, wait until the block's end.

    What is started meanwhile, and what that forks, lets them wait until it says otherwise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Leave Ctrl-C and SIGTERM to the parent; for processes of the fork server."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)


@contextmanager
def _printing_to(log: Path | None) -> Iterator[None]:
    """Let what is started print to a file: libraries greet in the midst of a live view."""
    if log is None:
        yield
        return
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LONGEST_LOG:
        log.replace(log.with_suffix(".old.log"))
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for number in kept:
            os.dup2(file, number)  # A pipe that we print to would stay open until they end.
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(file)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the user's script, which `multiprocessing` would run again in every slot."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _without_folder() -> Iterator[None]:
    """Keep what lies in the working folder, as an objectives.py, from being taken for ours."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before
