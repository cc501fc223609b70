"""How processes are started."""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

import pytest

from topo_search import forking


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that reach this process."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_the_fork_server_starts_is_heard(
    number: int, heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "ensure_running", lambda: os.kill(os.getpid(), number))
    forking.warm_up(None)
    assert heard == [number]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


class Dying:
    """A process whose fork server dies when it is asked for it, so often."""

    def __init__(self, times: int) -> None:
        self.times, self.tries = times, 0

    def start(self) -> None:
        self.tries += 1
        if self.tries <= self.times:
            raise EOFError


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a fork server takes ten seconds to load what it needs."""
    clock = itertools.count(step=10)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(forking, "warm_up", lambda log, preload: None)


def test_a_fork_server_that_dies_is_replaced_however_long_it_takes_to_load(slow: None) -> None:
    process: Any = Dying(times=2)
    forking.start(process, None)
    assert process.tries == 3


def test_a_fork_server_that_always_dies_is_given_up(slow: None) -> None:
    process: Any = Dying(times=1000)
    with pytest.raises(OSError, match="ends whenever it is started"):
        forking.start(process, None)
    assert process.tries == forking.TRIES
