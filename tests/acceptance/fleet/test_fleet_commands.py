"""Real `topo-search worker` commands with the lease that everybody has: a minute."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from fleet_checks import exact, make_study, none_open
from fleet_harness import DEADLINE, HERE, environment, is_finished, wait_until
from fleet_objectives import mark
from fleet_server import Server

from storage import tables
from storage.clock import LEASE
from storage.connection import Storage

COMMANDS = HERE.parent  # Those of which one is the command without TensorFlow.
MOMENT = timedelta(seconds=30)  # For a worker that looks every second, on a busy machine.


@contextmanager
def serving(url: str, home: Path, label: str) -> Iterator[subprocess.Popen[str]]:
    """Let a worker of two slots serve while the block runs, with its slots in a group."""
    around = environment() | {"TOPO_SEARCH_HOME": str(home), "FLEET_LABEL": label}
    around["PYTHONPATH"] += f"{os.pathsep}{COMMANDS}"
    serve = ("worker", "--slots", "2", "--until-idle", "--storage", url)
    with subprocess.Popen(
        [
            *(sys.executable, "-P", str(COMMANDS / "light_command.py"), *serve),
            *("--allow-objective", "fleet_objectives:gated"),
        ],
        env=around,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_a_worker_that_is_killed_is_taken_over_after_its_minute(
    server: Server, database: str, storage: Storage, folder: Path, tmp_path: Path
) -> None:
    lease = tables.lease.c
    study = make_study(storage, trials=8, objective="gated", folder=folder, title="t").id

    def begun() -> dict[str, int]:
        query = (
            sa.select(lease.owner, sa.func.count(lease.trial_number))
            .where(lease.ended_at.is_(None), lease.owner.is_not(None))
            .group_by(lease.owner)
        )
        with storage.transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    with ExitStack() as stack:
        url = server.url(database)
        first = stack.enter_context(serving(url, tmp_path / "a", "a"))
        wait_until(lambda: list(begun().values()) == [2], "two trials run at one worker")
        (dead,) = begun()
        second = stack.enter_context(serving(url, tmp_path / "b", "b"))
        wait_until(lambda: list(begun().values()) == [2, 2], "two trials run at each")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(DEADLINE)
        with storage.transaction() as connection:
            query = sa.select(lease.id, lease.renewed_at, lease.expires_at, lease.trial_number)
            held = connection.execute(query.where(lease.owner == dead)).all()
        assert {one.expires_at - one.renewed_at for one in held} == {timedelta(seconds=LEASE)}
        (folder / "go-b").touch()
        wait_until(is_finished(storage, study), "the other worker ends the study")
        _, said = second.communicate(timeout=DEADLINE)
        assert second.returncode == 0, said
    taken = sa.text(
        "SELECT lease, min(taken_at) AS at FROM fleet_audit WHERE kind = 'lease taken' GROUP BY 1"
    )
    with storage.transaction() as connection:
        times = {row.lease: row.at for row in connection.execute(taken)}
    for one in held:
        assert one.expires_at < times[one.id] < one.expires_at + MOMENT
    seen = exact(storage, study)
    assert {trial.value for trial in seen} == {mark("b")}
    again = {one.trial_number for one in held} - {None}
    assert len(again) == 2
    assert {trial.number for trial in seen if trial.attempts == 2} == again
    none_open(storage)
