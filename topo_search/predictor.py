"""Taking the network away: a folder with it, and predictions from that folder alone."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.features import Feature, features_of
from objectives.frames import frame_csv
from objectives.reading import ColumnRule, Reading
from objectives.space import Space
from objectives.table import Table, apply_reading, read_rows
from storage import artifacts
from storage.connection import Storage
from storage.datasets import MAX_BYTES
from storage.rows import StudyRow
from topo_search.finish import weights_of
from topo_search.formats import format_metric, format_name, format_value
from topo_search.writing import writing

if TYPE_CHECKING:
    import keras
    import pandas as pd

NETWORK, READING, README = "network.keras", "reading.json", "README.md"
WEIGHTS = "weights"  # Of a user's own objective.
LONGEST_NAME = 1_000  # Characters of a column's name as a network takes it.
PARTS = {  # What the numbers are that a network takes of a date.
    "year": "the year",
    "month": "the month, 1 to 12",
    "day": "the day of the month",
    "weekday": "the day of the week, 0 on Monday",
    "hour": "the hour, 0 to 23 (24 only where 24:00 stands without a date)",
    "minute": "the minute",
    "second": "the second",
    "days": "days since {origin}, with their fraction",
}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network said of a table."""

    frame: pd.DataFrame  # The table's columns as text, `line` if any, then those of `predicted`.
    predicted: tuple[str, ...]  # `prediction`, and for classes `probability NAME` of each.
    line: str | None  # The column with each row's line of the file, where rows were left out.
    warnings: tuple[str, ...]  # Of reading the table: unknown columns, rows left out, …


def export(storage: Storage, row: StudyRow, folder: Path) -> Path:
    """Write a finished study's network, its reading rules and how to use them into a folder.

    Raises:
        LookupError: Where the study has no network yet; says what to do.
        UnwritableError: The folder cannot be written.
    """
    if row.plan["space"]["name"] == "own" and row.outcome is not None:
        return _export_own(storage, row, folder)
    if row.outcome is None or not row.outcome.get("test"):
        then = f"Let it finish with: topo-search resume {row.id}"
        if row.state == "cancelled":
            then = f"Go on with its trials in a new study: topo-search create --from {row.id}"
        elif row.state == "finished":
            then = f"Add to its budget with: topo-search resume {row.id} --trials +20"
        raise LookupError(f"Study {row.id} has no network to hand over: it is {row.state}. {then}")
    files = {name: artifacts.get(storage, row.id, name) for name in (NETWORK, READING)}
    files[README] = _readme(row).encode()
    return _written(folder, files)


def _export_own(storage: Storage, row: StudyRow, folder: Path) -> Path:
    """Write what a user's own objective gave as its best trial's weights, byte by byte."""
    number = ((row.outcome or {}).get("best") or {}).get("trial")
    names = {artifact.name for artifact in artifacts.list_artifacts(storage, row.id)}
    if number is None or weights_of(number) not in names:
        raise LookupError(
            f"Study {row.id} has no weights to hand over: {row.plan['objective']} gave none, or "
            f"more than {MAX_BYTES // 2**20} MiB. An objective gives bytes, in a form of its own, "
            "as Outcome(weights=…)."
        )
    return _written(folder, {WEIGHTS: artifacts.get(storage, row.id, weights_of(number))})


def _written(folder: Path, files: Mapping[str, bytes]) -> Path:
    with writing(folder):
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return folder


def predict(folder: Path, data: bytes) -> Prediction:
    """Predict a CSV's rows with an exported network; needs neither database nor study.

    Raises:
        OSError: Where the folder is not an exported network.
        ValueError: Where the CSV cannot be read by its rules; names missing columns.
    """
    table = Rules.load(folder).table(data)  # Loading the network takes seconds; errors need none.
    return Predictor.load(folder).of(table)


