"""Real training on a small table, by workers that come to grief one after the other."""

from pathlib import Path

from fleet_checks import essence, exact, none_open
from fleet_disks import barred
from fleet_harness import Fleet, ended, is_finished, ran_out, wait_until
from fleet_hosts import Relay
from fleet_server import Server

from storage import events, finishing, studies
from storage.connection import Storage
from topo_search import study
from topo_search.study import Options

IRIS = Path(__file__).parents[3] / "examples" / "iris.csv"
TRIALS = 14
HOUR = 3600.0
ENOUGH = 2  # Trials that each worker ends, so that none is begun more often than three times.
DIES_AT = 7  # Of its statements after these.


def test_training_comes_to_the_same_network_whatever_befalls_the_workers(
    storage: Storage, server: Server, database: str, fleet: Fleet, tmp_path: Path
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
    how = {"only": [disturbed], "tensorflow": True}
    # By itself: of studies in turn TPE knows more when it draws.
    fleet.start(only=[undisturbed], tensorflow=True)

    # No room for the table: the study is left to others.
    without_room = fleet.start(only=[disturbed], cache=barred(tmp_path / "bad"), until_idle=False)
    wait_until(lambda: "cannot be served here now" in without_room.log, "one has no room for it")

    # Killed, its clock an hour late.
    killed = fleet.start(**how, clock=-HOUR)
    wait_until(lambda: ended(storage, disturbed) >= 1, "it has ended a trial")
    killed.kill()
    wait_until(lambda: ran_out(storage, disturbed), "its leases run out")

    # Dead between two statements.
    before = ended(storage, disturbed)
    dead = fleet.start(**how, dies_at=DIES_AT, dies_after=ENOUGH)
    wait_until(lambda: not dead.alive, "it dies")
    assert before + ENOUGH <= ended(storage, disturbed) < TRIALS - ENOUGH
    wait_until(lambda: ran_out(storage, disturbed), "its leases run out")

    # Cut off; it comes back when another has ended all trials.
    before = ended(storage, disturbed)
    relay = Relay(target=server.port)
    with relay.running():
        cut_off = fleet.start(**how, url=server.url(database, port=relay.port))
        wait_until(lambda: ended(storage, disturbed) >= before + ENOUGH, "it has ended some")
        relay.cut()
        wait_until(lambda: ran_out(storage, disturbed), "its leases run out")
        assert ended(storage, disturbed) < TRIALS
        fleet.start(**how).join()
        relay.heal()
        cut_off.join()
    wait_until(is_finished(storage, undisturbed), "the other study is finished, too")

    seen = exact(storage, disturbed)
    none_open(storage)
    assert essence(seen) == essence(exact(storage, undisturbed))
    told = [event for event in events.latest(storage, study=disturbed, count=1000)]
    taken = [event.text for event in told if event.kind == "trial taken over"]
    for lost in (killed, dead, cut_off):  # Each left something behind.
        assert any(lost.status["name"] in text for text in taken), taken
    outcomes = [studies.get(storage, one).outcome for one in (undisturbed, disturbed)]
    assert outcomes[0] is not None and outcomes[1] is not None
    assert outcomes[0]["best"] == outcomes[1]["best"]
    assert outcomes[0]["test"] == outcomes[1]["test"]
    assert len(finishing.looks(storage, disturbed)) == 1
