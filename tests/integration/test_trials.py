from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from stored_studies import (
    DISTRIBUTIONS,
    begun,
    claim,
    claimed,
    draw,
    ended_leases,
    let_expire,
    make_study,
    optuna_trials,
    take_over,
    waits_for_a_lock,
)

from storage import artifacts, finishing, optuna_rows, removal, tables, trials
from storage.connection import JoinedOptuna, Storage
from storage.errors import StorageError
from storage.leases import release
from storage.optuna_rows import State
from storage.rows import lock
from topo_search.outcomes import OURS


class CrashError(Exception):
    pass


def _crash(*_: object, **__: object) -> None:
    raise CrashError


def test_a_trial_begins_running_with_all_its_parameters_and_attributes(storage: Storage) -> None:
    study = make_study(storage)
    lease = claimed(storage, study, "worker-1")
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0
    [trial] = optuna_trials(storage, study)
    assert (trial.number, trial.state.name, trial.params) == (0, "RUNNING", {"x": 0.0})
    assert trial.distributions == DISTRIBUTIONS
    assert trial.user_attrs == {
        "lease": str(lease.id),
        "unit": 0,
        "seed": 7,
        "worker": "worker-1",
        "attempts": 1,
    }
    assert trial.user_attrs.keys() < set(OURS)  # What an objective may not name its own.


def test_what_is_known_of_a_trial_before_it_ends_is_kept_from_its_beginning(
    storage: Storage,
) -> None:
    lease = claimed(storage, study := make_study(storage))
    trials.begin(storage, lease, DISTRIBUTIONS, {"topology": "2 × 8 relu", "weights": 90})
    [trial] = optuna_trials(storage, study)
    assert trial.state.name == "RUNNING"
    assert (trial.user_attrs["topology"], trial.user_attrs["weights"]) == ("2 × 8 relu", 90)


def test_trials_of_plain_optuna_meanwhile_are_counted(storage: Storage) -> None:
    study = make_study(storage, trials=20)
    plain, units = trials.optuna_study(storage, study), [claimed(storage, study) for _ in range(20)]
    with ThreadPoolExecutor(3) as pool:
        ours = pool.map(lambda lease: trials.begin(storage, lease, DISTRIBUTIONS), units)
        theirs = pool.map(lambda _: plain.ask().number, range(20))
        numbers = [*ours, *theirs]
    assert sorted(numbers) == [*range(40)]
    assert [trial.number for trial in optuna_trials(storage, study)] == [*range(40)]


def test_a_trial_is_numbered_after_the_one_that_it_waited_for(storage: Storage) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    with ThreadPoolExecutor(1) as pool:
        with storage.transaction() as connection:
            JoinedOptuna(connection).create_new_trial(study.optuna_study_id)
            ours = pool.submit(trials.begin, storage, lease, DISTRIBUTIONS)
            assert waits_for_a_lock(connection, ours)
        assert ours.result() == 1


def test_no_trial_begins_in_an_optuna_study_that_is_gone(storage: Storage) -> None:
    with pytest.raises(LookupError, match="has been deleted"), storage.transaction() as connection:
        optuna_rows.create(connection, 0, {}, {})


