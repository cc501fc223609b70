"""Tables as wholes: reading again, targets, warnings, and any table in any dialect."""

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import grid
from objectives.checks import target_warnings
from objectives.features import find_columns
from objectives.frames import csv_bytes
from objectives.grid import CHUNK, _append
from objectives.reading import ColumnRule, Reading
from objectives.shape import unique_names
from objectives.table import (
    MissingColumnsError,
    Overrides,
    ReadingError,
    Table,
    apply_reading,
    choose_target,
    describe,
    features_of,
    read_rows,
    read_table,
    split_target,
)

Write = Callable[..., bytes]


def frame_of(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "key": [f"K-{i:05d}" for i in rng.permutation(rows)],
            "size": rng.normal(size=rows).round(3),
            "count": rng.integers(0, 9, rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "paid": rng.choice(["yes", "no"], rows),
            "when": pd.date_range("2023-12-01", periods=rows, freq="36h").strftime("%d/%m/%Y"),
            "same": "x",
            "grade": rng.choice(["1", "2", "10"], rows),
        }
    )


@pytest.fixture
def table() -> Table:
    return read_table(csv_bytes(frame_of()))


def test_a_table_has_typed_features_of_its_usable_columns(table: Table) -> None:
    names = [feature.name for feature in table.features]
    assert names[:4] == ["size", "count", "colour", "paid"]
    assert {f.column for f in table.features} == {
        "size", "count", "colour", "paid", "when", "grade",
    }  # fmt: skip
    assert names == list(table.frame.columns)
    for feature in table.features:
        expected = np.float64 if feature.kind in ("numeric", "boolean") else object
        assert table.frame[feature.name].dtype == expected
    assert list(table.labels.columns) == list(frame_of().columns)
    assert table.frame["size"].to_list() == frame_of()["size"].to_list()
    assert features_of(table.reading) == table.features


def test_what_is_left_out_is_said(table: Table) -> None:
    assert [text for text in table.warnings if "'key' only tells rows apart" in text]
    assert [text for text in table.warnings if "'same' holds one value only" in text]


def test_description_has_the_promised_keys_and_is_json(table: Table) -> None:
    described = json.loads(json.dumps(describe(table)))
    assert set(described) == {
        "encoding", "separator", "quote", "skip", "decimal", "header", "rows", "columns",
        "warnings", "dropped",
    }  # fmt: skip
    assert set(described["columns"][0]) == {"name", "kind", "missing", "distinct", "examples"}
    assert described["rows"] == 60
    by_name = {column["name"]: column for column in described["columns"]}
    assert by_name["colour"]["distinct"] == 3
    assert by_name["paid"]["kind"] == "boolean"


def test_the_same_bytes_give_the_same_table_again(table: Table) -> None:
    again = apply_reading(csv_bytes(frame_of()), table.reading)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    pd.testing.assert_frame_equal(again.labels, table.labels)
    assert again.columns == table.columns


def test_columns_are_found_by_name_in_any_order(table: Table) -> None:
    shuffled = frame_of()[list(reversed(frame_of().columns))]
    again = apply_reading(b"# newer\n" + csv_bytes(shuffled), table.reading)
    pd.testing.assert_frame_equal(again.frame, table.frame)
    pd.testing.assert_frame_equal(again.labels, table.labels)


def test_missing_columns_are_named_beside_the_unknown(table: Table) -> None:
    frame = frame_of().rename(columns={"colour": "color"}).drop(columns=["size", "same"])
    with pytest.raises(MissingColumnsError, match="'colour' \\(is it 'color'\\?\\)") as refused:
        apply_reading(csv_bytes(frame), table.reading)
    assert refused.value.columns == ("size", "colour")
    assert refused.value.unknown == ("color",)


def test_unknown_columns_and_absent_optional_ones_are_tolerated(table: Table) -> None:
    frame = frame_of().drop(columns=["grade", "key"]).assign(extra=1)
    again = apply_reading(csv_bytes(frame), table.reading, optional=["grade"])
    assert list(again.frame.columns) == list(table.frame.columns)
    assert again.frame["grade"].isna().all()
    assert (again.labels["grade"] == "").all()
    assert any("Unknown columns are not used: 'extra'" in text for text in again.warnings)
    assert again.others["extra"].to_list() == ["1"] * len(frame)
    assert table.others.empty


