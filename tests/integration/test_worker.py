"""A worker with real slots over a real database, and all that can happen to either.

A test tells its story in steps that the worker takes between two of its own: each is tried until
it comes true, then the next. So nothing sleeps, and what never comes true fails with its name.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from conftest import execute
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from stored_studies import ended_leases, let_expire, optuna_trials

from objectives.objective import Finish
from objectives.space import Range, Space
from storage import leases, studies, tables, trials
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import pool, worker
from topo_search.serving import Served
from topo_search.study import Options, create
from topo_search.worker import Worker

TOYS = Path(__file__).parents[1] / "acceptance"
OBJECTIVE = "toy_objectives:objective"
DEADLINE = 100.0  # Seconds that a worker of these tests may take; on an idle machine 1 to 5 do.

Step = Callable[[Worker], bool]
Serve = Callable[..., Worker]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the objectives leave traces and wait for the file `go`."""
    made = tmp_path / "traces"
    made.mkdir()
    return made


@pytest.fixture
def serve(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Run a worker in this process until it ends, and the steps of a story meanwhile."""
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setattr(worker, "WATCH", 0.1)

    def serve(*steps: Step, slots: int = 1, prepared: Step = bool, **options: Any) -> Worker:
        pending = list(steps)
        deadline = time.monotonic() + DEADLINE

        def take_a_step(one: Worker) -> None:
            while pending and pending[0](one):
                pending.pop(0)
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain; steps left: {[s.__name__ for s in pending]}")

        given = {"until_idle": True, "objectives": [OBJECTIVE], **options}
        one = Worker(storage, tmp_path / "home", slots=slots, on_tick=take_a_step, **given)
        prepared(one)
        one.run()
        assert not pending, [step.__name__ for step in pending]
        return one

    return serve


def make_study(storage: Storage, folder: Path, *, trials: int, **changes: Any) -> StudyRow:
    """Make a study of the toy objectives, whose unit N has the parameter x = N."""
    seconds = changes.pop("seconds", None)
    space = Space(name="own", parameters={"x": Range(low=0, high=999)}, enumerates=True)
    plan = {
        "objective": OBJECTIVE,
        "space": space.to_json(),
        "epochs": 9,
        "seed": 0,
        "pruner": "none",
        "sampler": "random",
        "metric": "value",
        "direction": "maximize",
        "folder": str(folder),
        **changes,
    }
    return studies.create(
        storage, plan=plan, direction="maximize", dataset=None, trials=trials, seconds=seconds
    )[0]


def number(trial: FrozenTrial) -> int:
    return trial.number


def fates(storage: Storage, study: StudyRow) -> list[str]:
    """Return how each trial ended, by number; each must have ended exactly once."""
    found = sorted(optuna_trials(storage, study), key=number)
    assert [trial.number for trial in found] == list(range(len(found)))
    assert sorted(unit for unit, _ in ended_leases(storage, study)) == list(range(len(found)))
    return [trial.state.name for trial in found]


def appears(path: Path) -> Step:
    def it_appears(_: Worker) -> bool:
        return path.exists()

    return it_appears


def go(folder: Path, only: int | None = None) -> Step:
    def gates_open(_: Worker) -> bool:
        (folder / ("go" if only is None else f"go-{only}")).touch()
        return True

    return gates_open


def sends(number: int) -> Step:
    def a_signal_comes(_: Worker) -> bool:
        os.kill(os.getpid(), number)
        return True

    return a_signal_comes


def pid_in(trace: Path) -> int:
    return int(trace.read_text().split()[0])


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.02)


# What becomes of a trial.


def test_a_study_of_n_units_has_n_trials_each_ended_once(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=7)
    one = serve(slots=2)
    assert fates(storage, study) == ["COMPLETE"] * 7
    assert one.ended == 7
    row = studies.get(storage, study.id)
    assert (row.state, row.reason) == ("finished", "all 7 trials done")
    assert row.outcome is not None
    assert (row.outcome["best"]["trial"], row.outcome["best"]["value"]) == (6, 6.0)


def test_what_an_outcome_says_is_kept_with_its_trial(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1)
    one = serve()
    (trial,) = optuna_trials(storage, study)
    assert (trial.params, trial.value, trial.intermediate_values) == ({"x": 0}, 0.0, {1: 0.0})
    kept = {"unit": 0, "attempts": 1, "worker": one.name, "loss": 1.0, "best_epoch": 1}
    assert kept.items() <= trial.user_attrs.items()


def test_a_slot_at_work_has_no_database(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=1)
    serve()
    (trial,) = optuna_trials(storage, study)
    loaded = set(trial.user_attrs["loaded"])
    assert {"tensorflow", "objectives", "toy_objectives"} <= loaded
    assert not loaded & {"sqlalchemy", "psycopg2", "alembic", "storage", "optuna"}


def test_what_slots_print_goes_to_the_log_alone(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    make_study(storage, folder, trials=1)
    serve()
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    # Whoever reads our output through a pipe would otherwise wait for the fork server's end.
    outputs = [os.readlink(f"/proc/{server}/fd/{number}") for number in (1, 2)]
    assert {Path(output).name for output in outputs} == {"slots.log"}


def test_a_trial_whose_slot_is_killed_is_tried_again_as_it_was(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "dies_twice"})
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 2
    trial = optuna_trials(storage, study)[0]
    assert trial.user_attrs["attempts"] == 3
    traces = [(folder / f"tried-0-{attempt}").read_text().split(" ", 2) for attempt in (1, 2, 3)]
    assert len({pid for pid, _, _ in traces}) == 3
    assert {tried for _, _, tried in traces} == {f"{trial.user_attrs['seed']} {trial.params}"}
    assert caplog.text.count("the slot was ended by SIGKILL") == 2


def test_after_three_attempts_a_trial_is_failed_with_the_reason(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=3, fates={"1": "dies"})
    serve()
    assert fates(storage, study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(list(folder.glob("tried-1-*"))) == 3
    attributes = optuna_trials(storage, study)[1].user_attrs
    assert attributes["attempts"] == 3
    assert attributes["reason"] == "gave up after 3 attempts: the slot was ended by SIGKILL"


def test_a_trial_that_raises_is_failed_at_once_with_reason_and_traceback(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "raises"})
    serve()
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    attributes = optuna_trials(storage, study)[0].user_attrs
    assert attributes["reason"] == "RuntimeError: no such layer"
    assert "in raises\n" in attributes["traceback"]
    assert len(list(folder.glob("tried-0-*"))) == 1


def test_a_trial_that_diverges_is_pruned(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=3, fates={"0": "diverges", "1": "is_not_a_number"})
    serve()
    assert fates(storage, study) == ["PRUNED", "PRUNED", "COMPLETE"]
    reasons = [trial.user_attrs.get("reason") for trial in optuna_trials(storage, study)]
    assert reasons == ["diverged", "diverged", None]


def test_a_prune_ends_a_trial_with_its_rungs_value_whatever_it_reported_later(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(
        storage, folder, trials=8, pruner="asha", fates={"5": "bad_first", "6": "bad_first"}
    )
    serve()
    expected = ["COMPLETE"] * 5 + ["PRUNED"] * 2 + ["COMPLETE"]
    # The verdicts on 5 and 6 came when their slot was through with them: passed over.
    assert fates(storage, study) == expected
    for trial in optuna_trials(storage, study)[5:7]:
        assert (trial.value, trial.intermediate_values) == (-1.0, {1: -1.0})
        assert (trial.user_attrs["reason"], trial.user_attrs["epochs"]) == ("pruned at step 1", 1)


def test_the_first_end_of_a_trial_stands(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="topo_search")
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})

    def another_ends_it(one: Worker) -> bool:
        (held,) = one.held.values()
        let_expire(storage, held.lease.id)
        taken = leases.claim(storage, study.id, "another", lambda unit: None)
        assert taken is not None and taken.id == held.lease.id
        assert trials.end(storage, taken, state="complete", value=500.0)
        return True

    one = serve(appears(folder / "began-0-1"), another_ends_it, go(folder))
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert [trial.value for trial in optuna_trials(storage, study)] == [500.0, 1.0]
    assert one.ended == 1
    assert f"Trial 0 of study {study.id} had ended." in caplog.text


# Limits.


def test_a_slot_that_takes_too_much_memory_is_ended_and_the_reason_says_so(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "greedy"})

    def has_little_memory(one: Worker) -> bool:
        one.pool.memory = 2**30
        return True

    serve(prepared=has_little_memory)
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    reason = optuna_trials(storage, study)[0].user_attrs["reason"]
    assert reason == "gave up after 3 attempts: used more than its 1.0 GiB of memory"


def test_a_trial_that_takes_too_long_is_failed_at_once_with_the_reason(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})
    serve(trial_timeout=2.5)
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    attributes = optuna_trials(storage, study)[0].user_attrs
    assert (attributes["reason"], attributes["attempts"]) == ("took longer than 2.5 s", 1)


def time_nearly_passes(storage: Storage, study: StudyRow) -> Step:
    def the_time_is_nearly_up(_: Worker) -> bool:
        with storage.transaction() as connection:
            nearly = {"spent_seconds": tables.study.c.seconds - 0.2}
            mine = sa.update(tables.study).where(tables.study.c.id == study.id)
            connection.execute(mine.values(nearly))
        return True

    return the_time_is_nearly_up


def test_a_budget_in_time_prunes_what_runs_and_ends_the_study(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=9, seconds=900.0, fates={"1": "gated"})
    serve(appears(folder / "began-1-1"), time_nearly_passes(storage, study))
    assert fates(storage, study) == ["COMPLETE", "PRUNED"]
    pruned = optuna_trials(storage, study)[1]
    assert (pruned.value, pruned.user_attrs["reason"]) == (0.25, "the study's time is up")
    row = studies.get(storage, study.id)
    assert (row.state, row.drawn) == ("finished", 2)
    assert row.reason == "time budget of 900 s spent after 2 trials"


def test_a_budget_in_time_waits_for_the_first_complete_trial(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=9, seconds=900.0, fates={"rest": "gated"})

    def the_time_is_up(_: Worker) -> bool:
        return studies.get(storage, study.id).time_is_spent

    waits = appears(folder / "began-0-1")
    serve(waits, time_nearly_passes(storage, study), the_time_is_up, go(folder))
    assert fates(storage, study) == ["COMPLETE"]
    assert studies.get(storage, study.id).state == "finished"


def test_slots_are_recycled(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RECYCLED_AFTER", 2)
    study = make_study(storage, folder, trials=5)
    serve()
    pids = [trial.user_attrs["pid"] for trial in optuna_trials(storage, study)]
    assert list(Counter(pids).values()) == [2, 2, 1]


def test_an_objective_that_is_not_allowed_is_not_run(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=2)
    serve(objectives=[])
    row = studies.get(storage, study.id)
    assert (row.state, row.drawn) == ("created", 0)
    said = f"Study {study.id} runs {OBJECTIVE}, which this worker may not."
    assert said in caplog.text
    assert f"topo-search worker --allow-objective {OBJECTIVE}" in caplog.text


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


@pytest.fixture
def outage(server_url: str, database_url: str) -> "Outage":
    """The power to take the test's database away and to give it back."""
    return Outage(server_url, str(make_url(database_url).database))


class Outage:
    def __init__(self, server_url: str, database: str) -> None:
        self.server_url, self.database, self.tries = server_url, database, 0

    def begin(self) -> None:
        execute(
            self.server_url,
            f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self.database}'",
        )

    def begins(self, _: Worker) -> bool:
        self.begin()
        return True

    def is_waited_out(self, _: Worker) -> bool:
        self.tries += 1  # The worker shows its state before every new try.
        return self.tries > 3

    def ends(self, _: Worker) -> bool:
        execute(self.server_url, f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS true")
        return True


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
    draw = Served.draw
    begun = []

    def draw_without_a_database(served: Served, unit: int) -> Any:
        if not begun:
            begun.append(True)
            outage.begin()
        return draw(served, unit)

    monkeypatch.setattr(Served, "draw", draw_without_a_database)
    serve(lambda one: bool(begun), outage.is_waited_out, outage.ends)
    assert fates(storage, study) == ["COMPLETE"] * 2


def test_a_network_whose_finishing_was_killed_is_finished_again(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    rows = [f"{k % 7},{k % 5},{'ab'[k % 2]}" for k in range(60)]
    options = Options(
        data="\n".join(["p,q,y", *rows]).encode(), file="t.csv", target="y", trials=1, epochs=1
    )
    study, _ = create(storage, options)
    killed = []

    def the_finishing_is_killed(one: Worker) -> bool:
        (slot,) = one.pool.slots
        if isinstance(slot.assignment, Finish):
            assert slot.process.pid is not None
            os.kill(slot.process.pid, signal.SIGKILL)
            killed.append(slot.process.pid)
        return bool(killed)

    serve(the_finishing_is_killed)
    assert fates(storage, study) == ["COMPLETE"]
    row = studies.get(storage, study.id)
    assert row.state == "finished" and row.outcome is not None
    assert row.outcome["test"]["looks"] == len(studies.looks(storage, study.id)) == 1


# Leaving.


def test_the_first_signal_drains(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=5, fates={"rest": "gated"})
    turns = []

    def has_claimed_ahead(one: Worker) -> bool:
        return one.ahead is not None

    def one_slot_is_idle_for_a_turn(one: Worker) -> bool:
        turns.append(one.ended)
        return turns[-2:] == [1, 1]

    first = serve(
        appears(folder / "began-0-1"),
        appears(folder / "began-1-1"),
        has_claimed_ahead,
        sends(signal.SIGINT),
        go(folder, only=1),
        one_slot_is_idle_for_a_turn,
        go(folder),
        slots=2,
    )
    assert (first.draining, first.stopping, first.ended) == (True, False, 2)
    assert fates(storage, study) == ["COMPLETE"] * 2  # And none has begun beside them.
    (ahead,) = leases.open_leases(storage, study.id)
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
    assert first.stopping and first.ended == 0
    assert not [trace for trace in folder.glob("began-*") if lives(pid_in(trace))]
    free = leases.open_leases(storage, study.id)
    assert {(lease.owner, lease.attempt) for lease in free} == {(None, 0)}
    assert {lease.reason for lease in free} == {"its worker was stopped"}
    go(folder)(first)
    serve(slots=2)
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


# Workers in processes of their own.

OWN_PROCESS = """
import os
from pathlib import Path
with open(os.environ["TRACES"] + "/script", "a") as file:
    file.write("was run\\n")
from storage.connection import connect
from topo_search.worker import Worker
storage = connect(os.environ["URL"])
options = dict(slots=2, until_idle=True, lease=2.0, objectives=["toy_objectives:objective"])
Worker(storage, Path(os.environ["TRACES"]) / "home", **options).run()
"""  # As users write: no `if __name__ == "__main__"`.


@pytest.fixture
def another(database_url: str, folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another worker, of two slots and leases of 2 s, in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(OWN_PROCESS)
    environment = os.environ | {
        "URL": database_url,
        "TRACES": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TOYS), os.environ.get("PYTHONPATH")])),
    }
    with subprocess.Popen([sys.executable, script], env=environment) as process:
        yield process
        process.kill()


