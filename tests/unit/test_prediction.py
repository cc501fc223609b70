"""Networks that were really trained predict in a child, which may end in any way."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import pandas as pd
import psutil
import pytest
import tensorflow as tf
from small_tables import KINDS, mixed, plan_of, point

from objectives import finishing
from objectives.baselines import Baselines
from objectives.objective import Finish
from objectives.table import MissingColumnsError, Overrides, read_table
from topo_search import forking, predictor
from topo_search.web import children, prediction
from topo_search.web.children import WAITING, BusyError, EndedError, TooLongError, TooMuchError
from topo_search.web.prediction import KEPT, Files, Predicted, Predictions, Question

# TensorFlow's variables do not know NumPy's `copy` yet, and Keras saves them so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MB = 2**20
PAUSE = threading.Event()  # Never set.
ROOT = Path(__file__).parents[2]
Rows = list[dict[str, str]]
Made = Callable[..., Predictions]


@pytest.fixture(scope="module", autouse=True)
def own_fork_server(fork_server: Callable[[str], None]) -> Iterator[None]:
    """Have a fork server as the service has it, but with TensorFlow, whatever other tests need.

    Each child is to load it by itself, which takes seconds; services in processes of their own do.
    """
    fork_server("web with TensorFlow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "PRELOAD", (*children.PRELOAD, forking.PRELOAD))
        yield


@dataclass(frozen=True)
class Network:
    """A network that was trained on a table."""

    data: bytes  # The table.
    files: Mapping[str, bytes]
    folder: Path  # With the files.
    separator: str
    encoding: str

    @property
    def rows(self) -> Rows:
        """The table's rows, as a form would have them."""
        text = io.StringIO(self.data.decode(self.encoding), newline="")
        return list(csv.DictReader(text, delimiter=self.separator))


