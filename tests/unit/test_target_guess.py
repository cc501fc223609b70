"""The column that is to be predicted is guessed as a person would."""

from pathlib import Path

import pytest

from objectives.table import read_table
from topo_search.web.target_guess import guess

SHARED = {
    "adult.csv": "income",
    "air_quality_uci.csv": "CO(GT)",
    "breast_tissue.csv": "Class",
    "breast_tissue_semicolon_decimalcomma.csv": "Class",
    "california_housing.csv": "median_house_value",
    "concrete.csv": "strength",
    "hr_attrition_bom.csv": "Attrition",
    "iris.csv": "species",
    "medicare_charges_thousands.csv": "Average Total Payments",
    "mushrooms.csv": "type",
    "penguins_utf16_tab.csv": "species",
    "phoneme_noheader.csv": "column_6",
    "poker_hand_train_noheader.csv": "column_11",
    "seoul_bike_latin1.csv": "y",
    "spam_kaggle_latin1.csv": "v1",
    "telco_churn.csv": "Churn",
    "winequality_red_semicolon.csv": "quality",
}


def table(names: str, **columns: list[str]) -> bytes:
    """Return a CSV of 60 rows with these columns: of numbers, where nothing else is given."""
    named = names.split(",")
    lines = [
        ",".join(
            columns[name][row % len(columns[name])] if name in columns else str((row * 7 + n) % 33)
            for n, name in enumerate(named)
        )
        for row in range(60)
    ]
    return "\n".join([names, *lines]).encode()


@pytest.mark.parametrize("name", SHARED)
def test_the_target_of_a_real_table_is_guessed(shared_data: Path, name: str) -> None:
    read = read_table((shared_data / name).read_bytes())
    guessed = guess(read)
    assert guessed is not None
    assert guessed.strip() == SHARED[name]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a,b,c", "c"),
        ("Target,a,type", "Target"),
        ("type,a,Class,b", "Class"),
        ("SalePrice,area,rooms", "SalePrice"),
        ("unit price,area,rooms", "unit price"),
        ("room_type,area,sold", "sold"),
        ("salary,exited,age", "exited"),
        ("estimated_salary,age,left", "left"),
        ("area,height,customer_id", "height"),
        ("area,height,CustomerId", "height"),
    ],
)
def test_names_tell_what_is_to_be_predicted(names: str, expected: str) -> None:
    assert guess(read_table(table(names))) == expected


def test_what_is_mostly_missing_is_not_to_be_predicted() -> None:
    sparse = table("a,b,label", label=["1", "", "2", "", ""])
    assert guess(read_table(sparse)) == "b"


def test_what_could_not_be_a_target_is_passed_over() -> None:
    names = [f"name {number}" for number in range(50)]  # Too many classes.
    assert guess(read_table(table("a,b,class", **{"class": names}))) == "b"


def test_constants_and_what_only_tells_rows_apart_are_passed_over() -> None:
    numbers = [f"R{number:03}" for number in range(60)]
    data = table("a,b,row,label", row=numbers, label=["same"])
    assert guess(read_table(data)) == "b"


def test_dates_are_passed_over() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 11)]
    assert guess(read_table(table("a,b,day", day=days))) == "b"


def test_where_nothing_can_be_predicted_nothing_is_guessed() -> None:
    numbers = [f"R{number:03}" for number in range(60)]
    assert guess(read_table(table("a,row", a=["1"], row=numbers))) is None