def test_beginning_again_is_the_same_trial(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0
    assert len(optuna_trials(storage, study)) == 1


def test_who_takes_over_goes_on_with_the_same_trial(storage: Storage) -> None:
    study = make_study(storage)
    lost = begun(storage, study, "a")
    taken = take_over(storage, study, lost, "b")
    assert trials.begin(storage, taken, DISTRIBUTIONS) == 0
    assert trials.end(storage, taken, state="complete", value=2.5)
    [trial] = optuna_trials(storage, study)
    assert (trial.value, trial.user_attrs["worker"], trial.user_attrs["attempts"]) == (2.5, "b", 2)


def test_a_lease_that_was_lost_before_its_trial_began_cannot_begin_it(storage: Storage) -> None:
    study = make_study(storage)
    lost = claimed(storage, study, "a")
    taken = take_over(storage, study, lost, "b")
    with pytest.raises(trials.LeaseLostError, match="took it over"):
        trials.begin(storage, lost, DISTRIBUTIONS)
    assert trials.begin(storage, taken, DISTRIBUTIONS) == 0
    assert len(optuna_trials(storage, study)) == 1


def test_parameters_outside_their_distributions_are_refused_and_the_lease_stays(
    storage: Storage,
) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    with pytest.raises(ValueError):
        trials.begin(storage, lease, {"x": optuna.distributions.FloatDistribution(5.0, 6.0)})
    with pytest.raises(ValueError):
        trials.begin(storage, lease, {})
    assert optuna_trials(storage, study) == []
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0


def test_reports_are_kept_by_step(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    for step, value in ((1, 0.1), (3, 0.3), (3, 0.4), (9, float("nan"))):
        assert trials.report(storage, lease, step, value)
    [trial] = optuna_trials(storage, study)
    assert {step: str(value) for step, value in trial.intermediate_values.items()} == {
        1: "0.1",
        3: "0.4",
        9: "nan",
    }


def test_reports_of_a_lost_lease_and_of_an_ended_trial_are_refused(storage: Storage) -> None:
    study = make_study(storage)
    lost = begun(storage, study, "a")
    taken = take_over(storage, study, lost, "b")
    assert not trials.report(storage, lost, 1, 0.1)
    assert trials.report(storage, taken, 1, 0.2)
    trials.end(storage, taken, state="pruned", value=0.2)
    assert not trials.report(storage, taken, 3, 0.3)
    assert optuna_trials(storage, study)[0].intermediate_values == {1: 0.2}


def test_a_trial_that_has_not_begun_can_fail_and_nothing_else(storage: Storage) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    with pytest.raises(ValueError, match="begin it first"):
        trials.report(storage, lease, 1, 0.1)
    with pytest.raises(ValueError, match="begin it first"):
        trials.end(storage, lease, state="complete", value=0.1)
    assert optuna_trials(storage, study) == []
    assert trials.end(storage, lease, state="failed", attributes={"reason": "no dataset"})
    [trial] = optuna_trials(storage, study)
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", "no dataset")
    assert trial.user_attrs["parameters"] == {"x": 0.0}


@pytest.mark.parametrize(
    ("state", "value", "optuna_state"),
    [("complete", 0.9, "COMPLETE"), ("pruned", 0.3, "PRUNED"), ("failed", None, "FAIL")],
)
def test_an_end_keeps_state_value_and_attributes(
    storage: Storage, state: State, value: float | None, optuna_state: str
) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    attributes = {"curve": [0.1, 0.2], "reason": "so", "worker": "renamed"}
    assert trials.end(storage, lease, state=state, value=value, attributes=attributes)
    [trial] = optuna_trials(storage, study)
    assert (trial.state.name, trial.value) == (optuna_state, value)
    assert trial.user_attrs.items() >= attributes.items()
    assert ended_leases(storage, study) == [(0, state)]


def test_infinite_values_survive_and_no_number_is_refused(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    with pytest.raises(ValueError, match="nan"):
        trials.end(storage, lease, state="complete", value=float("nan"))
    with pytest.raises(ValueError, match="none"):
        trials.end(storage, lease, state="complete")
    assert trials.end(storage, lease, state="complete", value=float("inf"))
    assert optuna_trials(storage, study)[0].value == float("inf")


def test_a_late_end_after_a_takeover_is_refused(storage: Storage) -> None:
    study = make_study(storage)
    late = begun(storage, study, "a")
    taken = take_over(storage, study, late, "b")
    assert not trials.end(storage, late, state="complete", value=0.1, attributes={"by": "a"})
    assert "by" not in optuna_trials(storage, study)[0].user_attrs
    assert trials.end(storage, taken, state="complete", value=0.2)
    assert not trials.end(storage, late, state="complete", value=0.1)
    assert optuna_trials(storage, study)[0].value == 0.2


def test_the_first_end_stands(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    assert trials.end(storage, lease, state="complete", value=0.5)
    assert not trials.end(storage, lease, state="complete", value=0.6, attributes={"late": 1})
    assert not trials.end(storage, lease, state="failed")
    [trial] = optuna_trials(storage, study)
    assert (trial.value, "late" in trial.user_attrs) == (0.5, False)


def test_files_are_kept_with_the_end_that_stands_and_with_no_other(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    late = begun(storage, study, "a")
    taken = take_over(storage, study, late, "b")
    complete: dict[str, Any] = {"state": "complete", "value": 0.5}
    assert not trials.end(storage, late, **complete, files={"weights/0": b"late"})
    assert artifacts.list_artifacts(storage, study.id) == []
    for _ in range(2):  # As after an answer that was lost.
        assert trials.end(storage, taken, **complete, files={"weights/0": b"kept"})
    assert not trials.end(storage, taken, state="pruned", files={"weights/0": b"another"})
    assert artifacts.get(storage, study.id, "weights/0") == b"kept"


def test_files_of_a_trial_whose_study_is_deleted_meanwhile_go_with_it(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    with ThreadPoolExecutor(1) as pool:
        with storage.transaction() as connection:
            row = lock(connection, study.id, to_delete=True)
            files = {"weights/0": b"late"}
            end = partial(trials.end, state="complete", value=0.5, files=files)
            ended = pool.submit(end, storage, lease)
            assert waits_for_a_lock(connection, ended)
            removal._delete_optuna_study(connection, row.optuna_study_id)
        assert not ended.result()
    assert artifacts.list_artifacts(storage, study.id) == []


def test_a_trial_ended_by_other_means_keeps_that_end_and_heals_its_lease(
    storage: Storage,
) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    trials.optuna_study(storage, study).tell(0, state=optuna.trial.TrialState.FAIL)
    assert not trials.end(storage, lease, state="complete", value=0.5, attributes={"late": 1})
    [trial] = optuna_trials(storage, study)
    assert (trial.state.name, "late" in trial.user_attrs) == ("FAIL", False)
    assert ended_leases(storage, study) == [(0, "failed")]


def test_a_trial_ended_by_other_means_can_neither_report_nor_begin_again(
    storage: Storage,
) -> None:
    study = make_study(storage)
    leases = [begun(storage, study) for _ in range(2)]
    for number in range(2):
        trials.optuna_study(storage, study).tell(number, 0.25)
    assert not trials.report(storage, leases[0], 3, 0.5)
    with pytest.raises(trials.LeaseLostError):
        trials.begin(storage, leases[1], DISTRIBUTIONS)
    assert ended_leases(storage, study) == [(0, "complete"), (1, "complete")]
    assert [trial.intermediate_values for trial in optuna_trials(storage, study)] == [{}, {}]


def test_times_of_a_trial_are_the_databases_and_not_this_machines(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2001, 1, 1, tzinfo=tz)

    study = make_study(storage)
    monkeypatch.setattr("optuna.storages._rdb.storage.datetime", Wrong)
    monkeypatch.setattr("optuna.trial._frozen.datetime", SimpleNamespace(datetime=Wrong))
    lease = begun(storage, study)
    trials.end(storage, lease, state="complete", value=1.0)
    monkeypatch.undo()
    with storage.transaction() as connection:
        row = connection.execute(
            sa.select(tables.optuna_trial, sa.func.timezone("UTC", sa.func.now()).label("now"))
        ).one()
    assert row.datetime_start <= row.datetime_complete <= row.now
    assert (row.now - row.datetime_start).total_seconds() < 300
    assert abs((row.now - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 300


def _after(target: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step happen and crash right after it."""
    real = getattr(target, name)

    def then_crash(*args: Any, **options: Any) -> None:
        real(*args, **options)
        raise CrashError

    monkeypatch.setattr(target, name, then_crash)


BEGIN_STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the trial": lambda m: m.setattr(trials, "_create", _crash),
    "after the trial is created": lambda m: _after(optuna_rows, "create", m),
    "before its attributes": lambda m: m.setattr(optuna_rows, "set_attributes", _crash),
    "after its attributes": lambda m: _after(optuna_rows, "set_attributes", m),
    "after the lease is noted": lambda m: _after(trials, "_create", m),
}


@pytest.mark.parametrize("step", BEGIN_STEPS)
@pytest.mark.parametrize("healer", ["the owner", "another"])
def test_a_crash_at_any_step_of_begin_is_healed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: str, healer: str
) -> None:
    study = make_study(storage, trials=1)
    lease = claimed(storage, study, "a")
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        BEGIN_STEPS[step](patched)
        trials.begin(storage, lease, DISTRIBUTIONS)
    if healer == "another":
        lease = take_over(storage, study, lease, "b")
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0
    assert trials.end(storage, lease, state="complete", value=1.0)
    [trial] = optuna_trials(storage, study)
    assert (trial.number, trial.user_attrs["lease"]) == (0, str(lease.id))


END_STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the attributes": lambda m: m.setattr(optuna_rows, "set_attributes", _crash),
    "after the attributes": lambda m: _after(optuna_rows, "set_attributes", m),
    "after Optuna's state": lambda m: _after(optuna_rows, "set_end", m),
    "before the lease": lambda m: m.setattr(trials, "end_lease", _crash),
    "after the lease": lambda m: _after(trials, "end_lease", m),
}


@pytest.mark.parametrize("step", END_STEPS)
@pytest.mark.parametrize("healer", ["the owner", "another"])
def test_a_crash_at_any_step_of_end_is_healed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: str, healer: str
) -> None:
    study = make_study(storage, trials=1)
    lease = begun(storage, study, "a")
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        END_STEPS[step](patched)
        trials.end(storage, lease, state="complete", value=1.0, attributes={"by": "a"})
    [trial] = optuna_trials(storage, study)
    assert (trial.state.name, "by" in trial.user_attrs) == ("RUNNING", False)
    if healer == "another":
        lease = take_over(storage, study, lease, "b")
        assert trials.begin(storage, lease, DISTRIBUTIONS) == 0
    assert trials.end(storage, lease, state="complete", value=2.0)
    assert [trial.value for trial in optuna_trials(storage, study)] == [2.0]
    assert ended_leases(storage, study) == [(0, "complete")]


@contextmanager
def _answers_lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commit, and lose the connection before the answer comes."""
    real = Storage.transaction

    @contextmanager
    def transaction(self: Storage) -> Iterator[sa.Connection]:
        with real(self) as connection:
            yield connection
        raise StorageError("the answer was lost")

    with monkeypatch.context() as patched, pytest.raises(StorageError):
        patched.setattr(Storage, "transaction", transaction)
        yield


def test_a_commit_whose_answer_was_lost_is_recognised_and_not_repeated(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    with _answers_lost(monkeypatch):
        trials.begin(storage, lease, DISTRIBUTIONS)
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0
    with _answers_lost(monkeypatch):
        trials.report(storage, lease, 1, 0.5)
    assert trials.report(storage, lease, 1, 0.5)
    with _answers_lost(monkeypatch):
        trials.end(storage, lease, state="complete", value=0.1 + 0.2)
    assert trials.end(storage, lease, state="complete", value=0.1 + 0.2)
    [trial] = optuna_trials(storage, study)
    assert (trial.value, trial.intermediate_values) == (0.1 + 0.2, {1: 0.5})


def test_a_connection_cut_while_a_trial_begins_is_a_storage_error_and_leaves_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    real = optuna_rows.create

    def cut(connection: sa.Connection, *args: Any) -> tuple[int, int]:
        pid = connection.scalar(sa.select(sa.func.pg_backend_pid()))
        with storage.transaction() as other:
            other.execute(sa.select(sa.func.pg_terminate_backend(pid)))
        return real(connection, *args)

    with monkeypatch.context() as patched, pytest.raises(StorageError, match="PostgreSQL"):
        patched.setattr(optuna_rows, "create", cut)
        trials.begin(storage, lease, DISTRIBUTIONS)
    assert optuna_trials(storage, study) == []
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0


def test_a_worker_that_froze_over_a_takeover_can_change_nothing(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    frozen = begun(storage, study, "a")
    taken = take_over(storage, study, frozen, "b")
    assert not trials.report(storage, frozen, 1, 0.5)
    assert not trials.end(storage, frozen, state="failed", attributes={"reason": "a's"})
    assert not release(storage, frozen)
    assert not finishing.finish(storage, frozen, {})
    assert trials.end(storage, taken, state="complete", value=1.0)


def test_nobody_takes_over_amid_an_end(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(storage, trials=1)
    lease = begun(storage, study)
    let_expire(storage, lease.id)
    real = optuna_rows.set_attributes
    tried: list[object] = []

    def try_to_take_over(*args: Any) -> None:
        tried.append(claim(storage, study.id, "b", draw))
        real(*args)

    monkeypatch.setattr(optuna_rows, "set_attributes", try_to_take_over)
    assert trials.end(storage, lease, state="complete", value=1.0, attributes={"by": "a"})
    assert tried == [None]


def test_the_optuna_study_is_an_ordinary_one(storage: Storage) -> None:
    study = make_study(storage, direction="minimize")
    for value in (3.0, 1.0, 2.0):
        trials.end(storage, begun(storage, study), state="complete", value=value)
    found = trials.optuna_study(storage, study)
    assert (found.best_value, found.best_trial.number) == (1.0, 1)
    assert found.study_name == f"topo-{study.id}"
    assert found.direction == optuna.study.StudyDirection.MINIMIZE
