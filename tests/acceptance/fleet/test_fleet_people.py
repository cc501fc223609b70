"""What people do to studies while eight workers serve them."""

import random
import threading

from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_harness import LEASE, Fleet, ended, is_finished, passes, wait_until

from storage import studies
from storage.connection import Storage, connect

SEED = 3


def test_studies_paused_resumed_extended_and_cancelled_at_any_moment(
    storage: Storage, fleet: Fleet
) -> None:
    chance = random.Random(SEED)
    changed, cancelled, untouched = (
        make_study(storage, trials=trials, seconds=0.3).id for trials in (100, 400, 20)
    )
    members = [fleet.start(until_idle=False, lease=20 * LEASE) for _ in range(8)]
    wait_until(lambda: ended(storage, changed) > 0, "a trial ends")
    for _ in range(5):
        studies.pause(storage, changed, "paused by hand")
        wait_until(passes(chance.uniform(0.1, 0.5)), "a moment passes")
        studies.resume(storage, changed, trials=chance.randint(0, 3))
        wait_until(passes(chance.uniform(0.1, 0.5)), "a moment passes")
    wait_until(lambda: ended(storage, cancelled) > 5, "the second is well under way")
    studies.cancel(storage, cancelled, "cancelled by hand")
    wait_until(is_finished(storage, changed, untouched), "the others are finished")
    extended = studies.resume(storage, changed, trials=5)
    wait_until(is_finished(storage, changed), "it is finished again")
    wait_until(lambda: not any(member.status["held"] for member in members), "all are idle")
    for study in (changed, untouched):
        seen = exact(storage, study)
        as_drawn(storage, study, seen)
        assert {(trial.state, trial.attempts) for trial in seen} == {("COMPLETE", 1)}
    assert len(exact(storage, changed)) == extended.trials > 104
    _all_say_they_were_cancelled(storage, cancelled)
    none_open(storage)


def _all_say_they_were_cancelled(storage: Storage, study: str) -> None:
    seen = exact(storage, study, state="cancelled")
    failed = [trial for trial in seen if trial.state == "FAIL"]
    assert 5 < len(seen) < 400
    assert {trial.reason for trial in failed} <= {"cancelled by hand"}


def test_people_who_all_change_one_study_at_once_leave_it_whole(
    storage: Storage, fleet: Fleet
) -> None:
    study = make_study(storage, trials=10, seconds=0.1).id
    for _ in range(3):
        fleet.start(until_idle=False, lease=20 * LEASE)
    more: list[int] = []
    others = [connect(storage.url) for _ in range(3)]
    people = [
        threading.Thread(target=_change, args=(other, study, SEED + number, more))
        for number, other in enumerate(others)
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    for other in others:
        other.close()
    studies.resume(storage, study, trials=1)
    wait_until(is_finished(storage, study), "it is finished")
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    assert len(seen) == 10 + sum(more) + 1


def _change(storage: Storage, study: str, seed: int, more: list[int]) -> None:
    """Pause, resume and extend a study, whatever others do to it meanwhile."""
    chance = random.Random(seed)
    for _ in range(12):
        try:
            if chance.random() < 0.5:
                studies.pause(storage, study)
            else:
                trials = chance.randint(0, 2)
                studies.resume(storage, study, trials=trials)
                more.append(trials)
        except ValueError:  # It is finished just now.
            pass
        threading.Event().wait(chance.uniform(0.01, 0.1))
