"""What in a table deserves a warning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from objectives.columns import Cells, Codes, Flags
from objectives.grid import Grid
from objectives.reading import ColumnRule

if TYPE_CHECKING:
    from objectives.table import Table
    from objectives.target import Target

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

GIVEN_AWAY = 0.999  # share of the target that one column explains, from which it gives it away
SMALL_CLASS = 5  # rows
USUAL_SENTINELS = {-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0}
SENTINEL_ROWS = 3  # that hold the value, at least
SENTINEL_OTHERS = 10  # distinct other values, at least
LEFT_OUT = {
    "identifier": "only tells rows apart",
    "constant": "holds one value only",
    "empty": "is empty",
}
LISTED = 10  # lines or names written out in a warning


def listed(items: Iterable[object]) -> str:
    """Return items as text, the first 10 of them and how many there are more."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(texts[:LISTED]) + more


def column_warnings(
    cells: Cells,
    rule: ColumnRule,
    numbers: np.ndarray[Any, Any] | None,
    unreadable: Flags,
    lines: Integers,
) -> list[str]:
    """Return what is doubtful about one column.

    Args:
        cells: the column's text.
        rule: how it is read.
        numbers: its values, where it is one column of values.
        unreadable: for each distinct text whether the rule cannot read it.
        lines: the physical line of each row.
    """
    if rule.kind in LEFT_OUT:
        example = f" ({cells.values[0]!r} and so on)" if len(cells.values) > 1 else ""
        return [f"Column {rule.name!r} {LEFT_OUT[rule.kind]}{example}; it is left out."]
    warnings = []
    if unreadable.any():
        first = int(np.argmax(np.append(unreadable, False)[cells.codes]))
        what = {"datetime": "dates", "boolean": "truth values"}.get(rule.kind, "numbers")
        warnings.append(
            f"Column {rule.name!r}: {int(cells.counts[unreadable].sum())} cells are no {what} "
            f"and count as missing, the first of them {cells.values[cells.codes[first]]!r} on "
            f"line {lines[first]}."
        )
    if rule.kind == "numeric" and numbers is not None:
        for value in find_sentinels(numbers):
            warnings.append(
                f"Column {rule.name!r} holds {value:.15g} in {int((numbers == value).sum())} rows, "
                "far from its other values. If it stands for a missing value, say so."
            )
    return warnings


def row_warnings(grid: Grid, columns: Iterable[Cells]) -> list[str]:
    """Return what is doubtful about the rows."""
    warnings = []
    if grid.dropped:
        rows = listed(f"line {row.line} ({row.reason})" for row in grid.dropped)
        warnings.append(f"Rows left out ({len(grid.dropped)}): {rows}.")
    if grid.blank:
        warnings.append(f"Blank rows left out: {grid.blank}.")
    if duplicates := count_duplicates(cells.codes for cells in columns):
        warnings.append(f"Rows that equal an earlier row: {duplicates}. They are kept.")
    return warnings


def find_sentinels(numbers: Floats) -> tuple[float, ...]:
    """Return extreme values that look like marks for "missing", such as -999.

    Such a value is the least or greatest, recurs, and stands apart from all others by more
    than their whole range; by more than a tenth of it if it is the only negative number or
    made of nines.
    """
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    found = []
    for at, rest in ((0, values[1:]), (-1, values[:-1])):
        if len(rest) < SENTINEL_OTHERS or counts[at] < SENTINEL_ROWS:
            continue
        telling = values[at] in USUAL_SENTINELS or values[at] < 0 <= rest.min()
        if np.abs(rest - values[at]).min() > (0.1 if telling else 1.0) * np.ptp(rest):
            found.append(float(values[at]))
    return tuple(found)


def count_duplicates(columns: Iterable[Codes]) -> int:
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


def target_warnings(table: Table, target: Target) -> tuple[str, ...]:
    """Return warnings about a target: small classes, and columns that give it away alone."""
    from objectives.target import split_target

    examples = split_target(table, target)
    warnings = []
    if target.task != "regression":
        counts = np.bincount(examples.y, minlength=len(target.classes))
        small = [
            f"{name!r} ({count})"
            for name, count in zip(target.classes, counts, strict=True)
            if count < SMALL_CLASS
        ]
        if small:
            warnings.append(
                f"Classes with fewer than {SMALL_CLASS} rows: {', '.join(small)}. "
                "Their scores mean little."
            )
    given_away: dict[str, float] = {}
    for feature in examples.features:
        column = examples.frame[feature.name].to_numpy()
        share = _explained(column, examples.y, target.task == "regression")
        if share >= GIVEN_AWAY:
            given_away[feature.column] = max(share, given_away.get(feature.column, 0.0))
    for name, share in given_away.items():
        warnings.append(
            f"Column {name!r} alone gives {target.column!r} away ({share:.1%}). Leave it out "
            "unless it is known before the target is."
        )
    return tuple(warnings)


def _explained(column: np.ndarray[Any, Any], y: np.ndarray[Any, Any], regression: bool) -> float:
    """Return the share of a target that a single column explains."""
    levels, distinct = pd.factorize(column, use_na_sentinel=False)
    several = len(distinct) <= len(y) / 5
    if regression:
        shares = [_variance_explained(levels, y)] if several else []
        if column.dtype.kind == "f":
            shares.append(_rank_correlation(column, y))
        return max(shares, default=0.0)
    others = len(y) - np.bincount(y).max()  # rows that always naming the largest class misses
    if several:
        pairs, counts = np.unique(np.stack([levels, y]), axis=1, return_counts=True)
        missed = len(y) - int(pd.Series(counts).groupby(pairs[0]).max().sum())
        return float(1 - missed / others)
    if column.dtype.kind != "f":
        return 0.0
    changes = np.count_nonzero(np.diff(y[np.argsort(column, kind="stable")]))
    return float(1 - max(0, changes - len(np.unique(y)) + 1) / others)


def _variance_explained(levels: Integers, y: Floats) -> float:
    total = np.sum((y - y.mean()) ** 2)
    means = np.bincount(levels, weights=y) / np.bincount(levels)
    return float(1 - np.sum((y - means[levels]) ** 2) / total) if total else 0.0


def _rank_correlation(column: Floats, y: Floats) -> float:
    """Return the size of Spearman's rank correlation over the rows that have a value."""
    known = np.isfinite(column)
    if known.sum() < len(y) / 2:
        return 0.0
    ranks = [pd.Series(values[known]).rank().to_numpy() for values in (column, y)]
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return abs(float(np.corrcoef(ranks[0], ranks[1])[0, 1]))
