"""A worker that died on this machine is known to be dead by the next one that starts here."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from stored_studies import (
    begun,
    claimed,
    ended_leases,
    in_processes,
    let_expire,
    open_leases,
    optuna_trials,
    run_to_the_end,
)
from stored_studies import make_study as stored_study
from stories import (
    DEADLINE,
    IMPORT_PATH,
    Outage,
    Serve,
    appears,
    fates,
    go,
    lives,
    make_study,
    pid_in,
    sends,
    wait_until,
)

from storage import deaths, events, leases, studies, tables, workers
from storage.connection import Storage, connect
from storage.errors import StorageError
from storage.notices import Listener
from storage.rows import Lease, StudyRow
from topo_search import liveness
from topo_search.liveness import Liveness
from topo_search.retries import Retries
from topo_search.worker import Worker

# Leases of a minute: whoever waited for them to run out would be too late for these tests.
OWN_PROCESS = """
import os
from pathlib import Path
from storage.connection import connect
from topo_search import forking
from topo_search.machine import Serving
from topo_search.worker import Worker
forking.PRELOAD = "light_preload"
serving = Serving(slots=1, objectives=["toy_objectives:objective"])
machine = Path(os.environ["MACHINE"])
Worker(connect(os.environ["URL"]), machine, serving, until_idle=True).run()
"""
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that `serve` gives its workers, too."""
    return tmp_path / "home"


@pytest.fixture
def start(database_url: str, home: Path, tmp_path: Path) -> Iterator[Start]:
    """Start workers of one slot in processes of their own, on this machine."""
    script = tmp_path / "script.py"
    script.write_text(OWN_PROCESS)
    environment = {"URL": database_url, "MACHINE": str(home), "PYTHONPATH": IMPORT_PATH}
    started: list[subprocess.Popen[bytes]] = []

    def one_more() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, script], env=os.environ | environment))
        return started[-1]

    yield one_more
    for process in started:
        process.kill()
        process.wait()


def owned(storage: Storage, study: StudyRow) -> list[Lease]:
    return [lease for lease in open_leases(storage, study.id) if lease.owner]


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(DEADLINE)


def kinds(storage: Storage, worker: str) -> list[str]:
    return [event.kind for event in events.latest(storage) if event.worker == worker]


def state(storage: Storage, worker: str) -> str:
    return next(known.state for known in workers.known(storage) if known.worker.name == worker)


def known_worker(storage: Storage, name: str) -> None:
    told = {"host": "h", "version": "1", "device": "1 core", "slots": 1}
    workers.heard(storage, workers.Worker(name=name, **told), lease=60.0)  # type: ignore[arg-type]


def numbers_and_units(storage: Storage, study: StudyRow) -> list[tuple[int, int]]:
    return [(trial.number, trial.user_attrs["unit"]) for trial in optuna_trials(storage, study)]


def test_what_a_killed_worker_held_goes_on_at_once_and_in_its_order(
    storage: Storage, folder: Path, home: Path, serve: Serve, start: Start
) -> None:
    study = make_study(storage, folder, trials=5, fates={"1": "gated"})
    killed = start()
    trace = folder / "began-1-1"

    def one_is_claimed_ahead() -> bool:
        ended, held = ended_leases(storage, study), owned(storage, study)
        return trace.exists() and len(ended) == 1 and len(held) == 2

    wait_until(one_is_claimed_ahead, "one is claimed ahead")
    name = str(owned(storage, study)[0].owner)
    kill(killed)
    wait_until(lambda: not lives(pid_in(trace)), "its slot ends")
    assert (home / "workers" / name).exists()
    assert (home / "shared" / name).is_dir()
    go(folder)(None)  # type: ignore[arg-type]
    mine = serve()
    assert mine.delivered == 4
    assert fates(storage, study) == ["COMPLETE"] * 5
    assert numbers_and_units(storage, study) == [(n, n) for n in range(5)]
    attempts = [trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)]
    assert attempts == [1, 2, 1, 1, 1]  # What was only claimed was not attempted.
    assert kinds(storage, name) == ["worker joined", "worker lost"]
    assert state(storage, name) == "lost"
    assert not list((home / "workers").iterdir())
    assert not list((home / "shared").iterdir())


def test_a_trial_that_its_workers_die_of_is_given_up_after_three_of_them(
    storage: Storage, folder: Path, serve: Serve, start: Start
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})
    for attempt in (1, 2, 3):
        worker = start()
        wait_until((folder / f"began-0-{attempt}").exists, f"attempt {attempt} begins")  # noqa: B023
        (name,) = {lease.owner for lease in owned(storage, study)}
        kill(worker)
    serve()
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    attributes = optuna_trials(storage, study)[0].user_attrs
    assert attributes["reason"] == f"gave up after 3 attempts: its worker {name} vanished"
    assert attributes["attempts"] == 3


