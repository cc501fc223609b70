"""How often, and for how long, a database that is away is asked again."""

from types import SimpleNamespace
from typing import Any

import pytest

from storage.errors import StorageError
from topo_search import patience
from topo_search.patience import LONGEST_PAUSE, Patience

STORAGE: Any = SimpleNamespace(url="postgresql://h/d")


def test_pauses_double_up_to_a_bound_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    meanwhile: list[int] = []
    waits = SimpleNamespace(wait=pauses.append)
    monkeypatch.setattr(patience, "threading", SimpleNamespace(Event=lambda: waits))
    fails = iter([True] * 40 + [False])

    def call() -> str:
        if next(fails):
            raise StorageError("away")
        return "here"

    persist = Patience(STORAGE, lambda: meanwhile.append(1))
    assert persist(call) == "here"
    assert len(pauses) == len(meanwhile) == 40
    bounds = [min(0.1 * 2**k, LONGEST_PAUSE) for k in range(40)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len({pause / bound for pause, bound in zip(pauses, bounds, strict=True)}) > 30


def test_what_asking_again_cannot_mend_is_raised_at_once() -> None:
    def call() -> None:
        raise ValueError("no such parameter")

    with pytest.raises(ValueError, match="no such parameter"):
        Patience(STORAGE, lambda: pytest.fail("asked again"))(call)
