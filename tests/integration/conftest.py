"""A real PostgreSQL: one server for all tests, one clone of a migrated database for each."""

import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from apiflask import APIFlask
from databases import Databases, remove_home
from flask.testing import FlaskClient
from sqlalchemy import make_url
from stories import DEADLINE, IMPORT_PATH, OBJECTIVE, TOYS, Outage, Serve, Step

from storage import embedded, tokens
from storage.connection import Storage, connect
from storage.signing import signing_key
from topo_search import forking, worker
from topo_search.machine import Serving
from topo_search.web.access import limiter
from topo_search.web.app import create_app
from topo_search.web.quota import Limits
from topo_search.web.service import Service
from topo_search.worker import Worker

HASH = argon2.PasswordHasher(time_cost=1, memory_cost=64).hash("open sesame")


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private server that lasts for all tests."""
    home = tmp_path_factory.mktemp("home")
    with embedded.serve(home) as url:
        yield url
    remove_home(home)


@pytest.fixture(scope="session")
def databases(server_url: str) -> Databases:
    """The databases of that server."""
    return Databases(server_url)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """An empty, migrated database of the test's own."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    """The test's database, opened."""
    opened = connect(database_url)
    yield opened
    opened.close()


@pytest.fixture
def service(
    storage: Storage, tmp_path: Path, fork_server: Callable[[str], None]
) -> Iterator[Service]:
    """The web service over the test's database."""
    fork_server("web")
    made = Service(
        storage, tmp_path / "home", limits=Limits(), signing_key=signing_key(storage), keep=None
    )
    yield made
    made.close()


@pytest.fixture
def app(service: Service) -> APIFlask:
    """The web application, with an operator whose password is `open sesame`."""
    made = create_app(service, password_hash=HASH)
    limiter.reset()  # It counts for the whole process.
    made.testing = True
    return made


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """A browser without cookies, over TLS."""
    made = app.test_client()
    made.environ_base["wsgi.url_scheme"] = "https"
    return made


@pytest.fixture
def operator(storage: Storage) -> dict[str, str]:
    """The headers of an operator's program."""
    return {"Authorization": f"Bearer {tokens.create(storage, 'robot')}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the objectives leave traces and wait for the file `go`."""
    made = tmp_path / "traces"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def light_slots(fork_server: Callable[[str], None]) -> Iterator[None]:
    """A fork server that does not load TensorFlow, which toy objectives do not need."""
    fork_server("toys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", IMPORT_PATH)
        patch.setattr(forking, "PRELOAD", "light_preload")
        yield


@pytest.fixture
def serve(
    storage: Storage, tmp_path: Path, light_slots: None, monkeypatch: pytest.MonkeyPatch
) -> Serve:
    """Run a worker in this process until it ends, and the steps of a story meanwhile."""
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setattr(worker, "WATCH", 0.1)

    def serve(
        *steps: Step,
        slots: int = 1,
        objectives: Collection[str] = (OBJECTIVE,),
        prepared: Step = bool,
        trial_timeout: float | None = None,
        **options: Any,
    ) -> Worker:
        pending = list(steps)
        deadline = time.monotonic() + DEADLINE

        def take_a_step(one: Worker) -> None:
            while pending and pending[0](one):
                pending.pop(0)
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain; steps left: {[s.__name__ for s in pending]}")

        serving = Serving(slots=slots, objectives=objectives, trial_timeout=trial_timeout)
        given = {"until_idle": True, "on_tick": take_a_step, **options}
        one = Worker(storage, tmp_path / "home", serving, **given)
        prepared(one)
        one.run()
        assert not pending, [step.__name__ for step in pending]
        return one

    return serve


@pytest.fixture
def outage(server_url: str, database_url: str) -> Outage:
    """The power to take the test's database away and to give it back."""
    return Outage(server_url, str(make_url(database_url).database))
