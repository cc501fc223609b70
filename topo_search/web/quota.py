"""Quotas: what users may ask of a service, and where what they send is put for a while."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from storage import retention
from storage.connection import Storage

MB = 2**20
CHUNK = MB  # Bytes of an upload held in memory at a time.
SPARE = 512 * MB  # Bytes of the disk that stay free.
LEFT_OVER = 24 * 3600.0  # Seconds after which nobody is at an upload any more.


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What users may ask of a service."""

    upload: int = 200 * MB  # bytes of a table
    rows: int = 5_000_000
    columns: int = 20_000
    seconds: float = 120.0  # to read a table
    memory: int = 4 * 1024 * MB  # bytes to read a table
    open_studies: int = 200
    stored: int = 20 * 1024 * MB  # bytes of tables and networks in all


class FullError(RuntimeError):
    """The service takes no more for now."""


class UploadTooLargeError(ValueError):
    """A table has more bytes than the service takes."""


class Quota:
    """How much of its limits a service has used."""

    def __init__(self, storage: Storage, home: Path, limits: Limits) -> None:
        """Look after the room that a machine and a storage have."""
        self.storage, self.home, self.limits = storage, home, limits
        self._counting = threading.Lock()
        self._opening = Counter[str]()  # Studies that are about to be open, by who asked.
        self._studies: dict[str, set[str]] = defaultdict(set)  # Ids, by who opened them.
        self._tables: dict[str, set[str]] = defaultdict(set)  # SHA-256, by who sent them.
        self._spool = home / "uploads"
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear()

    @contextmanager
    def for_a_study(self, asker: str = "") -> Iterator[Callable[[str], None]]:
        """Refuse one more open study where there are as many as may be, with those being made.

        Yields what is to be told the study's id.
        """
        with self._counting:
            self.check(asker, studies=1)
            self._opening[asker] += 1
        try:
            yield self._studies[asker].add
        finally:
            with self._counting:
                self._opening[asker] -= 1

    def keeps(self, sha256: str, asker: str) -> None:
        """Count a table as this asker's as long as it has no study."""
        self._tables[asker].add(sha256)

    def check(self, asker: str = "", *, studies: int = 0) -> None:
        """Refuse what there is no room for, or no more room for this asker.

        Raises:
            FullError: The service holds, or does, as much as it may.
        """
        studies += self._opening.total() if studies else 0
        held, limits = retention.stored(self.storage), self.limits
        if held.bytes >= limits.stored:
            raise FullError(
                f"This service holds {limits.stored // MB:,} MiB, and takes no more until studies "
                "are deleted or expire. Try again later."
            )
        if held.studies_open + studies > limits.open_studies:
            raise FullError(
                f"This service has {limits.open_studies:,} open studies, and takes no more until "
                "some have ended. Try again later."
            )
        if asker:
            self._check_share(asker, studies=bool(studies))
        self._check_disk()

    def _check_share(self, asker: str, *, studies: bool) -> None:
        """Leave others some room, as far as is known since the service started."""
        own, tables = self._studies[asker], self._tables[asker]
        asked, sent = [*own], [*tables]
        left = retention.left(self.storage, asked, sent)
        own -= {*asked} - left.open
        tables -= {*sent} - left.waiting.keys()
        most, room = -(-self.limits.open_studies // 2), self.limits.stored // 2
        if studies and len(own) + self._opening[asker] >= most:
            raise FullError(
                f"From where you are come {most:,} open studies, half of what this service has for "
                "all. Pause or cancel some, or wait until some have ended."
            )
        if sum(left.waiting.values()) >= room:
            raise FullError(
                f"From where you are come {room // MB:,} MiB of tables without a study, half of "
                "what this service keeps for all. Make studies of them, or come back tomorrow."
            )

    def _check_disk(self) -> None:
        if shutil.disk_usage(self.home).free < self.limits.upload + SPARE:
            raise FullError("This service's disk is full. Tell its operator; try again later.")

    def file(self) -> Path:
        """Make an empty file of ours, to be deleted by whoever asked for it.

        Raises:
            FullError: The disk is full.
        """
        self._check_disk()
        handle, name = tempfile.mkstemp(dir=self._spool)
        os.close(handle)
        return Path(name)

    @contextmanager
    def spooled(self, stream: IO[bytes]) -> Iterator[tuple[Path, int]]:
        """Write a stream to a file of ours while the block runs, never holding much of it."""
        path, size = self.file(), 0
        try:
            with path.open("wb") as file:
                while chunk := stream.read(CHUNK):
                    size += len(chunk)
                    if size > self.limits.upload:
                        raise UploadTooLargeError(too_large(self.limits.upload))
                    file.write(chunk)
            yield path, size
        finally:
            path.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Delete what an earlier service left when it was killed."""
        for path in self._spool.iterdir():
            with suppress(OSError):
                if path.stat().st_mtime > time.time() - LEFT_OVER:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def too_large(limit: int) -> str:
    """Say that a table has too many bytes."""
    return (
        f"Expected a table of at most {limit // MB:,} MiB. Received a larger one. "
        "Leave out rows or columns."
    )
