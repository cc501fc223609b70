"""Retention: what the database holds, and what of it nobody needs any more."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

import sqlalchemy as sa

from storage import datasets, removal, tables
from storage.clock import NOW, is_free
from storage.connection import Storage
from storage.errors import StorageError
from storage.rows import EXPIRES_AT, OPEN, lock_if_there

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """How much a sweep deleted."""

    studies: int
    datasets: int  # that no study had; those that went with their studies are not counted


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How much a database holds."""

    bytes: int  # of datasets and artifacts
    database_bytes: int  # of everything, as it lies on the server's disk
    studies_open: int  # that hand out work
    studies: int
    datasets: int


def sweep(storage: Storage) -> Swept:
    """Delete the studies that have expired, and the datasets no study was made on for a day.

    Any number of processes may sweep at once. What somebody is at in this moment, or what cannot be
    deleted now, is left to the next sweep.
    """
    study, dataset = tables.study.c, tables.dataset.c
    with storage.transaction() as connection:
        expired = connection.scalars(
            sa.select(study.id).where(_has_expired()).order_by(EXPIRES_AT)
        ).all()
        orphans = connection.scalars(
            sa.select(dataset.sha256).where(datasets.not_needed()).order_by(dataset.created_at)
        ).all()
    # Transactions for each, so that none is locked for longer than it takes.
    return Swept(
        studies=sum(_tried(_delete_expired, storage, study_id) for study_id in expired),
        datasets=sum(_tried(_drop_orphan, storage, sha256) for sha256 in orphans),
    )


def stored(storage: Storage) -> Stored:
    """Count what the database holds."""
    study, dataset, artifact = tables.study, tables.dataset, tables.artifact

    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.select(sa.func.count()).select_from(table).where(*conditions).scalar_subquery()

    def size(table: sa.Table) -> sa.ColumnElement[int]:
        return sa.select(sa.func.coalesce(sa.func.sum(table.c.size), 0)).scalar_subquery()

    columns = {
        "bytes": size(dataset) + size(artifact),
        "database_bytes": sa.func.pg_database_size(sa.func.current_database()),
        "studies_open": count(study, study.c.state.in_(OPEN)),
        "studies": count(study),
        "datasets": count(dataset),
    }
    with storage.transaction() as connection:
        row = connection.execute(
            sa.select(*(columns[column.name].label(column.name) for column in fields(Stored)))
        ).one()
    return Stored(**{name: int(value) for name, value in row._mapping.items()})


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is left of some studies and datasets."""

    open: frozenset[str]  # ids of the studies that hand out work
    waiting: dict[str, int]  # bytes of the datasets that no study has, by SHA-256


def left(storage: Storage, studies: Collection[str], hashes: Collection[str]) -> Left:
    """Tell which of some studies are open still, and which datasets wait for a study still."""
    study, dataset = tables.study.c, tables.dataset.c
    with storage.transaction() as connection:
        are_open = connection.scalars(
            sa.select(study.id).where(study.id.in_(studies), study.state.in_(OPEN))
        ).all()
        waiting = connection.execute(
            sa.select(dataset.sha256, dataset.size).where(
                dataset.sha256.in_(hashes), dataset.waiting_since.is_not(None)
            )
        ).all()
    return Left(open=frozenset(are_open), waiting={row.sha256: row.size for row in waiting})


def _has_expired() -> sa.ColumnElement[bool]:
    lease = tables.lease.c
    # Whoever is at a study keeps it, also where its time is shorter than a lease, and after an
    # outage in which nobody could say that he was there.
    at_work = sa.exists().where(
        lease.study == tables.study.c.id, lease.ended_at.is_(None), ~is_free()
    )
    return sa.and_(EXPIRES_AT < NOW, ~at_work)


def _tried(delete: Callable[[Storage, str], int], storage: Storage, what: str) -> int:
    """Delete one thing; what keeps it from being deleted is not to keep the others."""
    try:
        return delete(storage, what)
    except StorageError as error:
        logger.warning("%s is left to the next sweep: %s", what, error)
        return 0


def _delete_expired(storage: Storage, study_id: str) -> int:
    with storage.transaction() as connection:
        study = lock_if_there(connection, study_id, skip_locked=True)
        # Asked again, now that nobody can change it: it may have been resumed meanwhile.
        still = sa.select(_has_expired()).where(tables.study.c.id == study_id)
        if study is None or not connection.scalar(still):
            return 0
        removal.shut(connection, study)
    try:
        removal.delete_shut(storage, study_id, "expired")
    except LookupError:  # Another sweep was faster.
        return 0
    return 1


def _drop_orphan(storage: Storage, sha256: str) -> int:
    with storage.transaction() as connection:
        return datasets.drop_not_needed(connection, [sha256])
