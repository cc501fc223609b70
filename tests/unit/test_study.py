"""What a study refuses before anything is stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from objectives.tabular import prepared
from storage.connection import Storage
from topo_search.study import Options, create, learnt_and_tested, tabular_plan

CSV = ("a,b,y\n" + "".join(f"{i % 7},{i * 1.37:.2f},{'xy'[i % 2]}\n" for i in range(60))).encode()
OPTIONS = Options(data=CSV, file="table.csv", target="y")
NOWHERE = cast(Storage, None)  # refused before it is looked at


def test_a_plan_is_made_of_ordinary_options() -> None:
    plan = tabular_plan(replace(OPTIONS, drop=("a",)))
    assert (plan["target"], plan["classes"], plan["drop"]) == ("y", ["x", "y"], ["a"])


def test_a_plan_counts_the_rows_as_they_are_then_split(tmp_path: Path) -> None:
    """Who interrupts a search is told, too; the slots split the rows much later."""
    lost = CSV + b"1,2\n" + b"3,4,\n"
    for part, changes in enumerate(
        [{}, {"validation": "holdout"}, {"test_share": 0.4, "seed": 9}, {"test_data": lost}]
    ):
        options = replace(OPTIONS, data=lost, **cast(Any, changes))
        files = [tmp_path / f"table-{part}.csv", tmp_path / f"test-{part}.csv"]
        for file, data in zip(files, (options.data, options.test_data), strict=True):
            file.write_bytes(data or b"")
        plan = tabular_plan(options)
        data = prepared(plan, files[0], files[1] if options.test_data else None)
        valid = len(data.validation[0].held_out)
        assert plan["rows"] == {
            "train": len(data.rest) - valid,
            "validation": valid,
            "test": len(data.test),
            "dropped": data.dropped,
        }
        assert data.dropped == (4 if options.test_data else 2)


def test_the_rows_of_an_older_plan_are_known_still() -> None:
    plan = tabular_plan(OPTIONS)
    rest, test = (learnt_and_tested(plan)[name] for name in ("rest", "test"))
    assert (rest, test) == (48, 12)
    older = {name: value for name, value in plan.items() if name != "rows"}
    assert learnt_and_tested(older | {"split": {"rest": 48, "test": 12}}) == {
        "rest": 48,
        "test": 12,
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop": ("y",)}, "the target 'y'.* do not --drop it"),
        ({"drop": ("-1",)}, "the target 'y'.* do not --drop it"),
        ({"test_share": 0.99}, "at least 10 rows beside the test rows. Received"),
        ({"seed": -1}, "Expected a seed from 0"),
        ({"seed": 2**31}, "Expected a seed from 0"),
        ({"trials": 99_999_999_999}, "at most 1,000,000 trials"),
    ],
)
def test_what_no_study_can_use_is_refused_with_a_remedy(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create(NOWHERE, replace(OPTIONS, **wrong))


def numbers(size: str, every: str = "") -> bytes:
    rows = (f"{k % 7},{k * 1.37:.2f},{every or f'{k + 1}.5{size}'}" for k in range(60))
    return "\n".join(["a,b,y", *rows]).encode()


@pytest.mark.parametrize(
    ("size", "received"),
    [
        ("e200", "as large as 6.05e.201. Divide all by 1e202"),
        ("e300", "Divide all by 1e302"),
        ("e99", "Divide all by 1e101"),
        ("e-170", "at most 5.9e-169 apart. Multiply all by 1e168"),
        ("e-302", "Multiply all by 1e300"),
    ],
)
def test_numbers_whose_squared_errors_are_none_are_refused(size: str, received: str) -> None:
    options = replace(OPTIONS, data=numbers(size))
    with pytest.raises(ValueError, match=f"target 'y' whose squares can be .*{received}"):
        tabular_plan(options)


def test_numbers_of_other_sizes_are_not_refused() -> None:
    for size in ("e98", "", "e-98"):
        for same in (numbers(size), numbers("", f"1.5{size}"), numbers("", "0")):
            options = replace(OPTIONS, data=numbers(size), test_data=same)
            assert tabular_plan(options)["task"] == "regression"


def test_such_numbers_in_a_test_file_are_refused() -> None:
    options = replace(OPTIONS, data=numbers(""), test_data=numbers("e200"))
    with pytest.raises(ValueError, match="a --test-file that is as the table is.* Divide all by"):
        tabular_plan(options)
    assert tabular_plan(replace(options, test_data=numbers("e-200")))["task"] == "regression"


def test_rows_of_a_test_file_that_the_table_has_too_are_counted() -> None:
    head, *rows = CSV.decode().splitlines()
    again, new = rows[3:7], ["1,200.5,x", "2,201.5,y", rows[8][:-1] + "xy"[rows[8].endswith("x")]]
    test = "\n".join([head, *again, *new]).encode()
    told = tabular_plan(replace(OPTIONS, test_data=test))["warnings"]
    assert any("Test file: 4 of its 7 rows are in the table too" in text for text in told)
    test = "\n".join([head, *new]).encode()
    told = tabular_plan(replace(OPTIONS, test_data=test))["warnings"]
    assert not any("in the table too" in text for text in told)


def test_of_columns_left_out_nothing_is_said_but_what_their_lack_makes_equal() -> None:
    lines = CSV.decode().splitlines()
    rows = [f"{line},{'pq'[line.endswith('y')]},{k % 20}" for k, line in enumerate(lines[1:])]
    options = replace(OPTIONS, data="\n".join([f"{lines[0]},copy,n", *rows]).encode())
    told = tabular_plan(options)["warnings"]
    assert any("--drop copy" in text for text in told)
    assert not tabular_plan(replace(options, drop=("copy",)))["warnings"]
    (told,) = tabular_plan(replace(options, drop=("copy", "b", "a")))["warnings"]
    assert told.startswith("Rows that equal an earlier row but for what is left out: 40.")
