import pytest
from stored_studies import DISTRIBUTIONS, begun, claim, draw, let_expire, make_study, run_to_the_end

from storage import events, finishing, studies, trials
from storage.connection import Storage
from storage.failures import pause_failing
from storage.leases import release
from storage.rows import StudyRow
from storage.tables import MAX_ATTEMPTS


def end(storage: Storage, study: StudyRow, *reasons: str | None) -> None:
    """End trials: with their reasons as failed, with None as complete."""
    for reason in reasons:
        lease = begun(storage, study)
        if reason is None:
            assert trials.end(storage, lease, state="complete", value=1.0)
        else:
            attributes = {"reason": reason}
            assert trials.end(storage, lease, state="failed", attributes=attributes)


def test_ten_first_failures_for_one_reason_pause_a_study(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    end(storage, study, *["no GPU"] * 9)
    assert pause_failing(storage, study.id) is None
    end(storage, study, "no GPU")
    reason = "the last 10 trials all failed: no GPU"
    assert pause_failing(storage, study.id) == reason
    found = studies.get(storage, study.id)
    assert (found.state, found.reason) == ("paused", reason)
    last = events.latest(storage, study=study.id)[-1]
    assert (last.kind, last.text) == ("study failed", reason)
    assert pause_failing(storage, study.id) is None  # It is paused already.


@pytest.mark.parametrize("reason", [None, "by its owner", "half of it, none complete"])
def test_a_pause_that_was_wished_for_is_no_failure(storage: Storage, reason: str | None) -> None:
    assert not studies.pause(storage, make_study(storage).id, reason).failed


def test_every_way_to_come_to_nothing_is_known_as_one(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    end(storage, study, *["odd"] * 20, *[None] * 4, *["even"] * 26)
    assert pause_failing(storage, study.id)
    assert studies.get(storage, study.id).failed
    none = make_study(storage, trials=1)
    end(storage, none, "no GPU")
    assert claim(storage, none.id, "a", draw) is None
    assert studies.get(storage, none.id).state == "finished"
    assert studies.get(storage, none.id).failed
    lost = make_study(storage, trials=1)
    for number in range(MAX_ATTEMPTS):
        lease = run_to_the_end(storage, lost, owner=f"w{number}")
        assert lease is not None
        let_expire(storage, lease.id)
    assert claim(storage, lost.id, "b", draw) is None
    assert studies.get(storage, lost.id).state == "paused"
    assert studies.get(storage, lost.id).failed
    failed = make_study(storage, trials=1)
    lease = run_to_the_end(storage, failed)
    assert lease is not None
    finishing.finish(storage, lease, None, reason="finishing failed: odd")
    assert studies.get(storage, failed.id).failed


@pytest.mark.parametrize("other", ["no disk", None], ids=["another reason", "one success"])
def test_ten_failures_are_borne_if_one_is_another(storage: Storage, other: str | None) -> None:
    study = make_study(storage, trials=200)
    end(storage, study, *["no GPU"] * 5, other, *["no GPU"] * 9)
    assert pause_failing(storage, study.id) is None


def test_more_than_half_of_the_last_fifty_pause_a_study(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    end(storage, study, *["odd"] * 20, *[None] * 25, *["even"] * 5)
    assert pause_failing(storage, study.id) is None  # 25 of 50.
    end(storage, study, *[None] * 20, *["even"] * 20)
    assert pause_failing(storage, study.id) is None  # 25 again: the odd ones are long ago.
    end(storage, study, "even")
    assert pause_failing(storage, study.id) == (
        "26 of the last 50 trials failed, most of them: even"
    )


def test_reasons_that_differ_in_numbers_alone_are_one(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    end(
        storage, study, *(f"bad width {width}: -{width}.5e-3 at 0x7f{width}" for width in range(10))
    )
    reason = "the last 10 trials all failed: bad width …: … at …"
    assert pause_failing(storage, study.id) == reason


def test_after_a_resumption_a_study_has_a_new_chance(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    end(storage, study, *["no GPU"] * 10)
    assert pause_failing(storage, study.id) is not None
    assert not studies.resume(storage, study.id).failed
    end(storage, study, *["no GPU"] * 9)
    assert pause_failing(storage, study.id) is None
    end(storage, study, "no GPU")
    assert pause_failing(storage, study.id) is not None


def test_no_study_no_pause(storage: Storage) -> None:
    assert pause_failing(storage, "nosuch") is None


def test_trials_that_are_given_up_count_as_failures(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    for _ in range(12):
        for _ in range(MAX_ATTEMPTS):
            lease = claim(storage, study.id, "a", draw)
            if lease is None:
                break
            release(storage, lease, spent=True, reason="the slot was ended by SIGKILL")
    found = studies.get(storage, study.id)
    assert found.state == "paused" and found.reason == (
        "the last 10 trials all failed: gave up after 3 attempts: the slot was ended by SIGKILL"
    )
    assert found.drawn == 10


def test_trials_that_kill_their_workers_fail_for_one_reason(storage: Storage) -> None:
    study = make_study(storage, trials=200)
    for owner in range(40):
        lease = claim(storage, study.id, f"w{owner}", draw)
        if lease is None:
            break
        trials.begin(storage, lease, DISTRIBUTIONS)
        let_expire(storage, lease.id)
    found = studies.get(storage, study.id)
    assert found.state == "paused" and found.reason == (
        "the last 10 trials all failed: gave up after 3 attempts: its worker vanished"
    )