def test_each_row_knows_its_line(table: Table) -> None:
    head, *rows = csv_bytes(frame_of()).decode().splitlines()
    text = [head, *rows, *rows]
    text.insert(3, "one,field,too,many,for,this,table,of,few,columns,or,any,other")
    again = apply_reading("\n".join(text).encode(), table.reading)
    assert [row.line for row in again.dropped] == [4]
    assert list(again.lines[:4]) == [2, 3, 5, 6]


def test_one_row_without_its_target_can_be_read(table: Table) -> None:
    frame = frame_of().drop(columns=["grade"]).head(1)
    again = apply_reading(csv_bytes(frame), table.reading, optional=["grade"])
    assert again.frame["size"].to_list() == [frame["size"][0]]
    two = read_table(b"x,y\n" + b"1.5,a\n2.5,b\n" * 10).reading
    assert apply_reading(b"x\n3.5\n", two, optional=["y"]).frame["x"].to_list() == [3.5]


def test_without_a_header_columns_are_found_by_position() -> None:
    body = "".join(f"{i * 1.5},{i % 3},{'ab'[i % 2]}\n" for i in range(30))
    reading = read_table(body.encode()).reading
    again = apply_reading(b"4.5,a\n6.5,b\n", reading, optional=["column_2"])
    assert again.frame["column_1"].to_list() == [4.5, 6.5]
    assert again.labels["column_3"].to_list() == ["a", "b"]
    with pytest.raises(ReadingError, match="2 fields where 3 are expected"):
        apply_reading(b"4.5,a\n6.5,b\n", reading)


def test_texts_the_rules_cannot_read_are_missing_and_counted(table: Table) -> None:
    frame = frame_of().astype({"size": object})
    frame.loc[3, "size"], frame.loc[5, "when"], frame.loc[7, "paid"] = "huge", "soon", "perhaps"
    again = apply_reading(csv_bytes(frame), table.reading)
    assert np.isnan(again.frame["size"][3])
    assert np.isnan(again.frame["when.day"][5])
    assert np.isnan(again.frame["paid"][7])
    for text in (
        "'huge' on line 5 is no number and counts",
        "no date",
        "on line 9 is no truth value",
    ):
        assert any(text in warning for warning in again.warnings)


def test_of_columns_that_are_not_used_nothing_is_told_again(table: Table) -> None:
    frame = frame_of().astype({"size": object})
    frame.loc[[3, 4], "size"] = "huge"
    again = apply_reading(csv_bytes(frame), table.reading)
    (warning,) = again.warnings
    assert "'size': 2 cells are no numbers and count as missing, the first of them" in warning
    assert apply_reading(csv_bytes(frame), table.reading, optional=["size"]).warnings == ()


def test_rows_of_no_file_stand_on_no_lines(table: Table) -> None:
    (row,) = frame_of().astype(str).head(1).to_dict("records")
    again = read_rows(
        [{str(name): text for name, text in row.items()} | {"size": "huge"}], table.reading
    )
    (warning,) = again.warnings
    assert warning == "Column 'size': 'huge' is no number and counts as missing."


def test_a_moment_and_half_a_number_are_no_cell() -> None:
    rows = [f"{i % 28 + 1:02d}.01.2001 {i % 24:02d}:00;{i * 37 % 101},125" for i in range(30)]
    reading = read_table("\n".join(rows).encode()).reading
    assert (reading.separator, reading.decimal) == (";", ",")


def test_unnamed_row_names_are_found_again_beside_a_short_header() -> None:
    data = "a,b\n" + "".join(f"r{i},{i * 1.5},{'xy'[i % 2]}\n" for i in range(30))
    table = read_table(data.encode())
    again = apply_reading(data.encode(), table.reading)
    assert tuple(table.labels.columns) == ("column_1", "a", "b")
    pd.testing.assert_frame_equal(again.frame, table.frame)


def test_a_file_of_other_names_is_refused(table: Table) -> None:
    with pytest.raises(ReadingError, match="Expected a line with the names key, size"):
        apply_reading(b"foo,bar\n1,2\n", table.reading)


