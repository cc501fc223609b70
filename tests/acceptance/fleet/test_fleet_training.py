"""Real training on a small table, by a worker that is killed in the midst of it, and by another."""

from pathlib import Path

from fleet_checks import essence, exact, none_open
from fleet_harness import Fleet, ended, ran_out, wait_until

from storage import finishing, studies
from storage.connection import Storage
from topo_search import study
from topo_search.study import Options

IRIS = Path(__file__).parents[3] / "examples" / "iris.csv"
TRIALS = 8


def test_training_after_a_worker_was_killed_comes_to_the_same_network(
    storage: Storage, fleet: Fleet
) -> None:
    options = Options(
        data=IRIS.read_bytes(),
        file="iris.csv",
        target="species",
        metric="log_loss",  # Of which no two trainings come to the same by chance.
        trials=TRIALS,
        epochs=9,
        limits={"depth": "1:2", "width": "16:48"},
    )
    undisturbed, disturbed = (study.create(storage, options)[0].id for _ in range(2))
    worker = fleet.start(only=[disturbed], tensorflow=True)
    wait_until(lambda: ended(storage, disturbed) >= 1, "a trial has ended")
    worker.kill()
    wait_until(lambda: ran_out(storage, disturbed), "its leases run out")
    fleet.start(only=[undisturbed, disturbed], tensorflow=True).join()
    seen = exact(storage, disturbed)
    none_open(storage)
    assert essence(seen) == essence(exact(storage, undisturbed))
    assert max(trial.attempts for trial in seen) > 1
    outcomes = [studies.get(storage, one).outcome for one in (undisturbed, disturbed)]
    assert outcomes[0] is not None and outcomes[1] is not None
    assert outcomes[0]["best"] == outcomes[1]["best"]
    assert outcomes[0]["test"] == outcomes[1]["test"]
    assert len(finishing.looks(storage, disturbed)) == 1