def trained(frame: pd.DataFrame, data: bytes, folder: Path, sep: str, encoding: str) -> Network:
    target = str(frame.columns[-1])
    given = frame.rename(columns={"größe": "size"})
    kinds = Overrides(kinds=KINDS)  # type: ignore[arg-type]
    reading = read_table(data, overrides=kinds).reading.to_json()
    plan = plan_of(given, target, reading=reading)
    table = folder / "table.csv"
    table.write_bytes(data)
    winner = {"trial": 0, "value": 0.5, "parameters": point(plan, depth=1, width=8)}
    winner |= {"seed": 4, "epochs": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finishing, "baselines", lambda *given: Baselines(rows=0, predictions={}))
        final = finishing.finish(Finish(trial="", plan=plan, winner=winner, looks=1, dataset=table))
    rules = {name: plan[name] for name in ("target", "task", "classes", "reading", "drop")}
    files = {**final.files, "reading.json": json.dumps(rules).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Network(data=data, files=files, folder=folder, separator=sep, encoding=encoding)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Of classes, from a table as most are."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    frame = mixed()
    data = frame.to_csv(index=False).encode()
    return trained(frame, data, tmp_path_factory.mktemp("plain"), ",", "utf-8")


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Of numbers, from a table as a German spreadsheet saves it."""
    frame = mixed("price").rename(columns={"size": "größe"})
    data = frame.to_csv(index=False, sep=";", decimal=",").encode("cp1252")
    return trained(frame, data, tmp_path_factory.mktemp("german"), ";", "cp1252")


@pytest.fixture(scope="module")
def predictions() -> Iterator[Predictions]:
    """One for many tests: its child takes seconds to start."""
    shared = Predictions()
    yield shared
    shared.close()


@pytest.fixture
def made() -> Iterator[Made]:
    """Make predictions of the test's own, which end with it."""
    all_made: list[Predictions] = []

    def make(**given: Any) -> Predictions:
        all_made.append(Predictions(**given))
        return all_made[-1]

    yield make
    for one in all_made:
        one.close()


def files_of(network: Network) -> Callable[[], Mapping[str, bytes]]:
    return lambda: network.files


def not_needed() -> Mapping[str, bytes]:
    raise AssertionError("the child was to hold the network")


def until(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        PAUSE.wait(0.01)
    return found


def process_of(predictions: Predictions) -> psutil.Process:
    assert predictions._child is not None
    return psutil.Process(predictions._child.process.pid)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def asked(predictions: Predictions, name: str, files: Files, data: bytes) -> tuple[Predicted, Rows]:
    """What was predicted of a CSV, and the rows that were written."""
    with TemporaryDirectory() as folder:
        table, into = Path(folder, "table.csv"), Path(folder, "predicted.csv")
        table.write_bytes(data)
        found = predictions.csv(name, "1", files, table, into)
        with into.open(newline="", encoding="utf-8") as file:
            return found, list(csv.DictReader(file))


def said(rows: Rows, predicted: Predicted) -> list[list[float | str]]:
    """What was predicted of each row, numbers rounded as they may differ in the last place."""
    return [[_rounded(row[name]) for name in predicted.predicted] for row in rows]


def _rounded(value: Any) -> float | str:
    try:
        return float(f"{float(value):.4g}")
    except ValueError:
        return str(value)


# What is predicted


@pytest.mark.parametrize("name", ["plain", "german"])
def test_a_csv_is_predicted_as_on_the_command_line(
    name: str, predictions: Predictions, request: pytest.FixtureRequest
) -> None:
    network: Network = request.getfixturevalue(name)
    found, rows = asked(predictions, name, files_of(network), network.data)
    known = predictor.predict(network.folder, network.data)
    assert found.columns == list(known.frame)
    assert found.predicted == list(known.predicted)
    assert found.warnings == list(known.warnings)
    assert said(rows, found) == said(known.frame.to_dict("records"), found)
    assert [row["when"] for row in rows] == [row["when"] for row in network.rows]
    assert found.rows == []
    if name == "plain":
        assert found.predicted[0] == "prediction"
        assert {*found.predicted[1:]} == {f"probability {c}" for c in ("high", "low", "mid")}
    else:
        assert found.predicted == ["prediction"]
        assert 20_000 < float(rows[0]["prediction"]) < 80_000
        assert rows[0]["größe"] == network.rows[0]["größe"]


@pytest.mark.parametrize("name", ["plain", "german"])
def test_rows_of_a_form_are_read_as_those_of_a_file(
    name: str, predictions: Predictions, request: pytest.FixtureRequest
) -> None:
    network: Network = request.getfixturevalue(name)
    of_file, written = asked(predictions, name, files_of(network), network.data)
    found = predictions.rows(name, "1", files_of(network), network.rows)
    assert found.columns == of_file.columns
    assert len(found.rows) == len(network.rows)
    assert said(found.rows, found) == said(written, of_file)
    assert json.loads(json.dumps(found.rows)) == found.rows
    (one,) = predictions.rows(name, "1", not_needed, network.rows[:1]).rows
    assert said([one], found) == said(found.rows[:1], found)


def test_what_a_network_does_not_use_is_not_told_of(
    tmp_path: Path, predictions: Predictions
) -> None:
    frame = mixed()
    frame.insert(0, "key", [f"K{number:05}" for number in range(len(frame))])
    network = trained(frame, frame.to_csv(index=False).encode(), tmp_path, ",", "utf-8")
    found, _ = asked(predictions, "keyed", files_of(network), network.data)
    assert [*found.warnings] == []
    row = network.rows[0] | {"key": "", "size": "huge"}
    (warning,) = predictions.rows("keyed", "1", not_needed, [row]).warnings
    assert warning == "Column 'size': 'huge' is no number and counts as missing."


def test_a_decimal_comma_of_a_form_is_one(predictions: Predictions, german: Network) -> None:
    first = german.rows[0] | {"größe": "1,5"}
    texts = ["1,5", " 1,50 ", "1.5", "15", "", "€ 1,5"]
    rows = [first | {"größe": text} for text in texts]
    found = predictions.rows("german", "1", files_of(german), rows)
    comma, blanks, point, whole, missing, euro = said(found.rows, found)
    assert comma == blanks == euro
    assert comma != whole and comma != missing
    assert point == missing  # Where a comma is the decimal sign, 1.5 is no number.
    (warning,) = [text for text in found.warnings if "größe" in text]
    assert "'1.5'" in warning and "counts as missing" in warning


def test_rows_that_a_file_would_lose_are_predicted_one_by_one(
    predictions: Predictions, plain: Network
) -> None:
    """Blank ones, one that repeats the names, one like units; separators, quotes, line breaks."""
    names = list(plain.rows[0])
    odd = {"kind": 'a, "b"', "notes": "line\r\nline", "city": "größe €"}
    rows: list[dict[str, str | None]] = [
        {name: "kg" for name in names},
        {name: name for name in names},
        {name: "" for name in names},
        {name: None for name in names},
        {**plain.rows[0], **odd},
        *plain.rows[:2],
    ]
    found = predictions.rows("plain", "1", files_of(plain), rows)
    assert len(found.rows) == len(rows)
    assert found.rows[4]["kind"] == 'a, "b"'
    assert found.rows[4]["city"] == "größe €"
    assert found.rows[2] == found.rows[3]
    alone = predictions.rows("plain", "1", files_of(plain), plain.rows[:2])
    assert said(found.rows[5:], found) == said(alone.rows, alone)


def test_a_category_that_was_never_seen_is_predicted(
    predictions: Predictions, plain: Network
) -> None:
    seen = plain.rows[0]
    unseen = {**seen, "kind": "zeppelin", "city": "Atlantis"}
    found = predictions.rows("plain", "1", files_of(plain), [seen, unseen])
    known, other = found.rows
    assert other["kind"] == "zeppelin"
    assert other["prediction"] in ("high", "low", "mid")
    assert 0.99 < sum(other[name] for name in found.predicted[1:]) < 1.01
    assert [known[n] for n in found.predicted[1:]] != [other[n] for n in found.predicted[1:]]


def test_the_target_need_not_be_there(predictions: Predictions, plain: Network) -> None:
    rows = [{name: text for name, text in row.items() if name != "class"} for row in plain.rows]
    found = predictions.rows("plain", "1", files_of(plain), rows)
    assert {row["class"] for row in found.rows} == {""}


def test_no_cell_of_a_csv_is_a_formula_and_its_numbers_stay(
    predictions: Predictions, plain: Network
) -> None:
    frame = mixed().assign(kind="=cmd|'/C calc'!A0", size=-1.5)
    data = frame.to_csv(index=False).encode()
    _, (first, *_) = asked(predictions, "plain", files_of(plain), data)
    assert first["kind"] == "'=cmd|'/C calc'!A0"
    assert first["size"] == "-1.5"


def test_columns_that_are_unknown_come_back_as_they_were(
    predictions: Predictions, plain: Network
) -> None:
    frame = mixed().assign(order=range(1000, 1000 + len(mixed())), note="as it was")
    data = frame.to_csv(index=False).encode()
    found, rows = asked(predictions, "plain", files_of(plain), data)
    assert [row["order"] for row in rows] == [str(number) for number in frame["order"]]
    assert {row["note"] for row in rows} == {"as it was"}
    assert "line" not in rows[0]
    assert predictor.predict(plain.folder, data).frame["order"].to_list() == [
        row["order"] for row in rows
    ]
    alone = predictions.rows("plain", "1", files_of(plain), plain.rows)
    assert said(rows, found) == said(alone.rows, alone)
    (first,) = predictions.rows("plain", "1", not_needed, [{**plain.rows[0], "order": "7"}]).rows
    assert first["order"] == "7"


def test_where_rows_are_left_out_each_says_its_line(
    predictions: Predictions, plain: Network
) -> None:
    text = plain.data.decode().splitlines(keepends=True)
    text.insert(2, text[1].rstrip("\n") + ",one,too,many\n")
    found, rows = asked(predictions, "plain", files_of(plain), "".join(text).encode())
    assert [row["line"] for row in rows[:3]] == ["2", "4", "5"]
    assert len(rows) == len(plain.rows)
    assert any("line 3" in text for text in found.warnings)
    assert "The column 'line' says on which line" in found.warnings[-1]
    known = predictor.predict(plain.folder, "".join(text).encode())
    assert known.line == "line" and known.warnings == (*found.warnings,)


# What is refused


def test_a_missing_column_is_named_and_the_child_lives_on(
    predictions: Predictions, plain: Network
) -> None:
    frame = mixed().rename(columns={"head": "heed"})
    predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    process = process_of(predictions)
    with pytest.raises(MissingColumnsError, match="'head' \\(is it 'heed'\\?\\)") as raised:
        asked(predictions, "plain", not_needed, frame.to_csv(index=False).encode())
    assert raised.value.columns == ("head",)
    row = {name: text for name, text in plain.rows[0].items() if name != "on"}
    with pytest.raises(MissingColumnsError, match="Columns are missing: 'on'"):
        predictions.rows("plain", "1", not_needed, [row])
    assert process_of(predictions) == process


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"", "The file is empty"), (b"PK\x03\x04", "a ZIP archive"), (b"\x00\x01", "Expected")],
)
def test_what_is_no_table_is_refused(
    data: bytes, what: str, predictions: Predictions, plain: Network
) -> None:
    with pytest.raises(ValueError, match=what):
        asked(predictions, "plain", files_of(plain), data)