def test_a_later_file_may_have_another_encoding() -> None:
    data = "größe,b\n" + "1.5,ä\n2.5,ö\n" * 10
    reading = read_table(data.encode("latin-1")).reading
    for encoding, warned in (("utf-8", True), ("utf-16", True), ("latin-1", False)):
        again = apply_reading(data.encode(encoding), reading)
        assert again.labels["b"][0] == "ä"
        assert any("encoding" in text for text in again.warnings) is warned


@pytest.mark.parametrize(
    ("wanted", "column"),
    [("colour", "colour"), (" colour ", "colour"), (1, "key"), ("4", "colour"), (-1, "grade")],
)
def test_a_target_is_named_or_counted(table: Table, wanted: str | int, column: str) -> None:
    if column == "key":
        with pytest.raises(ReadingError, match="too many to be classes"):
            choose_target(table, wanted)
    else:
        assert choose_target(table, wanted).column == column


def test_a_column_whose_name_is_a_number_wins_over_a_position() -> None:
    data = "2,x,1\n" + "a,1.5,u\nb,2.5,v\n" * 15
    assert choose_target(read_table(data.encode()), "2").column == "2"
    assert choose_target(read_table(data.encode()), "1").column == "1"


@pytest.mark.parametrize("wanted", ["clour", "Colour", "COLOUR"])
def test_an_unknown_target_is_refused_with_the_nearest_name(table: Table, wanted: str) -> None:
    with pytest.raises(ReadingError, match="Did you mean 'colour'"):
        choose_target(table, wanted)
    with pytest.raises(ReadingError, match="position from 1 to 8"):
        choose_target(table, 9)
    with pytest.raises(ReadingError, match="position from 1 to 8"):
        choose_target(table, 0)


def test_tasks_follow_from_the_values(table: Table) -> None:
    assert choose_target(table, "paid").task == "binary"
    assert choose_target(table, "colour").classes == ("blue", "green", "red")
    assert choose_target(table, "grade").classes == ("1", "2", "10")
    assert choose_target(table, "size").task == "regression"
    assert choose_target(table, "count").task == "multiclass"
    assert choose_target(table, "count", "regression").classes == ()


@pytest.mark.parametrize(("different", "task"), [(20, "multiclass"), (21, "regression")])
def test_more_than_twenty_whole_numbers_are_a_measure(different: int, task: str) -> None:
    rows = "".join(f"{i % different},{i % 2}.5\n" for i in range(200))
    table = read_table(b"score,a\n" + rows.encode())
    assert choose_target(table, "score").task == task


@pytest.mark.parametrize(
    ("column", "task", "message"),
    [
        ("same", None, "one value only"),
        ("colour", "regression", "Expected numbers"),
        ("colour", "binary", "Expected two classes"),
        ("when", None, "too many to be classes"),
        ("size", "multiclass", "or predict it as a number"),
    ],
)
def test_targets_that_do_not_fit_are_refused(
    table: Table, column: str, task: str | None, message: str
) -> None:
    with pytest.raises(ReadingError, match=message) as refused:
        choose_target(table, column, task)  # type: ignore[arg-type]
    assert repr(column) in str(refused.value)


def test_fewer_than_twenty_rows_with_a_target_are_refused() -> None:
    frame = frame_of(30)
    frame.loc[19:, "colour"] = None
    with pytest.raises(ReadingError, match="at least 20 rows .* Received 19"):
        choose_target(read_table(csv_bytes(frame)), "colour")


def test_rows_without_a_target_are_dropped_and_counted() -> None:
    frame = frame_of()
    frame.loc[[1, 4], "colour"] = None
    table = read_table(csv_bytes(frame))
    target = choose_target(table, "colour")
    examples = split_target(table, target)
    assert (examples.rows_dropped, len(examples.y)) == (2, 58)
    kept = frame.dropna()
    assert [target.classes[code] for code in examples.y] == kept["colour"].to_list()
    assert examples.frame["size"].to_list() == kept["size"].to_list()
    assert examples.y.dtype == np.int64


def test_neither_the_target_nor_dropped_columns_are_features(table: Table) -> None:
    examples = split_target(table, choose_target(table, "grade"), drop=["when", "2"])
    assert [feature.name for feature in examples.features] == ["count", "colour", "paid"]
    assert list(examples.frame.columns) == ["count", "colour", "paid"]
    with pytest.raises(ReadingError, match="no column 'wen'"):
        split_target(table, choose_target(table, "grade"), drop=["wen"])


