"""Commands over a PostgreSQL server elsewhere, and what they say when it is away."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from finished_studies import finished
from stored_studies import make_study
from stories import Outage

from storage import connection, studies, tables, workers
from storage.connection import Storage
from storage.errors import StorageError
from topo_search import (
    delivery,
    forking,
    own_worker,
    predictor,
    retries,
    settings,
    terminal,
)
from topo_search.cli import cli
from topo_search.report import write_report
from topo_search.worker import Worker

IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"


def lose_the_answer(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Lose the connection when what holds these words was committed, before the answer comes."""
    real = Storage.transaction

    @contextmanager
    def transaction(self: Storage) -> Iterator[sa.Connection]:
        said: list[str] = []
        with real(self) as connection:
            sa.event.listen(connection, "before_cursor_execute", lambda *of: said.append(of[2]))
            yield connection
        if any(words in text for text in said):
            raise StorageError("PostgreSQL is away.")

    monkeypatch.setattr(Storage, "transaction", transaction)


def run(database_url: str, home: Path, *words: object) -> Result:
    asked = [*map(str, words), "--storage", database_url]
    return CliRunner().invoke(cli, asked, env={"TOPO_SEARCH_HOME": str(home)})


@pytest.mark.parametrize("command", ["create", "sweep"])
def test_a_study_whose_creation_was_not_answered_may_be_there(
    storage: Storage,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setattr("topo_search.forking.warm_up", lambda log: None)
    with monkeypatch.context() as patched:
        lose_the_answer(patched, "INSERT INTO topo_study")
        done = run(database_url, tmp_path, command, IRIS, "--target", "species")
    assert isinstance(done.exception, StorageError)
    told = str(done.exception)
    assert told.startswith("PostgreSQL is away. If the answer alone was lost, the study is there.")
    assert "before you repeat it: topo-search studies" in told
    (there,) = studies.list_studies(storage)
    assert there.id in run(database_url, tmp_path, "studies").output


def test_trials_whose_addition_was_not_answered_may_have_been_added(
    storage: Storage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, trials=3, plan={"objective": "none", "direction": "maximize"})
    words = ("resume", study.id, "--trials", "+20", "--no-serve")
    with monkeypatch.context() as patched:
        lose_the_answer(patched, "UPDATE topo_study")
        done = run(database_url, tmp_path, *words)
    assert isinstance(done.exception, StorageError)
    told = str(done.exception)
    assert f"before you add that twice: topo-search status {study.id}" in told
    assert "0 of 23 trials" in run(database_url, tmp_path, "status", study.id).output


def test_an_error_before_anything_was_asked_for_says_nothing_of_that(
    storage: Storage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_answer(monkeypatch, "SELECT")
    done = run(database_url, tmp_path, "resume", "abc", "--trials", "+20", "--no-serve")
    assert str(done.exception) == "PostgreSQL is away."


def test_whoever_looks_at_an_open_study_is_told_that_nobody_serves_it(
    storage: Storage, database_url: str, tmp_path: Path
) -> None:
    plan = {"objective": "none", "direction": "maximize", "metric": "value"}
    study, paused = (make_study(storage, plan=plan) for _ in range(2))
    studies.pause(storage, paused.id)

    def shown(*words: str) -> str:
        done = run(database_url, tmp_path, *words)
        assert done.exit_code == 0
        return done.output

    one = workers.Worker(name="a", host="h", version="1", device="2 cores", slots=2)
    workers.heard(storage, one, lease=60.0)
    assert "nobody" not in (shown("status", study.id) + shown("studies")).lower()
    workers.heard(storage, one, lease=60.0, state="left")
    assert shown("status", study.id).startswith(f"Study {study.id} is created; nobody serves it\n")
    told = shown("studies")
    assert f"Nobody serves {study.id}: start a worker with: topo-search worker\n" in told
    assert shown("status", paused.id).startswith(f"Study {paused.id} is paused\n")
    assert json.loads(shown("status", study.id, "--json"))["state"] == "created"
    assert {one["state"] for one in json.loads(shown("studies", "--json"))} == {"created", "paused"}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("moment", ["it is through", "its network is taken", "it has a report"])
def test_a_database_that_goes_away_as_a_search_ends_is_waited_for(
    storage: Storage,
    database_url: str,
    outage: Outage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    as_json: bool,
) -> None:
    row, _ = finished(storage)
    due = [moment]
    tries: list[float] = []

    def comes(now: str) -> None:
        if now in due:
            due.clear()
            outage.begin()

    class Through(Worker):
        """A worker whose last trial was delivered."""

        def run(self) -> None:
            with storage.transaction() as connection:
                connection.execute(sa.update(tables.study).values(state="finished"))
            comes("it is through")

    def export(*given: Any) -> Path:
        comes("its network is taken")
        return predictor.export(*given)

    def write(*given: Any, **more: Any) -> Path:
        path = write_report(*given, **more)
        comes("it has a report")
        return path

    def wait(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            outage.end()

    def resumed() -> Result:
        words = ("resume", row.id, "--trials", "+1", "--report", tmp_path / "found-report.html")
        return run(database_url, tmp_path, *words, *["--json"] * as_json)

    monkeypatch.setattr("topo_search.forking.warm_up", lambda log: None)
    monkeypatch.setattr(own_worker, "Worker", Through)
    monkeypatch.setattr(delivery, "predictor", SimpleNamespace(export=export))
    monkeypatch.setattr(delivery, "write_report", write)
    waits = SimpleNamespace(Event=lambda: SimpleNamespace(wait=wait))
    monkeypatch.setattr(retries, "threading", waits)
    done = resumed()
    assert done.exit_code == 0, done.output
    assert (due, len(tries)) == ([], 3)
    assert (tmp_path / "found-report.html").exists()
    assert (tmp_path / "found-network" / "network.keras").exists()
    if as_json:
        assert json.loads(done.stdout)["test"]["value"] > 0.3
    monkeypatch.setattr(retries, "PATIENCE", 0.0)
    due.append(moment)
    try:
        assert isinstance(resumed().exception, StorageError)
    finally:
        outage.end()
    assert len(tries) == 3


@pytest.mark.parametrize("as_json", [False, True])
def test_a_worker_that_starts_while_the_database_is_away_waits_a_little_and_ends(
    tmp_path: Path, as_json: bool
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Nobody listens there.
        url = f"postgresql://user:secret@127.0.0.1:{taken.getsockname()[1]}/name"
        command = [sys.executable, "-m", "topo_search.cli", "worker", "--storage", url]
        done = subprocess.run(
            command + ["--log-json"] * as_json,
            env=os.environ | {"TOPO_SEARCH_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    if as_json:
        told = [json.loads(line) for line in lines]
        assert [one["level"] for one in told] == ["info", "error"]
        assert all(one["worker"] is None for one in told)
        lines = [one["message"] for one in told]
        assert lines[0].endswith("Trying for 10 s.")
    assert len(lines) == 1 + as_json and lines[-1].startswith("Error: ")
    for line in lines:
        assert "PostgreSQL at 127.0.0.1, database name: " in line
        assert "Connection refused. Start the server" in line


@pytest.mark.parametrize("command", ["studies", "worker --until-idle"])
def test_a_server_that_starts_anew_just_then_is_waited_for(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    there, real, tries = tmp_path / "socket", connection.connect, []

    def connect(url: str, **how: Any) -> Storage:
        tries.append(url)
        try:
            return real(url, **how)
        except StorageError:
            there.symlink_to(sa.make_url(database_url).query["host"])  # It is there again.
            raise

    monkeypatch.setattr(connection, "connect", connect)
    url = sa.make_url(database_url).update_query_dict({"host": str(there)})
    done = run(url.render_as_string(hide_password=False), tmp_path / "home", *command.split())
    assert done.exit_code == 0, done.output
    assert len(tries) == 2


def test_who_interrupts_a_search_as_soon_as_it_is_made_is_told_how_to_go_on(
    storage: Storage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forking, "warm_up", lambda log: None)
    monkeypatch.setattr(terminal, "show_start", ctrl_c)
    report = tmp_path / "it.html"
    done = run(database_url, tmp_path, "search", IRIS, "--target", "species", "--report", report)
    (study,) = studies.list_studies(storage)
    assert done.exit_code == 130
    assert f"go on with: topo-search resume {study.id} --report " in done.output


def test_a_server_that_says_no_is_asked_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "STARTING", 1e9)
    url = sa.make_url(database_url).set(password="s3cret")
    done = run(url.render_as_string(hide_password=False), tmp_path, "studies")
    assert isinstance(done.exception, StorageError)
    assert "password authentication failed" in str(done.exception)
