"""How commands come to their storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.errors import StorageError
from topo_search import forking, settings
from topo_search.cli_common import open_storage
from topo_search.settings import Settings

ELSEWHERE = "postgresql://user:password@host/name"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What a command does on its way, in order; a storage elsewhere is away when it is told so."""
    steps: list[str] = []

    @contextmanager
    def opened(asked: Settings, *, upgrade: bool, despite_workers: bool) -> Iterator[None]:
        steps.append("connects")
        if asked.storage == "away":
            raise StorageError("away")
        yield

    for name in ("TOPO_SEARCH_STORAGE", "TOPO_SEARCH_STORAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOPO_SEARCH_HOME", str(tmp_path))
    monkeypatch.setattr(forking, "warm_up", lambda log: steps.append("loads"))
    monkeypatch.setattr(settings, "opened", opened)
    return steps


def test_libraries_are_loaded_while_the_private_server_starts(done: list[str]) -> None:
    with open_storage({"storage": None}, warm=True):
        assert done[:2] == ["loads", "connects"]


def test_libraries_are_loaded_when_a_server_elsewhere_has_answered(done: list[str]) -> None:
    with open_storage({"storage": ELSEWHERE}, warm=True):
        assert done == ["connects", "loads"]


def test_nothing_is_loaded_for_a_server_that_is_away(done: list[str]) -> None:
    with pytest.raises(StorageError), open_storage({"storage": "away"}, warm=True):
        pass
    assert done == ["connects"]


def test_nothing_is_loaded_where_nothing_is_trained(done: list[str]) -> None:
    with open_storage({"storage": ELSEWHERE}):
        assert done == ["connects"]
