"""Rows that a random split does not keep apart: warnings where they help, and none elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from objectives.frames import csv_bytes
from objectives.split_checks import split_warnings
from objectives.table import Overrides, choose_target, describe, read_table
from topo_search.study import Options, tabular_plan

RANDOM = np.random.default_rng(0)
ROWS = 120
FRAME = pd.DataFrame(
    {
        "size": RANDOM.normal(size=ROWS).round(4),
        "y": RANDOM.choice(["a", "b"], ROWS),
    }
)
DAYS = pd.date_range("2021-01-01", periods=ROWS, freq="1D").strftime("%Y-%m-%d").to_numpy()


def told(frame: pd.DataFrame) -> list[str]:
    table = read_table(csv_bytes(frame))
    return split_warnings(table, choose_target(table, "y"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient_id", [f"P{k // 4:03d}" for k in range(ROWS)]),
        ("PatientID", [1000 + 7 * (k * 7 % 30) for k in range(ROWS)]),
        ("subject#", [1 + k * 11 % 15 for k in range(ROWS)]),
        ("Customer", [f"name {k // 3}" for k in range(ROWS)]),
    ],
)
def test_a_key_that_recurs_is_told_with_what_to_do(name: str, values: list[object]) -> None:
    (text,) = told(FRAME.assign(**{name: values}))
    assert text.startswith(f"Column {name!r} names {len(set(values))} groups of about ")
    assert "--test-file" in text and f"--drop {name}" in text.replace("'", "")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient_id", [f"P{k:03d}" for k in range(ROWS)]),  # a row each
        ("ward_id", [f"W{k % 5}" for k in range(ROWS)]),  # a few large groups
        ("width", [k % 30 for k in range(ROWS)]),
        ("humid", [k % 30 for k in range(ROWS)]),
        ("key", [k % 30 + 0.5 for k in range(ROWS)]),  # measures
        ("born", RANDOM.permutation(DAYS)),
    ],
)
def test_other_columns_are_no_groups_and_no_time(name: str, values: list[object]) -> None:
    assert not told(FRAME.assign(**{name: values}))


@pytest.mark.parametrize("days", [DAYS, DAYS[::-1]])
def test_dates_that_order_the_rows_are_told_with_what_to_do(days: object) -> None:
    (text,) = told(FRAME.assign(when=days))
    assert text.startswith("The rows are in the order of 'when'") and "--test-file" in text


def test_a_study_tells_it_unless_the_user_has_seen_to_it() -> None:
    frame = FRAME.assign(when=DAYS, patient_id=[f"P{k // 4:03d}" for k in range(ROWS)])
    options = Options(data=csv_bytes(frame), target="y")

    def warned(options: Options) -> int:
        return sum("at random" in text for text in tabular_plan(options)["warnings"])

    assert warned(options) == 2
    assert warned(replace(options, drop=("patient_id",))) == 1
    assert warned(replace(options, test_data=csv_bytes(frame[:20]))) == 0
    table = read_table(csv_bytes(frame), overrides=Overrides())
    described = describe(table, choose_target(table, "y"))["warnings"]
    assert sum("at random" in text for text in described) == 2


@pytest.mark.parametrize(
    ("single", "share", "told"),
    [
        (59, 0.2, "Only 13 of the 24 test rows"),
        (45, 0.2, "Only 16 of the 24 test rows"),
        (40, 0.2, None),  # 17 of them
        (59, 0.1, "Only 7 of the 12 test rows"),
        (2, 0.2, None),
    ],
)
def test_far_fewer_test_rows_than_asked_for_are_told_with_what_to_do(
    single: int, share: float, told: str | None
) -> None:
    y = [f"k{k:03d}" if k < single else "many" for k in range(ROWS)]
    table = csv_bytes(FRAME.assign(y=y))
    options = Options(data=table, target="y", test_share=share)
    warned = [text for text in tabular_plan(options)["warnings"] if "set aside" in text]
    assert len(warned) == (told is not None)
    for text in warned:
        assert told and text.startswith(told)
        assert "'y'" in text and "--test-file" in text and "merge rare classes" in text
    given = tabular_plan(replace(options, test_data=table))["warnings"]
    assert not any("set aside" in text for text in given)


@pytest.mark.parametrize(
    ("name", "target", "ordered"),
    [
        ("telco_churn.csv", "Churn", 0),
        ("adult.csv", "income", 0),
        ("iris.csv", "species", 0),
        ("california_housing.csv", "median_house_value", 0),
        ("seoul_bike_latin1.csv", "y", 1),
        ("air_quality_uci.csv", "C6H6(GT)", 1),
    ],
)
def test_real_tables_are_warned_of_where_it_is_right(
    shared_data: Path, name: str, target: str, ordered: int
) -> None:
    table = read_table((shared_data / name).read_bytes())
    found = split_warnings(table, choose_target(table, target))
    assert len(found) == ordered and all("in the order of" in text for text in found)
