"""What a worker with real slots makes of trials, over a real database."""

import logging
import math
import os
from collections import Counter
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from stored_studies import claim, ended_leases, let_expire, optuna_trials
from stories import (
    OBJECTIVE,
    Serve,
    Step,
    appears,
    fates,
    go,
    make_study,
)

from objectives.sizes import Sizes, count_weights
from objectives.space import Space
from storage import artifacts, datasets, events, studies, tables, trials
from storage.connection import Storage
from storage.rows import Drawn, Lease, StudyRow
from topo_search import finish, forking, pool
from topo_search.serving import ServedStudy
from topo_search.slot import NICENESS
from topo_search.study import Options, tabular_plan
from topo_search.worker import Worker

OF_A_TABLE = "toy_objectives:of_a_table"
PRELOAD = forking.PRELOAD  # As in earnest; other tests here do without TensorFlow.


def test_a_study_of_n_units_has_n_trials_each_ended_once(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=7)
    one = serve(slots=2)
    assert fates(storage, study) == ["COMPLETE"] * 7
    assert one.delivered == 7
    row = studies.get(storage, study.id)
    assert (row.state, row.reason) == ("finished", "all 7 trials done")
    assert row.outcome is not None
    assert (row.outcome["best"]["trial"], row.outcome["best"]["value"]) == (6, 6.0)
    last = events.latest(storage, study=study.id)[-1]
    assert (last.kind, last.text) == ("study finished", row.reason)


def test_what_an_outcome_says_is_kept_with_its_trial(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1)
    one = serve()
    (trial,) = optuna_trials(storage, study)
    assert (trial.params, trial.value, trial.intermediate_values) == ({"x": 0}, 0.0, {1: 0.0})
    kept = {"unit": 0, "attempts": 1, "worker": one.name, "loss": 1.0, "best_epoch": 1}
    assert kept.items() <= trial.user_attrs.items()


def test_a_slot_at_work_has_no_database_and_one_thread(
    storage: Storage,
    folder: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    fork_server: Callable[[str], None],
) -> None:
    fork_server("toys with TensorFlow")
    monkeypatch.setattr(forking, "PRELOAD", PRELOAD)
    study = make_study(storage, folder, trials=1)
    serve()
    (trial,) = optuna_trials(storage, study)
    loaded = set(trial.user_attrs["loaded"])
    assert {"tensorflow", "objectives", "toy_objectives"} <= loaded
    assert not loaded & {"sqlalchemy", "psycopg2", "alembic", "storage", "optuna"}
    assert trial.user_attrs["threads"] == [1, 1]
    fork_server("toys")


