"""DataFrames: read as what they are, and by the rules of a file."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from objectives.frames import csv_bytes, frame_csv, frame_overrides
from objectives.reading import Overrides, Reading, ReadingError
from objectives.table import Table, apply_reading, choose_target, read_table

ROWS = 60


def read_frame(frame: pd.DataFrame, overrides: Overrides | None = None) -> Table:
    return read_table(csv_bytes(frame), overrides=frame_overrides(frame, overrides or Overrides()))


def read_again(frame: pd.DataFrame, reading: Reading) -> Table:
    written = frame_csv(frame, reading)
    return apply_reading(written.data, written.reading)


def european() -> tuple[bytes, pd.DataFrame]:
    """Return a file as Excel writes it in Europe, and what pandas makes of it."""
    random = np.random.default_rng(0)
    numbers = random.integers(1_000, 9_999_999, ROWS) / 1_000
    frame = pd.DataFrame(
        {
            "price": numbers,
            "when": pd.date_range("2023-11-25", periods=ROWS, freq="3D"),
            "kind": random.choice(["one; or two", "three"], ROWS),
        }
    )
    prices = [f"{int(n):,}".replace(",", ".") + f",{round(n % 1 * 1000):03d}" for n in numbers]
    days = frame["when"].dt.strftime("%d.%m.%Y")
    lines = [
        f'{price};{day};"{kind}"'
        for price, day, kind in zip(prices, days, frame["kind"], strict=True)
    ]
    return "\n".join(["price;when;kind", *lines, ""]).encode("latin-1"), frame


@pytest.mark.parametrize("names", [range(3), [5, 6, 7], ["1.5", "2.5", "3.5"]])
def test_names_of_a_frame_are_names_whatever_they_look_like(names: Sequence[int | str]) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(ROWS, 3)), columns=list(names))
    table = read_frame(frame)
    assert [rule.name for rule in table.reading.columns] == [str(name) for name in names]
    assert len(table.frame) == ROWS
    assert choose_target(table, names[2]).column == str(names[2])


def test_a_first_row_like_a_title_or_a_comment_is_a_row() -> None:
    frame = pd.DataFrame({"a": ["# one", *"xyz" * 20], "b": ["", *"pqr" * 20]})
    assert len(read_frame(frame).frame) == 61


def test_floats_are_not_taken_for_thousands() -> None:
    random = np.random.default_rng(0)
    values = random.integers(1_001, 9_999, ROWS) / 1_000
    frame = pd.DataFrame({"a": values, "b": values[::-1]})
    assert read_frame(frame).frame["a"].tolist() == values.tolist()


def test_whole_numbers_of_which_some_are_missing_stay_whole() -> None:
    frame = pd.DataFrame({"grade": [1.0, 2.0, 10.0, np.nan] * 15, "x": np.arange(ROWS) / 7})
    table = read_frame(frame, Overrides(kinds={"grade": "categorical"}))
    assert set(table.frame["grade"]) == {"1", "2", "10", ""}


def test_names_of_several_levels_are_refused() -> None:
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    with pytest.raises(ReadingError, match="one name each. Received names of 2 levels"):
        csv_bytes(frame)


def test_a_frame_is_read_by_the_rules_of_a_file_of_other_conventions() -> None:
    data, frame = european()
    table = read_table(data)
    again = read_again(frame.iloc[::-1], table.reading)
    assert [rule.kind for rule in table.reading.columns] == ["numeric", "datetime", "categorical"]
    pd.testing.assert_frame_equal(
        again.frame.iloc[::-1].reset_index(drop=True), table.frame, rtol=1e-12
    )
    assert not [
        warning for warning in again.warnings if "cannot" in warning or "missing" in warning
    ]


def test_names_of_a_frame_are_cleaned_as_those_of_a_file() -> None:
    data, frame = european()
    table = read_table(data.replace(b"price", b"the  price "))
    again = read_again(frame.rename(columns={"price": "the  price "}), table.reading)
    assert again.frame["the price"].tolist() == table.frame["the price"].tolist()


def test_texts_of_a_frame_are_read_as_in_the_file() -> None:
    data, _ = european()
    table = read_table(data)
    lines = [line.split(";", 2) for line in data.decode().splitlines()[1:]]
    frame = pd.DataFrame(lines, columns=["price", "when", "kind"])
    frame["kind"] = frame["kind"].str.strip('"')
    pd.testing.assert_frame_equal(read_again(frame, table.reading).frame, table.frame)


def test_a_frame_without_names_is_read_by_position_where_the_file_had_none() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(ROWS, 3)).round(3)
    table = read_table("\n".join(",".join(map(str, row)) for row in rows).encode())
    assert not table.reading.header
    for names in (range(3), ["column_1", "column_2", "column_3"]):
        again = read_again(pd.DataFrame(rows, columns=list(names)), table.reading)
        assert again.frame.to_numpy().tolist() == rows.tolist()
