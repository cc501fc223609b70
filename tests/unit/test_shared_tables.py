"""Every real table in ../shared/data reads as its INVENTORY.md says (skipped where absent)."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from objectives.checks import target_warnings
from objectives.table import Table, apply_reading, choose_target, read_table, split_target


class Expected(NamedTuple):
    rows: int
    columns: int
    target: str
    task: str
    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    header: bool = True
    left_out: tuple[str, ...] = ()
    classes: int = 0
    says: tuple[str, ...] = ()  # parts of warnings


TABLES = {
    "adult.csv": Expected(
        48842, 15, "income", "binary", classes=2, says=("earlier row: 52", "99999 in 244 rows")
    ),
    "air_quality_uci.csv": Expected(
        9471 - 114, 17, "C6H6(GT)", "regression", separator=";", decimal=",",
        left_out=("column_16", "column_17"),
        says=("Blank rows left out: 114", "'CO(GT)' holds -200 in 1683 rows",
              "'PT08.S2(NMHC)' alone gives"),
    ),
    "breast_tissue.csv": Expected(
        106, 11, "Class", "multiclass", classes=6, left_out=("Case #",)
    ),
    "breast_tissue_semicolon_decimalcomma.csv": Expected(
        106, 10, "Class", "multiclass", classes=6, separator=";", decimal=","
    ),
    "california_housing.csv": Expected(20640, 10, "median_house_value", "regression"),
    "concrete.csv": Expected(1030, 9, "strength", "regression", says=("earlier row: 25",)),
    "hr_attrition_bom.csv": Expected(
        1470, 35, "2", "binary", encoding="utf-8-sig", classes=2,
        left_out=("EmployeeCount", "EmployeeNumber", "Over18", "StandardHours"),
    ),
    "iris.csv": Expected(150, 5, "species", "multiclass", classes=3),
    "medicare_charges_thousands.csv": Expected(
        10000, 17, "Average Total Payments ", "regression", left_out=("Number of Records",)
    ),
    "mushrooms.csv": Expected(8124, 23, "1", "binary", classes=2, left_out=("veil_type",)),
    "penguins_utf16_tab.csv": Expected(
        344, 7, "species", "multiclass", encoding="utf-16", separator="\t", classes=3
    ),
    "phoneme_noheader.csv": Expected(5404, 6, "-1", "binary", header=False, classes=2),
    "poker_hand_train_noheader.csv": Expected(
        25008, 11, "11", "multiclass", header=False, classes=10,
        says=("line 38 (10 fields", "line 25010 (10 fields"),
    ),
    "seoul_bike_latin1.csv": Expected(8760, 14, "y", "regression", encoding="latin-1"),
    "spam_kaggle_latin1.csv": Expected(5572, 5, "v1", "binary", encoding="cp1252", classes=2),
    "telco_churn.csv": Expected(
        7043, 21, "Churn", "binary", classes=2, left_out=("customerID",)
    ),
    "winequality_red_semicolon.csv": Expected(
        1599, 12, "quality", "multiclass", separator=";", classes=6, says=("earlier row: 240",)
    ),
}  # fmt: skip


@cache
def _read(path: Path) -> Table:
    return read_table(path.read_bytes())


@pytest.fixture
def read(shared_data: Path) -> Any:
    return lambda name: _read(shared_data / name)


def kinds_of(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


@pytest.mark.parametrize("name", TABLES)
def test_a_real_table_reads_as_its_inventory_says(read: Any, name: str) -> None:
    expected, table = TABLES[name], read(name)
    reading = table.reading
    assert (reading.encoding, reading.separator, reading.decimal, reading.header) == (
        expected.encoding, expected.separator, expected.decimal, expected.header,
    )  # fmt: skip
    assert (len(table.labels), len(table.columns)) == (expected.rows, expected.columns)
    left_out = [c.name for c in table.columns if c.kind in ("identifier", "constant", "empty")]
    assert tuple(left_out) == expected.left_out
    target = choose_target(table, expected.target)
    assert (target.task, len(target.classes)) == (expected.task, expected.classes)
    warnings = "\n".join((*table.warnings, *target_warnings(table, target)))
    assert [text for text in expected.says if text not in warnings] == []
    examples = split_target(table, target)
    assert (examples.rows_dropped, len(examples.y)) == (0, expected.rows)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "adult.csv"])
def test_a_real_table_reads_the_same_by_its_own_rules(
    read: Any, shared_data: Path, name: str
) -> None:
    table = read(name)
    again = apply_reading((shared_data / name).read_bytes(), table.reading)
    assert again.frame.equals(table.frame)
    assert again.dropped == table.dropped


def test_missing_cells_of_real_tables_are_found(read: Any) -> None:
    missing = {
        name: sum(round(c.missing * len(read(name).labels)) for c in read(name).columns)
        for name in ("adult.csv", "california_housing.csv", "telco_churn.csv", "iris.csv")
    }
    assert missing == {
        "adult.csv": 6465, "california_housing.csv": 207, "telco_churn.csv": 11, "iris.csv": 0,
    }  # fmt: skip
    assert kinds_of(read("telco_churn.csv"))["TotalCharges"] == "numeric"


def test_dates_times_and_decimal_commas_of_air_quality_become_numbers(read: Any) -> None:
    frame = read("air_quality_uci.csv").frame
    first = frame.iloc[0]
    assert first[["Date.year", "Date.month", "Date.day", "Time.hour"]].to_list() == [
        2004, 3, 10, 18,
    ]  # fmt: skip
    assert first[["CO(GT)", "C6H6(GT)", "AH"]].to_list() == [2.6, 11.9, 0.7578]
    assert frame["Date.days"].max() == 390


def test_dates_of_seoul_are_read_day_first(read: Any) -> None:
    table = read("seoul_bike_latin1.csv")
    assert table.frame.loc[0, ["Date.month", "Date.day"]].to_list() == [12, 1]
    assert "Temperature(°C)" in table.frame.columns


def test_money_and_thousands_of_medicare_become_numbers(read: Any) -> None:
    frame = read("medicare_charges_thousands.csv").frame
    names = ["Average Covered Charges", "Average Total Payments", "Total Payment"]
    assert frame.loc[0, names].to_list() == [32458, 5720, 68641]
    assert not frame[names].isna().any().any()


def test_every_mushroom_column_is_categorical(read: Any) -> None:
    kinds = set(kinds_of(read("mushrooms.csv")).values())
    assert kinds == {"categorical", "constant"}


def test_messages_are_text_and_unnamed_columns_get_names(read: Any) -> None:
    kinds = kinds_of(read("spam_kaggle_latin1.csv"))
    assert (kinds["v1"], kinds["v2"]) == ("categorical", "text")
    assert list(kinds)[2:] == ["column_3", "column_4", "column_5"]


def test_wine_quality_can_be_regression_and_poker_s_classes_are_sorted_numbers(read: Any) -> None:
    wine = read("winequality_red_semicolon.csv")
    target = choose_target(wine, "quality", "regression")
    assert np.unique(split_target(wine, target).y).tolist() == [3, 4, 5, 6, 7, 8]
    assert choose_target(read("poker_hand_train_noheader.csv"), -1).classes == tuple("0123456789")
