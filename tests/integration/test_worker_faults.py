"""A worker with real slots over a real database, and all that can happen to either."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from rich.console import Console
from stored_studies import claim, let_expire, open_leases, optuna_trials
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

from objectives.space import Space
from storage import leases, studies, tables, trials, workers
from storage.connection import Storage
from storage.errors import StorageError
from storage.rows import Drawn, Lease
from topo_search import pool, retries, scheduler, worker
from topo_search.live import View
from topo_search.machine import Serving
from topo_search.serving import ServedStudy
from topo_search.slot import Surroundings
from topo_search.worker import Worker

# Faults.


def test_work_goes_on_after_the_fork_server_was_killed(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RECYCLED_AFTER", 1)  # So that the next trial needs a new slot.
    study = make_study(storage, folder, trials=3, fates={"0": "gated"})

    def the_fork_server_is_killed(_: Worker) -> bool:
        server = int((folder / "began-0-1").read_text().split()[1])
        assert server == forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(server, signal.SIGKILL)
        return True

    serve(appears(folder / "began-0-1"), the_fork_server_is_killed, go(folder))
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_a_result_is_kept_while_the_database_is_away(
    storage: Storage, folder: Path, serve: Serve, outage: Outage
) -> None:
    study = make_study(storage, folder, trials=3, fates={"0": "gated"})
    looked = []

    def a_view_looks_in_vain(_: Worker) -> bool:
        if not looked:
            looked.append(True)
            optuna_trials(storage, study)  # Raises, as it would in a live view.
        return True

    waits = appears(folder / "began-0-1")
    steps = (outage.begins, go(folder), outage.is_waited_out, a_view_looks_in_vain, outage.ends)
    serve(waits, *steps)
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_a_database_that_goes_away_while_parameters_are_drawn_is_waited_for(
    storage: Storage,
    folder: Path,
    serve: Serve,
    outage: Outage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(storage, folder, trials=2)
    draw = ServedStudy.draw
    begun = []

    def draw_without_a_database(served: ServedStudy, unit: int) -> Any:
        if not begun:
            begun.append(True)
            outage.begin()
        return draw(served, unit)

    monkeypatch.setattr(ServedStudy, "draw", draw_without_a_database)
    serve(lambda one: bool(begun), outage.is_waited_out, outage.ends)
    assert fates(storage, study) == ["COMPLETE"] * 2


def asks_in_vain(one: Worker) -> bool:
    """Tell whether a call is being tried again."""
    return one.retry._attending


def has_noticed(one: Worker) -> bool:
    """Tell whether it knows the outage for a long one."""
    return one.retry.others_may_be_back


def test_limits_hold_while_the_database_is_away(
    storage: Storage, folder: Path, serve: Serve, outage: Outage
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})

    def its_time_is_up(one: Worker) -> bool:
        one.trial_timeout = 1e-9
        return True

    def its_slot_is_ended(one: Worker) -> bool:
        if lives(pid_in(folder / "began-0-1")):
            return False
        one.trial_timeout = None  # The next trial, which waits for the database, has time.
        return True

    waits = appears(folder / "began-0-1")
    serve(waits, outage.begins, asks_in_vain, its_time_is_up, its_slot_is_ended, outage.ends)
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    reason = optuna_trials(storage, study)[0].user_attrs["reason"]
    assert reason == "took longer than 1e-09 s"


def test_a_slot_that_does_not_stop_a_trial_that_was_cancelled_is_ended(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "HEARING", 0.0)
    first = make_study(storage, folder, trials=1, fates={"0": "gated"})
    others = []

    def it_is_cancelled(_: Worker) -> bool:
        studies.cancel(storage, first.id)
        others.append(make_study(storage, folder, trials=1))
        return True

    serve(appears(folder / "began-0-1"), it_is_cancelled)
    assert fates(storage, others[0]) == ["COMPLETE"]
    assert not lives(pid_in(folder / "began-0-1"))


def test_a_finishing_that_hangs_is_ended_after_ten_times_what_a_trial_may_take(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, ended = Worker(storage, tmp_path, Serving(slots=1, trial_timeout=2.0)), []
    slot = SimpleNamespace(
        idle=False,
        assignment=SimpleNamespace(trial="it"),
        kill=lambda reason, again: ended.append((reason, again)),
    )
    monkeypatch.setattr(one.pool, "slots", [slot])
    monkeypatch.setattr(one.pool, "watch", lambda: None)
    one.runner.held["it"] = cast(Any, SimpleNamespace(lease=SimpleNamespace(kind="finish")))
    for slot.seconds in (19.9, 20.1):
        one._due["limits"] = 0.0
        one._limit()
    assert ended == [("took longer than 20 s", True)]


def test_a_slot_that_has_stopped_is_not_held_to_be_deaf(
    light_slots: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "HEARING", -1.0)
    with pool.Pool(1, Surroundings(log=tmp_path / "slots.log"), memory=None) as slots:
        (slot,) = slots.slots
        slot.give(cast(Any, SimpleNamespace(trial="it")))
        slot.stop_trial()
        slot.assignment = None  # As its end is taken.
        slots.watch()
        assert slot.killed_for is None


def test_a_stranger_that_has_the_number_of_a_slot_that_is_gone_is_left_alone(
    light_slots: None, tmp_path: Path
) -> None:
    slots = pool.Pool(1, Surroundings(log=tmp_path / "slots.log"), memory=1)
    with slots, subprocess.Popen(["sleep", "600"]) as stranger:
        (slot,) = slots.slots
        assert slot.process.pid is not None
        os.kill(slot.process.pid, signal.SIGKILL)
        slot.process.join()
        slot.process._popen.pid = stranger.pid
        slots.watch()
        assert slot.killed_for is None
        slot.kill("it took too long")
        assert stranger.poll() is None
        stranger.kill()


def test_own_leases_are_renewed_before_others_are_looked_for(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, folder, trials=1, fates={"0": "gated"})
    asked: list[str] = []
    for module, name in ((leases, "renew"), (scheduler, "offers")):
        told = partial(_telling, asked, getattr(module, name), name)
        monkeypatch.setattr(module, name, told)

    def both_are_due(one: Worker) -> bool:
        asked.clear()
        one._due.update(renewal=0.0, poll=0.0)
        return True

    def both_are_asked_for(_: Worker) -> bool:
        return len(asked) > 1

    serve(appears(folder / "began-0-1"), both_are_due, both_are_asked_for, go(folder), slots=2)
    assert asked[:2] == ["renew", "offers"]


def _telling(asked: list[str], call: Callable[..., Any], name: str, *args: Any, **how: Any) -> Any:
    asked.append(name)
    return call(*args, **how)


def test_after_a_long_outage_others_may_come_back_to_their_trials(
    storage: Storage,
    folder: Path,
    serve: Serve,
    outage: Outage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "POLL", 0.0)
    later = [0.0]
    passing = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(later))
    monkeypatch.setattr(retries, "time", passing)
    study = make_study(storage, folder, trials=3, fates={"1": "gated"})
    distributions = Space.from_json(study.plan["space"]).distributions()
    draw = lambda unit: Drawn(parameters={"x": unit}, seed=1)  # noqa: E731
    other = workers.Worker(name="another", host="h", version="1", device="cores", slots=1)
    workers.heard(storage, other, lease=60.0)
    its = claim(storage, study.id, "another", draw)
    assert its is not None
    trials.begin(storage, its, distributions)

    def a_long_time_passes(_: Worker) -> bool:
        later.append(2000.0)
        return True

    def the_other_was_cut_off_as_well(_: Worker) -> bool:
        let_expire(storage, its.id)
        with storage.transaction() as connection:
            mine = sa.update(tables.worker).where(tables.worker.c.name == "another")
            long_ago = sa.func.now() - sa.text("interval '1 hour'")
            connection.execute(mine.values(seen_at=long_ago, state="serving"))
        return True

    turns: list[int] = []

    def all_others_are_through(one: Worker) -> bool:
        turns.append(one.delivered)
        return turns[-3:] == [2, 2, 2]

    def it_comes_back(_: Worker) -> bool:
        with storage.transaction() as connection:  # Nobody has noted that it is lost.
            state = sa.select(tables.worker.c.state).where(tables.worker.c.name == "another")
            assert connection.scalar(state) == "serving"
        return trials.end(storage, its, state="complete", value=500.0)

    serve(
        appears(folder / "began-1-1"),
        *(outage.begins, go(folder), asks_in_vain, a_long_time_passes),
        *(has_noticed, outage.ends, the_other_was_cut_off_as_well),
        *(all_others_are_through, it_comes_back),
        prepared=tells_often,
    )
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert [trial.value for trial in optuna_trials(storage, study)] == [500.0, 1.0, 2.0]


def tells_often(one: Worker) -> bool:
    """Have it look for the lost at every turn, a moment of silence being enough."""
    one.lease_seconds = one.heartbeat.lease_seconds = 0.01
    return True


def test_what_is_left_behind_is_taken_over_once_its_owner_had_time_to_come_back(
    storage: Storage, folder: Path, serve: Serve, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [0.0]
    passing = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(later))
    monkeypatch.setattr(retries, "time", passing)
    study = make_study(storage, folder, trials=2, fates={"1": "gated"})
    draw = lambda unit: Drawn(parameters={"x": unit}, seed=1)  # noqa: E731
    its = claim(storage, study.id, "another", draw)
    assert its is not None

    def time_passes(_: Worker) -> bool:
        later.append(100.0)
        return True

    def the_other_vanishes(_: Worker) -> bool:
        let_expire(storage, its.id)
        return True

    def ours_is_through(one: Worker) -> bool:
        return one.delivered == 1

    serve(
        appears(folder / "began-1-1"),
        *(outage.begins, go(folder), asks_in_vain, time_passes),
        *(has_noticed, outage.ends, the_other_vanishes, ours_is_through, time_passes),
    )
    assert fates(storage, study) == ["COMPLETE"] * 2


def test_a_worker_that_holds_nothing_waits_for_no_database_when_it_is_to_end(
    storage: Storage, folder: Path, serve: Serve, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LEAVING", 0.5)
    study = make_study(storage, folder, trials=1)

    def is_idle(one: Worker) -> bool:
        return one.delivered == 1 and not one.held

    steps = (is_idle, outage.begins, outage.is_waited_out, sends(signal.SIGTERM))
    with pytest.raises(StorageError):
        serve(*steps, until_idle=False, drain=2 * DEADLINE)
    outage.end()
    assert fates(storage, study) == ["COMPLETE"]


@pytest.mark.parametrize("step", ["begin", "end"])
def test_a_trial_that_ends_its_worker_is_given_up_after_three_of_them(
    storage: Storage,
    folder: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    study = make_study(storage, folder, trials=2)
    real = getattr(trials, step)

    def bound(of: Storage, lease: Lease, *how: Any, **more: Any) -> Any:
        if lease.unit == 0:
            raise RuntimeError("unforeseen")
        return real(of, lease, *how, **more)

    monkeypatch.setattr(trials, step, bound)
    for attempt in range(1, 4):
        with pytest.raises(RuntimeError, match="unforeseen"):
            serve()
        leases_left = open_leases(storage, study.id)
        assert [(one.owner, one.attempt) for one in leases_left if one.unit == 0] == [
            (None, attempt)
        ]
        assert all(one.attempt == 0 for one in leases_left if one.unit)  # Claimed ahead, not begun.
    serve()
    assert sorted(fates(storage, study)) == ["COMPLETE", "FAIL"]
    (failed,) = [one for one in optuna_trials(storage, study) if one.state is TrialState.FAIL]
    why = "gave up after 3 attempts: its worker failed: RuntimeError: unforeseen"
    assert failed.user_attrs["reason"] == why
    assert open_leases(storage) == []


# Leaving.


def test_the_first_signal_drains(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=5, fates={"rest": "gated"})
    turns = []

    def has_claimed_ahead(one: Worker) -> bool:
        return one.ahead is not None

    def what_was_claimed_ahead_is_free(_: Worker) -> bool:
        owners = {lease.unit: lease.owner is not None for lease in open_leases(storage, study.id)}
        return owners == {0: True, 1: True, 2: False}

    def one_slot_is_idle_for_a_turn(one: Worker) -> bool:
        turns.append(one.delivered)
        return turns[-2:] == [1, 1]

    first = serve(
        appears(folder / "began-0-1"),
        appears(folder / "began-1-1"),
        has_claimed_ahead,
        sends(signal.SIGINT),
        what_was_claimed_ahead_is_free,
        go(folder, only=1),
        one_slot_is_idle_for_a_turn,
        go(folder),
        slots=2,
    )
    assert (first.draining, first.stopping, first.delivered) == (True, False, 2)
    assert fates(storage, study) == ["COMPLETE"] * 2  # And none has begun beside them.
    (ahead,) = open_leases(storage, study.id)
    assert (ahead.unit, ahead.owner, ahead.attempt) == (2, None, 0)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 5
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_the_second_signal_stops_at_once_and_hands_the_leases_back(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=3, fates={"rest": "gated"})
    both = [appears(folder / f"began-{x}-1") for x in (0, 1)]
    first = serve(*both, sends(signal.SIGTERM), sends(signal.SIGINT), slots=2)
    assert first.stopping and first.delivered == 0
    assert not [trace for trace in folder.glob("began-*") if lives(pid_in(trace))]
    free = open_leases(storage, study.id)
    assert {(lease.owner, lease.attempt) for lease in free} == {(None, 0)}
    assert {lease.reason for lease in free} == {"its worker was stopped"}
    go(folder)(first)
    serve(slots=2)
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_a_worker_that_cannot_hand_back_does_not_ask_again_for_each_trial(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, folder, trials=2, fates={"0": "gated", "1": "gated"})
    asked: list[tuple[object, ...]] = []

    def away(*given: object, **_: object) -> bool:
        asked.append(given)
        raise StorageError("The database is away.")

    def the_database_goes_away(_: Worker) -> bool:
        monkeypatch.setattr(leases, "release", away)
        return True

    monkeypatch.setattr(worker, "HANDING_BACK", 0.5)
    both = (appears(folder / f"began-{unit}-1") for unit in range(2))
    serve(*both, the_database_goes_away, sends(signal.SIGTERM), sends(signal.SIGTERM), slots=2)
    assert len({id(lease) for _, lease in asked}) == 1


def test_a_worker_that_leaves_asks_again_where_a_connection_broke(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated", "1": "gated"})
    real, broken = leases.release, []

    def release(*given: Any, **named: Any) -> bool:
        if not broken:
            broken.append(given)
            raise StorageError("The connection broke.")
        return real(*given, **named)

    monkeypatch.setattr(leases, "release", release)
    both = (appears(folder / f"began-{unit}-1") for unit in range(2))
    serve(*both, sends(signal.SIGTERM), sends(signal.SIGTERM), slots=2)
    with storage.transaction() as connection:
        owners = connection.scalars(
            sa.select(tables.lease.c.owner).where(tables.lease.c.study == study.id)
        ).all()
    assert broken and owners == [None, None]


# Workers in processes of their own.

OWN_PROCESS = """
import os
from pathlib import Path
with open(os.environ["TRACES"] + "/script", "a") as file:
    file.write("was run\\n")
