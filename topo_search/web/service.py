"""What the pages and the REST calls share: the storage, limits, children, watches."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from itsdangerous import BadSignature, URLSafeSerializer

from storage import retention, speed, workers
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.study import EPOCHS
from topo_search.web import estimate, tables
from topo_search.web.children import Children
from topo_search.web.prediction import Predictions
from topo_search.web.views import HERE
from topo_search.web.watching import Watches

MB = 2**20
CHUNK = MB  # Bytes of an upload held in memory at a time.
SPARE = 512 * MB  # Bytes of the disk that stay free.
REMEMBERED = 16 * MB  # Characters of what was told of tables: pages are opened again and again.
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


class Remembered:
    """Texts by what was asked for them: those used last, up to so many characters in all."""

    def __init__(self, most: int) -> None:
        """Remember nothing yet."""
        self._most = most
        self._texts = OrderedDict[str, str]()
        self._lock = threading.Lock()

    def get(self, asked: str) -> str | None:
        """Return the text, None where it is not remembered."""
        with self._lock:
            if asked in self._texts:
                self._texts.move_to_end(asked)
            return self._texts.get(asked)

    def keep(self, asked: str, text: str) -> None:
        """Remember a text in place of those used longest ago; not one that is too long."""
        if len(asked) + len(text) > self._most:
            return
        with self._lock:
            self._texts[asked] = text
            self._texts.move_to_end(asked)
            while sum(len(key) + len(held) for key, held in self._texts.items()) > self._most:
                self._texts.popitem(last=False)


class Service:
    """One web service over one storage."""

    def __init__(
        self,
        storage: Storage,
        home: Path,
        *,
        limits: Limits,
        signing_key: str,
        keep: timedelta | None,
    ) -> None:
        """Make a service.

        Args:
            storage: Where the studies are.
            home: Folder of this machine's data.
            limits: On what users may ask.
            signing_key: Shared by all services of the storage.
            keep: How long after its last activity a study is kept; for ever by default.
        """
        self.storage, self.home, self.limits, self.keep = storage, home, limits, keep
        self.signing_key = signing_key
        self.children, self.predictions = Children(), Predictions()
        self.watches = Watches(storage)
        self._remembered = Remembered(REMEMBERED)
        self._uploads = URLSafeSerializer(signing_key, salt="upload")
        self._spool = home / "uploads"
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear_spool()
        self._where = tables.Where(
            url=storage.url,
            cache=home / "datasets",
            rows=limits.rows,
            columns=limits.columns,
            memory=limits.memory // 2,
        )

    def close(self) -> None:
        """End what runs beside the server."""
        self.watches.close()
        self.children.close()
        self.predictions.close()

    def upload(self, stream: IO[bytes], name: str) -> dict[str, Any]:
        """Keep a table as it comes in; return what names it from now on, and how it was read.

        Raises:
            UploadTooLargeError: It has more bytes than a table may have.
            FullError: There is no room for more.
            ValueError: It is no table.
        """
        self._check_room()
        with self._spooled(stream) as (path, size):
            kept = self._child(tables.keep, path, name)
        return self._named(kept, name, size)

    def example(self, name: str) -> dict[str, Any]:
        """Take a table that comes with topo-search, as if it had been uploaded."""
        self._check_room()
        kept = self._child(tables.keep_example, name)
        return self._named(kept, f"{name}.csv", kept["size"])

    def opened(self, upload: str) -> tuple[str, str]:
        """Return the SHA-256 and the name of an uploaded table.

        Raises:
            LookupError: Nothing that this service gave out.
        """
        try:
            sha256, name = self._uploads.loads(upload)
        except (BadSignature, ValueError) as error:
            raise LookupError("Expected an uploaded table. Upload it again.") from error
        return str(sha256), str(name)

    def inspect(self, upload: str, reading: dict[str, Any]) -> dict[str, Any]:
        """Return how an uploaded table is read with what the user knows better."""
        sha256, name = self.opened(upload)
        return {
            "upload": upload,
            "name": name,
            "table": self._told(tables.inspect, sha256, reading),
        }

    def choices(self, upload: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return what there is to choose for an uploaded table and its target."""
        sha256, _ = self.opened(upload)
        found = self._told(tables.choices, sha256, given)
        took = speed.latest(self.storage)
        seconds = estimate.seconds_per_trial(
            took,
            rows=found["rows"],
            inputs=found["inputs"],
            epochs=given.get("epochs") or EPOCHS,
            validation=found["validation"],
        )
        return {
            **found,
            "seconds_per_trial": seconds,
            "measured": estimate.is_known(took),
            "slots": self._slots(),
        }

    def _slots(self) -> int:
        """Return how many trials can be trained at once now."""
        here = (one for one in workers.known(self.storage) if one.state == "serving")
        return sum(one.worker.slots for one in here if one.silence < HERE)

    def columns(self, row: StudyRow) -> list[dict[str, Any]]:
        """Return the columns that a study's network takes, each with what it may hold."""
        if row.dataset is None:
            raise LookupError("This study has no table.")
        plan = {name: row.plan[name] for name in ("reading", "target", "drop")}
        found: list[dict[str, Any]] = self._child(tables.columns, row.dataset, plan)
        return found

    def create(self, given: dict[str, Any]) -> dict[str, str]:
        """Create a study of an uploaded table and return its `study` and `key`.

        Raises:
            FullError: There is no room for more.
            ValueError: What was asked for does not fit the table.
        """
        self._check_room(studies=1)
        sha256, name = self.opened(given["upload"])
        options = tables.options_of({**given, "file": name}, keep=self.keep)
        made: dict[str, str] = self._child(tables.create, sha256, options)
        return made

    def _named(self, kept: dict[str, Any], name: str, size: int) -> dict[str, Any]:
        upload = self._uploads.dumps([kept["dataset"], name])
        return {"upload": upload, "name": name, "size": size, "table": kept["table"]}

    def _told(self, function: Any, sha256: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return what a child says of a table; it is not read again for what was asked lately."""
        asked = json.dumps([function.__name__, sha256, given], sort_keys=True)
        text = self._remembered.get(asked)
        if text is None:
            told = self._child(function, sha256, given)
            text = json.dumps(told, ensure_ascii=False)
            self._remembered.keep(asked, text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _child(self, function: Any, *arguments: Any) -> Any:
        return self.children(
            function,
            self._where,
            *arguments,
            seconds=self.limits.seconds,
            memory=self.limits.memory,
        )

    def _check_room(self, *, studies: int = 0) -> None:
        """Refuse what there is no room for.

        Raises:
            FullError: The service holds, or does, as much as it may.
        """
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
        if shutil.disk_usage(self.home).free < limits.upload + SPARE:
            raise FullError("This service's disk is full. Tell its operator; try again later.")

    def _clear_spool(self) -> None:
        """Delete what an earlier service left when it was killed."""
        for path in self._spool.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - LEFT_OVER:
                    path.unlink()

    @contextmanager
    def _spooled(self, stream: IO[bytes]) -> Iterator[tuple[Path, int]]:
        """Write a stream to a file of ours while the block runs, never holding much of it."""
        handle, name = tempfile.mkstemp(dir=self._spool)
        path, size = Path(name), 0
        try:
            with os.fdopen(handle, "wb") as file:
                while chunk := stream.read(CHUNK):
                    size += len(chunk)
                    if size > self.limits.upload:
                        raise UploadTooLargeError(too_large(self.limits.upload))
                    file.write(chunk)
            yield path, size
        finally:
            path.unlink(missing_ok=True)


def too_large(limit: int) -> str:
    """Say that a table has too many bytes."""
    return (
        f"Expected a table of at most {limit // MB:,} MiB. Received a larger one. "
        "Leave out rows or columns."
    )
