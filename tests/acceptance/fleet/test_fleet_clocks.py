"""Workers whose clocks are wrong by an hour: leases are timed by the database's clock alone."""

from pathlib import Path

import sqlalchemy as sa
from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_harness import Fleet, is_finished, wait_until

from storage import events, tables, workers
from storage.connection import Storage

HOUR = 3600.0
LEASE = 2.5  # Seconds.


def test_wrong_clocks_neither_end_a_lease_nor_keep_it(
    storage: Storage, fleet: Fleet, folder: Path
) -> None:
    members = [
        fleet.start(clock=offset, lease=LEASE, until_idle=False)
        for offset in (HOUR, -HOUR, 0.0, HOUR, -HOUR)
    ]
    killed, spared = members[:3], members[3:]
    wait_until(lambda: all(member.status["name"] for member in members), "all are there")
    # Two for each: one that it trains, and one claimed ahead.
    study = make_study(storage, trials=2 * len(members), objective="gated", folder=folder).id
    wait_until(lambda: all(member.status["held"] for member in members), "all train")
    gone = {f"its worker {member.status['name']} vanished" for member in killed}
    # Each trial takes longer than a lease: it lasts because it is renewed.
    wait_until(lambda: _held(storage, study) > 1.2 * LEASE, "leases have been renewed")
    for member in killed:
        member.kill()
    (folder / "go").touch()
    wait_until(is_finished(storage, study), "the study is finished")
    fleet.dismiss()
    seen = exact(storage, study)
    as_drawn(storage, study, seen, scored=False)
    none_open(storage)
    # What the dead held was taken over, and what the living held was not.
    taken = [event for event in events.latest(storage, study=study, count=1000)]
    taken = [event for event in taken if event.kind == "trial taken over"]
    assert {event.text for event in taken} == gone
    assert {event.worker for event in taken} <= {member.status["name"] for member in spared}
    assert max(trial.attempts for trial in seen) == 2
    _all_times_are_the_databases(storage, study)


def _held(storage: Storage, study: str) -> float:
    """Return for how long the youngest lease has been held, in seconds by the database's clock."""
    lease = tables.lease.c
    query = sa.select(
        sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.max(lease.taken_at))
    ).where(lease.study == study, lease.ended_at.is_(None))
    with storage.transaction() as connection:
        return float(connection.scalar(query) or 0)


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