def test_a_neighbour_that_lives_keeps_what_it_has(
    storage: Storage, folder: Path, home: Path, serve: Serve, start: Start
) -> None:
    study = make_study(storage, folder, trials=4, fates={"0": "gated"})
    neighbour = start()
    wait_until(lambda: len(owned(storage, study)) == 2, "it trains, and has claimed ahead")
    name = str(owned(storage, study)[0].owner)

    def it_still_has_them(one: Worker) -> bool:
        found = [lease.unit for lease in owned(storage, study) if lease.owner == name]
        assert found == [0, 1]
        return one.delivered == 2  # All the others.

    serve(it_still_has_them, go(folder))
    assert neighbour.wait(DEADLINE) == 0
    assert fates(storage, study) == ["COMPLETE"] * 4
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}
    assert kinds(storage, name) == ["worker joined", "worker left"]
    assert not list((home / "workers").iterdir())


def test_no_slot_or_fork_server_keeps_a_dead_worker_alive(
    storage: Storage, folder: Path, home: Path, serve: Serve
) -> None:
    make_study(storage, folder, trials=1, fates={"0": "gated"})
    held: dict[int, set[str]] = {}

    def who_has_its_file_is_looked_for(one: Worker) -> bool:
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            folders = Path(f"/proc/{process.pid}/fd")
            held[process.pid] = {
                os.readlink(path) for path in folders.iterdir() if path.is_symlink()
            }
        return True

    one = serve(appears(folder / "began-0-1"), who_has_its_file_is_looked_for, go(folder))
    having = {pid for pid, files in held.items() if str(home / "workers" / one.name) in files}
    assert having == {os.getpid()} and len(held) >= 3


def test_a_worker_that_could_not_hand_back_is_found_dead_by_the_next(
    storage: Storage, folder: Path, home: Path, serve: Serve, outage: Outage
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})
    stops = (sends(signal.SIGTERM), sends(signal.SIGTERM))
    first = serve(appears(folder / "began-0-1"), outage.begins, *stops)
    outage.ends(first)
    assert (home / "workers" / first.name).exists()
    assert owned(storage, study)
    go(folder)(first)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert state(storage, first.name) == "lost"


# Liveness, without their workers.


@pytest.fixture
def join(storage: Storage, home: Path) -> Callable[[str], Liveness]:
    def join(name: str) -> Liveness:
        one = Liveness(Retries(storage, lambda: None), home, name)
        one.join()
        return one

    return join


def reap(storage: Storage, home: Path) -> None:
    Liveness(Retries(storage, lambda: None), home, "another").reap()


def files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "workers").iterdir())


def test_a_worker_of_another_database_is_left_to_those_of_its_own(
    storage: Storage, home: Path, join: Callable[[str], Liveness]
) -> None:
    study = stored_study(storage)
    claimed(storage, study, "dead")
    join("dead").leave(owing=True)
    reap(storage, home)
    assert files(home) == ["dead"] and owned(storage, study)  # No worker here has that name.
    known_worker(storage, "dead")
    reap(storage, home)
    assert files(home) == [] and not owned(storage, study)


