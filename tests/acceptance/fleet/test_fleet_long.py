"""Stories that take minutes: real training amid all that befalls a fleet, fifty workers at once."""

from collections.abc import Callable
from pathlib import Path

from fleet_checks import as_drawn, essence, exact, fates, make_study, none_open
from fleet_harness import LEASE, Fleet, Member, ended, is_finished, wait_until
from fleet_server import AUDIT, Server

from storage import finishing, studies, workers
from storage.connection import Storage, connect
from storage.migrating import VERSION_TABLE
from topo_search import study
from topo_search.study import Options

IRIS = Path(__file__).parents[3] / "examples" / "iris.csv"
ONE_KIND = {
    "activation": "relu",
    "normalisation": "none",
    "residual": "no",
    "embedding": "none",
}
SPARE = 6  # Trials that there are to do at least.
FIFTY = 50


def made(storage: Storage, trials: int) -> str:
    """Make a study of iris whose every trial depends on its unit alone."""
    options = Options(
        data=IRIS.read_bytes(),
        file="iris.csv",
        target="species",
        metric="log_loss",  # Of which no two trainings come to the same by chance.
        trials=trials,
        epochs=150,
        sampler="random",
        pruner="none",
        # Of few shapes, which need not be compiled for each: what differs is how they train.
        limits={"depth": "1:2", "width": "16", "batch-size": "16"} | ONE_KIND,
    )
    return study.create(storage, options)[0].id


def test_real_training_comes_through_all_that_befalls_a_fleet(
    server: Server, database: str, storage: Storage, fleet: Fleet
) -> None:
    one, other, third = fleet.ready(3, tensorflow=True)
    disturbed = made(storage, SPARE)

    def wait_at_work(true: Callable[[], bool], what: str) -> None:
        """Wait until something is true; the study never runs out of trials meanwhile."""

        def looks() -> bool:
            if studies.get(storage, disturbed).trials < ended(storage, disturbed) + SPARE:
                studies.resume(storage, disturbed, trials=SPARE)
            return true()

        wait_until(looks, what)

    def goes_on(what: str) -> None:
        before = ended(storage, disturbed)
        wait_at_work(lambda: ended(storage, disturbed) >= before + 2, f"work goes on after {what}")

    def strike(member: Member, victims: Callable[[], list[int]]) -> None:
        """Kill the first of a worker's processes while it trains."""

        def struck() -> bool:
            found = victims() if member.status["held"] else []
            for victim in found[:1]:
                member.kill_one(victim)
            return bool(found)

        wait_at_work(struck, "a victim is at work")

    goes_on("the start")
    strike(one, lambda: one.slots)
    goes_on("the death of a slot")
    strike(other, lambda: other.fork_servers)
    goes_on("the death of a fork server")
    server.restart("immediate")
    goes_on("a crash of the database")
    server.cut_connections(database)
    goes_on("cut connections")
    wait_at_work(lambda: bool(third.status["held"]), "it is at work")
    third.freeze()
    goes_on("a freeze")
    wait_at_work(lambda: third.status["name"] in lost(storage), "it counts as lost")
    third.wake()
    goes_on("its waking")
    studies.pause(storage, disturbed, "by hand")
    wait_until(lambda: not any(m.status["held"] for m in fleet.alive), "what runs has ended")
    assert ended(storage, disturbed) < studies.get(storage, disturbed).trials
    studies.resume(storage, disturbed)
    goes_on("a pause")
    wait_at_work(lambda: bool(one.status["held"]), "it is at work")
    one.kill(with_slots=True)
    fleet.start(until_idle=False, tensorflow=True)
    wait_until(is_finished(storage, disturbed), "the study is finished")
    undisturbed = made(storage, studies.get(storage, disturbed).trials)
    wait_until(is_finished(storage, undisturbed), "the other one is finished")
    fleet.dismiss()
    seen, expected = exact(storage, disturbed), exact(storage, undisturbed)
    none_open(storage)
    by_unit = [sorted(trials, key=lambda trial: trial.unit) for trials in (seen, expected)]
    mine, theirs = ([fate[1:] for fate in essence(trials)] for trials in by_unit)
    assert mine == theirs
    assert {trial.state for trial in seen} == {"COMPLETE"}
    assert sum(trial.attempts - 1 for trial in seen) >= 2
    outcomes = [studies.get(storage, row).outcome for row in (disturbed, undisturbed)]
    assert outcomes[0] is not None and outcomes[1] is not None
    assert outcomes[0]["test"] == outcomes[1]["test"]
    assert len(finishing.looks(storage, disturbed)) == 1


def lost(storage: Storage) -> set[str]:
    """Return the names of the workers that count as lost."""
    return {known.worker.name for known in workers.known(storage) if known.state == "lost"}


def test_slots_out_of_memory_cost_their_own_trials_alone(storage: Storage, fleet: Fleet) -> None:
    study = make_study(storage, trials=12, objective="hungry").id
    for _ in range(2):
        fleet.start(memory=2**29)
    fleet.join()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    hungry = [trial for trial in seen if trial.parameters["n"] % 4 == 0]
    assert 0 < len(hungry) < len(seen)
    for trial in seen:
        if trial in hungry:
            assert trial.state == "FAIL" and "memory" in (trial.reason or ""), trial
        else:
            assert (trial.state, trial.attempts) == ("COMPLETE", 1), trial


def test_fifty_workers_started_at_once_on_a_new_database_serve_it(
    server: Server, tmp_path: Path
) -> None:
    server.make_database("fleet_fifty", empty=True)
    fleet = Fleet(server.url("fleet_fifty"), tmp_path / "fleet")
    try:
        for _ in range(FIFTY):
            fleet.start(until_idle=False, lease=20 * LEASE)
        wait_until(lambda: all(member.status["name"] for member in fleet.alive), "all are there")
        assert len(fleet.alive) == FIFTY
        versions = server.execute(f"SELECT version_num FROM {VERSION_TABLE}", "fleet_fifty")
        assert len(versions) == 1
        storage = connect(server.url("fleet_fifty"))
        server.execute(AUDIT, "fleet_fifty")
        row = make_study(storage, trials=4 * FIFTY, seconds=1.0)
        wait_until(is_finished(storage, row.id), "the study is finished")
        fleet.dismiss()
        seen = exact(storage, row.id)
        as_drawn(storage, row.id, seen)
        assert fates(seen) == {"COMPLETE": 4 * FIFTY}
        assert sum(member.status["ended"] > 0 for member in fleet.members) > FIFTY // 2
        none_open(storage)
        storage.close()
    finally:
        fleet.close()
        server.execute("DROP DATABASE fleet_fifty WITH (FORCE)")
