"""Workers whose clocks are wrong by an hour: leases are timed by the database's clock alone."""

import sqlalchemy as sa
from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_harness import Fleet, wait_until

from storage import events, tables, workers
from storage.connection import Storage

HOUR = 3600.0
LEASE = 2.5  # Seconds.


def test_wrong_clocks_neither_end_a_lease_nor_keep_it(storage: Storage, fleet: Fleet) -> None:
    # Each trial takes longer than a lease: it lasts because it is renewed.
    study = make_study(storage, trials=7, seconds=1.2 * LEASE).id
    killed = [fleet.start(clock=offset, lease=LEASE) for offset in (HOUR, -HOUR, 0.0)]
    wait_until(lambda: all(member.status["held"] for member in killed), "all train")
    spared = [fleet.start(clock=offset, lease=LEASE) for offset in (HOUR, -HOUR)]
    wait_until(lambda: all(member.status["name"] for member in spared), "others come")
    gone = {f"its worker {member.status['name']} vanished" for member in killed}
    for member in killed:
        member.kill()
    fleet.join()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    # What the dead held was taken over, and what the living held was not.
    taken = [event for event in events.latest(storage, study=study, count=1000)]
    taken = [event for event in taken if event.kind == "trial taken over"]
    assert taken and {event.text for event in taken} <= gone
    assert {event.worker for event in taken} <= {member.status["name"] for member in spared}
    assert max(trial.attempts for trial in seen) == 2
    _all_times_are_the_databases(storage, study)


def _all_times_are_the_databases(storage: Storage, study: str) -> None:
    lease, trial = tables.lease.c, tables.optuna_trial.c
    now = sa.func.clock_timestamp()
    times = [
        *(lease.taken_at, lease.renewed_at, lease.expires_at, lease.ended_at),
        *(
            sa.func.timezone("UTC", time)
            for time in (trial.datetime_start, trial.datetime_complete)
        ),
    ]
    query = (
        sa.select(*(sa.func.abs(sa.func.extract("epoch", now - time)) for time in times))
        .join(tables.optuna_trial, trial.trial_id == lease.trial_id)
        .where(lease.study == study, lease.kind == "trial")
    )
    with storage.transaction() as connection:
        rows = connection.execute(query).all()
    assert max(off for row in rows for off in row) < HOUR / 2
    for known in workers.known(storage):
        assert abs(known.silence) < HOUR / 2