from storage.connection import connect
from topo_search import forking
from topo_search.machine import Serving
from topo_search.worker import Worker
forking.PRELOAD = "light_preload"
storage = connect(os.environ["URL"])
serving = Serving(slots=2, objectives=["toy_objectives:objective"])
options = dict(until_idle=True, lease=float(os.environ["LEASE"]))
Worker(storage, Path(os.environ["TRACES"]) / "home", serving, **options).run()
"""  # As users write: no `if __name__ == "__main__"`.


@pytest.fixture
def another(database_url: str, folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another worker, of two slots and leases of `LEASE` s, in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(OWN_PROCESS)
    environment = os.environ | {
        "URL": database_url,
        "TRACES": str(folder),
        "PYTHONPATH": IMPORT_PATH,
    }
    with subprocess.Popen([sys.executable, script], env=environment) as process:
        yield process
        process.kill()


def test_two_workers_one_of_them_in_a_users_script_end_exactly_the_budget(
    storage: Storage,
    folder: Path,
    serve: Serve,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = {str(x): "dies_twice" for x in range(5, 30, 8)}
    study = make_study(
        storage, folder, trials=30, fates={"0": "gated", "1": "gated", "2": "gated"} | odd
    )
    monkeypatch.setenv("LEASE", "60")
    another: subprocess.Popen[bytes] = request.getfixturevalue("another")

    def both_are_at_it(_: Worker) -> bool:
        owners = {lease.owner for lease in open_leases(storage, study.id)}
        return len(owners) == 2

    mine = serve(both_are_at_it, go(folder))
    assert another.wait(DEADLINE) == 0
    assert fates(storage, study) == ["COMPLETE"] * 30
    assert 0 < mine.delivered < 30
    assert len({trial.user_attrs["worker"] for trial in optuna_trials(storage, study)}) == 2
    # Slots do not run a user's script again, though it has no guard.
    assert (folder / "script").read_text() == "was run\n"


def test_when_a_worker_is_killed_its_processes_end_and_another_takes_its_trials_over(
    storage: Storage,
    folder: Path,
    serve: Serve,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEASE", "2")
    study = make_study(storage, folder, trials=4, fates={"rest": "gated"})
    another: subprocess.Popen[bytes] = request.getfixturevalue("another")
    traces = [folder / "began-0-1", folder / "began-1-1"]
    wait_until(lambda: all(trace.exists() for trace in traces), "both slots train")
    children = psutil.Process(another.pid).children(recursive=True)
    assert {pid_in(trace) for trace in traces} <= {child.pid for child in children}
    another.kill()
    wait_until(lambda: not any(lives(child.pid) for child in children), "its processes end")
    go(folder)(None)  # type: ignore[arg-type]
    mine = serve()
    assert mine.delivered == 4
    assert fates(storage, study) == ["COMPLETE"] * 4
    attempts = [trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)]
    assert attempts[:2] == [2, 2] and attempts[3] == 1
    assert {trial.state for trial in optuna_trials(storage, study)} == {TrialState.COMPLETE}


def test_a_view_says_what_is_waited_for_and_tells_no_trial_twice(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2)

    def draw(unit: int) -> Drawn:
        return Drawn(parameters={"x": unit}, seed=1)

    first, second = (claim(storage, study.id, "gone", draw) for _ in range(2))
    assert first is not None and second is not None
    distributions = Space.from_json(study.plan["space"]).distributions()
    trials.begin(storage, first, distributions)
    assert trials.end(storage, first, state="complete", value=0.0)
    printed = io.StringIO()
    view = View(Console(file=printed, width=100), studies.get(storage, study.id))

    def it_is_said(one: Worker) -> bool:
        view.tick(one)
        return "Another worker has a trial." in printed.getvalue()

    def the_lease_runs_out(_: Worker) -> bool:
        let_expire(storage, second.id)
        return True

    with view.shown():
        serve(it_is_said, the_lease_runs_out)
    assert "trial   1  complete" in printed.getvalue()
    assert "trial   0" not in printed.getvalue()
    assert fates(storage, study) == ["COMPLETE"] * 2
