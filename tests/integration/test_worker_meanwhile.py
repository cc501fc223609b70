"""What people do to a study while a worker serves it, and ends of studies that go wrong."""

import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console
from stored_studies import ended_leases, let_expire, open_leases, optuna_trials
from stories import DEADLINE, Serve, Step, appears, fates, go, make_study

from objectives.objective import Finish
from objectives.space import Space
from storage import artifacts, datasets, finishing, leases, studies, trial_reader, trials
from storage.check import violations
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import finish
from topo_search.live import View
from topo_search.study import Options, create
from topo_search.worker import Worker


@pytest.fixture(scope="module")
def light_slots(fork_server: Callable[[str], None]) -> None:
    """Have slots with TensorFlow after all: here networks are trained."""
    fork_server("slots")


def has_claimed_ahead(one: Worker) -> bool:
    return one.ahead is not None


def holds_nothing(one: Worker) -> bool:
    return not one.held


def renewal_is_due(one: Worker) -> bool:
    one._due["renewal"] = 0.0
    return True


def test_a_paused_study_ends_what_runs_and_begins_nothing(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=4, fates={"0": "gated"})

    def somebody_pauses(_: Worker) -> bool:
        studies.pause(storage, study.id, "lunch")
        return True

    one = serve(appears(folder / "began-0-1"), has_claimed_ahead, somebody_pauses, go(folder))
    assert one.delivered == 1
    assert [trial.state.name for trial in optuna_trials(storage, study)] == ["COMPLETE"]
    (ahead,) = open_leases(storage, study.id)
    assert (ahead.unit, ahead.owner, ahead.attempt) == (1, None, 0)
    assert studies.get(storage, study.id).state == "paused"
    studies.resume(storage, study.id)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 4


def test_a_cancelled_study_is_let_go_of(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=4, fates={"rest": "gated"})

    def somebody_cancels(_: Worker) -> bool:
        studies.cancel(storage, study.id, "wrong target")
        return True

    waits = appears(folder / "began-0-1")
    one = serve(waits, has_claimed_ahead, somebody_cancels, renewal_is_due, holds_nothing)
    assert (one.delivered, one.runner.leases_lost) == (0, 1)
    # The one claimed ahead had not begun; its unit was drawn, so it has a trial all the same.
    assert fates(storage, study) == ["FAIL"] * 2
    reasons = {trial.user_attrs["reason"] for trial in optuna_trials(storage, study)}
    assert reasons == {"wrong target"}
    assert studies.get(storage, study.id).state == "cancelled"
    assert not [record for record in caplog.records if record.exc_info]