def predict_frame(folder: Path, frame: pd.DataFrame) -> Prediction:
    """Predict a DataFrame's rows, as `predict` does a CSV's."""
    rules = Rules.load(folder)
    written = frame_csv(frame, rules.reading)
    table = apply_reading(written.data, written.reading, optional=rules.optional)
    return Predictor.load(folder).of(table)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a table becomes what a network takes, and what it gives."""

    reading: Reading
    optional: tuple[str, ...]  # Columns that may be absent: the target, and those left out.
    classes: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Rules:
        """Read an exported network's rules.

        Raises:
            OSError: Where the folder is not an exported network.
        """
        if not (folder / READING).is_file() or not (folder / NETWORK).is_file():
            raise FileNotFoundError(
                f"Expected a folder with {NETWORK} and {READING}. Received: {folder}. "
                "Write one with: topo-search export ID"
            )
        described: dict[str, Any] = json.loads((folder / READING).read_text(encoding="utf-8"))
        return cls(
            reading=Reading.from_json(described["reading"]),
            optional=(described["target"], *described["drop"]),
            classes=tuple(described["classes"]),
        )

    def table(self, data: bytes, most: tuple[int, int] | None = None) -> Table:
        """Read a CSV of at most so many rows and columns, of any number by default.

        Raises:
            ValueError: It cannot be read; names missing columns.
        """
        return apply_reading(data, self.reading, optional=self.optional, most=most)


class Predictor:
    """An exported network, loaded; predicts any number of tables."""

    def __init__(self, rules: Rules, network: keras.Model) -> None:
        self.rules, self.network = rules, network

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Load an exported network, in Keras safe mode.

        Raises:
            OSError: Where the folder is not an exported network.
        """
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        rules = Rules.load(folder)
        with _quiet():
            from objectives.finishing import loaded

            return cls(rules, loaded(folder / NETWORK))

    def predict(self, data: bytes, most: tuple[int, int] | None = None) -> Prediction:
        """Predict a CSV's rows; takes and raises what `Rules.table` does."""
        return self.of(self.rules.table(data, most))

    def predict_rows(self, rows: Sequence[Mapping[str, str | None]]) -> Prediction:
        """Predict rows given as texts by column name; raises ValueError where columns are missing.

        A text is read as it would be in a CSV.
        """
        rules = self.rules
        return self.of(read_rows(rows, rules.reading, optional=rules.optional))

    def of(self, table: Table) -> Prediction:
        """Predict the rows of a table that was read by the network's rules."""
        import pandas as pd

        from objectives.encoder import free_name
        from objectives.finishing import predictions

        classes = self.rules.classes
        features = [feature for feature in table.features if feature.name in self.network.input]
        output = predictions(self.network, table.frame, features, classes)
        frame = pd.concat([table.labels, table.others], axis=1)
        warnings, line = table.warnings, None
        if table.dropped:  # Else the rows stand as in the file, and need not be told apart.
            line = free_name("line", {str(taken) for taken in frame})
            frame[line] = table.lines
            warnings += (f"The column {line!r} says on which line of the file each row stands.",)
        values = {"prediction": [classes[c] for c in output.argmax(axis=1)] if classes else output}
        for code, name in enumerate(classes):
            values[f"probability {name}"] = output[:, code].round(6)
        taken, predicted = {str(name) for name in frame}, {}
        for name, column in values.items():
            free = free_name(name, taken)
            taken.add(free)
            predicted[free] = column
        frame = pd.concat([frame, pd.DataFrame(predicted, index=frame.index)], axis=1)
        return Prediction(frame=frame, predicted=tuple(predicted), line=line, warnings=warnings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from stderr what libraries print there, unless the block fails.

    TensorFlow greets while it is imported, before it has looked at any level of logging.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        try:
            os.dup2(printed.fileno(), 2)
            yield
        except BaseException:
            sys.stderr.flush()
            printed.seek(0)
            os.write(kept, printed.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _readme(row: StudyRow) -> str:
    plan, outcome = row.plan, row.outcome or {}
    best, test = outcome["best"], outcome["test"]
    metric = str(plan["metric"])
    reading = Reading.from_json(plan["reading"])
    rules = {rule.name: rule for rule in reading.columns}
    takes = "\n".join(
        f"- `{format_name(feature.name, LONGEST_NAME)}` ({_values(feature, rules[feature.column])})"
        for feature in features_of(reading)
        if feature.column not in (plan["target"], *plan["drop"])
    )
    topology, _ = Space.from_json(plan["space"]).decode(best["parameters"])
    needs, layer = "Keras and TensorFlow alone", ""
    if topology.needs_stack:
        needs = "Keras and topo-search, of which so deep a network needs one registered layer"
        layer = ", objectives.stack"
    gives = (
        "probabilities of " + ", ".join(f"`{format_name(name)}`" for name in plan["classes"])
        if plan["classes"]
        else "values"
    )
    return f"""# A network that predicts `{format_name(plan["target"])}`

{best["topology"]}, {best["weights"]:,} weights; {format_metric(metric)} \
{format_value(metric, test["value"])} on {test["rows"]:,} rows it had never seen. \
Found by topo-search, study `{row.id}`, trial {best["trial"]}.

A CSV, read by the rules in `{READING}`:

    topo-search predict . new.csv -o predictions.csv

Typed values by name, with {needs} (numbers and yes or no as
float64, NaN where missing; text and categories as strings, "" where missing; all of shape
(rows, 1)):

    import keras, numpy as np{layer}
    network = keras.models.load_model("{NETWORK}")
    columns = {{name: np.array([[value]]) for name, value in one_row.items()}}
    columns = {{name: keras.ops.convert_to_tensor(column) for name, column in columns.items()}}
    print(network(columns))  # {gives}

What `one_row` holds:

{takes}
"""


def _values(feature: Feature, rule: ColumnRule) -> str:
    """Return in words what a feature's values are, and how the column gives them."""
    if feature.kind == "boolean":
        words = rule.words or ("0", "1")
        return "boolean: " + ", ".join(f"{n} = {format_name(w)}" for n, w in enumerate(words))
    if rule.kind != "datetime":
        return feature.kind
    part = feature.name.removeprefix(f"{rule.name}.").rstrip("_")
    return f"numeric: {PARTS[part].format(origin=rule.origin)}"
