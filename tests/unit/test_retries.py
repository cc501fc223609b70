"""How often, and for how long, a database that is away is asked again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from storage.errors import StorageError
from topo_search import retries
from topo_search.retries import LONGEST_PAUSE, Retries

STORAGE: Any = SimpleNamespace(url="postgresql://h/d")


def test_pauses_double_up_to_a_bound_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    meanwhile: list[int] = []
    waits = SimpleNamespace(wait=pauses.append)
    monkeypatch.setattr(retries, "threading", SimpleNamespace(Event=lambda: waits))
    fails = iter([True] * 40 + [False])

    def call() -> str:
        if next(fails):
            raise StorageError("away")
        return "here"

    retry = Retries(STORAGE, lambda: meanwhile.append(1))
    assert retry(call) == "here"
    assert len(pauses) == len(meanwhile) == 40
    bounds = [min(0.1 * 2**k, LONGEST_PAUSE) for k in range(40)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len({pause / bound for pause, bound in zip(pauses, bounds, strict=True)}) > 30


def test_an_outage_is_told_at_first_once_a_minute_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [100.0]
    waits = SimpleNamespace(wait=lambda _: clock.__setitem__(0, clock[0] + 5.0))
    monkeypatch.setattr(retries, "threading", SimpleNamespace(Event=lambda: waits))
    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    retry = Retries(STORAGE, lambda: None)

    def call() -> str:
        if clock[0] < 173.0:
            raise StorageError("PostgreSQL is away.")
        return "here"

    assert retry(call) == "here" == retry(call)
    assert caplog.messages == [
        *["PostgreSQL is away. Trying again."] * 2,
        "PostgreSQL answers again after 75 s.",
    ]


def test_what_asking_again_cannot_mend_is_raised_at_once() -> None:
    def call() -> None:
        raise ValueError("no such parameter")

    with pytest.raises(ValueError, match="no such parameter"):
        Retries(STORAGE, lambda: pytest.fail("asked again"))(call)


class Clock:
    """Time that passes when the database is asked in vain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        waits = SimpleNamespace(wait=lambda seconds: None)
        monkeypatch.setattr(retries, "threading", SimpleNamespace(Event=lambda: waits))
        monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: self.now))

    def away(self, *seconds: float) -> Callable[[], None]:
        """Return a call that fails so often, each time after so long, and then gets through."""
        left = list(seconds)

        def call() -> None:
            if left:
                self.now += left.pop(0)
                raise StorageError("away")

        return call


def test_after_an_outage_others_have_one_lease_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    retry = Retries(STORAGE, lambda: None, lease=60.0)
    retry(clock.away(10.0, 9.0))
    assert not retry.others_may_be_back
    retry(clock.away(10.0, 11.0))
    clock.now += 59.0
    assert retry.others_may_be_back
    clock.now += 1.0
    assert not retry.others_may_be_back


def test_after_an_answer_that_was_long_in_coming_others_have_one_lease_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    retry = Retries(STORAGE, lambda: None, lease=60.0)

    def stalled(seconds: float) -> None:
        clock.now += seconds

    retry(lambda: stalled(40.0))
    assert not retry.others_may_be_back
    retry(lambda: stalled(41.0))
    clock.now += 59.0
    assert retry.others_may_be_back
    clock.now += 1.0
    assert not retry.others_may_be_back


def test_a_worker_gives_up_only_while_it_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    held = [True]
    retry = Retries(STORAGE, lambda: None, holds=lambda: bool(held))
    retry(clock.away(*[1800.0] * 5))
    retry.give_up_at(clock.now)
    with pytest.raises(StorageError):
        retry(clock.away(1.0))
    retry.give_up_at(float("inf"))
    held.clear()
    with pytest.raises(StorageError):
        retry(clock.away(1800.0, 1801.0))


def test_what_is_asked_meanwhile_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    asked: list[str] = []

    def meanwhile() -> None:
        asked.append("asked")
        retry.attend()  # Does nothing: it is at it.
        retry(clock.away(1.0, 1.0))
        asked.append("answered")

    retry = Retries(STORAGE, meanwhile)
    retry(clock.away(1.0, 1.0))
    assert asked == ["asked"] * 2