def test_two_workers_one_of_them_in_a_users_script_end_exactly_the_budget(
    storage: Storage, folder: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
    odd = {str(x): "dies_twice" for x in range(5, 30, 8)}
    study = make_study(
        storage, folder, trials=30, fates={"0": "gated", "1": "gated", "2": "gated"} | odd
    )
    another: subprocess.Popen[bytes] = request.getfixturevalue("another")

    def both_are_at_it(_: Worker) -> bool:
        owners = {lease.owner for lease in leases.open_leases(storage, study.id)}
        return len(owners) == 2

    mine = serve(both_are_at_it, go(folder))
    assert another.wait(DEADLINE) == 0
    assert fates(storage, study) == ["COMPLETE"] * 30
    assert 0 < mine.ended < 30
    assert len({trial.user_attrs["worker"] for trial in optuna_trials(storage, study)}) == 2
    # Slots do not run a user's script again, though it has no guard.
    assert (folder / "script").read_text() == "was run\n"


def test_when_a_worker_is_killed_its_processes_end_and_another_takes_its_trials_over(
    storage: Storage, folder: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
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
    assert mine.ended == 4
    assert fates(storage, study) == ["COMPLETE"] * 4
    attempts = [trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)]
    assert attempts[:2] == [2, 2] and attempts[3] == 1
    assert {trial.state for trial in optuna_trials(storage, study)} == {TrialState.COMPLETE}