def test_a_target_of_numbers_is_read_by_its_own_rule() -> None:
    rows = "a;price\n" + "".join(f"x{i % 3};1.{200 + i:03d},5{i % 9}\n" for i in range(40))
    table = read_table(rows.encode())
    target = choose_target(table, "price")
    assert target.task == "regression"
    y = split_target(table, target).y
    assert y.dtype == np.float64
    assert y[:2].tolist() == [1200.50, 1201.51]


def test_classes_are_matched_by_meaning_in_another_file() -> None:
    data = "a,level\n" + "1.5,1\n2.5,2\n" * 15
    table = read_table(data.encode())
    target = choose_target(table, "level")
    again = apply_reading(data.replace(",1\n", ",1.0\n").encode(), table.reading)
    assert target.classes == ("1", "2")
    assert split_target(again, target).y.tolist() == [0, 1] * 15
    other = apply_reading(data.replace(",1\n", ",7\n").encode(), table.reading)
    with pytest.raises(ReadingError, match="one of the classes 1, 2 .* Received '7' on line 2"):
        split_target(other, target)


def test_a_class_that_the_table_lacks_is_named_with_its_line_in_the_file() -> None:
    table = read_table(("a,note,level\n" + "1.5,so,1\n2.5,or so,2\n" * 15).encode())
    above = '1.5,"two\nlines",1\n' + "a,note,level\n"  # Lines 2 and 3; 4 is left out.
    test = apply_reading(f"a,note,level\n{above}1.5,so,7\n".encode(), table.reading)
    assert [row.line for row in test.dropped] == [4]
    with pytest.raises(ReadingError, match="'7' on line 5.*leave them out of the test file"):
        split_target(test, choose_target(table, "level"))


def test_small_classes_and_columns_that_give_the_target_away_are_warned_of() -> None:
    frame = frame_of(200)
    frame["copy"] = frame["size"] * 3 + 1
    frame["code"] = frame["colour"].str[0]
    frame["near"] = frame["colour"].map({"red": 0, "green": 10, "blue": 20}) + frame["size"]
    frame.loc[:2, "colour"] = "violet"
    table = read_table(csv_bytes(frame))
    warnings = target_warnings(table, choose_target(table, "colour"))
    assert any("Classes with fewer than 5 rows: 'violet' (3)" in text for text in warnings)
    frame = frame.assign(colour=frame_of(200)["colour"])
    table = read_table(csv_bytes(frame))
    about = [target_warnings(table, choose_target(table, name)) for name in ("colour", "size")]
    given = [[text.split("'")[1] for text in texts if "away" in text] for texts in about]
    assert given == [["code", "near"], ["copy"]]
    assert not target_warnings(table, choose_target(table, "paid"))


def test_one_large_class_does_not_look_given_away() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.choice(["a", "b"], 3000), "z": rng.normal(size=3000)})
    frame["y"] = np.where(np.arange(3000) % 1500 == 7, "rare", "usual")
    table = read_table(csv_bytes(frame))
    warnings = target_warnings(table, choose_target(table, "y"))
    assert not [text for text in warnings if "away" in text]


@pytest.mark.parametrize(("rare", "warned"), [(10, True), (20, True), (21, False), (100, False)])
def test_a_class_with_nearly_all_rows_is_warned_of(rare: int, warned: bool) -> None:
    frame = frame_of(200).assign(y=["rare"] * rare + ["usual"] * (200 - rare))
    table = read_table(csv_bytes(frame))
    about = [text for text in target_warnings(table, choose_target(table, "y")) if "usual" in text]
    assert len(about) == warned
    for text in about:
        assert f"'usual' has {200 - rare} of the 200 rows" in text
        assert "--metric balanced_accuracy" in text


def test_features_of_dates_never_take_a_column_s_name() -> None:
    rows = "when,when.day,y\n" + "".join(f"2024-01-{i + 1:02d},{i}.5,a\n" for i in range(25))
    table = read_table(rows.encode())
    assert table.frame["when.day"].to_list()[:2] == [0.5, 1.5]
    assert table.frame["when.day_"].to_list()[:2] == [1.0, 2.0]


# --- any table, written in any way ---------------------------------------------------------

