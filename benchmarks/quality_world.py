"""What all sides of `quality.py` share: the tables and their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tables import ADULT_TEST_ROWS, DATA

if TYPE_CHECKING:  # The others' commands import this module: their clock runs.
    import pandas as pd

    from objectives.splits import Split
    from objectives.table import Examples


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a table comes from, and what is asked of topo-search on it."""

    target: str
    share: float  # Of the best peer's time in which topo-search should have its score.
    file: str | None = None  # In the folder of shared data; None where scikit-learn has it.
    columns: tuple[str, ...] = ()  # Of a file without a header.


SOURCES = {
    "digits": Source(target="target", share=1 / 8),
    "phoneme": Source(
        target="class",
        share=1 / 8,
        file="phoneme_noheader.csv",
        columns=("x1", "x2", "x3", "x4", "x5", "class"),
    ),
    "adult": Source(target="income", share=1 / 3, file="adult.csv"),
    "california": Source(
        target="median_house_value", share=1 / 3, file="california_housing.csv"
    ),
}  # fmt: skip
TEST_SHARE = 0.2  # Of the rows, for all seeds the same; Adult has its own test rows.
ARRAYS = "arrays.npz"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A table written for all sides; rows are those of the peers' split."""

    metric: str
    direction: str  # "maximize" or "minimize".
    rows: Mapping[str, int]  # train, valid, test.


def absent(table: str) -> bool:
    """Say whether a table's file is not on this machine."""
    file = SOURCES[table].file
    return file is not None and not (DATA / file).is_file()


def prepare(table: str, seed: int, folder: Path) -> Prepared:
    """Write a table's rows for topo-search as CSV, and for the others as arrays.

    Test rows do not depend on the seed; the validation rows that are set aside of the others do,
    as topo-search does it itself where it holds rows out.

    Raises:
        AssertionError: Where topo-search would not take all rows as they are.
    """
    from throughput_study import taken

    from objectives import splits
    from topo_search import study

    frame = read(table)
    test = test_rows(table, frame)
    frame.iloc[test].to_csv(folder / "test.csv", index=False)
    frame.drop(index=test).to_csv(folder / "train.csv", index=False)
    data, held = (folder / "train.csv").read_bytes(), (folder / "test.csv").read_bytes()
    plan = study.tabular_plan(
        study.Options(data=data, test_data=held, target=SOURCES[table].target, seed=seed)
    )
    examples, tested = taken(data, plan), taken(held, plan)
    assert len(examples.y) + len(tested.y) == len(frame), "not all rows were taken"
    (split,) = splits.validation(examples.y, plan["task"], "holdout", seed)
    np.savez(folder / ARRAYS, **arrays(examples, tested, split, len(plan["classes"])))
    rows = {"train": len(split.train), "valid": len(split.held_out), "test": len(tested.y)}
    return Prepared(metric=plan["metric"], direction=plan["direction"], rows=rows)


def read(table: str) -> pd.DataFrame:
    """Read a table, its cells as they stand in the file."""
    import pandas as pd

    source = SOURCES[table]
    if source.file is None:
        from sklearn.datasets import load_digits

        return load_digits(as_frame=True).frame.astype(int)
    names = {"header": None, "names": source.columns} if source.columns else {}
    return pd.read_csv(DATA / source.file, dtype=str, keep_default_na=False, **names)


def test_rows(table: str, frame: pd.DataFrame) -> np.ndarray:
    """Return the positions of the test rows."""
    from objectives import splits

    if table == "adult":
        return np.arange(ADULT_TEST_ROWS)
    target = frame[SOURCES[table].target].to_numpy()
    if table == "california":
        return splits.test_split(target.astype(float), "regression", TEST_SHARE, 0).held_out
    return splits.test_split(target.astype(str), "multiclass", TEST_SHARE, 0).held_out


def arrays(examples: Examples, tested: Examples, split: Split, classes: int) -> dict[str, Any]:
    """Return what the peers train on: standardised numbers, one-hot categories, both as one.

    A missing number is the median, a missing category one of its own; all by the training rows.
    Numbers to predict are standardised, and `scale` turns an error back into their unit.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    kinds = {feature.name: feature.kind for feature in examples.features}
    assert "text" not in kinds.values(), "a column is free text"
    named = [name for name, kind in kinds.items() if kind == "categorical"]
    numbers = [name for name in kinds if name not in named]
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), named),
    )

    def plain(frame: pd.DataFrame) -> pd.DataFrame:
        words = frame[named].astype(object)
        return frame[numbers].astype(float).join(words.where(words.notna(), "missing").astype(str))

    x, x_test = plain(examples.frame), plain(tested.frame)
    encoder.fit(x.iloc[split.train])
    y, y_test, shift, scale = examples.y, tested.y, 0.0, 1.0
    if not classes:
        shift, scale = float(y[split.train].mean()), float(y[split.train].std())
    kind = np.int32 if classes else np.float32
    found = {"classes": classes, "scale": scale}
    for name, rows, wanted in (
        ("train", x.iloc[split.train], y[split.train]),
        ("valid", x.iloc[split.held_out], y[split.held_out]),
        ("test", x_test, y_test),
    ):
        found[f"x_{name}"] = encoder.transform(rows).astype(np.float32)
        found[f"y_{name}"] = (wanted if classes else (wanted - shift) / scale).astype(kind)
    return found
