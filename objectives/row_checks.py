"""What in a table's rows deserves a warning: some left out, or equal to others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from objectives.cells import Cells, Codes
from objectives.checks import LEFT_OUT, ODD, listed
from objectives.grid import Grid
from objectives.reading import ColumnRule

if TYPE_CHECKING:
    from objectives.table import Table
    from objectives.target import Examples, Target

Integers = np.ndarray[Any, np.dtype[np.int64]]


def row_warnings(
    grid: Grid, columns: Sequence[Cells], rules: Sequence[ColumnRule], *, to_split: bool
) -> list[str]:
    """Return what is doubtful about the rows; `to_split` if into training and test rows."""
    warnings = []
    if grid.dropped:
        rows = listed(f"line {row.line} ({row.reason})" for row in grid.dropped)
        warnings.append(f"Rows left out ({len(grid.dropped)}): {rows}.")
    if grid.blank:
        warnings.append(f"Blank rows left out: {grid.blank}.")
    if grid.short:
        rows = f"({len(grid.short)}): {listed(f'line {line}' for line in grid.short)}"
        warnings.append(
            f"Rows without their last cells, which are taken to be empty {rows}. If they lack "
            "others, their values stand in wrong columns: repair them."
        )
    # A key makes all rows differ, also those that a network cannot tell apart.
    used = [c for c, rule in zip(columns, rules, strict=True) if rule.kind not in LEFT_OUT]
    if duplicates := count_duplicates(cells.codes for cells in used):
        keys = [repr(rule.name) for rule in rules if rule.kind == "identifier"]
        but = f" but for {listed(keys, ODD)}" if keys else ""
        fall = "; equal rows may fall into training and test" if to_split else ""
        warnings.append(f"Rows that equal an earlier row{but}: {duplicates}. They are kept{fall}.")
    return warnings


def count_duplicates(columns: Iterable[Codes | Integers]) -> int:
    """Return how many rows equal an earlier row, from each column's codes."""
    rows: Integers | None = None
    for codes in columns:
        keys = codes.astype(np.int64) + 1
        if rows is not None:
            keys += rows * (keys.max() + 1)
        rows = pd.factorize(keys)[0].astype(np.int64)
        if rows.max() == len(rows) - 1:
            return 0
    return 0 if rows is None else len(rows) - len(np.unique(rows))


def drop_warnings(table: Table, target: Target, drop: Collection[str]) -> list[str]:
    """Return a warning where more rows are equal once columns are dropped."""
    from objectives.target import split_target

    every, kept = (_count_equal(split_target(table, target, names)) for names in ((), drop))
    if kept <= every:
        return []
    return [
        f"Rows that equal an earlier row but for what is left out: {kept}. They are kept; equal "
        "rows may fall into training and test."
    ]


def _count_equal(examples: Examples) -> int:
    """Return how many examples equal an earlier one, in their target too."""
    columns = (examples.frame[feature.name] for feature in examples.features)
    codes = (pd.factorize(column)[0] for column in columns)
    return count_duplicates((pd.factorize(examples.y)[0], *codes))


def count_shared(test: Examples, others: Examples) -> int:
    """Return how many test examples are among others, with the same target."""
    mine, theirs = (
        pd.util.hash_pandas_object(part.frame, index=False).to_numpy() ^ pd.util.hash_array(part.y)
        for part in (test, others)
    )
    return int(np.isin(mine, theirs).sum())
