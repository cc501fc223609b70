import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from stored_studies import (
    DISTRIBUTIONS,
    begun,
    claim,
    claim_again,
    claimed,
    draw,
    ended_leases,
    in_processes,
    let_expire,
    make_study,
    open_leases,
    optuna_trials,
    run_to_the_end,
    take_over,
)

from storage import claiming, finishing, optuna_rows, studies, tables, trials
from storage.connection import Storage, connect
from storage.leases import release, renew
from storage.offers import offers
from storage.progress import progress_of
from storage.rows import Drawn, Lease, Standing, StudyRow, peek


def test_units_are_claimed_in_order_with_the_parameters_drawn_for_them(storage: Storage) -> None:
    study = make_study(storage, trials=3)
    leases = [claimed(storage, study) for _ in range(3)]
    assert [lease.unit for lease in leases] == [0, 1, 2]
    assert [lease.parameters for lease in leases] == [{"x": 0.0}, {"x": 1.0}, {"x": 2.0}]
    assert [lease.seed for lease in leases] == [7, 8, 9]
    assert {lease.attempt for lease in leases} == {1}
    assert studies.get(storage, study.id).state == "running"


def test_nothing_is_claimed_beyond_the_budget_while_trials_run(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    claimed(storage, study)
    assert claim(storage, study.id, "b", draw) is None


def test_eight_threads_claim_each_of_200_units_once(storage: Storage, database_url: str) -> None:
    study = make_study(storage, trials=200)

    def work(owner: str) -> list[int]:
        mine = connect(database_url)
        units = []
        while (lease := claim(mine, study.id, owner, draw)) is not None:
            units.append(lease.unit)
        mine.close()
        return units

    with ThreadPoolExecutor(8) as pool:
        units = [unit for part in pool.map(work, map(str, range(8))) for unit in part]
    assert sorted(units) == list(range(200))
    assert len(open_leases(storage, study.id)) == 200


def _work_in_a_process(url: str, study_id: str, number: int) -> None:
    storage = connect(url)
    run_to_the_end(storage, studies.get(storage, study_id), str(number))
    storage.close()


def test_processes_that_work_at_one_study_end_its_trials_exactly_once(
    storage: Storage, database_url: str
) -> None:
    study = make_study(storage, trials=30)
    assert in_processes(3, _work_in_a_process, database_url, study.id)
    found = optuna_trials(storage, study)
    assert [trial.number for trial in found] == list(range(30))
    assert Counter(trial.user_attrs["unit"] for trial in found) == Counter(range(30))
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    assert ended_leases(storage, study) == [(unit, "complete") for unit in range(30)]


Draw = Callable[[int], Drawn | None]


def late(storage: Storage, study: StudyRow, then: Draw) -> Draw:
    """Return a draw that others are faster than: the unit it was for is gone, and it draws anew."""
    drawn_for: list[int] = []

    def slow(unit: int) -> Drawn | None:
        drawn_for.append(unit)
        if len(drawn_for) == 1:
            claimed(storage, study, "fast")
            return draw(unit)
        return then(unit)

    return slow


def test_a_draw_that_comes_too_late_is_made_again_for_the_unit_that_is_next(
    storage: Storage,
) -> None:
    study = make_study(storage, trials=9)

    def again(unit: int) -> Drawn:
        assert unit == 1
        assert claimed(storage, study, "third").unit == 2  # Nobody waits for this draw.
        return draw(unit)

    lease = claim(storage, study.id, "slow", late(storage, study, again))
    assert lease is not None
    assert (lease.unit, lease.parameters, lease.seed) == (1, {"x": 1.0}, 8)
    assert open_leases(storage, study.id)[1] == lease
    assert trials.begin(storage, lease, DISTRIBUTIONS) == 0


def test_a_unit_whose_owner_is_lost_before_it_drew_is_drawn_by_the_next(storage: Storage) -> None:
    study = make_study(storage, trials=2)

    def dies(unit: int) -> Drawn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        claim(storage, study.id, "slow", late(storage, study, dies))
    (lost,) = open_leases(storage, owner="slow")
    assert claim(storage, study.id, "b", draw) is None
    let_expire(storage, lost.id)
    looks: list[int] = []
    taken = claim(storage, study.id, "b", prepare=lambda: looks.append(1))
    assert taken is not None
    assert (taken.id, taken.unit, taken.parameters) == (lost.id, 1, {"x": 1.0})
    assert looks  # What it draws by.
    assert trials.begin(storage, taken, DISTRIBUTIONS) == 0


def test_a_unit_of_a_space_that_varies_nothing_is_drawn_once(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    drawn: list[int] = []

    def nothing(unit: int) -> Drawn:
        drawn.append(unit)
        return Drawn(parameters={}, seed=unit)

    assert claim(storage, study.id, "a", nothing) is not None
    assert claim(storage, study.id, "b", nothing) is not None
    assert drawn == [0, 1]


def test_a_unit_whose_second_draw_fails_is_handed_back_at_once(storage: Storage) -> None:
    study = make_study(storage, trials=2)

    def fails(unit: int) -> Drawn:
        raise ValueError("no such parameter")

    with pytest.raises(ValueError, match="no such parameter"):
        claim(storage, study.id, "slow", late(storage, study, fails))
    taken = claimed(storage, study, "b")
    assert (taken.unit, taken.parameters, taken.attempt) == (1, {"x": 1.0}, 1)


def test_a_study_ends_with_its_space(storage: Storage) -> None:
    study = make_study(storage, trials=50, units=2)
    for _ in range(2):
        trials.end(storage, begun(storage, study), state="complete", value=1.0)
    finishing.finish(storage, claimed(storage, study), {})
    found = studies.get(storage, study.id)
    assert (found.state, found.trials, found.drawn) == ("finished", 2, 2)
    assert found.reason == "its whole space tried, in 2 trials"
    with pytest.raises(ValueError, match="whole space tried, in 2 trials. Search another"):
        studies.resume(storage, study.id, trials=20)


def test_a_study_gets_no_more_trials_than_its_space_has(storage: Storage) -> None:
    study = make_study(storage, trials=1, units=3)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    finishing.finish(storage, claimed(storage, study), {})
    resumed = studies.resume(storage, study.id, trials=20)
    assert (resumed.state, resumed.trials) == ("running", 3)


def test_a_silent_owners_trial_is_taken_over_in_place(storage: Storage) -> None:
    study = make_study(storage)
    lost = begun(storage, study, "a")
    taken = take_over(storage, study, lost, "b")
    assert (taken.unit, taken.parameters, taken.seed) == (lost.unit, lost.parameters, lost.seed)
    assert (taken.attempt, taken.owner, taken.trial_number) == (2, "b", 0)
    assert taken.token != lost.token
    assert taken.reason == "its worker a vanished"


def test_a_lease_in_time_is_not_taken_over(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    claimed(storage, study)
    assert claim(storage, study.id, "b", draw) is None


def test_nobody_takes_over_until_the_server_has_been_up_for_one_lease(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = claimed(storage, study)
    let_expire(storage, lease.id, length=10_000_000.0)
    assert claim(storage, study.id, "b", draw) is None
    let_expire(storage, lease.id)
    assert claimed(storage, study, "b").id == lease.id


def test_a_clock_that_is_set_back_does_not_keep_what_the_dead_held(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    dead, alive = begun(storage, study, "dead"), begun(storage, study, "alive")
    column, hour = tables.lease.c, sa.text("interval '1 hour'")
    later = {name: column[name] + hour for name in ("renewed_at", "expires_at")}
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.lease).values(later))
    assert renew(storage, [alive]) == {alive.id}
    assert claimed(storage, study, "b").id == dead.id
    assert claim(storage, study.id, "b", draw) is None


def test_one_of_many_takes_over(storage: Storage, database_url: str) -> None:
    study = make_study(storage, trials=1)
    let_expire(storage, begun(storage, study).id)
    start = threading.Barrier(6)

    def take(owner: str) -> Lease | None:
        mine = connect(database_url)
        start.wait()
        lease = claim(mine, study.id, owner, draw)
        mine.close()
        return lease

    with ThreadPoolExecutor(6) as pool:
        taken = [lease for lease in pool.map(take, "bcdefg") if lease is not None]
    assert len(taken) == 1
    assert taken[0].attempt == 2


def test_an_owner_that_was_silent_goes_on_if_nobody_took_over(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    let_expire(storage, lease.id)
    assert renew(storage, [lease]) == {lease.id}
    assert trials.end(storage, lease, state="complete", value=1.0)


def test_renewing_tells_which_leases_are_still_the_owners(storage: Storage) -> None:
    study = make_study(storage, trials=3)
    kept, lost, ended = (begun(storage, study) for _ in range(3))
    take_over(storage, study, lost)
    trials.end(storage, ended, state="failed", attributes={"reason": "its own"})
    before = {lease.id: lease for lease in open_leases(storage)}[kept.id]
    assert renew(storage, [kept, lost, ended], lease=500.0) == {kept.id}
    after = {lease.id: lease for lease in open_leases(storage)}[kept.id]
    assert (after.expires_at - before.expires_at).total_seconds() > 400
    assert renew(storage, []) == set()


@pytest.mark.parametrize(("spent", "attempt"), [(False, 1), (True, 2)])
def test_a_lease_handed_back_is_claimed_at_once(
    storage: Storage, spent: bool, attempt: int
) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    assert release(storage, lease, spent=spent, reason="killed: memory")
    assert progress_of(storage, study.id).running == 0
    again = claimed(storage, study, "b")
    assert (again.id, again.attempt, again.reason) == (lease.id, attempt, "killed: memory")
    assert not release(storage, lease)
    assert renew(storage, [lease]) == set()


def test_a_unit_lost_three_times_fails_with_the_reason(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    lease = begun(storage, study, "a")
    assert trials.report(storage, lease, 3, 0.5) and trials.report(storage, lease, 9, 0.6)
    for attempt, owner in ((2, "b"), (3, "c")):
        lease = take_over(storage, study, lease, owner)
        trials.begin(storage, lease, DISTRIBUTIONS)
        assert lease.attempt == attempt
    assert trials.report(storage, lease, 1, 0.4)
    let_expire(storage, lease.id)
    with storage.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE topo_lease SET taken_at = renewed_at - interval '40 s' WHERE ended_at IS NULL"
        )
    assert claimed(storage, study, "d").unit == 1
    trial = optuna_trials(storage, study)[0]
    assert trial.state.name == "FAIL"
    assert trial.user_attrs["reason"] == "gave up after 3 attempts: its worker c vanished"
    assert trial.user_attrs["attempts"] == 3
    assert trial.user_attrs["epochs"] == 9
    assert trial.user_attrs["seconds"] == pytest.approx(40.0, abs=0.001)
    assert ended_leases(storage, study) == [(0, "failed")]
    assert not trials.end(storage, lease, state="complete", value=1.0)


def test_silence_counts_no_attempt_that_never_began(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    lease = claimed(storage, study, "a")
    for owner in "bcd":
        lease = take_over(storage, study, lease, owner)
        assert lease.attempt == 1
    assert lease.reason == "its worker c vanished"
    trials.begin(storage, lease, DISTRIBUTIONS)
    for owner in "efg":  # Begun before, but not in these attempts.
        lease = take_over(storage, study, lease, owner)
        assert lease.attempt == 2
    trials.begin(storage, lease, DISTRIBUTIONS)
    assert trials.end(storage, lease, state="complete", value=1.0)
    assert optuna_trials(storage, study)[0].user_attrs["attempts"] == 2


def test_a_unit_spent_three_times_before_it_began_still_has_its_trial(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    for owner in "abc":
        lease = claimed(storage, study, owner)
        release(storage, lease, spent=True, reason="killed: signal 11")
    assert claim(storage, study.id, "d", draw) is None
    [trial] = optuna_trials(storage, study)
    assert (trial.number, trial.state.name) == (0, "FAIL")
    assert trial.user_attrs["reason"] == "gave up after 3 attempts: killed: signal 11"
    assert trial.user_attrs["parameters"] == {"x": 0.0}
    assert studies.get(storage, study.id).reason == "the only trial done, none complete"


def test_a_trial_ended_by_other_means_is_not_handed_out_again(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = begun(storage, study)
    trials.optuna_study(storage, study).tell(0, 0.5)
    let_expire(storage, lease.id)
    last = claimed(storage, study, "b")
    assert last.kind == "finish"
    assert ended_leases(storage, study) == [(0, "complete")]


def test_no_new_unit_once_the_time_is_spent(storage: Storage) -> None:
    study = make_study(storage, trials=9, seconds=100.0)
    lease = begun(storage, study)
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=100.0))
    assert claim(storage, study.id, "b", draw) is None
    trials.end(storage, lease, state="complete", value=1.0)
    last = claimed(storage, study)
    assert last.kind == "finish"
    finishing.finish(storage, last, {})
    found = studies.get(storage, study.id)
    assert (found.state, found.reason) == (
        "finished",
        "time budget of 100 s spent after 1 trials",
    )


def test_of_a_machines_absence_one_lease_is_counted(storage: Storage) -> None:
    study = make_study(storage, seconds=1000.0)
    lease = claimed(storage, study)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(0.0, abs=5.0)
    _set_back(storage, 3600.0)
    renew(storage, [lease], lease=30.0)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(30.0, abs=5.0)


def test_the_time_between_two_renewals_counts(storage: Storage) -> None:
    study = make_study(storage)
    lease = claimed(storage, study)
    _set_back(storage, 20.0)
    renew(storage, [lease])
    spent = studies.get(storage, study.id).spent_seconds
    assert 20.0 <= spent < 60.0


def _set_back(storage: Storage, seconds: float) -> None:
    """Let everything that was noted of time have happened so many seconds earlier."""
    ago = sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    study, lease = tables.study.c, tables.lease.c
    with storage.transaction() as connection:
        connection.execute(
            sa.update(tables.study).values(last_active_at=study.last_active_at - ago)
        )
        connection.execute(
            sa.update(tables.lease).values(
                **{
                    name: lease[name] - ago
                    for name in ("taken_at", "renewed_at", "expires_at", "ended_at")
                }
            )
        )


def test_of_time_in_which_nobody_is_at_a_study_none_is_counted(storage: Storage) -> None:
    study = make_study(storage, seconds=1000.0)
    first = begun(storage, study)
    _set_back(storage, 10.0)
    trials.end(storage, first, state="complete", value=1.0)
    _set_back(storage, 40.0)  # Meanwhile its worker is at another study.
    claimed(storage, study)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(10.0, abs=5.0)


def test_what_its_last_worker_had_counted_is_not_counted_again(storage: Storage) -> None:
    study = make_study(storage, seconds=1000.0)
    first, second = begun(storage, study), begun(storage, study)
    trials.end(storage, first, state="complete", value=1.0)
    _set_back(storage, 10.0)
    renew(storage, [second])
    release(storage, second)
    _set_back(storage, 40.0)
    claimed(storage, study, standing=peeked(storage, study))
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(10.0, abs=5.0)


def test_while_one_worker_is_at_a_study_its_time_counts_for_all(storage: Storage) -> None:
    study = make_study(storage, seconds=1000.0)
    first = begun(storage, study, "a")
    begun(storage, study, "b")
    trials.end(storage, first, state="complete", value=1.0)
    _set_back(storage, 20.0)
    claimed(storage, study, "a")
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)


def test_who_vanished_is_not_at_a_study_any_more(storage: Storage) -> None:
    study = make_study(storage, seconds=1000.0)
    let_expire(storage, begun(storage, study).id)
    _set_back(storage, 40.0)
    claimed(storage, study, "b", standing=peeked(storage, study))
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(0.0, abs=5.0)


def test_the_time_of_what_runs_is_told_before_it_is_counted(storage: Storage) -> None:
    study = make_study(storage)
    begun(storage, study)
    _set_back(storage, 20.0)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)
    assert studies.list_studies(storage)[0].spent_seconds == pytest.approx(20.0, abs=5.0)


def test_the_time_of_a_trial_is_told_when_it_has_ended_and_the_study_is_cut_short(
    storage: Storage,
) -> None:
    study = make_study(storage)
    first = begun(storage, study)
    _set_back(storage, 20.0)
    trials.end(storage, first, state="complete", value=1.0)
    _set_back(storage, 40.0)
    assert studies.pause(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)
    assert studies.resume(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)
    _set_back(storage, 40.0)
    assert studies.cancel(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)


def test_the_time_of_what_is_handed_back_counts_and_none_until_it_is_taken_up(
    storage: Storage,
) -> None:
    study = make_study(storage, trials=1, seconds=1000.0)
    first = begun(storage, study)
    _set_back(storage, 20.0)
    release(storage, first)
    _set_back(storage, 40.0)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(20.0, abs=5.0)
    again = begun(storage, study, "b")
    _set_back(storage, 10.0)
    assert studies.get(storage, study.id).spent_seconds == pytest.approx(30.0, abs=5.0)
    trials.end(storage, again, state="complete", value=1.0)
    _set_back(storage, 40.0)
    last = claimed(storage, study)
    _set_back(storage, 10.0)
    assert finishing.finish(storage, last, {})
    _set_back(storage, 40.0)
    found = studies.get(storage, study.id)
    assert (found.state, found.spent_seconds) == ("finished", pytest.approx(40.0, abs=5.0))
    with storage.transaction() as connection:
        counted = connection.scalar(sa.select(tables.study.c.spent_seconds))
    assert counted == pytest.approx(40.0, abs=5.0)


def peeked(storage: Storage, study: StudyRow) -> Standing | None:
    with storage.transaction() as connection:
        return peek(connection, study.id)


def test_finishing_is_handed_out_once_all_trials_have_ended(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    first, second = begun(storage, study), begun(storage, study)
    trials.end(storage, first, state="complete", value=1.0)
    assert claim(storage, study.id, "a", draw) is None
    trials.end(storage, second, state="pruned", value=0.5)
    last = claimed(storage, study)
    assert (last.kind, last.unit) == ("finish", 0)
    assert claim(storage, study.id, "b", draw) is None


def test_many_who_ask_at_once_get_one_finishing(storage: Storage, database_url: str) -> None:
    study = make_study(storage, trials=1)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    start = threading.Barrier(6)

    def ask(owner: str) -> Lease | None:
        mine = connect(database_url)
        start.wait()
        lease = claim(mine, study.id, owner, draw)
        mine.close()
        return lease

    with ThreadPoolExecutor(6) as pool:
        given = [lease for lease in pool.map(ask, "abcdef") if lease is not None]
    assert [lease.kind for lease in given] == ["finish"]


def test_a_finishing_left_behind_is_taken_over_and_given_up_after_three_attempts(
    storage: Storage,
) -> None:
    study = make_study(storage, trials=1)
    lease = run_to_the_end(storage, study)
    assert lease is not None
    for owner in "bc":
        lease = take_over(storage, study, lease, owner)
    let_expire(storage, lease.id)
    assert claim(storage, study.id, "d", draw) is None
    found = studies.get(storage, study.id)
    assert found.state == "paused"
    assert found.reason is not None and found.reason.startswith(
        "finishing gave up after 3 attempts: its worker c vanished"
    )
    assert not finishing.finish(storage, lease, {"best": 1})
    studies.resume(storage, study.id)
    again = claimed(storage, study)
    assert (again.kind, again.unit, again.attempt) == ("finish", 1, 1)


def test_a_study_without_a_complete_trial_ends_and_says_so(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    trials.end(storage, begun(storage, study), state="failed", attributes={"reason": "no"})
    assert claim(storage, study.id, "a", draw) is None
    found = studies.get(storage, study.id)
    assert (found.state, found.reason) == (
        "finished",
        "the only trial done, none complete",
    )


def test_nothing_of_a_study_that_is_not_open_is_handed_out(storage: Storage) -> None:
    study = make_study(storage)
    let_expire(storage, claimed(storage, study).id)
    studies.pause(storage, study.id)
    assert claim(storage, study.id, "b", draw) is None
    studies.resume(storage, study.id)
    assert claim(storage, study.id, "b", draw) is not None
    assert claim(storage, "nothing0", "b", draw) is None


def test_open_leases_are_listed_by_study_and_by_owner(storage: Storage) -> None:
    one, other = make_study(storage), make_study(storage)
    a, b = claimed(storage, one, "a"), claimed(storage, other, "b")
    assert {lease.id for lease in open_leases(storage)} == {a.id, b.id}
    assert [lease.id for lease in open_leases(storage, one.id)] == [a.id]
    assert [lease.id for lease in open_leases(storage, owner="b")] == [b.id]
    assert open_leases(storage, one.id, owner="b") == []


class CrashError(Exception):
    pass


def _crash(*_: object, **__: object) -> None:
    raise CrashError


def _crash_at_random(monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
    """Crash in one of ten calls, before or after it did its work."""

    def breakable(real: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*args: Any, **options: Any) -> Any:
            if chance.random() < 0.05:
                raise CrashError
            result = real(*args, **options)
            if chance.random() < 0.05:
                raise CrashError
            return result

        return maybe

    steps = ((optuna_rows, "create set_attributes set_end"), (trials, "end_lease"))
    for module, names in (*steps, (claiming, "tick insert_lease hand_over close")):
        for name in names.split():
            monkeypatch.setattr(module, name, breakable(getattr(module, name)))


def _work_and_crash(url: str, study_id: str, owner: str) -> list[int]:
    """Work at a study until it is finished and return the units whose ends stood."""
    storage = connect(url)
    ended: list[int] = []
    forgotten: Lease | None = None
    deadline = time.monotonic() + 300
    while studies.get(storage, study_id).state in ("created", "running"):
        assert time.monotonic() < deadline
        try:
            lease = claim(storage, study_id, owner, draw, lease=0.05)
            late, forgotten = forgotten, None
            if late is not None and trials.end(storage, late, state="complete", value=-1.0):
                ended.append(late.unit)  # it crashed, and nobody had taken over
            if lease is None:
                continue
            if lease.kind == "finish":
                finishing.finish(storage, lease, {})
                continue
            trials.begin(storage, lease, DISTRIBUTIONS)
            forgotten = lease
            if trials.end(storage, lease, state="complete", value=1.0):
                ended.append(lease.unit)
            forgotten = None
        except (CrashError, trials.LeaseLostError):
            pass
    storage.close()
    return ended


def test_workers_that_crash_anywhere_end_every_unit_once(
    storage: Storage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, trials=40)
    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        _crash_at_random(patched, random.Random(5))
        workers = [
            pool.submit(_work_and_crash, database_url, study.id, str(number)) for number in range(4)
        ]
        ended = Counter(unit for worker in workers for unit in worker.result())
    found = optuna_trials(storage, study)
    assert [trial.number for trial in found] == list(range(40))
    assert sorted(trial.user_attrs["unit"] for trial in found) == list(range(40))
    complete = [trial for trial in found if trial.state.name == "COMPLETE"]
    assert ended == Counter(trial.user_attrs["unit"] for trial in complete)
    for trial in found:
        if trial.state.name != "COMPLETE":
            assert trial.state.name == "FAIL"
            assert trial.user_attrs["reason"].startswith("gave up after 3 attempts")
    assert len(ended_leases(storage, study)) == 40
    assert open_leases(storage) == []
    assert studies.get(storage, study.id).drawn == 40


@pytest.mark.parametrize("step", ["tick", "insert_lease"])
def test_a_crash_while_a_unit_is_claimed_leaves_the_unit_to_be_claimed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    study = make_study(storage, trials=1)
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        patched.setattr(f"storage.claiming.{step}", _crash)
        claim(storage, study.id, "a", draw)
    assert claimed(storage, study, "b").unit == 0
    assert progress_of(storage, study.id).drawn == 1


@pytest.mark.parametrize("step", ["claiming.close", "trials.end_lease"])
def test_a_crash_while_giving_up_leaves_it_to_the_next(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    study = make_study(storage, trials=2)
    lease = begun(storage, study)
    for owner in "bc":
        lease = take_over(storage, study, lease, owner)
        trials.begin(storage, lease, DISTRIBUTIONS)
    let_expire(storage, lease.id)
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        patched.setattr(f"storage.{step}", _crash)
        claim(storage, study.id, "d", draw)
    assert [trial.state.name for trial in optuna_trials(storage, study)] == ["RUNNING"]
    assert claimed(storage, study, "e").unit == 1
    assert [trial.state.name for trial in optuna_trials(storage, study)] == ["FAIL"]


def test_the_database_itself_refuses_a_unit_beyond_the_budget(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = claimed(storage, study)
    with pytest.raises(sa.exc.IntegrityError), storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(drawn=2))
    twice = sa.insert(tables.lease).from_select(
        [column.name for column in tables.lease.c],
        sa.select(
            *(
                sa.literal(uuid.uuid4(), sa.Uuid) if column.name == "id" else column
                for column in tables.lease.c
            )
        ).where(tables.lease.c.id == lease.id),
    )
    with pytest.raises(sa.exc.IntegrityError), storage.transaction() as connection:
        connection.execute(twice)


def test_a_claim_whose_answer_was_lost_is_given_again(storage: Storage) -> None:
    study = make_study(storage, trials=3)
    token = uuid.uuid4()
    lost = claim(storage, study.id, "a", draw, token=token)
    again = claim_again(storage, study.id, "a", token)
    assert lost is not None and again is not None
    assert (again.id, again.token, again.attempt) == (lost.id, token, 1)
    assert studies.get(storage, study.id).drawn == 1
    trials.begin(storage, again, DISTRIBUTIONS)
    assert trials.end(storage, again, state="complete", value=1.0)
    after = claim_again(storage, study.id, "a", token)
    assert after is not None and after.id != lost.id  # What has ended is not given again.


def test_a_takeover_whose_answer_was_lost_is_given_again(storage: Storage) -> None:
    study = make_study(storage, trials=3)
    let_expire(storage, begun(storage, study, "gone").id)
    token = uuid.uuid4()
    first = claim(storage, study.id, "a", token=token)
    again = claim_again(storage, study.id, "a", token)
    assert first is not None and again is not None
    assert (first.id, first.attempt) == (again.id, again.attempt) == (again.id, 2)


def test_what_is_its_owners_own_is_not_taken_over_by_it(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    lease = begun(storage, study, "a")
    let_expire(storage, lease.id)
    assert claim(storage, study.id, "a", draw) is None
    assert renew(storage, [lease]) == {lease.id}
    assert trials.end(storage, lease, state="complete", value=1.0)
    last = claimed(storage, study, "a")
    let_expire(storage, last.id)
    assert claim(storage, study.id, "a", draw) is None
    assert claimed(storage, study, "b").id == last.id


def claimable(storage: Storage) -> set[str]:
    return {offer.study for offer in offers(storage) if offer.claimable}


def test_a_study_is_claimable_when_a_claim_of_it_would_give_something(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    assert claimable(storage) == {study.id}
    first, second = begun(storage, study), begun(storage, study)
    assert claimable(storage) == set() == {claim(storage, study.id, "b", draw)} - {None}
    release(storage, first)
    assert claimable(storage) == {study.id}
    first = claimed(storage, study)
    let_expire(storage, second.id)
    assert claimable(storage) == {study.id}
    second = claimed(storage, study, "b")
    for lease in (first, second):
        assert claimable(storage) == set()
        trials.begin(storage, lease, DISTRIBUTIONS)
        assert trials.end(storage, lease, state="complete", value=1.0)
    assert claimable(storage) == {study.id}  # It is to be finished.
    last = claimed(storage, study)
    assert last.kind == "finish" and claimable(storage) == set()
    let_expire(storage, last.id)
    assert claimable(storage) == {study.id}
    studies.pause(storage, study.id)
    assert claimable(storage) == set()
    studies.resume(storage, study.id)
    assert finishing.finish(storage, claimed(storage, study, "b"), {})
    assert claimable(storage) == set()


def test_a_finishing_left_behind_waits_for_units_that_were_added(storage: Storage) -> None:
    study = make_study(storage, trials=1)
    last = run_to_the_end(storage, study)
    assert last is not None
    release(storage, last)
    assert [offer.left_behind for offer in offers(storage)] == [True]
    studies.resume(storage, study.id, trials=1)
    assert [offer.left_behind for offer in offers(storage)] == [False]
    let_expire(storage, claimed(storage, study).id)
    assert [offer.left_behind for offer in offers(storage)] == [True]


def test_a_study_whose_time_is_spent_has_no_unit_to_claim(storage: Storage) -> None:
    study = make_study(storage, trials=9, seconds=100.0)
    begun(storage, study)
    assert claimable(storage) == {study.id}
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=100.0))
    assert claimable(storage) == set()


def test_what_was_offered_is_claimed_however_late(storage: Storage) -> None:
    study = make_study(storage, trials=2)
    (early,) = offers(storage)
    claimed(storage, study)
    asked: list[str] = []
    sa.event.listen(
        storage.engine, "before_cursor_execute", lambda *given: asked.append(str(given[2]))
    )
    late = claim(storage, study.id, "b", draw, standing=early.standing)
    assert late is not None and late.unit == 1
    assert not any("SKIP LOCKED" in statement for statement in asked)
    assert claim(storage, study.id, "c", draw, standing=early.standing) is None
    let_expire(storage, late.id)
    # Who is not told that nothing was left behind looks for it.
    assert claimed(storage, study, "c").id == late.id