def test_no_rows_are_refused(predictions: Predictions, plain: Network) -> None:
    with pytest.raises(ValueError, match="Expected at least one row"):
        predictions.rows("plain", "1", files_of(plain), [])


def test_files_that_cannot_be_had_are_the_callers_matter(
    predictions: Predictions, plain: Network
) -> None:
    def gone() -> Mapping[str, bytes]:
        raise LookupError("deleted meanwhile")

    with pytest.raises(LookupError, match="deleted meanwhile"):
        predictions.rows("deleted", "1", gone, plain.rows[:1])
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows


def test_a_network_with_code_in_it_is_refused(
    predictions: Predictions, plain: Network, tmp_path: Path
) -> None:
    traitor = tmp_path / "traitor"
    source = f"__import__('pathlib').Path({str(traitor)!r}).touch() or x"
    layer = keras.layers.Lambda(eval(f"lambda x: {source}"), output_shape=(1,))
    model = keras.Sequential([keras.Input((1,)), layer])
    model.save(tmp_path / "network.keras")
    files = dict(plain.files) | {"network.keras": (tmp_path / "network.keras").read_bytes()}
    traitor.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="Lambda"):
        predictions.rows("hostile", "1", lambda: files, plain.rows[:1])
    assert not traitor.exists()


# What the child holds


