"""Which workers of one machine and home are alive: each has a file that it locks while it lives.

A lock ends with its process, whatever ended that. So a worker that starts knows for certain which
of the others have died, and need not wait until their leases run out.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from storage import deaths
from storage.private_files import open_private, try_lock
from topo_search.machine import boot_id
from topo_search.retries import Retries

logger = logging.getLogger(__name__)

FOLDER = "workers"  # Of a home.
SHARED = "shared"  # Of a home: a folder of each worker's, for its slots.
KEPT = 86_400.0  # Seconds after which a file serves nobody: leases have long run out.


@dataclass(frozen=True, kw_only=True)
class _Left:
    """What a worker that died has left."""

    boot: str  # Id of its machine, from one start to the next.
    age: float  # Seconds since it was written.


class Liveness:
    """The workers of a home, as one of them sees them.

    Where files cannot be written or locked, nobody is known to be dead, and leases run out.
    """

    def __init__(self, retry: Retries, home: Path, name: str) -> None:
        """See a home as its worker `name` does, which is not in it yet."""
        self.retry, self.folder, self.name = retry, home / FOLDER, name
        self.own = home / SHARED / name
        self._file: IO[bytes] | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Have a folder that the worker's slots share while the block runs."""
        with suppress(OSError):  # Without one, each has its own.
            self.own.mkdir(mode=0o700, parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self.own, ignore_errors=True)

    def reap(self) -> None:
        """Have what the dead of this machine held handed back at once; call it before joining.

        Raises:
            StorageError: As patience with the database does.
        """
        boot = boot_id()
        for path in self._files() if boot else ():
            try:
                file = path.open("r+b")  # Some network disks lock only what may be written.
            except OSError:
                continue
            with file:
                found = _left(file)
                if found is None:
                    continue
                # Of another machine with this home, a lock may not be seen: leave its workers be.
                bury = partial(deaths.reap, self.retry.storage, path.name)
                if found.boot == boot and self.retry(bury):
                    logger.info("Worker %s died here; others may have its trials.", path.name)
                elif found.age < KEPT:
                    continue  # Another database may know it.
                shutil.rmtree(self.own.with_name(path.name), ignore_errors=True)
                with suppress(OSError):
                    path.unlink()

    def join(self) -> None:
        """Let those to come know, for as long as this process lives, that the worker does."""
        boot, unfinished = boot_id(), self.folder / f".{self.name}"
        if not boot:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Closed on exec, as all files of Python: neither the fork server nor a slot has it.
            self._file = open_private(unfinished)
            if not try_lock(self._file):
                raise BlockingIOError("somebody else has locked it")
            self._file.write(boot.encode())
            self._file.flush()
            # Only now has it its name: the file of one that lives is never seen without its lock.
            unfinished.rename(self.folder / self.name)
        except OSError as error:
            logger.debug("No file in %s tells that this worker lives: %s", self.folder, error)
            self.leave(owing=True)
            with suppress(OSError):
                unfinished.unlink()

    def leave(self, *, owing: bool) -> None:
        """Be no neighbour any more; whoever goes `owing` leases is found dead by the next."""
        if self._file is None:
            return
        with suppress(OSError):
            if not owing:
                (self.folder / self.name).unlink()
        with suppress(OSError):  # What a full disk did not take is written once more.
            self._file.close()
        self._file = None

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.name[0] != ".")
        except OSError:
            return []


def _left(file: IO[bytes]) -> _Left | None:
    """Lock and read a file; None where its worker lives, or nothing can be locked."""
    try:
        if not try_lock(file):
            return None
        age = time.time() - os.fstat(file.fileno()).st_mtime
        return _Left(boot=file.read().decode(errors="replace"), age=age)
    except OSError:
        return None
