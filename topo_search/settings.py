"""Where things are on this machine; read from the environment once, then passed on."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.connection import Storage


logger = logging.getLogger(__name__)

VERSION = metadata.version("topo-search")
SLOTS_LOG = "slots.log"  # Of a home: what the libraries of its slots print.
STARTING = 10.0  # Seconds that a server which others use, too, may take to be there again.


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says."""

    storage: str | None  # URL of a PostgreSQL server; None for the private one of this machine.
    home: Path  # This machine's data: the private server, datasets fetched, logs.

    @classmethod
    def read(cls, *, storage: str | None = None) -> Settings:
        """Read where the storage is, unless `storage` says so, and TOPO_SEARCH_HOME.

        TOPO_SEARCH_STORAGE is a URL, TOPO_SEARCH_STORAGE_FILE a file whose first line is one.

        Raises:
            OSError: That file cannot be read.
            ValueError: It is empty, or not UTF-8.
        """
        home = os.environ.get("TOPO_SEARCH_HOME")
        if not home:
            from platformdirs import user_data_dir

            home = user_data_dir("topo-search")
        return cls(
            storage=storage or os.environ.get("TOPO_SEARCH_STORAGE") or _in_file(),
            home=Path(home).expanduser().absolute(),
        )

    @property
    def log(self) -> Path:
        """File for what the slots' libraries print."""
        return self.home / SLOTS_LOG


def _in_file() -> str | None:
    path = os.environ.get("TOPO_SEARCH_STORAGE_FILE")
    if not path:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(
            f"Expected the storage's URL in UTF-8 in {path}, which TOPO_SEARCH_STORAGE_FILE names. "
            "Received another encoding, such as the UTF-16 of PowerShell's >. Save it as UTF-8: "
            "Set-Content -Encoding utf8"
        ) from None
    except OSError as error:
        raise OSError(
            f"Expected a file with the storage's URL. TOPO_SEARCH_STORAGE_FILE names {path}, "
            f"which cannot be read: {error.strerror}."
        ) from error
    if not lines or not lines[0].strip():
        raise ValueError(
            f"Expected the storage's URL in the first line of {path}, which "
            "TOPO_SEARCH_STORAGE_FILE names. Received an empty one."
        )
    return lines[0].strip()


@contextmanager
def opened(
    settings: Settings, *, upgrade: bool = False, despite_workers: bool = False
) -> Iterator[Storage]:
    """Open the storage, starting this machine's private server where none is named.

    The private one's tables are this version's alone and are upgraded when they are old; those of
    a server that others use too, only where `upgrade` says so, and while no worker was heard of
    lately unless `despite_workers`. Such a one may start anew just then: it is waited for.
    """
    from storage import connection, embedded, workers
    from storage.private_files import claim_home

    claim_home(settings.home)
    if settings.storage is None:
        with embedded.serve(settings.home) as url:
            with _connected(connection.connect(url, upgrade=True)) as storage:
                yield storage
    else:
        given: dict[str, Any] = {} if despite_workers else {"before": workers.require_none}
        with _connected(_reached(settings.storage, upgrade=upgrade, **given)) as storage:
            yield storage


def _reached(url: str, **how: Any) -> Storage:
    from storage.connection import connect
    from storage.errors import AwayError

    until, told = time.monotonic() + STARTING, False
    while True:
        try:
            return connect(url, **how)
        except AwayError as error:
            left = until - time.monotonic()
            if left <= 0:
                raise
            if not told:
                logger.info("%s Trying for %.0f s.", error, STARTING)
            told = True
            threading.Event().wait(min(left, random.uniform(0.5, 1)))


@contextmanager
def _connected(storage: Storage) -> Iterator[Storage]:
    try:
        yield storage
    finally:
        storage.close()
