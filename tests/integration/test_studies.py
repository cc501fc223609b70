import hashlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

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
    make_study,
    open_leases,
    optuna_trials,
    run_to_the_end,
    take_over,
    waits_for_a_lock,
)

from storage import artifacts, datasets, finishing, removal, studies, tables, trials
from storage import connection as connection_module
from storage.check import violations
from storage.connection import JoinedOptuna, Storage, connect
from storage.errors import StorageError
from storage.finishing import Look
from storage.leases import renew
from storage.progress import Progress, progress_of
from storage.rows import Lease, lock
from storage.studies import StudyRow


def _count(storage: Storage, table: str) -> int:
    with storage.transaction() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def _finishing(storage: Storage, study: StudyRow) -> Lease:
    lease = run_to_the_end(storage, study)
    assert lease is not None
    return lease


def test_a_study_is_found_by_its_id_its_name_its_beginning_and_its_key(storage: Storage) -> None:
    plan = {"z": 1, "a": [1.5, None], "m": {"y": "ü", "b": True}}
    study, key = studies.create(
        storage, plan=plan, direction="minimize", dataset=None, name="iris again", trials=5
    )
    assert study.plan == plan and list(study.plan) == ["z", "a", "m"]
    assert (study.state, study.drawn, study.trials, study.seconds) == ("created", 0, 5, None)
    assert len(study.id) == 8 and study.id.isalnum() and study.id == study.id.lower()
    for reference in (study.id, "iris again", study.id[:4]):
        assert studies.get(storage, reference) == study
    assert studies.by_key(storage, key) == study
    assert studies.list_studies(storage) == [study]


def test_only_the_hash_of_a_key_is_kept(storage: Storage) -> None:
    _, key = studies.create(storage, plan={}, direction="maximize", dataset=None, trials=1)
    assert len(key) >= 22
    with storage.transaction() as connection:
        kept = connection.scalar(sa.select(tables.study.c.key_hash))
        everything = connection.exec_driver_sql("SELECT s::text FROM topo_study s").scalar_one()
    assert kept == hashlib.sha256(key.encode()).hexdigest()
    assert key not in everything
    with pytest.raises(LookupError, match="No study has the key") as refusal:
        studies.by_key(storage, key + "x")
    assert key not in str(refusal.value)


def test_an_unknown_study_is_refused_with_the_nearest_or_with_what_there_is(
    storage: Storage,
) -> None:
    with pytest.raises(LookupError, match="no study yet"):
        studies.get(storage, "iris")
    study = make_study(storage, name="iris")
    with pytest.raises(LookupError, match="Did you mean iris"):
        studies.get(storage, "irsi")
    for nothing in ("", "%", "zzzzzzzzz_"):
        with pytest.raises(LookupError, match=study.id):
            studies.get(storage, nothing)


def test_a_beginning_that_several_ids_share_is_refused_with_them(storage: Storage) -> None:
    ids = sorted(make_study(storage).id for _ in range(40))
    pairs = [one for one, two in zip(ids, ids[1:], strict=False) if one[0] == two[0]]
    with pytest.raises(LookupError, match=f"{pairs[0]}"):
        studies.get(storage, pairs[0][0])


def test_a_name_is_taken_once(storage: Storage) -> None:
    make_study(storage, name="iris")
    with pytest.raises(ValueError, match="'iris', which is taken"):
        make_study(storage, name="iris")
    assert _count(storage, "studies") == _count(storage, "topo_study") == 1
    make_study(storage), make_study(storage)


def test_a_study_is_renamed_to_what_no_study_has(storage: Storage) -> None:
    study, other = make_study(storage, name="iris"), make_study(storage, name="wine")
    renamed = studies.rename(storage, study.id, "iris, again")
    assert renamed.name == "iris, again" and studies.get(storage, "iris, again") == renamed
    assert studies.rename(storage, study.id, "iris, again") == renamed
    with pytest.raises(ValueError, match="'wine', which is taken"):
        studies.rename(storage, study.id, "wine")
    with pytest.raises(ValueError, match="1 to 200 characters"):
        studies.rename(storage, study.id, "x" * 201)
    with pytest.raises(LookupError, match="nothing0"):
        studies.rename(storage, "nothing0", "free")
    assert studies.list_studies(storage) == [renamed, other]
    assert studies.rename(storage, study.id, None).name is None
    assert studies.rename(storage, other.id, "iris, again").name == "iris, again"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_name_that_cannot_be_shown_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 characters"):
        make_study(storage, name=name)
    assert _count(storage, "studies") == 0


