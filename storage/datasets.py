"""Datasets: uploaded bytes, kept once under their SHA-256."""

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import tables
from storage.connection import Storage

MAX_BYTES = 400 * 2**20
"""PostgreSQL takes a value of 1 GB, and on its way there every byte is two hexadecimal digits."""


CACHED = 5 * 2**30
"""Bytes of datasets that a machine keeps, the least recently used dropped."""

_INTACT: dict[Path, tuple[int, int, int]] = {}  # Files whose bytes were looked at, as they were.


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
    if _is_intact(path, sha256):
        return path
    with storage.transaction() as connection:
        data = connection.scalar(
            sa.select(tables.dataset.c.bytes).where(tables.dataset.c.sha256 == sha256)
        )
    if data is None:
        raise LookupError(f"Expected a dataset in the storage. Received {sha256}: not there.")
    cache.mkdir(parents=True, exist_ok=True)
    _make_room(cache, len(data))
    handle, unfinished = tempfile.mkstemp(dir=cache, prefix=f".{sha256[:8]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
    return path


def _is_intact(path: Path, sha256: str) -> bool:
    """Tell whether a file holds what its name says, and note that it was used."""
    try:
        found = path.stat()
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if _INTACT.get(path) != mark:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return False
            _INTACT[path] = mark
        os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))
    except OSError:
        return False  # Not there, or not to be read: it is fetched anew.
    return True


def _make_room(cache: Path, size: int) -> None:
    """Delete the files used longest ago until `size` bytes more stay within the bound."""
    files = []
    for path in cache.iterdir():
        with suppress(FileNotFoundError):  # Another process of this machine was faster.
            found = path.stat()
            files.append((found.st_atime_ns, found.st_size, path))
    total = size + sum(held for _, held, _ in files)
    for _, held, path in sorted(files):
        if total <= CACHED:
            return
        path.unlink(missing_ok=True)
        total -= held