def test_the_networks_used_last_are_held_and_others_fetched(made: Made, plain: Network) -> None:
    predictions, fetched = made(), []

    def ask(study: str, mark: str = "1") -> None:
        def files() -> Mapping[str, bytes]:
            fetched.append((study, mark))
            return plain.files

        assert predictions.rows(study, mark, files, plain.rows[:1]).rows

    names = [f"study {number}" for number in range(KEPT)]
    for name in [*names, names[0]]:
        ask(name)
    assert fetched == [(name, "1") for name in names]
    fetched.clear()
    ask("another")  # In place of the one that was used longest ago, not of the first.
    for name in (names[0], *names[2:]):
        ask(name)
    assert fetched == [("another", "1")]
    ask(names[1])
    assert fetched == [("another", "1"), (names[1], "1")]
    fetched.clear()
    ask(names[0], "2")  # The study was extended and has another network.
    assert fetched == [(names[0], "2")]


def test_a_table_of_too_many_rows_or_columns_is_not_predicted(made: Made, plain: Network) -> None:
    columns = len(plain.rows[0])
    few = made(most=(len(plain.rows) - 1, columns))
    with pytest.raises(ValueError, match="Expected at most 119 rows. Received more."):
        asked(few, "plain", files_of(plain), plain.data)
    wide = b"\n".join(line + b",1,1" for line in plain.data.splitlines()[:50])
    with pytest.raises(ValueError, match=f"Expected at most {columns} columns"):
        asked(few, "plain", files_of(plain), wide)
    head = b"\n".join(plain.data.splitlines()[:50])
    assert len(asked(few, "plain", files_of(plain), head)[1]) == 49


def test_a_file_for_the_child_is_deleted(
    predictions: Predictions, plain: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction.tempfile, "tempdir", str(tmp_path))
    seen: list[list[Path]] = []
    asked = prediction.Child.ask

    def ask(child: Any, question: Any, *, seconds: float) -> Any:
        seen.append(sorted(tmp_path.rglob("*.*")))
        return asked(child, question, seconds=seconds)

    monkeypatch.setattr(prediction.Child, "ask", ask)
    predictions.rows("fetched", "1", files_of(plain), plain.rows[:1])
    assert [path.name for path in seen[-1]] == ["network.keras", "reading.json"]
    assert not list(tmp_path.iterdir())