WORDS = st.text(st.sampled_from("abcdeéüß °'#"), min_size=1, max_size=8).map(
    lambda text: "w" + text.strip().replace("'", "’") + "."
)
PROSE = st.text(st.sampled_from('abc ,;|\t"\n'), max_size=30).map(
    lambda text: "Some prose of it " + text.replace("\t", " ").strip() + " here"
)


@st.composite
def columns(draw: st.DrawFn, rows: int) -> tuple[str, list[str], str]:
    kind = draw(st.sampled_from(["numeric", "categorical", "boolean", "datetime", "text"]))
    if kind == "numeric":
        whole = st.integers(-(10**6), 10**6).map(lambda n: f"{n / 1000:.4f}")
        cells = draw(st.lists(whole, min_size=rows, max_size=rows))
        cells[0], cells[1] = "0.2500", "7.5000"
    elif kind == "categorical":
        levels = draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
        cells = [levels[i % 2] for i in range(rows)]
        cells[2:6] = draw(st.lists(st.sampled_from(levels), min_size=4, max_size=4))
    elif kind == "boolean":
        pair = draw(st.sampled_from([("yes", "no"), ("True", "False"), ("0", "1"), ("Y", "N")]))
        cells = [pair[i % 2] for i in range(rows)]
    elif kind == "datetime":
        pattern = draw(st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y %H:%M"]))
        days = pd.date_range("2001-01-01", periods=rows, freq="31h").strftime(pattern)
        cells = days.to_list()
    else:
        prose = draw(st.lists(PROSE, min_size=3, max_size=3))
        cells = [f"{prose[i % 3]} {i}" for i in range(rows)]
    if kind != "text":
        for row in draw(st.lists(st.integers(6, rows - 1), max_size=3)):
            cells[row] = draw(st.sampled_from(["", "?", "NA", "N/A", "null", "-"]))
    return kind, cells, draw(st.sampled_from(["plain", "b c", "größe"]))


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, list[str], list[list[str]], dict[str, object]]:
    rows = draw(st.integers(24, 40))
    made = [draw(columns(rows)) for _ in range(draw(st.integers(1, 4)))]
    made.append(("numeric", [f"{i * 37 % 101 + 0.125:.3f}" for i in range(rows)], "last"))
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal = draw(st.sampled_from([".", ","]))
    header = draw(st.booleans())
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"]))
    values = [
        [cell.replace(".", decimal) for cell in cells] if kind == "numeric" else cells
        for kind, cells, _ in made
    ]
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=separator,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    if header:
        writer.writerow([f"{name} {i}" for i, (_, _, name) in enumerate(made)])
    writer.writerows(zip(*values, strict=True))
    told = {"separator": separator, "decimal": decimal, "header": header}
    data = text.getvalue().encode(encoding, errors="replace")
    kinds = [kind for kind, _, _ in made]
    return data, kinds, [values[i] for i in range(len(made))], told


@settings(max_examples=150, deadline=None, derandomize=True)
@given(written())
def test_any_table_reads_back_whatever_it_was_written_in(
    case: tuple[bytes, list[str], list[list[str]], dict[str, object]],
) -> None:
    data, kinds, values, told = case
    table = read_table(data)
    assert {name: getattr(table.reading, name) for name in told} == told
    assert [column.kind for column in table.columns] == kinds
    for name, kind, cells in zip(table.labels.columns, kinds, values, strict=True):
        missing = {"", "?", "NA", "N/A", "null", "-"}
        expected = ["" if cell in missing else cell.strip() for cell in cells]
        got = [text.replace("’", "?") for text in table.labels[name]]
        assert got == [text.replace("’", "?") for text in expected]
        if kind == "numeric":
            numbers = [float(c.replace(",", ".")) if c else np.nan for c in expected]
            np.testing.assert_array_equal(table.frame[name].to_numpy(), numbers)
    again = apply_reading(data, table.reading)
    pd.testing.assert_frame_equal(again.frame, table.frame)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-16")))
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        table = read_table(data)
    except ReadingError as error:
        assert str(error)
    else:
        assert len(table.labels) > 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab1,;\t|\"'\n\r .-#é/?:"), max_size=120))
def test_scraps_of_tables_are_read_the_same_again_or_refused(text: str) -> None:
    try:
        table = read_table(text.encode())
    except ReadingError:
        return
    assert len(table.labels) == len(table.frame) > 0
    again = apply_reading(text.encode(), table.reading)
    pd.testing.assert_frame_equal(again.frame, table.frame)


