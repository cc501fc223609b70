"""Small studies in a real database, and the ways of a fleet in which they are left behind."""

import multiprocessing
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from storage import claiming, studies, tables, trials
from storage.connection import Storage
from storage.rows import LEASE_COLUMNS, Drawn, Lease, Standing, StudyRow, Taker, to_lease

DISTRIBUTIONS: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1000.0)}


def make_study(storage: Storage, **changes: Any) -> StudyRow:
    settings: dict[str, Any] = {
        "plan": {"objective": "none"},
        "direction": "maximize",
        "dataset": None,
        "trials": 3,
    }
    return studies.create(storage, **{**settings, **changes})[0]


def draw(unit: int) -> Drawn:
    return Drawn(parameters={"x": float(unit)}, seed=unit + 7)


@dataclass(frozen=True)
class Draws:
    """Draws of a test, and what it notes when they are prepared."""

    draw: Callable[[int], Any]
    prepare: Callable[[], object] = lambda: None


def claim(
    storage: Storage,
    study_id: str,
    owner: str,
    draw: Callable[[int], Any] = draw,
    *,
    prepare: Callable[[], object] = lambda: None,
    standing: Standing | None = None,
    **taker: Any,
) -> Lease | None:
    how = Draws(draw, prepare)
    return claiming.claim(storage, study_id, Taker(owner=owner, **taker), how, standing)


def claim_again(storage: Storage, study_id: str, owner: str, token: uuid.UUID) -> Lease | None:
    """Claim as a worker does that has asked before, with this token, and heard no answer."""
    taker = Taker(owner=owner, token=token)
    lost = claiming.claimed(storage, study_id, taker, Draws(draw))
    return lost or claim(storage, study_id, owner, token=token)


def claimed(storage: Storage, study: StudyRow, owner: str = "a", **options: Any) -> Lease:
    lease = claim(storage, study.id, owner, draw, **options)
    assert lease is not None
    return lease


def begun(storage: Storage, study: StudyRow, owner: str = "a", **options: Any) -> Lease:
    lease = claimed(storage, study, owner, **options)
    trials.begin(storage, lease, DISTRIBUTIONS)
    return lease


def run_to_the_end(storage: Storage, study: StudyRow, owner: str = "a") -> Lease | None:
    """Work at a study as a worker does and return its finish lease, not yet ended."""
    while (lease := claim(storage, study.id, owner, draw)) is not None:
        if lease.kind == "finish":
            return lease
        trials.begin(storage, lease, DISTRIBUTIONS)
        assert trials.end(storage, lease, state="complete", value=lease.parameters["x"])
    return None


def let_expire(storage: Storage, lease_id: uuid.UUID, *, length: float = 0.001) -> None:
    """Make the owner of a lease, `length` seconds long, have been silent for too long."""
    gone = sa.func.clock_timestamp() - sa.text("interval '1 second'")
    with storage.transaction() as connection:
        connection.execute(
            sa.update(tables.lease)
            .where(tables.lease.c.id == lease_id)
            .values(
                expires_at=gone,
                renewed_at=gone - sa.func.make_interval(0, 0, 0, 0, 0, 0, length),
            )
        )


def take_over(storage: Storage, study: StudyRow, lease: Lease, owner: str = "b") -> Lease:
    let_expire(storage, lease.id)
    taken = claimed(storage, study, owner)
    assert taken.id == lease.id
    return taken


def in_processes(count: int, work: Callable[..., None], *args: object) -> bool:
    """Call `work(*args, number)` in `count` processes at once; tell whether all came through."""
    # Forked from a process without threads, so that the libraries are imported once.
    parent = multiprocessing.get_context("spawn").Process(target=_fork, args=(count, work, args))
    parent.start()
    parent.join()
    return parent.exitcode == 0


def _fork(count: int, work: Callable[..., None], args: tuple[object, ...]) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(count)
    workers = [
        context.Process(target=_start, args=(start, work, *args, number)) for number in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * count


def _start(start: Any, work: Callable[..., None], *args: object) -> None:
    start.wait()
    work(*args)


def waits_for_a_lock(connection: sa.Connection, other: Future[Any]) -> bool:
    """Wait until somebody waits for a lock; tell whether it is the other, who is not through."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not other.done() and not connection.exec_driver_sql(waiting).scalar_one():
        pass
    return not other.done()


def open_leases(
    storage: Storage, study_id: str | None = None, owner: str | None = None
) -> list[Lease]:
    """Return the leases that have not ended, of one study or of one owner where given."""
    query = sa.select(*LEASE_COLUMNS).where(tables.lease.c.ended_at.is_(None))
    if study_id is not None:
        query = query.where(tables.lease.c.study == study_id)
    if owner is not None:
        query = query.where(tables.lease.c.owner == owner)
    with storage.transaction() as connection:
        ordered = query.order_by(tables.lease.c.study, tables.lease.c.unit)
        return [to_lease(row) for row in connection.execute(ordered)]


def optuna_trials(storage: Storage, study: StudyRow) -> list[FrozenTrial]:
    return list(trials.optuna_study(storage, study).trials)


def ended_leases(storage: Storage, study: StudyRow) -> list[tuple[int, str]]:
    with storage.transaction() as connection:
        rows = connection.execute(
            sa.select(tables.lease.c.unit, tables.lease.c.outcome)
            .where(
                tables.lease.c.study == study.id,
                tables.lease.c.kind == "trial",
                tables.lease.c.ended_at.is_not(None),
            )
            .order_by(tables.lease.c.unit)
        )
        return [(row.unit, row.outcome) for row in rows]
