"""Predictions for the web service: one child with TensorFlow holds the networks last used."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topo_search import slot
from topo_search.web.child_process import answer, limit_memory, limit_time, settle
from topo_search.web.children import (
    LONGEST_STOP,
    WAITING,
    BusyError,
    Child,
    EndedError,
    TooMuchError,
    ending,
    place,
)
from topo_search.web.client_limit import ClientLimit

if TYPE_CHECKING:
    from topo_search.predictor import Prediction, Predictor

KEPT = 4  # Networks held at a time.
STARTING = 300.0  # Seconds until a new child has loaded what predicts.

Key = tuple[str, str]  # Public id of a study, and what tells its network from an earlier one.
Files = Callable[[], Mapping[str, bytes]]
Rows = Sequence[Mapping[str, str | None]]


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a network said of a table."""

    columns: Sequence[str]  # The table's, then those of `predicted`.
    predicted: Sequence[str]  # `prediction`, and for classes `probability NAME` of each.
    rows: list[dict[str, Any]]  # JSON values by column; empty where a CSV was asked for.
    warnings: Sequence[str]  # Of reading the table: unknown columns, rows left out, …


@dataclass(frozen=True, kw_only=True)
class Question:
    """To the child: predict a CSV, or rows."""

    key: Key
    folder: Path | None  # Where the network is, unless the child holds it.
    table: Path | None = None  # The CSV.
    into: Path | None = None  # Where the predicted one is to be written.
    rows: Rows | None = None


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What the child may take."""

    memory: int
    seconds: float
    most: tuple[int, int] | None  # Rows and columns of a table.
    idle: float
    log: Path | None


class Predictions:
    """Predicts with the networks of studies; for any number of threads, one at a time."""

    def __init__(
        self,
        *,
        memory: int = 2 * 2**30,
        seconds: float = 60.0,
        most: tuple[int, int] | None = None,
        idle: float = 600.0,
        log: Path | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            memory: Bytes the child may take beside TensorFlow itself.
            seconds: A request may take, and may have to wait for its turn before.
            most: Rows and columns that a CSV may have; any number by default.
            idle: Seconds without a request after which the child ends.
            log: File for what the child prints; by default it is dropped.
        """
        self._allowance = Allowance(memory=memory, seconds=seconds, most=most, idle=idle, log=log)
        self._child: Child | None = None
        self._closed = False
        self._one = threading.Lock()  # Who holds it has the turn to ask.
        self._places, self._limit = threading.Semaphore(WAITING), ClientLimit(WAITING // 2)
        self._changing = threading.Lock()  # Who holds it may start or end the child.

    def csv(
        self, study: str, mark: str, files: Files, table: Path, into: Path, *, asker: str = ""
    ) -> Predicted:
        """Predict a CSV's rows, and write them as a CSV: UTF-8, no cell a formula.

        Args:
            study: Public id.
            mark: Tells the study's network from an earlier one, as its time of making does.
            files: Called where the child does not hold the network; gives an exported network's
                files by name.
            table: The CSV, read by the rules of the study's table.
            into: What is written.
            asker: Who asks, of whose tables half as many may wait as of all.

        Raises:
            ValueError: It cannot be read so; names missing columns.
            TooMuchError, TooLongError: It needs more memory or time than it may have.
            BusyError: It did not get its turn.
        """
        return self._predicted((study, mark), files, asker, table=table, into=into)

    def rows(
        self, study: str, mark: str, files: Files, rows: Rows, *, asker: str = ""
    ) -> Predicted:
        """Predict rows given as text by column, each read as it would be in a CSV.

        Takes and raises what `csv` does; the answer has a row for each row.
        """
        return self._predicted((study, mark), files, asker, rows=rows)

    def close(self) -> None:
        """End the child, and take no more."""
        with self._changing:
            self._closed = True
            if self._child is not None:
                self._child.kill(ending())
        if self._one.acquire(timeout=LONGEST_STOP):
            self._end()
            self._one.release()

    def _predicted(self, key: Key, files: Files, asker: str, **given: Any) -> Predicted:
        with self._turn(asker):
            child = self._living()
            try:
                held = [(study, mark) for study, mark in self._ask(child, None)]
            except (EndedError, TooMuchError):
                # It ended just then: idle for long, or killed for the memory it had.
                child, held = self._living(), []
            try:
                return self._told(child, key, held, files, given)
            except TooMuchError:
                if not set(held) - {key}:
                    raise
            # Other networks held the memory; a new child has all of it.
            return self._told(self._living(), key, (), files, given)

    def _told(
        self, child: Child, key: Key, held: Sequence[Key], files: Files, given: Mapping[str, Any]
    ) -> Predicted:
        if key in held:
            return Predicted(**self._ask(child, Question(key=key, folder=None, **given)))
        # Ours, not the child's: it is deleted also where the child is killed.
        with tempfile.TemporaryDirectory(prefix="topo-search-") as name:
            folder = Path(name)
            for file, data in files().items():
                (folder / file).write_bytes(data)
            return Predicted(**self._ask(child, Question(key=key, folder=folder, **given)))

    def _ask(self, child: Child, question: Question | None, seconds: float | None = None) -> Any:
        try:
            return child.ask(question, seconds=seconds or self._allowance.seconds)
        except TooMuchError:
            self._end()
            raise

    def _living(self) -> Child:
        """Return the child, a new one where it has ended."""
        if self._child is None or not self._child.waits:
            self._end()
            with self._changing:
                if self._closed:
                    raise ending()
                self._child = Child(_serve, self._allowance, memory=self._allowance.memory)
            self._ask(self._child, None, STARTING)
        return self._child

    def _end(self) -> None:
        with self._changing:
            if self._child is not None:
                self._child.close()
                self._child = None

    @contextmanager
    def _turn(self, asker: str) -> Iterator[None]:
        busy = BusyError("Other tables are being predicted. Try again in a moment.")
        with self._limit.place(asker, busy), place(self._places, busy):
            if not self._one.acquire(timeout=self._allowance.seconds):
                raise busy
            try:
                yield
            finally:
                self._one.release()


class Networks:
    """In the child: the networks last used, ready to predict."""

    def __init__(self, most: tuple[int, int] | None = None) -> None:
        self._held: OrderedDict[Key, Predictor] = OrderedDict()
        self._most = most  # Rows and columns of a table.

    def answer(self, question: Question | None) -> dict[str, Any] | list[Key]:
        """Predict, as `Predicted` has it; or, asked nothing, say which networks are held."""
        from tensorflow.errors import ResourceExhaustedError

        if question is None:
            return list(self._held)
        try:
            predictor = self._loaded(question)
            if question.table is None or question.into is None:
                return vars(told(predictor.predict_rows(question.rows or ())))
            found = predictor.predict(question.table.read_bytes(), self._most)
            return vars(told(found, into=question.into))
        except ResourceExhaustedError as error:
            raise MemoryError from error

    def _loaded(self, question: Question) -> Predictor:
        from topo_search.predictor import Predictor

        if question.folder is not None:
            while len(self._held) >= KEPT:
                self._held.popitem(last=False)
            self._held[question.key] = Predictor.load(question.folder)
        self._held.move_to_end(question.key)
        return self._held[question.key]


def told(prediction: Prediction, *, into: Path | None = None) -> Predicted:
    """Return a prediction in plain values, its rows in a file where one is given."""
    from topo_search.plain import csv_text, plain

    frame = prediction.frame
    if into is not None:
        into.write_text(csv_text(frame, numerals=True), encoding="utf-8", newline="")
    return Predicted(
        columns=tuple(str(name) for name in frame),
        predicted=prediction.predicted,
        rows=[] if into is not None else [plain(row) for row in frame.to_dict("records")],
        warnings=prediction.warnings,
    )


def _serve(connection: Connection, allowance: Allowance) -> None:
    """Answer questions until none has come for long, or memory has run out."""
    settle(allowance.log)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # A GPU is for training.
    slot.configure_tensorflow()
    _start_tensorflow()
    limit_memory(allowance.memory)
    networks = Networks(allowance.most)
    while connection.poll(allowance.idle):
        try:
            question = connection.recv()
        except EOFError:
            return
        limit_time(allowance.seconds)
        if not answer(connection, networks.answer, question):
            return


def _start_tensorflow() -> None:
    """Let TensorFlow take what it takes once, such as for its threads."""
    import objectives.finishing  # noqa: F401  # isort: skip
    import keras

    keras.ops.convert_to_numpy(keras.ops.matmul(keras.ops.ones((2, 2)), keras.ops.ones((2, 2))))
