"""One PostgreSQL server for all stories of fleets, and a database for each."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_harness import Fleet
from fleet_server import Server, running_server

from storage.connection import Storage, connect

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all stories have a target of their own: they mostly wait."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker("fleet")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that lasts for all stories, though some stop it for a while."""
    with running_server() as running:
        yield running


NUMBERS = itertools.count()


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The name of an empty, migrated database of the story's own."""
    name = f"fleet_{next(NUMBERS)}"
    server.make_database(name)
    yield name
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def storage(server: Server, database: str) -> Iterator[Storage]:
    """The story's database, opened."""
    opened = connect(server.url(database))
    yield opened
    opened.close()


@pytest.fixture
def fleet(server: Server, database: str, tmp_path: Path) -> Iterator[Fleet]:
    """Workers over the story's database; whatever still runs at the end is killed."""
    started = Fleet(server.url(database), tmp_path / "fleet")
    yield started
    started.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where gated trials leave traces and wait for the file `go`."""
    made = tmp_path / "traces"
    made.mkdir()
    return made