def test_a_worker_of_another_machine_or_of_an_earlier_start_is_left_alone(
    storage: Storage, home: Path, join: Callable[[str], Liveness], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_worker(storage, "far")
    study = stored_study(storage)
    claimed(storage, study, "far")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(liveness, "boot_id", lambda: "another machine")
        join("far").leave(owing=True)
    reap(storage, home)
    assert files(home) == ["far"] and owned(storage, study)
    assert state(storage, "far") == "serving"


def test_files_that_serve_nobody_any_more_are_removed(
    storage: Storage, home: Path, join: Callable[[str], Liveness]
) -> None:
    alive = join("alive")
    join("unknown").leave(owing=True)
    long_ago = time.time() - liveness.KEPT - 1
    for name in files(home):
        os.utime(home / "workers" / name, (long_ago, long_ago))
    reap(storage, home)
    assert files(home) == ["alive"]
    alive.leave(owing=False)
    assert files(home) == []


@pytest.mark.parametrize("cause", ["no locks", "no folder", "no boot id"])
def test_where_nothing_can_be_told_nothing_changes(
    storage: Storage,
    home: Path,
    folder: Path,
    serve: Serve,
    join: Callable[[str], Liveness],
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
) -> None:
    known_worker(storage, "dead")
    held = stored_study(storage, plan={"objective": "another"})
    claimed(storage, held, "dead")
    if cause == "no folder":
        home.mkdir()
        (home / "workers").write_text("in the way")
    else:
        join("dead").leave(owing=True)

    def refuses(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if cause == "no locks":
        monkeypatch.setattr(fcntl, "flock", refuses)
    if cause == "no boot id":
        monkeypatch.setattr(liveness, "boot_id", lambda: "")
    study = make_study(storage, folder, trials=2)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert owned(storage, held) and state(storage, "dead") == "serving"
    if cause != "no folder":
        assert files(home) == ["dead"]


def test_a_file_has_its_name_only_when_it_is_locked(
    storage: Storage, home: Path, join: Callable[[str], Liveness], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_worker(storage, "starting")
    study = stored_study(storage)
    claimed(storage, study, "starting")
    seen: list[list[str]] = []

    def looked_at(step: Callable[..., Any]) -> Callable[..., Any]:
        def before_it(*given: Any) -> Any:
            seen.append([name for name in files(home) if name[0] != "."])
            return step(*given)

        return before_it

    monkeypatch.setattr(liveness, "try_lock", looked_at(liveness.try_lock))
    monkeypatch.setattr(Path, "rename", looked_at(Path.rename))
    starting = join("starting")
    monkeypatch.undo()
    reap(storage, home)
    assert seen == [[], []] and files(home) == ["starting"]
    assert owned(storage, study)
    starting.leave(owing=False)


def _start(url: str, home: str, number: int) -> None:
    storage = connect(url)
    reap(storage, Path(home))
    storage.close()


def test_any_number_may_start_at_once(
    storage: Storage, database_url: str, home: Path, join: Callable[[str], Liveness]
) -> None:
    study = stored_study(storage, trials=9)
    for name in ("a", "b", "c"):
        known_worker(storage, name)
        begun(storage, study, name)
        claimed(storage, study, name)
        join(name).leave(owing=True)
    assert in_processes(8, _start, database_url, str(home))
    assert files(home) == []
    for name in ("a", "b", "c"):
        assert kinds(storage, name) == ["worker joined", "worker lost"]
    found = open_leases(storage, study.id)
    assert [(lease.owner, lease.attempt) for lease in found] == [(None, 1), (None, 0)] * 3
    assert len({lease.token for lease in found}) == 6


def test_a_database_that_is_away_ends_a_worker_only_when_patience_does(
    storage: Storage, home: Path, join: Callable[[str], Liveness], outage: Outage
) -> None:
    known_worker(storage, "dead")
    join("dead").leave(owing=True)
    outage.begin()
    retry = Retries(storage, lambda: None)
    retry.give_up_at(0.0)
    with pytest.raises(StorageError, match="PostgreSQL at"):
        Liveness(retry, home, "another").reap()
    outage.ends(None)  # type: ignore[arg-type]
    assert files(home) == ["dead"]


# Deaths.


def test_only_an_attempt_that_had_begun_counts(storage: Storage) -> None:
    known_worker(storage, "dead")
    study = stored_study(storage, trials=9)
    first = begun(storage, study, "earlier")
    let_expire(storage, first.id)
    again = claimed(storage, study, "dead")  # Begun before, but not in this attempt.
    assert (again.id, again.attempt) == (first.id, 2)
    begun(storage, study, "dead")
    claimed(storage, study, "dead")
    mine = begun(storage, study, "alive")
    listener = Listener(storage)
    listener.begin()
    assert deaths.reap(storage, "dead")
    found = open_leases(storage, study.id)
    assert [(lease.attempt, lease.reason) for lease in found] == [
        (1, "its worker earlier vanished"),
        (1, "its worker dead vanished"),
        (0, None),
        (1, None),
    ]
    assert [lease.owner for lease in found] == [None, None, None, "alive"]
    assert leases.renew(storage, [again, mine]) == {mine.id}
    wait_until(listener.heard, "others hear of it")
    listener.close()


def test_a_finishing_that_was_lost_counts_and_can_be_taken_up(storage: Storage) -> None:
    known_worker(storage, "dead")
    study = stored_study(storage, trials=1)
    finishing = run_to_the_end(storage, study, "dead")
    assert finishing is not None
    assert deaths.reap(storage, "dead")
    again = claimed(storage, study, "another")
    assert (again.id, again.kind, again.attempt) == (finishing.id, "finish", 2)
    assert again.reason == "its worker dead vanished"


def test_the_dead_are_buried_once_and_who_left_is_not_lost(storage: Storage) -> None:
    for name in ("dead", "gone"):
        known_worker(storage, name)
    with storage.transaction() as connection:
        gone = sa.update(tables.worker).where(tables.worker.c.name == "gone")
        connection.execute(gone.values(state="left"))
    for name in ("dead", "dead", "gone"):
        assert deaths.reap(storage, name)
    assert not deaths.reap(storage, "nobody")
    assert kinds(storage, "dead") == ["worker joined", "worker lost"]
    assert state(storage, "gone") == "left"


def test_a_paused_study_keeps_what_was_handed_back_until_it_is_resumed(storage: Storage) -> None:
    known_worker(storage, "dead")
    study = stored_study(storage)
    lease = begun(storage, study, "dead")
    studies.pause(storage, study.id)
    assert deaths.reap(storage, "dead")
    studies.resume(storage, study.id)
    assert claimed(storage, study, "another").id == lease.id
