"""A fleet behind PgBouncer in transaction mode, where no two transactions share a session."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from fleet_checks import exact, make_study, none_open
from fleet_harness import DEADLINE, HERE, Fleet, environment, is_finished, wait_until
from fleet_server import Server, free_port

from storage.connection import Storage, connect
from storage.notices import Listener
from storage.system_account import as_account
from topo_search.predictor import NETWORK

COMMANDS = HERE.parent  # Those of which one is the command without TensorFlow.
IRIS = Path(__file__).parents[3] / "examples" / "iris.csv"
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# One session for everybody: whoever held a transaction and began another would wait for itself.
SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {place}/users
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
"""


@pytest.fixture
def bounced(server: Server, database: str) -> Iterator[str]:
    """The URL of the story's database behind a PgBouncer."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed here (Debian: apt-get install pgbouncer)")
    port, place = free_port(), server.place
    (place / "users").write_text(f'"fleet" "{server.password}"\n')
    (place / "bouncer.ini").write_text(SETTINGS.format(server=server.port, port=port, place=place))
    account: dict[str, Any] = {}
    if server.account is not None:
        account = as_account(server.account)
        os.chown(place / "users", server.account.pw_uid, server.account.pw_gid)
    with subprocess.Popen(
        [PROGRAM, "--quiet", place / "bouncer.ini"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,
    ) as process:
        url = server.url(database, port=port)
        try:
            wait_until(lambda: _answers(url), "PgBouncer answers")
            yield url
        finally:
            process.terminate()


class Commands:
    """The command, over a database behind PgBouncer, in a folder of its own."""

    def __init__(self, program: Sequence[str | Path], url: str, folder: Path, fleet: Fleet) -> None:
        self.program, self.url, self.folder, self.fleet = program, url, folder, fleet
        self.around = environment() | {"TOPO_SEARCH_HOME": str(folder / "home")}
        self.around["PYTHONPATH"] += f"{os.pathsep}{COMMANDS}"

    def __call__(self, *arguments: object) -> Any:
        """Return what a command prints with --json."""
        with subprocess.Popen(
            [*self.program, *map(str, arguments), "--storage", self.url, "--json"],
            cwd=self.folder,
            env=self.around,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                said, complaints = process.communicate(timeout=DEADLINE)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # Then it says where it was.
                said, complaints = process.communicate()
        logs = [member.log for member in self.fleet.members]
        assert process.returncode == 0, (complaints, logs)
        return json.loads(said)


def test_the_command_and_a_worker_work_behind_pgbouncer(
    bounced: str, storage: Storage, fleet: Fleet, tmp_path: Path
) -> None:
    light = (sys.executable, "-P", COMMANDS / "light_command.py")
    command = Commands(light, bounced, tmp_path, fleet)
    space = tmp_path / "space.toml"
    space.write_text("[parameters]\nx = {low = 0.0, high = 1.0}\nn = {low = 0, high = 9}\n")
    objective = ("--objective", "fleet_objectives:untimed", "--space-file", space)
    study = command("create", *objective, "--trials", 8)["study"]
    helper = fleet.start(url=bounced, slots=2)
    serve = ("worker", "--until-idle", "--slots", 1, "--allow-objective", objective[1])
    worker = command(*serve, "--study", study)
    fleet.join()
    assert worker["trials"] + helper.status["ended"] == 8
    assert command("status", study)["trials"]["complete"] == 8
    assert command("storage", "check") == []
    assert len(exact(storage, study)) == 8
    none_open(storage)


def test_a_table_is_searched_and_its_network_exported_behind_pgbouncer(
    bounced: str, storage: Storage, fleet: Fleet, tmp_path: Path
) -> None:
    """Its table, its weights and its network go through as large values."""
    program = (sys.executable, "-P", "-m", "topo_search.cli")
    command = Commands(program, bounced, tmp_path, fleet)
    small = ("--target", "species", "--trials", 3, "--epochs", 3, "--depth", "1:2")
    study = command("create", IRIS, *small)["study"]
    assert command("worker", "--study", study, "--until-idle", "--slots", 1)["trials"] == 3
    found = command("results", study, "--html", "report.html")
    assert found["test"]["rows"] == 30
    assert "topo-search" in (tmp_path / "report.html").read_text()
    folder = tmp_path / command("export", study, "-o", "network")["folder"]
    assert (folder / NETWORK).stat().st_size > 0
    assert len(exact(storage, study)) == 3
    none_open(storage)


def test_behind_pgbouncer_nobody_listens(bounced: str, storage: Storage) -> None:
    between = connect(bounced)
    behind, direct = Listener(between), Listener(storage)
    for listener in (behind, direct):
        listener.begin()
    make_study(storage, trials=1)
    assert not behind.sources and not behind.heard()
    assert direct.sources
    wait_until(direct.heard, "the one without PgBouncer hears of the study")
    for listener in (behind, direct):
        listener.close()
    between.close()


def test_a_study_that_comes_later_is_found_behind_pgbouncer(
    bounced: str, storage: Storage, fleet: Fleet
) -> None:
    worker = fleet.start(url=bounced, until_idle=False)
    wait_until(lambda: worker.status["name"], "it serves")
    study = make_study(storage, trials=3).id
    wait_until(is_finished(storage, study), "the study is found and served")
    worker.process.terminate()
    worker.join()
    assert len(exact(storage, study)) == 3


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True
