"""Quantile scaling: numbers by their rank, as numbers of a normal distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objectives.layout import Floats

RANKS = 1000  # Quantiles at most, and one for 30 rows; knots are some of those that differ.
KNOTS = 128  # Places of a column's curve; a power of two, for the search among them by halves.
WIDEST = 1e9  # Numbers stay within ±WIDEST, which no long tail reaches.
FAR = 2 * WIDEST  # Where the places lie that a column does not use.


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantiles:
    """One curve a column, of straight pieces between its quantiles; flat beyond its ends.

    As scikit-learn's `QuantileTransformer`, which Gorishniy et al. use
    (https://arxiv.org/abs/2106.11959), with fewer knots, so that a network can carry them.
    """

    knots: Floats  # (columns, KNOTS), rising; at least the last is not used
    values: Floats  # (columns, KNOTS): what each knot becomes

    @classmethod
    def fit(cls, numbers: Floats) -> Quantiles:
        """Learn the curves of numbers (rows, columns), within ±WIDEST."""
        from scipy.special import ndtri

        count = min(RANKS, max(10, len(numbers) // 30))
        ranks = np.linspace(0, 1, count)
        knots = np.tile(FAR + np.arange(KNOTS), (numbers.shape[1], 1))
        values = np.zeros_like(knots)
        for column, own in enumerate(np.quantile(numbers, ranks, axis=0).T):
            distinct, first, equal = np.unique(own, return_index=True, return_counts=True)
            rank = (first + (equal - 1) / 2) / (count - 1)  # Of equal ones, the mean …
            if len(distinct) > 1:
                rank[[0, -1]] = 0, 1  # … but at the ends: what most rows have is set apart.
            used = min(len(distinct), KNOTS - 1)
            kept = np.linspace(0, len(distinct) - 1, used).round().astype(int)
            knots[column, :used] = distinct[kept]
            values[column, :used] = ndtri(np.clip(rank[kept], 0.5 / count, 1 - 0.5 / count))
            values[column, used:] = values[column, used - 1]
        return cls(knots=knots, values=values)

    def transform(self, numbers: Floats) -> Floats:
        """Turn numbers (rows, columns) into values of the curves."""
        scaled = np.empty_like(numbers)
        for column, (knots, values) in enumerate(zip(self.knots, self.values, strict=True)):
            own = numbers[:, column]
            left = np.maximum(np.searchsorted(knots, own, side="right") - 1, 0)
            share = (own - knots[left]) / (knots[left + 1] - knots[left])
            rise = values[left + 1] - values[left]
            scaled[:, column] = values[left] + np.clip(share, 0, 1) * rise
        return scaled
