"""Workers and slots killed at random moments, again and again, and new ones that join.

A slot over its memory limit is shown in test_fleet_long.py.
"""

import random
import time
from pathlib import Path

from fleet_checks import as_drawn, essence, exact, fates, make_study, none_open
from fleet_harness import LEASE, Fleet, ended, is_finished, passes, ran_out, wait_until

from storage.connection import Storage
from storage.tables import MAX_ATTEMPTS

SEED = 7


def test_workers_killed_every_second_end_exactly_the_budget(storage: Storage, fleet: Fleet) -> None:
    chance = random.Random(SEED)
    study = make_study(storage, trials=200, seconds=0.6, pruner="asha").id
    finished = is_finished(storage, study)
    for _ in range(8):
        fleet.start()
    kills = 0
    while not finished():
        second = passes(chance.uniform(0.5, 1.5))
        wait_until(lambda second=second: second() or finished(), "a second passes")  # type: ignore[misc]
        at_work = [member for member in fleet.alive if member.status["name"]]
        if len(at_work) > 2:
            chance.choice(at_work).kill(with_slots=chance.random() < 0.5)
            kills += 1
        for _ in range(min(chance.randint(1, 2), 8 - len(fleet.alive))):
            if ended(storage, study) < 180:
                fleet.start()
    fleet.join()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    assert kills > 3
    assert max(trial.attempts for trial in seen) > 1
    assert fates(seen)["COMPLETE"] and fates(seen)["PRUNED"]


def test_a_worker_started_at_once_after_a_kill_repeats_what_one_worker_does(
    storage: Storage, fleet: Fleet, tmp_path: Path
) -> None:
    long, home = 20 * LEASE, tmp_path / "home"  # Nobody waits for a lease to run out.
    undisturbed = make_study(storage, trials=16, seconds=0.05, sampler="tpe").id
    fleet.start(only=[undisturbed], cache=home).join()
    study = make_study(storage, trials=16, seconds=0.3, sampler="tpe").id
    chance = random.Random(SEED)
    for after in (1, 5, 11, 13):
        worker = fleet.start(only=[study], cache=home, lease=long)
        wait_until(lambda after=after: ended(storage, study) >= after, f"{after} have ended")  # type: ignore[misc]
        wait_until(passes(chance.uniform(0, 0.6)), "some moment of a trial comes")
        worker.kill(with_slots=chance.random() < 0.5)
    began = time.monotonic()
    fleet.start(only=[study], cache=home, lease=long).join()
    assert time.monotonic() - began < long
    seen = exact(storage, study)
    none_open(storage)
    assert essence(seen) == essence(exact(storage, undisturbed))
    assert [trial.unit for trial in seen] == list(range(16))
    assert max(trial.attempts for trial in seen) > 1
    assert not list((home / "workers").iterdir())


def test_slots_and_fork_servers_killed_cost_attempts_and_nothing_else(
    storage: Storage, fleet: Fleet
) -> None:
    chance = random.Random(SEED)
    workers = fleet.ready(2, slots=2, lease=20 * LEASE)
    study = make_study(storage, trials=24, seconds=0.4).id
    wait_until(lambda: all(worker.status["held"] for worker in workers), "both are at work")
    kills = 0
    while ended(storage, study) < 20:
        before = ended(storage, study)
        worker = chance.choice(workers)
        victims = [*worker.slots, *worker.fork_servers]
        if victims:
            worker.kill_one(chance.choice(victims))
            kills += 1
        wait_until(lambda before=before: ended(storage, study) > before + 1, "work goes on")  # type: ignore[misc]
    wait_until(is_finished(storage, study), "the study is finished")
    fleet.dismiss()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    assert kills > 3
    spent = [trial for trial in seen if trial.attempts > 1]
    assert spent and len(spent) <= kills


def test_a_trial_whose_workers_vanish_is_given_up_with_the_reason(
    storage: Storage, fleet: Fleet, folder: Path
) -> None:
    study = make_study(storage, trials=2, objective="gated", folder=folder).id
    for _ in range(MAX_ATTEMPTS):
        worker = fleet.start(lease=LEASE / 2)
        trace = folder / f"began--{worker.label}"
        wait_until(lambda: trace.exists() and worker.status["held"], "it trains")  # noqa: B023
        worker.kill(with_slots=True)
        wait_until(lambda: ran_out(storage, study), "its lease runs out")
    (folder / "go").touch()
    fleet.start().join()
    given_up, other = exact(storage, study)
    none_open(storage)
    vanished = f"its worker {worker.status['name']} vanished"
    assert given_up.state == "FAIL"
    assert given_up.reason == f"gave up after {MAX_ATTEMPTS} attempts: {vanished}"
    assert (other.state, other.attempts) == ("COMPLETE", 1)


def test_one_worker_after_another_repeats_what_one_worker_does(
    storage: Storage, fleet: Fleet
) -> None:
    undisturbed = make_study(storage, trials=12, seconds=0.05, sampler="tpe").id
    fleet.start(only=[undisturbed]).join()
    study = make_study(storage, trials=12, seconds=0.3, sampler="tpe").id
    chance = random.Random(SEED)
    for after in (2, 8):
        worker = fleet.start(only=[study])
        wait_until(lambda after=after: ended(storage, study) >= after, f"{after} have ended")  # type: ignore[misc]
        moment = passes(chance.uniform(0, 0.3))
        wait_until(moment, "some moment of a trial comes")
        worker.kill()
        wait_until(lambda: ran_out(storage, study), "its leases run out")
    fleet.start(only=[study]).join()
    seen = exact(storage, study)
    none_open(storage)
    assert essence(seen) == essence(exact(storage, undisturbed))
    assert [trial.unit for trial in seen] == list(range(12))
    assert max(trial.attempts for trial in seen) > 1