def test_a_dataset_that_is_not_there_is_refused(storage: Storage) -> None:
    with pytest.raises(LookupError, match="abc.*upload again"):
        make_study(storage, dataset="abc")
    assert _count(storage, "studies") == 0


@pytest.mark.parametrize("budget", [{"trials": 0}, {"trials": 5, "seconds": 0.0}])
def test_a_budget_of_nothing_is_refused(storage: Storage, budget: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1 trial"):
        make_study(storage, **budget)


def test_a_parent_that_is_not_there_is_refused(storage: Storage) -> None:
    with pytest.raises(
        LookupError, match="'nothing0', which is not there or was deleted meanwhile"
    ):
        make_study(storage, parent="nothing0")
    assert _count(storage, "studies") == 0


@pytest.mark.parametrize("keep", [timedelta(0), timedelta(seconds=-1), timedelta(days=36_501)])
def test_a_study_that_could_never_be_kept_is_refused(storage: Storage, keep: timedelta) -> None:
    with pytest.raises(ValueError, match="at most 36500 days. Received .*leave it out"):
        make_study(storage, keep=keep)
    assert make_study(storage, keep=timedelta(days=36_500)).expires_at is not None


def test_a_crash_between_optunas_study_and_ours_leaves_neither(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = JoinedOptuna.create_new_study

    def then_crash(self: JoinedOptuna, *args: object) -> int:
        real(self, *args)  # type: ignore[arg-type]
        raise RuntimeError("crash")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="crash"):
        patched.setattr(JoinedOptuna, "create_new_study", then_crash)
        make_study(storage)
    assert _count(storage, "studies") == _count(storage, "topo_study") == 0


def test_progress_counts_what_became_of_every_unit(storage: Storage) -> None:
    study = make_study(storage, trials=9)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    trials.end(storage, begun(storage, study), state="pruned", value=0.5)
    trials.end(storage, begun(storage, study), state="failed")
    begun(storage, study), claimed(storage, study)
    assert progress_of(storage, study.id) == Progress(
        units=9, drawn=5, running=2, waiting=4, finished=3, complete=1, pruned=1, failed=1
    )
    with pytest.raises(LookupError):
        progress_of(storage, "nothing0")


def test_a_paused_study_hands_out_nothing_while_what_runs_goes_on(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    paused = studies.pause(storage, study.id, "10 trials failed alike")
    assert (paused.state, paused.reason) == ("paused", "10 trials failed alike")
    assert claim(storage, study.id, "b", draw) is None
    assert renew(storage, [lease]) == {lease.id}
    assert trials.end(storage, lease, state="complete", value=1.0)
    resumed = studies.resume(storage, study.id)
    assert (resumed.state, resumed.reason) == ("running", None)
    assert claimed(storage, study).unit == 1


def test_a_study_paused_before_it_began_is_as_it_was_when_resumed(storage: Storage) -> None:
    study = make_study(storage)
    studies.pause(storage, study.id)
    assert studies.resume(storage, study.id).state == "created"


def test_finishing_keeps_outcome_and_look_and_closes_the_study(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    lease = _finishing(storage, study)
    outcome = {"best": {"trial": 1}, "test": {"value": 0.9, "low": float("nan")}}
    look = Look(purpose="finish", trial_number=1, value={"accuracy": 0.9})
    assert finishing.finish(storage, lease, outcome, look=look)
    found = studies.get(storage, study.id)
    assert (found.state, found.reason) == ("finished", "all 2 trials done")
    assert found.outcome == {"best": {"trial": 1}, "test": {"value": 0.9, "low": None}}
    assert found.ended_at is not None
    [kept] = finishing.looks(storage, study.id)
    assert (kept.purpose, kept.trial_number, kept.value) == ("finish", 1, {"accuracy": 0.9})
    assert kept.at is not None
    assert open_leases(storage) == []
    assert claim(storage, study.id, "a", draw) is None


def test_a_finishing_is_no_trial_and_a_trial_no_finishing(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    assert not finishing.finish(storage, begun(storage, study), {})
    trials.end(storage, open_leases(storage)[0], state="complete", value=1.0)
    lease = _finishing(storage, study)
    with pytest.raises(trials.LeaseLostError):
        trials.begin(storage, lease, DISTRIBUTIONS)
    assert not trials.end(storage, lease, state="failed")
    assert len(optuna_trials(storage, study)) == 2
    assert finishing.finish(storage, lease, {})


def test_an_end_of_finishing_given_again_counts_once(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = _finishing(storage, study)
    look = Look(purpose="finish")
    assert finishing.finish(storage, lease, {}, look=look)
    assert finishing.finish(storage, lease, {}, look=look)
    assert len(finishing.looks(storage, study.id)) == 1


@pytest.mark.parametrize("step", ["end_lease", "_insert_look", "change"])
def test_a_crash_at_any_step_of_finishing_leaves_it_to_be_done_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("crash")

    study = make_study(storage, trials=1)
    lease = _finishing(storage, study)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="crash"):
        patched.setattr(f"storage.finishing.{step}", crash)
        finishing.finish(storage, lease, {}, look=Look(purpose="finish"))
    assert finishing.looks(storage, study.id) == []
    assert studies.get(storage, study.id).state == "running"
    assert finishing.finish(storage, lease, {}, look=Look(purpose="finish"))
    assert len(finishing.looks(storage, study.id)) == 1


def test_a_study_whose_finishing_failed_is_paused_and_resumed_to_try_again(
    storage: Storage,
) -> None:
    study = make_study(storage, trials=1)
    lease = _finishing(storage, study)
    assert finishing.finish(storage, lease, None, reason="finishing failed: out of memory")
    found = studies.get(storage, study.id)
    assert (found.state, found.reason) == ("paused", "finishing failed: out of memory")
    studies.resume(storage, study.id)
    assert claimed(storage, study).kind == "finish"


def test_a_finished_study_is_extended_and_finished_and_looked_at_again(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    finishing.finish(storage, _finishing(storage, study), {"n": 1}, look=Look(purpose="finish"))
    with pytest.raises(ValueError, match="all 2 trials done.*--trials"):
        studies.resume(storage, study.id)
    reopened = studies.resume(storage, study.id, trials=3)
    assert (reopened.state, reopened.trials, reopened.ended_at) == ("running", 5, None)
    assert len(finishing.looks(storage, study.id)) == 1
    lease = _finishing(storage, study)
    assert lease.unit == 1
    finishing.finish(storage, lease, {"n": 2}, look=Look(purpose="finish"))
    found = studies.get(storage, study.id)
    assert (found.state, found.outcome) == ("finished", {"n": 2})
    assert len(finishing.looks(storage, study.id)) == 2
    assert [trial.number for trial in optuna_trials(storage, study)] == [0, 1, 2, 3, 4]


def test_a_study_extended_while_it_is_finishing_goes_on(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = _finishing(storage, study)
    studies.resume(storage, study.id, trials=1)
    assert finishing.finish(storage, lease, {"n": 1}, look=Look(purpose="finish"))
    found = studies.get(storage, study.id)
    assert (found.state, found.outcome) == ("running", {"n": 1})
    assert claimed(storage, study).unit == 1


def test_a_study_through_with_its_time_needs_time_to_go_on(storage: Storage) -> None:
    study = make_study(storage, trials=5, seconds=60.0)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=61.0))
    finishing.finish(storage, claimed(storage, study), {})
    with pytest.raises(ValueError, match="time budget of 60 s spent.*--timeout"):
        studies.resume(storage, study.id, trials=5)
    assert studies.resume(storage, study.id, seconds=60.0).seconds == 120.0
    assert claimed(storage, study).unit == 1


def test_less_budget_is_refused(storage: Storage) -> None:
    study = make_study(storage)
    with pytest.raises(ValueError, match="more, not less"):
        studies.resume(storage, study.id, trials=-1)


def test_cancelling_ends_what_runs_and_shuts_its_workers_out(storage: Storage) -> None:
    study = make_study(storage, trials=9)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    running, unstarted, told = begun(storage, study), claimed(storage, study), begun(storage, study)
    trials.optuna_study(storage, study).tell(2, 0.5)
    cancelled = studies.cancel(storage, study.id, "no longer needed")
    assert (cancelled.state, cancelled.reason) == ("cancelled", "no longer needed")
    assert renew(storage, [running, unstarted, told]) == set()
    assert not trials.end(storage, running, state="complete", value=2.0)
    with pytest.raises(trials.LeaseLostError):
        trials.begin(storage, unstarted, DISTRIBUTIONS)
    assert open_leases(storage) == []
    found = {trial.user_attrs["unit"]: trial for trial in optuna_trials(storage, study)}
    states = {unit: trial.state.name for unit, trial in found.items()}
    assert states == {0: "COMPLETE", 1: "FAIL", 2: "FAIL", 3: "COMPLETE"}
    assert found[1].user_attrs["reason"] == "no longer needed"
    assert [outcome for _, outcome in ended_leases(storage, study)] == [
        "complete",
        "failed",
        "failed",
        "complete",
    ]
    assert claim(storage, study.id, "a", draw) is None


def test_what_has_ended_is_neither_paused_nor_cancelled_nor_resumed(storage: Storage) -> None:
    finished, cancelled = make_study(storage, trials=1), make_study(storage)
    finishing.finish(storage, _finishing(storage, finished), {})
    studies.cancel(storage, cancelled.id)
    for study in (finished, cancelled):
        with pytest.raises(ValueError, match=f"Study {study.id} is"):
            studies.pause(storage, study.id)
    with pytest.raises(ValueError, match="is finished"):
        studies.cancel(storage, finished.id)
    with pytest.raises(ValueError, match="is cancelled"):
        studies.resume(storage, cancelled.id, trials=5)
    assert studies.cancel(storage, cancelled.id).state == "cancelled"
    with pytest.raises(LookupError):
        studies.cancel(storage, "nothing0")


def test_the_finishing_of_a_cancelled_study_is_refused(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = _finishing(storage, study)
    studies.cancel(storage, study.id)
    assert not finishing.finish(storage, lease, {"n": 1}, look=Look(purpose="finish"))
    assert studies.get(storage, study.id).outcome is None
    assert finishing.looks(storage, study.id) == []


def test_a_finishing_that_was_taken_over_meanwhile_is_refused(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    late = _finishing(storage, study)
    taken = take_over(storage, study, late)
    files = {"network.keras": b"a"}
    assert not finishing.finish(
        storage, late, {"by": "a"}, look=Look(purpose="finish"), files=files
    )
    assert artifacts.list_artifacts(storage, study.id) == []
    assert finishing.looks(storage, study.id) == []
    assert finishing.finish(storage, taken, {"by": "b"})
    assert studies.get(storage, study.id).outcome == {"by": "b"}


def test_a_study_can_be_deleted_while_it_is_finished_anew(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    files = {"network.keras": b"first", "reading.json": b"first"}
    assert finishing.finish(storage, _finishing(storage, study), {}, files=files)
    studies.resume(storage, study.id, trials=1)
    lease = _finishing(storage, study)
    with ThreadPoolExecutor(1) as pool:
        with storage.transaction() as connection:
            row = lock(connection, study.id, to_delete=True)
            ended = pool.submit(finishing.finish, storage, lease, {}, files=files)
            assert waits_for_a_lock(connection, ended)
            removal._delete_optuna_study(
                connection, row.optuna_study_id
            )  # Which waits for nobody who waits for it.
        assert not ended.result()


def test_cancelling_amid_busy_workers_leaves_nothing_open(
    storage: Storage, database_url: str
) -> None:
    study = make_study(storage, trials=400)

    def work(owner: str) -> int:
        mine = connect(database_url)
        done = 0
        while (lease := claim(mine, study.id, owner, draw)) is not None:
            try:
                trials.begin(mine, lease, DISTRIBUTIONS)
            except trials.LeaseLostError:
                break
            done += trials.end(mine, lease, state="complete", value=1.0)
        mine.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, str(number)) for number in range(4)]
        deadline = time.monotonic() + 180
        while progress_of(storage, study.id).finished < 12:
            assert time.monotonic() < deadline
        studies.cancel(storage, study.id)
        done = sum(worker.result() for worker in workers)
    count = progress_of(storage, study.id)
    assert (count.running, count.complete, count.finished) == (0, done, count.drawn)
    found = optuna_trials(storage, study)
    assert [trial.number for trial in found] == list(range(count.drawn))
    assert all(trial.state.is_finished() for trial in found)


def test_deleting_leaves_nothing_but_what_other_studies_need(storage: Storage) -> None:
    shared, own = datasets.put(storage, b"shared", "s.csv"), datasets.put(storage, b"own", "o.csv")
    other = make_study(storage, dataset=shared)
    study = make_study(storage, dataset=shared, test_dataset=own, trials=1)
    lease = run_to_the_end(storage, study)
    assert lease is not None and finishing.finish(storage, lease, {}, look=Look(purpose="score"))
    studies.resume(storage, study.id, trials=1)
    running = begun(storage, study)
    studies.delete(storage, study.id)
    assert studies.list_studies(storage) == [other]
    assert [found.study_name for found in optuna.get_all_study_summaries(storage.optuna)] == [
        other.optuna_name
    ]
    for table in ("trials", "topo_lease", "topo_look"):
        assert _count(storage, table) == 0
    with storage.transaction() as connection:
        assert connection.scalars(sa.select(tables.dataset.c.sha256)).all() == [shared]
    assert renew(storage, [running]) == set()
    assert not trials.end(storage, running, state="complete", value=1.0)
    with pytest.raises(LookupError):
        studies.delete(storage, study.id)


def test_while_a_study_is_deleted_its_workers_renew_what_they_have_of_others(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, other = make_study(storage), make_study(storage)
    mine = [begun(storage, study), begun(storage, other)]
    short = connection_module._TIMEOUTS.replace("lock_timeout = '30s'", "lock_timeout = '1s'")
    monkeypatch.setattr(connection_module, "_TIMEOUTS", short)
    remove, renewed = removal._delete_optuna_study, list[set[uuid.UUID]]()

    def renew_and_remove(connection: sa.Connection, study_id: int) -> None:
        renewed.append(renew(storage, mine))
        remove(connection, study_id)

    monkeypatch.setattr(removal, "_delete_optuna_study", renew_and_remove)
    studies.delete(storage, study.id)
    assert renewed == [{mine[1].id}]
    assert [row.id for row in studies.list_studies(storage, ["running"])] == [other.id]


@pytest.mark.parametrize("ended", [False, True])
def test_a_deletion_that_was_cut_short_leaves_a_cancelled_study_to_be_deleted_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    study = make_study(storage, trials=1)
    if ended:
        finishing.finish(storage, _finishing(storage, study), {})
    else:
        begun(storage, study)
    with monkeypatch.context() as patched:

        def crash(*_: object) -> None:
            raise StorageError("the disk is full")

        patched.setattr(removal, "_delete_optuna_study", crash)
        with pytest.raises(StorageError):
            studies.delete(storage, study.id)
    left = studies.get(storage, study.id)
    assert (left.state, left.reason) == ("cancelled", "being deleted")
    assert open_leases(storage) == [] and violations(storage) == []
    with pytest.raises(ValueError, match="was not cancelled"):
        studies.resume(storage, study.id, trials=1)
    studies.delete(storage, study.id)
    assert studies.list_studies(storage) == []


def test_who_deletes_the_optuna_study_deletes_the_whole_study(storage: Storage) -> None:
    study = make_study(storage)
    begun(storage, study)
    optuna.delete_study(study_name=study.optuna_name, storage=storage.optuna)
    assert _count(storage, "topo_study") == _count(storage, "topo_lease") == 0


def test_studies_are_listed_by_state(storage: Storage) -> None:
    created, paused = make_study(storage), make_study(storage)
    studies.pause(storage, paused.id)
    assert [row.id for row in studies.list_studies(storage, ["created"])] == [created.id]
    assert len(studies.list_studies(storage)) == 2


def test_time_is_not_added_to_a_study_without_a_budget_in_it(storage: Storage) -> None:
    study = make_study(storage)
    with pytest.raises(ValueError, match="no budget in time"):
        studies.resume(storage, study.id, seconds=60.0)


def test_a_trial_ended_outside_says_so_and_breaks_no_rule(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = begun(storage, study)
    trials.optuna_study(storage, study).tell(0, state=optuna.trial.TrialState.FAIL)
    assert not trials.end(storage, lease, state="complete", value=1.0)
    (trial,) = optuna_trials(storage, study)
    assert trial.user_attrs["reason"] == "ended outside topo-search"
    assert violations(storage) == []
