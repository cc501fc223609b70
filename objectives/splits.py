"""Which rows train, which validate and which are kept for the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from objectives.table import Task

Rows = npt.NDArray[np.int64]

HOLDOUT_SHARE = 0.2
HOLDOUT_ROWS = 5_000  # from so many rows on, one hold-out tells enough
FOLDS = 5
BINS = 10  # quantile bins by which a regression target is stratified


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions of rows, each ascending: to learn from, and to be scored on."""

    train: Rows
    held_out: Rows


def test_split(y: npt.NDArray[np.generic], task: Task, share: float, seed: int) -> Split:
    """Set aside a share of the rows, stratified by class or by quantiles of the target.

    A class with one row stays in training, so that no class can be met in the test only: where many
    have one, fewer rows are set aside than asked for. Also how a hold-out for validation is taken,
    and a sample of so many rows.

    Raises:
        ValueError: If the share leaves no rows on one side, or every class has one row.
    """
    rows = round(len(y) * share)
    if not 0 < rows < len(y):
        raise ValueError(
            f"Expected a share that leaves rows on both sides. Received: {share} of {len(y)} rows. "
            "Choose a share between 0 and 1, such as 0.2, or give more rows."
        )
    random = np.random.default_rng(seed)
    strata = _strata(y, task)
    counts = np.bincount(strata)
    wanted = counts * (rows / len(y))
    taken = np.floor(wanted).astype(np.int64)
    # What rounding down left over goes to the strata that lost most by it.
    most = np.maximum(counts - 1, 0)
    order = np.lexsort((random.permutation(len(counts)), taken - wanted))
    order = order[taken[order] < most[order]]
    taken[order[: rows - taken.sum()]] += 1
    if not taken.any():
        raise ValueError(
            f"Expected a class with two rows or more. Received: {len(counts)} classes in {len(y)} "
            "rows. Choose another target column."
        )
    shuffled = _shuffled_by_stratum(strata, random)
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    test = place < np.repeat(taken, counts)
    return Split(train=np.sort(shuffled[~test]), held_out=np.sort(shuffled[test]))


def kind(rows: int, how: Literal["auto", "holdout", "cv"] = "auto") -> Literal["holdout", "cv"]:
    """Say how so many rows (without the test rows) are validated.

    Raises:
        ValueError: If `how` is none of "auto", "holdout", "cv".
    """
    if how == "auto":
        return "holdout" if rows >= HOLDOUT_ROWS else "cv"
    if how not in ("holdout", "cv"):
        raise ValueError(f"Expected 'auto', 'holdout' or 'cv'. Received: {how!r}.")
    return how


def validation(
    y: npt.NDArray[np.generic],
    task: Task,
    how: Literal["auto", "holdout", "cv"] = "auto",
    seed: int = 0,
) -> tuple[Split, ...]:
    """Split rows for validation, stratified: one hold-out of 20 %, or 5 folds.

    A class with fewer rows than folds is missing from some folds.

    Args:
        y: Target of all rows but the test rows.
        task: Says whether `y` holds classes.
        how: "auto" takes the hold-out from 5,000 rows on.
        seed: The same seed gives the same rows.
    """
    if kind(len(y), how) == "holdout":
        return (test_split(y, task, HOLDOUT_SHARE, seed),)
    # Dealing rows out by stratum, like cards, gives folds that differ by one row at most.
    dealt = np.empty(len(y), dtype=np.int64)
    shuffled = _shuffled_by_stratum(_strata(y, task), np.random.default_rng(seed))
    dealt[shuffled] = np.arange(len(y)) % FOLDS
    return tuple(
        Split(train=np.flatnonzero(dealt != fold), held_out=np.flatnonzero(dealt == fold))
        for fold in range(min(FOLDS, len(y)))
    )


def _strata(y: npt.NDArray[np.generic], task: Task) -> Rows:
    """Number the classes, or the quantile bins, that every part should have its share of."""
    if task == "regression":
        ranks = np.empty(len(y), dtype=np.int64)
        ranks[np.argsort(y, kind="stable")] = np.arange(len(y))
        bins: Rows = ranks * BINS // len(y)
        return bins
    return np.asarray(np.unique(y, return_inverse=True)[1], dtype=np.int64)


def _shuffled_by_stratum(strata: Rows, random: np.random.Generator) -> Rows:
    """Return all positions, shuffled within strata that follow each other."""
    shuffled = random.permutation(len(strata))
    return shuffled[np.argsort(strata[shuffled], kind="stable")]
