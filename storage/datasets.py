"""Datasets: uploaded bytes, kept once under their SHA-256."""

import hashlib
import os
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import tables
from storage.connection import Storage

MAX_BYTES = 400 * 2**20
"""PostgreSQL takes a value of 1 GB, and on its way there every byte is two hexadecimal digits."""


def put(storage: Storage, data: bytes, name: str) -> str:
    """Keep the bytes of a dataset and return their SHA-256; bytes already there are not sent.

    Raises:
        ValueError: More bytes than the database takes.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"Expected a dataset of at most {MAX_BYTES // 2**20} MiB. Received {name} with "
            f"{len(data) // 2**20} MiB; leave out columns or rows."
        )
    sha256 = hashlib.sha256(data).hexdigest()
    known = sa.select(sa.exists().where(tables.dataset.c.sha256 == sha256))
    with storage.transaction() as connection:
        if not connection.scalar(known):
            connection.execute(
                postgresql.insert(tables.dataset)
                .values(sha256=sha256, name=name, bytes=data, size=len(data))
                .on_conflict_do_nothing()
            )
    return sha256


def fetch(storage: Storage, sha256: str, cache: Path) -> Path:
    """Return a file in the folder `cache` that holds the dataset, fetched if it is not there.

    A file whose bytes have changed is replaced. Any number of processes may share the folder.

    Raises:
        LookupError: No such dataset.
        OSError: The folder cannot be written.
    """
    path = cache / sha256
    if path.is_file() and _sha256(path) == sha256:
        return path
    with storage.transaction() as connection:
        data = connection.scalar(
            sa.select(tables.dataset.c.bytes).where(tables.dataset.c.sha256 == sha256)
        )
    if data is None:
        raise LookupError(f"Expected a dataset in the storage. Received {sha256}: not there.")
    cache.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=cache, prefix=f".{sha256[:8]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