def test_a_frame_makes_the_round_trip_through_bytes() -> None:
    frame = frame_of()
    frame.loc[2, "size"] = np.nan
    table = read_table(csv_bytes(frame))
    np.testing.assert_array_equal(table.frame["size"], frame["size"])
    forced = read_table(csv_bytes(frame), overrides=Overrides(kinds={"count": "categorical"}))
    assert forced.frame["count"].to_list() == frame["count"].astype(str).to_list()
    assert replace(forced.reading, columns=()) == replace(table.reading, columns=())


def test_a_table_of_too_many_columns_is_refused_before_its_rows_are_read() -> None:
    names = ",".join(f"c{n}" for n in range(1_003))
    rows = ("1," * 1_002 + "1\n") * 9 + "1,2\n" * 9  # Whoever reads them finds them ragged.
    with pytest.raises(ReadingError, match="at most 1,000 columns. Received 1,003. Leave some out"):
        read_table(f"{names}\n{rows}".encode(), most=(9, 1_000))
    assert len(read_table(b"a,b,c\n1,2,3\n4,5,6\n", most=(2, 3)).labels) == 2


def test_a_table_of_too_many_rows_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def append(columns: list[list[str]], rows: list[list[str]], store: Any) -> Any:
        taken.append(len(rows))
        return _append(columns, rows, store)

    monkeypatch.setattr(grid, "_append", append)
    data = ("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(3 * CHUNK))).encode()
    with pytest.raises(ReadingError, match="at most 10 rows. Received more. Give a share of them"):
        read_table(data, most=(10, 9))
    assert taken == [CHUNK]
    with pytest.raises(ReadingError, match="at most 1 rows"):
        read_table(b"a,b,c\n1,2,3\n4,5,6\n", most=(1, 3))


@pytest.mark.parametrize(
    ("most", "words"),
    [((3, 2), "at most 3 rows. Received more"), ((4, 1), "at most 1 columns. Received 2.")],
)
def test_a_table_read_as_another_has_as_many_rows_and_columns_at_most(
    most: tuple[int, int], words: str
) -> None:
    data = b"a,b\n1,2\n3,4\n5,6\n7,8\n"
    reading = read_table(data).reading
    assert len(apply_reading(data, reading, most=(4, 2)).labels) == 4
    with pytest.raises(ReadingError, match=words):
        apply_reading(data, reading, most=most)


def test_thousands_of_equal_names_are_told_apart_at_once() -> None:
    names = unique_names(["c"] * 50_000 + ["c_2", "", ""] + ["d"])
    assert names[:3] == ("c", "c_3", "c_4")
    assert names[-4:] == ("c_2", "column_50002", "column_50003", "d")
    assert len(set(names)) == len(names)


def test_finding_many_columns_takes_time_in_proportion() -> None:
    names = [f"c{k}" for k in range(8_000)]
    rules = (ColumnRule(name=n, position=k, kind="numeric") for k, n in enumerate(names))
    reading = Reading(
        encoding="utf-8",
        separator=",",
        quote='"',
        decimal=".",
        thousands="",
        header=True,
        skip=0,
        columns=tuple(rules),
    )

    def seconds(work: Callable[..., Any], *args: Any) -> float:
        begins = time.process_time()
        work(*args)
        return time.process_time() - begins

    usual = min(seconds(features_of, reading) for _ in range(3))
    assert min(seconds(find_columns, names, reading, ()) for _ in range(3)) < 10 * usual


def test_a_key_does_not_hide_rows_that_are_equal() -> None:
    rows = [f"K-{k:05d},{k % 40 * 1.5},{'xy'[k % 2]},new" for k in range(60)]
    warnings = read_table("\n".join(["key,a,y,same", *rows]).encode()).warnings
    assert [text for text in warnings if "equal" in text] == [
        "Rows that equal an earlier row but for 'key': 20. They are kept; equal rows may fall into "
        "training and test."
    ]


def test_rows_that_are_not_split_are_not_said_to_be() -> None:
    data = ("a,y\n" + "1.5,x\n2.5,y\n" * 12).encode()
    later = apply_reading(data, read_table(data).reading)
    assert later.warnings == ("Rows that equal an earlier row: 22. They are kept.",)