def test_a_running_trial_that_is_ended_by_other_means_keeps_no_study_open(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated_twice"})

    def somebody_ends_it(_: Worker) -> bool:
        trials.optuna_study(storage, study).tell(0, 500.0)
        return True

    serve(appears(folder / "began-0-1"), somebody_ends_it, go(folder))
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert [trial.value for trial in optuna_trials(storage, study)] == [500.0, 1.0]
    assert studies.get(storage, study.id).state == "finished"
    assert violations(storage) == []


def test_a_deleted_study_is_let_go_of_and_the_others_go_on(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=4, fates={"rest": "gated"})

    def somebody_deletes(_: Worker) -> bool:
        studies.delete(storage, study.id)
        return True

    other: list[StudyRow] = []

    def another_study_comes(_: Worker) -> bool:
        other.append(make_study(storage, folder, trials=2))
        return True

    waits = appears(folder / "began-0-1")
    steps = (somebody_deletes, another_study_comes, renewal_is_due, holds_nothing, go(folder))
    one = serve(waits, has_claimed_ahead, *steps)
    assert one.delivered == 2
    assert fates(storage, other[0]) == ["COMPLETE"] * 2
    assert [row.id for row in studies.list_studies(storage)] == [other[0].id]


def test_a_worker_that_slept_past_its_lease_goes_on_if_nobody_took_over(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=3, fates={"0": "gated", "1": "gated"})

    def its_lease_runs_out(one: Worker) -> bool:
        for held in one.held.values():
            let_expire(storage, held.lease.id)
        return True

    def the_second_has_ended(_: Worker) -> bool:
        return {unit for unit, _ in ended_leases(storage, study)} >= {1, 2}

    both = [appears(folder / f"began-{x}-1") for x in (0, 1)]
    # The other slot asks for more work: of its own worker's leases it must not be given one.
    serve(*both, its_lease_runs_out, go(folder, only=1), the_second_has_ended, go(folder), slots=2)
    assert fates(storage, study) == ["COMPLETE"] * 3
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def small_study(storage: Storage) -> StudyRow:
    rows = [f"{k % 7},{k % 5},{'ab'[k % 2]}" for k in range(60)]
    data = "\n".join(["p,q,y", *rows]).encode()
    return create(storage, Options(data=data, file="t.csv", target="y", trials=1, epochs=1))[0]


def the_table_is_shared(one: Worker) -> bool:
    """Tell whether its slots have one copy of what was read."""
    return any(one.liveness.own.glob("*/rest_y.npy"))


def test_a_lease_is_renewed_while_its_dataset_is_fetched(
    storage: Storage, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(storage)
    monkeypatch.setattr(datasets, "CHUNK", 100)
    renew, renewed = leases.renew, list[set[UUID]]()
    held: list[int] = []

    def renew_and_tell(*args: Any, **options: Any) -> set[UUID]:
        renewed.append(renew(*args, **options))
        held.append(len(open_leases(storage)) - len(optuna_trials(storage, study)))
        return renewed[-1]

    monkeypatch.setattr(leases, "renew", renew_and_tell)
    serve()
    assert (len(renewed[0]), held[0]) == (1, 1)  # Before its trial began.
    assert fates(storage, study) == ["COMPLETE"]


def test_what_a_worker_has_just_claimed_is_not_told_to_be_anothers(
    storage: Storage, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(storage)
    monkeypatch.setattr(datasets, "CHUNK", 100)  # It is looked at while the table is fetched.
    printed = io.StringIO()
    view = View(Console(file=printed, width=100), studies.get(storage, study.id))

    def it_is_told(one: Worker) -> bool:
        view._next = 0.0
        view.tick(one)
        return "trial   0  complete" in printed.getvalue()

    with view.shown():
        serve(it_is_told)
    assert "Another worker has" not in printed.getvalue()


def test_a_view_of_many_trials_reads_a_page_of_them_at_a_tick(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_reader, "AT_ONCE", 1)
    study = make_study(storage, folder, trials=4, fates={"3": "gated"})
    printed, read = io.StringIO(), list[int]()
    view = View(Console(file=printed, width=100), studies.get(storage, study.id))

    def all_are_read(one: Worker) -> bool:
        view._next = 0.0
        view.tick(one)
        assert view._seen is not None
        read.append(len(view._seen[1].trials))
        return read[-1] == 4

    with view.shown():
        serve(appears(folder / "began-3-1"), all_are_read, go(folder))
    assert read == [1, 2, 3, 4]
    assert printed.getvalue().count("  complete") == 4


def finishing_is_killed(times: int) -> Step:
    killed: list[int] = []

    def it_is_killed(one: Worker) -> bool:
        (slot,) = one.pool.slots
        if isinstance(slot.assignment, Finish) and slot.process.pid not in killed:
            assert slot.process.pid is not None
            os.kill(slot.process.pid, signal.SIGKILL)
            killed.append(slot.process.pid)
        return len(killed) == times

    return it_is_killed


def test_a_network_whose_finishing_was_killed_is_finished_again(
    storage: Storage, serve: Serve
) -> None:
    study = small_study(storage)
    one = serve(the_table_is_shared, finishing_is_killed(1))
    assert not one.liveness.own.exists()
    assert fates(storage, study) == ["COMPLETE"]
    row = studies.get(storage, study.id)
    assert row.state == "finished" and row.outcome is not None
    assert row.outcome["test"]["looks"] == len(finishing.looks(storage, study.id)) == 1


def test_a_finishing_that_is_always_killed_pauses_the_study_with_the_reason(
    storage: Storage, serve: Serve
) -> None:
    study = small_study(storage)
    serve(finishing_is_killed(3))
    row = studies.get(storage, study.id)
    killed = "gave up after 3 attempts: the slot was ended by SIGKILL"
    assert (row.state, row.reason) == (
        "paused",
        f"finishing {killed}; resume the study to try again",
    )
    assert row.outcome is None and not finishing.looks(storage, study.id)


@pytest.mark.parametrize(
    ("rate", "reason"),
    [(1e30, "the loss is not finite"), (-1.0, "ValueError: ")],
    ids=["diverges", "raises"],
)
def test_a_refit_that_fails_pauses_the_study_with_the_reason(
    storage: Storage,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    rate: float,
    reason: str,
) -> None:
    study = small_study(storage)
    assigned = finish.finish_assignment

    def at_another_rate(*given: Any) -> Finish:
        assignment = assigned(*given)
        space = Space.from_json(assignment.plan["space"])
        fixed = {**space.fixed, "learning_rate": rate}
        searched = {n: p for n, p in space.parameters.items() if n != "learning_rate"}
        space = replace(space, parameters=searched, fixed=fixed)
        point = {name: assignment.winner["parameters"][name] for name in searched}
        return replace(
            assignment,
            plan={**assignment.plan, "space": space.to_json()},
            winner={**assignment.winner, "parameters": point},
        )

    monkeypatch.setattr(finish, "finish_assignment", at_another_rate)
    serve()
    row = studies.get(storage, study.id)
    assert row.state == "paused" and row.reason is not None
    assert row.reason.startswith(f"finishing failed: {reason}")
    monkeypatch.undo()
    studies.resume(storage, study.id)
    serve()
    assert studies.get(storage, study.id).state == "finished"


def test_a_network_too_large_to_be_kept_pauses_the_study_with_the_reason(
    storage: Storage, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(storage)
    monkeypatch.setattr(artifacts, "MAX_BYTES", 1_000)
    serve()
    row = studies.get(storage, study.id)
    assert row.state == "paused" and row.reason is not None
    assert row.reason.startswith("finishing failed: Expected artifacts of at most")
    assert not finishing.looks(storage, study.id)


@pytest.mark.parametrize("of", ["a trial", "a study"])
def test_leases_are_renewed_while_files_are_on_their_way(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """Over a slow network they may take longer than a lease: nobody is to take that over."""
    renewed = threading.Event()
    renew = leases.renew
    sending = threading.Event()

    def noted(*given: Any, **more: Any) -> Any:
        kept = renew(*given, **more)
        if sending.is_set() and kept:
            renewed.set()
        return kept

    def slow(really: Callable[..., bool]) -> Callable[..., bool]:
        def send(*given: Any, **more: Any) -> bool:
            if of == "a study" or more.get("files"):
                sending.set()
                assert renewed.wait(DEADLINE), "waited in vain for a renewal"
            return really(*given, **more)

        return send

    monkeypatch.setattr(leases, "renew", noted)
    if of == "a trial":
        monkeypatch.setattr(trials, "end", slow(trials.end))
        study = make_study(storage, folder, trials=1, fates={"rest": "weighs"})
    else:
        monkeypatch.setattr(finish, "keep", slow(finish.keep))
        study = small_study(storage)
    serve(lease=3.0)
    assert renewed.is_set()
    row = studies.get(storage, study.id)
    assert (row.state, fates(storage, study)) == ("finished", ["COMPLETE"])
    assert violations(storage) == []
