"""A real PostgreSQL: one server for all tests, one clone of a migrated database for each."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from storage.connection import Storage, connect
from storage.embedded import serve

TEMPLATE = "topo_template"


def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction, as creating a database must."""
    connection = psycopg2.connect(
        make_url(url).set(drivername="postgresql").render_as_string(False)
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def remove_home(home: Path) -> None:
    """Remove a home and, for root, what lies for it below /var/lib/topo-search."""
    shutil.rmtree((home / "server").resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private server that lasts for all tests."""
    home = tmp_path_factory.mktemp("home")
    with serve(home) as url:
        yield url
    remove_home(home)


@pytest.fixture(scope="session")
def _clone(server_url: str) -> Callable[[], str]:
    template = make_url(server_url).set(database=TEMPLATE).render_as_string(False)
    execute(server_url, f"CREATE DATABASE {TEMPLATE}")
    connect(template).engine.dispose()  # a database in use cannot be cloned
    numbers = itertools.count()

    def clone() -> str:
        name = f"topo_test_{next(numbers)}"
        execute(server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return make_url(server_url).set(database=name).render_as_string(False)

    return clone


@pytest.fixture
def database_url(server_url: str, _clone: Callable[[], str]) -> Iterator[str]:
    """An empty, migrated database of the test's own."""
    url = _clone()
    yield url
    execute(server_url, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """The test's database, opened."""
    opened = connect(database_url)
    yield opened
    opened.close()