# How the child ends


def test_a_child_that_was_killed_is_replaced(predictions: Predictions, plain: Network) -> None:
    predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    killed = process_of(predictions)
    killed.kill()
    until(lambda: gone(killed))
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows
    assert process_of(predictions) != killed


def test_a_child_that_is_killed_as_it_is_asked_is_replaced(
    predictions: Predictions, plain: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    killed = process_of(predictions)
    asked = prediction.Child.ask

    def kill_first(child: Any, question: Any, *, seconds: float) -> Any:
        if child.process.pid == killed.pid:
            killed.kill()
        return asked(child, question, seconds=seconds)

    monkeypatch.setattr(prediction.Child, "ask", kill_first)
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows


def test_a_request_that_takes_too_long_kills_the_child_and_the_next_has_another(
    made: Made, plain: Network
) -> None:
    predictions = made()
    predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    stopped = process_of(predictions)
    usual = predictions._allowance
    predictions._allowance = replace(usual, seconds=0.5)
    stopped.suspend()
    with pytest.raises(TooLongError, match="Give a table with fewer rows or columns"):
        predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    until(lambda: gone(stopped))
    predictions._allowance = usual
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows


def test_a_request_that_needs_too_much_memory_is_refused_and_the_next_is_not(
    made: Made, plain: Network
) -> None:
    predictions = made(memory=100 * MB)
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows
    first = process_of(predictions)
    names, _, body = plain.data.partition(b"\n")
    large = names + b"\n" + body * (40 * MB // len(body))
    with pytest.raises(TooMuchError, match="needs more memory than the 100 MiB"):
        asked(predictions, "plain", files_of(plain), large)
    until(lambda: gone(first))
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows


def test_an_idle_child_ends_and_a_request_starts_another(made: Made, plain: Network) -> None:
    predictions = made(idle=0.2)
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows
    first = process_of(predictions)
    until(lambda: gone(first))
    assert predictions.rows("plain", "1", files_of(plain), plain.rows[:1]).rows
    assert process_of(predictions) != first


def test_closing_ends_the_child_and_what_it_does(made: Made, plain: Network) -> None:
    predictions = made()
    predictions.rows("plain", "1", files_of(plain), plain.rows[:1])
    process = process_of(predictions)
    process.suspend()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(predictions.rows, "plain", "1", not_needed, plain.rows[:1])
        until(predictions._one.locked)
        predictions.close()
        with pytest.raises(BusyError, match="The service is ending"):
            asked.result(30)
    until(lambda: gone(process))
    with pytest.raises(BusyError, match="The service is ending"):
        predictions.rows("plain", "1", files_of(plain), plain.rows[:1])


def test_many_threads_are_served_one_after_another(
    predictions: Predictions, plain: Network, german: Network
) -> None:
    networks = {"plain": plain, "german": german}
    alone = {
        name: [predictions.rows(name, "1", files_of(of), [row]).rows[0] for row in of.rows[:8]]
        for name, of in networks.items()
    }

    def ask(number: int) -> tuple[Any, Any]:
        name = ("plain", "german")[number % 2]
        of, at = networks[name], number // 2 % 8
        return predictions.rows(name, "1", files_of(of), [of.rows[at]]).rows[0], alone[name][at]

    with ThreadPoolExecutor(8) as threads:
        for found, known in threads.map(ask, range(32)):
            assert found == known


# Where memory and idleness meet chance; with a child that has both at will


LITTLE, TOO_MUCH, INTO = Path("little"), Path("too much"), Path("into")


class Fake:
    """A child that needs as much memory as it holds networks."""

    made = 0

    def __init__(self, *args: Any, memory: int) -> None:
        self.held: list[Any] = []
        self.waits = True
        Fake.made += 1

    def ask(self, question: Question | None, *, seconds: float) -> Any:
        if question is None:
            return tuple(self.held)
        if self.held and question.key not in self.held:
            self.waits = False
            raise TooMuchError("too much")
        if question.table == TOO_MUCH:
            self.waits = False
            raise TooMuchError("too much")
        self.held.append(question.key)
        return {"columns": question.key, "predicted": [], "rows": [], "warnings": []}

    def kill(self, reason: Exception) -> None:
        self.waits = False

    def close(self) -> None:
        self.waits = False


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Predictions]:
    monkeypatch.setattr(prediction, "Child", Fake)
    Fake.made = 0
    faked = Predictions()
    yield faked
    faked.close()


def test_networks_held_for_others_are_not_what_a_table_is_refused_for(fake: Predictions) -> None:
    assert fake.csv("one", "1", dict, LITTLE, INTO).columns == ("one", "1")
    assert fake.csv("other", "1", dict, LITTLE, INTO).columns == ("other", "1")
    assert Fake.made == 2


def test_who_asks_for_much_leaves_others_a_place(fake: Predictions) -> None:
    with ExitStack() as held:
        for _ in range(WAITING // 2):
            held.enter_context(fake._limit.place("one", BusyError("")))
        with pytest.raises(BusyError, match="Other tables are being predicted"):
            fake.csv("one", "1", dict, LITTLE, INTO, asker="one")
        with pytest.raises(BusyError):
            fake.rows("one", "1", dict, [], asker="one")
        assert fake.csv("one", "1", dict, LITTLE, INTO, asker="other").columns == ("one", "1")
    assert fake.csv("one", "1", dict, LITTLE, INTO, asker="one").columns == ("one", "1")


def test_a_table_that_is_too_large_for_a_child_of_its_own_is_refused(fake: Predictions) -> None:
    with pytest.raises(TooMuchError):
        fake.csv("one", "1", dict, TOO_MUCH, INTO)
    assert Fake.made == 1
    fake.csv("one", "1", dict, LITTLE, INTO)
    with pytest.raises(TooMuchError):
        fake.csv("other", "1", dict, TOO_MUCH, INTO)
    assert Fake.made == 3


def test_a_child_that_ended_as_it_was_asked_is_replaced(
    fake: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.csv("one", "1", dict, LITTLE, INTO)
    asked = Fake.ask

    def end_once(child: Fake, question: Question | None, *, seconds: float) -> Any:
        if question is None and Fake.made == 1:
            child.waits = False
            raise EndedError(0)
        return asked(child, question, seconds=seconds)

    monkeypatch.setattr(Fake, "ask", end_once)
    assert fake.csv("one", "1", dict, LITTLE, INTO).columns == ("one", "1")
    assert Fake.made == 2


# The process that asks

SERVICE = """
import json, sys
from pathlib import Path
from topo_search.web.children import Children
from topo_search.web.prediction import Predictions
import operator

folder = Path(sys.argv[1])
children, predictions = Children(), Predictions()
assert children(operator.mul, 6, 7, seconds=60, memory=2**28) == 42
files = lambda: {name: (folder / name).read_bytes() for name in ("network.keras", "reading.json")}
table, other, into = folder / "table.csv", folder / "other.csv", folder / "into.csv"
other.write_bytes(b"a,b\\n1,2\\n")
predictions.csv("study", "1", files, table, into)
assert into.stat().st_size
try:
    predictions.csv("study", "1", files, other, into)
except ValueError as error:
    print(type(error).__name__, error)
children.close()
predictions.close()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_the_process_that_asks_loads_neither_tensorflow_nor_pandas(plain: Network) -> None:
    """Also when a child raises an error whose module would load pandas."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, plain.folder], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    refusal, modules = done.stdout.splitlines()
    assert refusal.startswith("ValueError Expected a line with the names size, ")
    heavy = {"tensorflow", "keras", "pandas", "numpy", "sklearn", "optuna", "sqlalchemy"}
    assert not heavy & {*json.loads(modules)}
    assert done.stderr == ""


def test_a_service_that_is_killed_leaves_no_child(plain: Network, tmp_path: Path) -> None:
    code = SERVICE.replace(
        "children.close()",
        "print(predictions._child.process.pid, flush=True)\nsys.stdin.read()",
    )
    service = subprocess.Popen(
        [sys.executable, "-c", code, plain.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert service.stdin is not None and service.stdout is not None
    with service.stdin, service.stdout:
        service.stdout.readline()
        child = psutil.Process(int(service.stdout.readline()))
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
    until(lambda: gone(child))
