"""How much of a target one column tells, without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

DENSE = 1 << 22  # pairs of level and class that are counted in a table of all such pairs


def explained(column: np.ndarray[Any, Any], y: np.ndarray[Any, Any], regression: bool) -> float:
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
        return float(1 - (len(y) - _rows_of_largest(levels, y)) / others)
    if column.dtype.kind != "f":
        return 0.0
    changes = np.count_nonzero(np.diff(y[np.argsort(column, kind="stable")]))
    return float(1 - max(0, changes - len(np.unique(y)) + 1) / others)


def _rows_of_largest(levels: Integers, y: Integers) -> int:
    """Return how many rows have the class that is the most frequent at their level."""
    classes, size = int(y.max()) + 1, int(levels.max()) + 1
    pairs = levels * classes + y
    if size * classes <= DENSE:
        table = np.bincount(pairs, minlength=size * classes).reshape(size, classes)
        return int(table.max(axis=1).sum())
    found, counts = np.unique(pairs, return_counts=True)
    begins = np.flatnonzero(np.diff(found // classes, prepend=-1))
    return int(np.maximum.reduceat(counts, begins).sum())


def _variance_explained(levels: Integers, y: Floats) -> float:
    y = np.ldexp(y, -np.frexp(np.abs(y).max())[1])  # below 1: the squares of 1e300 overflow
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
