"""Datasets: uploaded bytes, kept once under their SHA-256."""

import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from storage import bulk, tables
from storage.clock import NOW
from storage.connection import Storage

MAX_BYTES = 400 * 2**20
"""PostgreSQL takes a value of 1 GB, and on its way there every byte is two hexadecimal digits."""

ORPHANS_KEPT = timedelta(hours=24)
"""How long an upload waits for its study."""

CACHED = 5 * 2**30
"""Bytes of datasets that a machine keeps, the least recently used dropped."""

CHUNK = 8 * 2**20
"""Bytes that are fetched at once."""

WAITED = 10.0
"""Seconds that a dataset is waited for which another process of the machine fetches."""

UNUSED = 3600.0
"""Seconds after which nobody is about to read a file that was fetched."""

_NAME = re.compile(r"[0-9a-f]{64}")
_INTACT: dict[Path, tuple[int, int, int]] = {}  # Files whose bytes were looked at, as they were.


def put(storage: Storage, data: bytes, name: str) -> str:
    """Keep the bytes of a dataset and return their SHA-256; bytes already there are not sent.

    They stay for `ORPHANS_KEPT` at least, or for as long as the studies that are made on them.

    Raises:
        ValueError: More bytes than the database takes.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"Expected a dataset of at most {MAX_BYTES // 2**20} MiB. Received {name} with "
            f"{len(data) // 2**20} MiB; leave out columns or rows."
        )
    sha256 = hashlib.sha256(data).hexdigest()
    waits = {"waiting_since": NOW}
    again = sa.update(tables.dataset).where(tables.dataset.c.sha256 == sha256).values(waits)
    with storage.transaction() as connection:
        if not connection.execute(again).rowcount:
            bulk.insert(
                connection,
                postgresql.insert(tables.dataset)
                .values(sha256=sha256, name=name, bytes=data, size=len(data), **waits)
                .on_conflict_do_update(index_elements=["sha256"], set_=waits),
            )
    return sha256


def note_study(connection: sa.Connection, hashes: Collection[str]) -> None:
    """Note that a study is made on datasets: none of them waits for one any more."""
    column = tables.dataset.c
    for sha256 in sorted(hashes):  # As everybody does who locks several.
        connection.execute(
            sa.update(tables.dataset)
            .where(column.sha256 == sha256, column.waiting_since.is_not(None))
            .values(waiting_since=None)
        )


def not_needed() -> sa.ColumnElement[bool]:
    """Whether no study has a dataset, and no upload of it waits for its study."""
    return sa.and_(_waits_no_more(), ~_in_use())


def drop_not_needed(connection: sa.Connection, hashes: Collection[str]) -> int:
    """Delete those of some datasets that are not needed, and return how many."""
    column = tables.dataset.c
    # Locked before looking who has them: a study that is being made holds its datasets' rows, and
    # one that comes later waits for ours and is then refused.
    locked = connection.scalars(
        sa.select(column.sha256)
        .where(column.sha256.in_(hashes), _waits_no_more())
        .with_for_update(skip_locked=True)
    ).all()
    return connection.execute(
        sa.delete(tables.dataset).where(column.sha256.in_(locked), ~_in_use())
    ).rowcount


def _waits_no_more() -> sa.ColumnElement[bool]:
    since = tables.dataset.c.waiting_since
    return sa.or_(since.is_(None), since < NOW - ORPHANS_KEPT)


def _in_use() -> sa.ColumnElement[bool]:
    study, sha256 = tables.study.c, tables.dataset.c.sha256
    return sa.exists().where(sa.or_(study.dataset == sha256, study.test_dataset == sha256))


def fetch(
    storage: Storage,
    sha256: str,
    cache: Path,
    meanwhile: Callable[[], None] = lambda: None,
) -> Path:
    """Return a file in the folder `cache` that holds the dataset, fetched if it is not there.

    A file whose bytes have changed is replaced. Any number of processes may share the folder.

    Args:
        storage: Where the dataset is.
        sha256: Of its bytes.
        cache: The folder.
        meanwhile: Called after each `CHUNK`, between transactions: all of them may take long.

    Raises:
        LookupError: No such dataset, or not with the bytes it had.
        OSError: The folder cannot be written.
    """
    path = cache / sha256
    if _is_intact(path, sha256):
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache):
        if not _is_intact(path, sha256):  # Another process of this machine was faster.
            _fetch(storage, sha256, path, meanwhile)
    return path


def is_kept(storage: Storage, sha256: str) -> bool:
    """Tell whether the storage has a dataset; of one that was deleted a machine may have a file."""
    with storage.transaction() as connection:
        return sha256 in _kept(connection, [sha256])


def drop_deleted(storage: Storage, cache: Path) -> int:
    """Delete a machine's files of datasets that the storage has no more, and return how many.

    One that was used in the last hour stays for now: somebody may be about to read it, such as a
    worker of another storage.

    Raises:
        OSError: The folder cannot be changed.
    """
    if not cache.is_dir():
        return 0
    names = []
    for path in cache.iterdir():
        with suppress(FileNotFoundError):  # Another process of this machine was faster.
            if _NAME.fullmatch(path.name) and time.time() - path.stat().st_atime > UNUSED:
                names.append(path.name)
    with storage.transaction() as connection:
        gone = set(names) - _kept(connection, names)
    for name in gone:
        (cache / name).unlink(missing_ok=True)
    return len(gone)


def _kept(connection: sa.Connection, hashes: Collection[str]) -> set[str]:
    sha256 = tables.dataset.c.sha256
    return set(connection.scalars(sa.select(sha256).where(sha256.in_(hashes))))


def _fetch(storage: Storage, sha256: str, path: Path, meanwhile: Callable[[], None]) -> None:
    cache, hashed = path.parent, hashlib.sha256()
    size = _read(storage, sha256, sa.func.octet_length(tables.dataset.c.bytes))
    _make_room(cache, size)
    handle, unfinished = tempfile.mkstemp(dir=cache, prefix=f".{sha256[:8]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            for start in range(1, size + 1, CHUNK):
                part = sa.func.substring(tables.dataset.c.bytes, start, CHUNK)
                data = bytes(_read(storage, sha256, part))
                hashed.update(data)
                file.write(data)
                meanwhile()
        if hashed.hexdigest() != sha256:
            raise LookupError(f"Expected dataset {sha256} in the storage. Its bytes are others.")
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _read(storage: Storage, sha256: str, what: sa.ColumnElement[Any]) -> Any:
    with storage.transaction() as connection:
        found = connection.scalar(sa.select(what).where(tables.dataset.c.sha256 == sha256))
    if found is None:
        raise LookupError(f"Expected a dataset in the storage. Received {sha256}: not there.")
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes and threads out until the block's end.

    Whoever was waited for in vain may be frozen: then both do the same work.
    """
    opened, until = os.open(folder, os.O_RDONLY), time.monotonic() + WAITED
    try:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    break
            threading.Event().wait(0.05)
        yield
    finally:
        os.close(opened)


def _is_intact(path: Path, sha256: str) -> bool:
    """Tell whether a file holds what its name says, and note that it was used."""
    try:
        found = path.stat()
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        with path.open("rb") as file:  # Also where its bytes are known: who asks will read it.
            if _INTACT.get(path) != mark:
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
