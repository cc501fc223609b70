"""Workers that fall silent for longer than their lease, cut off or frozen, and come back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_harness import LEASE, Fleet, Member, ended, ran_out, renewed, wait_until
from fleet_hosts import Relay, host
from fleet_objectives import mark
from fleet_server import Server

from storage.connection import Storage

Interruption = tuple[Member, Callable[[], None], Callable[[], None]]


@pytest.fixture(params=["frozen", "supervisor frozen", "unplugged", "stalled"])
def silenced(
    request: pytest.FixtureRequest, server: Server, database: str, fleet: Fleet
) -> Iterator[Interruption]:
    """A worker of two slots, what makes it fall silent, and what ends its silence."""
    with ExitStack() as stack:
        if request.param == "frozen":
            worker = fleet.start(slots=2)
            yield worker, worker.freeze, worker.wake
        elif request.param == "supervisor frozen":
            worker = fleet.start(slots=2)
            yield worker, worker.freeze_supervisor, worker.wake
        elif request.param == "unplugged":
            try:
                there = stack.enter_context(host())
            except OSError as error:
                pytest.skip(str(error))
            server.restart("fast", there.ours)
            url = server.url(database, there.ours)
            yield fleet.start(slots=2, url=url, prefix=there.prefix), there.cut, there.heal
        else:
            relay = stack.enter_context(Relay(target=server.port).running())
            url = server.url(database, port=relay.port)
            yield fleet.start(slots=2, url=url), relay.cut, relay.heal
        fleet.close()


def test_a_late_result_counts_unless_somebody_took_the_trial_over(
    storage: Storage, fleet: Fleet, folder: Path, silenced: Interruption
) -> None:
    worker, fall_silent, come_back = silenced
    taken, left = (
        make_study(storage, trials=1, objective="gated", folder=folder, title=title).id
        for title in ("taken", "left")
    )
    both = [folder / f"began-{title}-{worker.label}" for title in ("taken", "left")]
    wait_until(lambda: all(trace.exists() for trace in both), "both trials run")
    wait_until(renewed(storage, left), "the worker has renewed its leases")
    fall_silent()
    # Both trials end in the silence, but where the slots are frozen, too.
    (folder / f"go-{worker.label}").touch()
    other = fleet.start(only=[taken], lease=20 * LEASE)  # It is not to lose it again.
    trace = folder / f"began-taken-{other.label}"
    wait_until(trace.exists, "the other worker takes one over")
    wait_until(lambda: ran_out(storage, left), "the other's lease runs out")
    come_back()
    wait_until(lambda: ended(storage, left) == 1, "its result of the other counts")
    wait_until(lambda: worker.status["held"] == 0, "it is done with both")
    assert ended(storage, taken) == 0
    (folder / f"go-{other.label}").touch()
    fleet.join()
    (trial,) = exact(storage, taken)
    as_drawn(storage, taken, [trial], scored=False)
    assert (trial.value, trial.attempts) == (mark(other.label), 2)
    (trial,) = exact(storage, left)
    as_drawn(storage, left, [trial], scored=False)
    assert (trial.value, trial.attempts) == (mark(worker.label), 1)
    none_open(storage)
