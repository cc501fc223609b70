"""What the pages and the REST calls share: the storage, limits, children, watches."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from itsdangerous import BadSignature, URLSafeSerializer

from objectives.defaults import TableFacts
from storage import datasets, retention, sessions, speed, studies, workers
from storage.connection import Storage
from storage.rows import OPEN, StudyRow
from topo_search.study import EPOCHS, learnt_and_tested
from topo_search.web import estimate, uploaded_tables
from topo_search.web.cache import TextCache
from topo_search.web.children import Children
from topo_search.web.clients import client_address
from topo_search.web.prediction import Files, Predictions
from topo_search.web.quota import Limits, Quota
from topo_search.web.watching import Watches

logger = logging.getLogger(__name__)

REMEMBERED = 16 * 2**20  # Characters of what was told of tables: pages are opened again and again.


Network = tuple[str, str, Files]  # Study, what tells its network from an earlier one, its files.


class UnreadError(ValueError):
    """A table was kept whose rows cannot be made out, unless someone says how it is written.

    Attributes:
        upload: names it from now on.
    """

    def __init__(self, refused: str, upload: str) -> None:
        self.upload = upload
        super().__init__(refused)


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
        self.storage, self.home, self.keep = storage, home, keep
        self.signing_key = signing_key
        most = (limits.rows, limits.columns)
        self.children, self.predictions = Children(), Predictions(most=most)
        self.watches, self.quota = Watches(storage), Quota(storage, home, limits)
        self._cache = TextCache(REMEMBERED)
        self._uploads = URLSafeSerializer(signing_key, salt="upload")
        self._where = uploaded_tables.Where(
            url=storage.url,
            cache=home / "datasets",
            most=most,
            memory=limits.memory // 2,
        )

    @property
    def limits(self) -> Limits:
        """What users may ask of it."""
        return self.quota.limits

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
            UnreadError: Its rows cannot be made out; it was kept.
            ValueError: It is no table.
        """
        self.quota.check(client_address())
        with self.quota.spooled(stream) as (path, size):
            kept = self._child(uploaded_tables.keep, path, name)
        return self._named(kept, name, size)

    def example(self, name: str) -> dict[str, Any]:
        """Take a table that comes with topo-search, as if it had been uploaded."""
        self.quota.check(client_address())
        kept = self._child(uploaded_tables.keep_example, name)
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
            "table": self._told(uploaded_tables.inspect, sha256, reading),
        }

    def choices(self, upload: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return what there is to choose for an uploaded table and its target."""
        sha256, _ = self.opened(upload)
        found = self._told(uploaded_tables.choices, sha256, {**given, "test": self._test(given)})
        return {**found, **self._pace(found, given)}

    def choices_again(self, row: StudyRow, given: dict[str, Any]) -> dict[str, Any]:
        """Return what there is to choose for a study that begins with this one's trials."""
        plan = row.plan
        if not {"rows", "split"} & plan.keys():
            raise ValueError(
                "This study has no table of which others can be made, or is of an older version. "
                "Upload its table again."
            )
        space, facts = given["space"] or plan["space"]["name"], TableFacts(**plan["facts"])
        found = {"rows": facts.rows, "inputs": facts.inputs, "validation": plan["validation"]}
        return {
            **found,
            **learnt_and_tested(plan),
            **{name: plan[name] for name in ("target", "task", "metric")},
            "table": plan["dataset_name"],
            "space": space,
            "limits": plan["limits"] if space == plan["space"]["name"] else {},
            "parameters": uploaded_tables.offered(space, facts),
            **self._pace(found, {"epochs": given["epochs"] or plan["epochs"]}),
        }

    def _pace(self, found: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """Return how fast trials of such a table go here."""
        took = speed.latest(self.storage)
        seconds = estimate.seconds_per_trial(
            took,
            rows=found["rows"],
            inputs=found["inputs"],
            epochs=given.get("epochs") or EPOCHS,
            validation=found["validation"],
        )
        return {
            "seconds_per_trial": seconds,
            "measured": estimate.is_known(took),
            "slots": self._slots(),
        }

    def _slots(self) -> int:
        """Return how many trials of a new study without tags can be trained at once now."""
        here = (one for one in workers.known(self.storage) if one.state == "serving")
        return sum(one.worker.slots for one in here if one.worker.may_serve("", ()))

    def predict(self, network: Network, stream: IO[bytes]) -> tuple[IO[bytes], Sequence[str]]:
        """Predict a CSV's rows; return the CSV, to be closed, and what is doubtful about it.

        Raises:
            UploadTooLargeError: It has more bytes than a table may have.
            ValueError: It cannot be read as the study's table is.
        """
        with self.quota.spooled(stream) as (table, _):
            return self.predicted(network, table)

    def predicted(self, network: Network, table: Path) -> tuple[IO[bytes], Sequence[str]]:
        """Predict the rows of a file, as `predict` does."""
        into = self.quota.file()
        try:
            found = self.predictions.csv(*network, table, into, asker=client_address())
            return into.open("rb"), found.warnings
        finally:
            into.unlink()  # Who reads it has it still.

    def columns(self, row: StudyRow) -> list[dict[str, Any]]:
        """Return the columns that a study's network takes, each with what it may hold."""
        if row.dataset is None:
            raise LookupError("This study has no table.")
        plan = {name: row.plan[name] for name in ("reading", "target", "drop")}
        found: list[dict[str, Any]] = self._told(uploaded_tables.columns, row.dataset, plan)
        return found

    def create(self, given: dict[str, Any], parent: StudyRow | None = None) -> dict[str, str]:
        """Create a study of an uploaded table, or of its parent's; return its `study` and `key`.

        Raises:
            FullError: There is no room for more.
            ValueError: What was asked for does not fit the table.
        """
        if parent is not None:
            sha256, known = None, {"parent": parent.id}
        else:
            sha256, name = self.opened(given["upload"])
            known = {"file": name}
        options = uploaded_tables.options_of({**given, **known}, keep=self.keep)
        with self.quota.for_a_study(client_address()) as opened:
            made: dict[str, str] = self._child(
                uploaded_tables.create, sha256, self._test(given), options
            )
            opened(made["study"])
        return made

    def _test(self, given: dict[str, Any]) -> str | None:
        """Return the SHA-256 of the table with the test rows, if there is one."""
        upload = given.get("test_upload")
        return None if upload is None else self.opened(upload)[0]

    def resume(self, row: StudyRow, *, trials: int, seconds: float) -> StudyRow:
        """Open a study again, or let it go on, with more trials or time where asked for.

        Raises:
            FullError: There is no room for more.
            ValueError: It cannot be opened.
        """
        if row.state in OPEN:
            return studies.resume(self.storage, row.id, trials=trials, seconds=seconds)
        with self.quota.for_a_study(client_address()) as opened:
            resumed = studies.resume(self.storage, row.id, trials=trials, seconds=seconds)
            opened(row.id)
            return resumed

    def delete(self, study: str) -> None:
        """Delete a study, and its table where no other study needs it."""
        studies.delete(self.storage, study)
        with suppress(LookupError):  # Whoever watches it hears at once.
            self.watches.of(study).look()

    def sweep(self) -> None:
        """Delete what has expired."""
        sessions.drop_ended(self.storage)
        swept = retention.sweep(self.storage)
        if swept.studies or swept.datasets:
            logger.info("Expired: %s", swept)
        try:
            datasets.drop_deleted(self.storage, self.home / "datasets")
        except OSError as error:
            logger.warning("Tables that were deleted lie here still: %s", error)

    def _named(self, kept: dict[str, Any], name: str, size: int) -> dict[str, Any]:
        self.quota.keeps(kept["dataset"], client_address())
        upload = self._uploads.dumps([kept["dataset"], name])
        if kept["table"] is None:
            raise UnreadError(kept["refused"], str(upload))
        return {"upload": upload, "name": name, "size": size, "table": kept["table"]}

    def _told(self, function: Any, sha256: str, given: dict[str, Any]) -> Any:
        """Return what a child says of a table; it is not read again for what was asked lately."""
        uploaded_tables.require_kept(self.storage, sha256)
        asked = json.dumps([function.__name__, sha256, given], sort_keys=True)
        text = self._cache.get(asked)
        if text is None:
            told = self._child(function, sha256, given)
            text = json.dumps(told, ensure_ascii=False)
            self._cache.put(asked, text)
        return json.loads(text)

    def _child(self, function: Any, *arguments: Any) -> Any:
        return self.children(
            function,
            self._where,
            *arguments,
            seconds=self.limits.seconds,
            memory=self.limits.memory,
            asker=client_address(),
        )