def test_what_slots_print_goes_to_the_log_alone(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    make_study(storage, folder, trials=1)
    serve()
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    # Whoever reads our output through a pipe would otherwise wait for the fork server's end.
    outputs = [os.readlink(f"/proc/{server}/fd/{number}") for number in (1, 2)]
    assert {Path(output).name for output in outputs} == {"slots.log"}


def test_slots_make_way_for_whoever_else_wants_a_core(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1)
    own: list[int] = []

    def the_slot_has_begun(one: Worker) -> bool:
        processes = [psutil.Process(slot.process.pid).nice() for slot in one.pool.slots]
        own[:] = [nice - psutil.Process().nice() for nice in processes]
        return own == [NICENESS] * one.count

    serve(the_slot_has_begun)
    assert fates(storage, study) == ["COMPLETE"]


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


@pytest.mark.parametrize(("fate", "by"), [("dies", "SIGKILL"), ("crashes", "SIGSEGV")])
def test_after_three_attempts_a_trial_is_failed_with_the_reason(
    storage: Storage, folder: Path, serve: Serve, fate: str, by: str
) -> None:
    study = make_study(storage, folder, trials=3, fates={"1": fate})
    serve()
    assert fates(storage, study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(list(folder.glob("tried-1-*"))) == 3
    attributes = optuna_trials(storage, study)[1].user_attrs
    assert attributes["attempts"] == 3
    assert attributes["reason"] == f"gave up after 3 attempts: the slot was ended by {by}"


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


def test_a_trial_that_says_what_cannot_be_kept_is_failed_and_the_worker_goes_on(
    storage: Storage,
    folder: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = make_study(storage, folder, trials=3)
    report, end = trials.report, trials.end

    def report_of_the_first(of: Storage, lease: Lease, step: int, value: float) -> bool:
        return report(of, lease, step if lease.unit else 2**31, value)

    def end_of_the_second(of: Storage, lease: Lease, **how: Any) -> bool:
        if lease.unit == 1 and how["state"] == "complete":
            how["attributes"] = {"n" * 513: 1.0}
        return end(of, lease, **how)

    monkeypatch.setattr(trials, "report", report_of_the_first)
    monkeypatch.setattr(trials, "end", end_of_the_second)
    serve()
    assert fates(storage, study) == ["FAIL", "FAIL", "COMPLETE"]
    reasons = [trial.user_attrs.get("reason") for trial in optuna_trials(storage, study)]
    kept = "what it said cannot be kept: Expected what the database can keep. It says: "
    assert reasons == [
        f"{kept}integer out of range.",
        f"{kept}value too long for type character varying(512).",
        None,
    ]
    assert f"Trial 0 of study {study.id}: {reasons[0]}" in caplog.text


def kept_weights(storage: Storage, study: StudyRow) -> dict[str, bytes]:
    names = [kept.name for kept in artifacts.list_artifacts(storage, study.id)]
    return {name: artifacts.get(storage, study.id, name) for name in names}


def draws(monkeypatch: pytest.MonkeyPatch, *x: int) -> None:
    """Let unit N have the Nth of these as its parameter."""
    drawn = [Drawn(parameters={"x": one}, seed=1) for one in x]
    monkeypatch.setattr(ServedStudy, "draw", lambda _, unit: drawn[unit])


def test_the_weights_of_the_best_trials_are_kept(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, folder, trials=6, fates={"rest": "weighs"})
    draws(monkeypatch, 1, 8, 6, 9, 7, 2)
    serve()
    assert kept_weights(storage, study) == {"weights/1": b"8", "weights/3": b"9", "weights/4": b"7"}


def test_weights_that_a_lost_worker_left_are_dropped_at_the_end(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, folder, trials=4, fates={"rest": "weighs"})
    draws(monkeypatch, 1, 8, 6, 9)

    def all_have_ended(one: Worker) -> bool:
        if len(ended_leases(storage, study)) < 4:
            return False
        one.drain()
        return True

    with monkeypatch.context() as lost:
        lost.setattr(finish, "drop_weights", lambda served: None)
        serve(all_have_ended)
    assert len(kept_weights(storage, study)) == 4
    serve()
    assert kept_weights(storage, study) == {"weights/1": b"8", "weights/2": b"6", "weights/3": b"9"}


def test_weights_that_are_too_many_cost_a_trial_nothing_else(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, folder, trials=2, fates={"rest": "weighs"})
    draws(monkeypatch, 123, 7)
    for module in (datasets, artifacts):
        monkeypatch.setattr(module, "MAX_BYTES", 2)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert kept_weights(storage, study) == {"weights/1": b"7"}


def test_a_trial_that_diverges_is_pruned(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=3, fates={"0": "diverges", "1": "is_not_a_number"})
    serve()
    assert fates(storage, study) == ["PRUNED", "PRUNED", "COMPLETE"]
    reasons = [trial.user_attrs.get("reason") for trial in optuna_trials(storage, study)]
    assert reasons == ["diverged", "diverged", None]


def test_every_trial_of_a_table_says_what_it_was_however_it_ended(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    data = "p,q,y\n" + "".join(f"{k % 7},{k % 5},{'ab'[k % 2]}\n" for k in range(60))
    limits = {"depth": "1:9", "width": "4"}
    options = Options(data=data.encode(), target="y", space="depth", limits=limits, epochs=9)
    ends = {"6": "bad_first", "7": "diverges_later", "8": "raises", "9": "dies"}
    own = {"objective": OF_A_TABLE, "pruner": "asha", "folder": str(folder), "fates": ends}
    plan = tabular_plan(options) | own
    dataset = datasets.put(storage, data.encode(), "t.csv")
    made = {"direction": "maximize", "dataset": dataset, "trials": 9}
    study, _ = studies.create(storage, plan=plan, **made)

    def all_have_ended(one: Worker) -> bool:
        if len(ended_leases(storage, study)) < 9:
            return False
        one.drain()  # What the toys gave is nothing to finish with.
        return True

    serve(all_have_ended, objectives=[OF_A_TABLE])
    found = {trial.user_attrs["depth"]: trial for trial in optuna_trials(storage, study)}
    reasons = {depth: trial.user_attrs.get("reason") for depth, trial in found.items() if depth > 5}
    assert reasons == {
        6: "not among the best at step 1",
        7: "diverged",
        8: "RuntimeError: no such layer",
        9: "gave up after 3 attempts: the slot was ended by SIGKILL",
    }
    sizes = Sizes.from_json(plan["sizes"])
    space = Space.from_json(plan["space"])
    for depth, trial in found.items():
        topology, _ = space.decode(trial.params)
        said = {"topology": str(topology), "weights": count_weights(topology, sizes, 2)}
        assert said.items() <= trial.user_attrs.items(), depth
    epochs = {depth: found[depth].user_attrs["epochs"] for depth in (6, 7, 8)}
    assert epochs == {6: 1, 7: 2, 8: 0}
    assert all(found[depth].user_attrs["seconds"] > 0 for depth in epochs)


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
        assert (trial.user_attrs["reason"], trial.user_attrs["epochs"]) == (
            "not among the best at step 1",
            1,
        )


def test_the_first_end_of_a_trial_stands(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="topo_search")
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})

    def another_ends_it(one: Worker) -> bool:
        if not one.pool.slots[0].step:
            return False  # Else that report, read later, is how it hears of it.
        (held,) = one.held.values()
        let_expire(storage, held.lease.id)
        taken = claim(storage, study.id, "another")
        assert taken is not None and taken.id == held.lease.id
        assert trials.end(storage, taken, state="complete", value=500.0)
        one._due["renewal"] = math.inf  # It hears of it when it delivers its own, and not before.
        return True

    one = serve(appears(folder / "began-0-1"), another_ends_it, go(folder))
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert [trial.value for trial in optuna_trials(storage, study)] == [500.0, 1.0]
    assert one.delivered == 1
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

    def the_first_has_failed(one: Worker) -> bool:
        if not one.runner.outcomes["failed"]:
            return False
        one.trial_timeout = None  # The next has time.
        return True

    serve(the_first_has_failed, trial_timeout=1)
    assert fates(storage, study) == ["FAIL", "COMPLETE"]
    attributes = optuna_trials(storage, study)[0].user_attrs
    assert (attributes["reason"], attributes["attempts"]) == ("took longer than 1 s", 1)
    assert attributes["epochs"] == 1 and attributes["seconds"] > 1


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
