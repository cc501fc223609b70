"""How much of a target one column tells, without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


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
