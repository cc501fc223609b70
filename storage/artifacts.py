"""Artifacts: files a study made, such as the weights of its best trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import bulk, tables
from storage.connection import Storage
from storage.datasets import MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What is known of a file without reading it."""

    name: str
    media_type: str
    size: int  # bytes
    created_at: datetime


def put(
    storage: Storage,
    study_id: str,
    name: str,
    data: bytes,
    media_type: str = "application/octet-stream",
) -> None:
    """Keep a file under a study, in place of one of the same name.

    Raises:
        ValueError: More bytes than the database takes.
        LookupError: No such study.
    """
    with storage.transaction() as connection:
        if not insert_artifacts(connection, study_id, {name: data}, media_type):
            raise LookupError(f"Expected the id of a study. Received {study_id!r}.")


def insert_artifacts(
    connection: sa.Connection,
    study_id: str,
    files: Mapping[str, bytes],
    media_type: str = "application/octet-stream",
) -> int:
    """Keep files, by name, in a transaction of the caller's, who has locked nothing yet.

    They go in one statement: nothing is locked until all of their bytes are there. It locks the
    study first, as `studies.delete` does.

    Returns:
        How many were kept: all of them, or none where there is no such study.

    Raises:
        ValueError: More bytes than the database takes.
    """
    if not files:
        return 0
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise ValueError(
            f"Expected artifacts of at most {MAX_BYTES // 2**20} MiB. Received "
            f"{', '.join(files)} with {size // 2**20} MiB."
        )
    # By name, as everybody does who locks several.
    rows = [(name, data, len(data)) for name, data in sorted(files.items())]
    given = sa.values(
        *(sa.column(name, tables.artifact.c[name].type) for name in ("name", "bytes", "size")),
        name="given",
    ).data(rows)
    kept = (
        sa.select(tables.study.c.id, given, sa.literal(media_type))
        .select_from(tables.study.join(given, sa.true()))
        .where(tables.study.c.id == study_id)
        .with_for_update(key_share=True, read=True, of=tables.study)
    )
    insert = postgresql.insert(tables.artifact).from_select(
        ["study", "name", "bytes", "size", "media_type"], kept
    )
    replaced = {name: insert.excluded[name] for name in ("media_type", "bytes", "size")}
    kept_or_replaced = insert.on_conflict_do_update(
        index_elements=["study", "name"], set_={**replaced, "created_at": sa.func.now()}
    )
    return bulk.insert(connection, kept_or_replaced)


def get(storage: Storage, study_id: str, name: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        LookupError: The study has no such file; the message lists those it has.
    """
    with storage.transaction() as connection:
        data = connection.scalar(sa.select(tables.artifact.c.bytes).where(_is(study_id, [name])))
    if data is None:
        names = ", ".join(artifact.name for artifact in list_artifacts(storage, study_id))
        raise LookupError(
            f"Expected an artifact of study {study_id}: {names or 'it has none'}. "
            f"Received {name!r}."
        )
    return bytes(data)


def list_artifacts(storage: Storage, study_id: str) -> list[Artifact]:
    """Return what files a study has, by name."""
    query = (
        sa.select(*(tables.artifact.c[column.name] for column in fields(Artifact)))
        .where(tables.artifact.c.study == study_id)
        .order_by(tables.artifact.c.name)
    )
    with storage.transaction() as connection:
        return [Artifact(**row._mapping) for row in connection.execute(query)]


def delete(storage: Storage, study_id: str, names: Sequence[str]) -> None:
    """Delete files of a study; names it does not have are passed over."""
    if names:
        with storage.transaction() as connection:
            connection.execute(sa.delete(tables.artifact).where(_is(study_id, names)))


def keep_best(storage: Storage, study_id: str, names: Sequence[str], count: int) -> None:
    """Delete all but the first `count` of these files.

    Args:
        storage: Where the study is.
        study_id: The study.
        names: The files of every trial the caller knows to have ended, best trial first. Files
            not named stay: a trial that is not among the best of some is not among the best of
            all, so workers that each know of other trials never delete what is to stay.
        count: How many stay.
    """
    delete(storage, study_id, names[count:])


def _is(study_id: str, names: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(tables.artifact.c.study == study_id, tables.artifact.c.name.in_(names))
