"""Typed columns to arrays, with statistics of the training rows only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from objectives.layout import (
    LARGEST,
    Floats,
    Integers,
    Layout,
    Levels,
    Terms,
    finite,
    rare_below,
)
from objectives.quantiles import WIDEST, Quantiles
from objectives.sizes import Sizes

__all__ = ["Arrays", "Layout", "Preprocessor", "Sizes", "TargetScaler", "Variant"]

CLIP = 100.0  # scaled numbers stay within ±CLIP, before a curve within ±WIDEST


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How the same rows become different arrays: a part of the space."""

    scaling: Literal["standard", "robust", "quantile"] = "standard"
    rare_levels: Literal["keep", "merge"] = "keep"


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Rows as a network takes them."""

    numeric: npt.NDArray[np.float32]  # (rows, Sizes.numeric), scaled
    dense: npt.NDArray[np.float32]  # (rows, Sizes.dense): flags, booleans, one-hot levels, terms
    codes: npt.NDArray[np.int32]  # (rows, len(Sizes.codes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Preprocessor:
    """What was learned from the training rows, as plain arrays that a network can carry.

    A number `x` becomes `z = clip((x - centre) * factor)`, with `fill` for `x` where it is missing.
    Standard scaling ends there; robust scaling goes on to `z / sqrt(1 + (z / 3)²)`, which stays
    within ±3 (RealMLP, https://arxiv.org/abs/2407.04491), quantile scaling to a curve of `z`.
    """

    layout: Layout
    variant: Variant
    fill: Floats  # (numeric,)
    centre: Floats  # (numeric,)
    factor: Floats  # (numeric,), 0 where the training rows are constant
    quantiles: Quantiles | None  # of quantile scaling
    columns: tuple[Integers, ...]  # of each one-hot column: level -> column, -1 for none
    codes: tuple[Integers, ...]  # of each embedded column: level -> code, 0 for unknown
    weights: tuple[Floats, ...]  # of each text: inverse document frequencies

    @classmethod
    def fit(cls, frame: pd.DataFrame, layout: Layout, variant: Variant) -> Preprocessor:
        """Learn medians, scales, levels and term weights from training rows."""
        numbers = finite(frame, layout.numeric)
        fill, centre, factor = _fit_numbers(numbers, variant)
        quantiles = None
        if variant.scaling == "quantile":
            quantiles = Quantiles.fit(_linear(numbers, fill, centre, factor, WIDEST))
        merge = variant.rare_levels == "merge"
        return cls(
            layout=layout,
            variant=variant,
            fill=fill,
            centre=centre,
            factor=factor,
            quantiles=quantiles,
            columns=tuple(
                _places(c, frame, merge and c.rare, first=0, rare=len(c.levels), unknown=-1)
                for c in layout.one_hot
            ),
            codes=tuple(
                _places(c, frame, merge, first=1, rare=0, unknown=0) for c in layout.embedded
            ),
            weights=tuple(_inverse_frequencies(t, frame) for t in layout.text),
        )

    @property
    def sizes(self) -> Sizes:
        """How wide the arrays are."""
        return self.layout.sizes

    def transform(self, frame: pd.DataFrame) -> Arrays:
        """Turn rows into arrays; nothing in them is missing or infinite."""
        layout = self.layout
        numbers = finite(frame, layout.numeric)
        dense = np.empty((len(frame), self.sizes.dense), dtype=np.float32)
        first = 0
        for part in self._dense(frame, numbers):
            dense[:, first : first + part.shape[1]] = part
            first += part.shape[1]
        for terms, weights in zip(layout.text, self.weights, strict=True):
            for rows, counts in terms.counts(frame):
                values = counts * weights
                norms = np.sqrt(np.sum(values**2, axis=1, keepdims=True))
                dense[rows, first : first + len(weights)] = values / np.maximum(norms, 1e-12)
            first += len(weights)
        codes = [
            np.append(codes, 0)[levels.positions(frame)]
            for levels, codes in zip(layout.embedded, self.codes, strict=True)
        ]
        return Arrays(
            numeric=self._scale(numbers).astype(np.float32),
            dense=dense,
            codes=np.array(codes, dtype=np.int32).reshape(len(codes), len(frame)).T,
        )

    def _dense(self, frame: pd.DataFrame, numbers: Floats) -> Iterator[npt.NDArray[Any]]:
        """Yield the parts of the dense array that stand before the terms."""
        layout = self.layout
        booleans = finite(frame, layout.boolean)
        yield np.isnan(numbers)[:, list(layout.numeric_flags)]
        yield np.nan_to_num(2 * booleans - 1, nan=0.0)
        yield np.isnan(booleans)[:, list(layout.boolean_flags)]
        for levels, columns in zip(layout.one_hot, self.columns, strict=True):
            # A row of zeros at the end answers position -1, an unknown level.
            table = np.zeros((len(columns) + 1, len(columns) + levels.rare), dtype=np.float32)
            known = np.flatnonzero(columns >= 0)
            table[known, columns[known]] = 1
            yield table[levels.positions(frame)]

    def _scale(self, numbers: Floats) -> Floats:
        bound = CLIP if self.quantiles is None else WIDEST
        scaled = _linear(numbers, self.fill, self.centre, self.factor, bound)
        if self.quantiles is not None:
            return self.quantiles.transform(scaled)
        if self.variant.scaling == "robust":
            scaled = scaled / np.sqrt(1 + (scaled / 3) ** 2)
        return scaled


@dataclass(frozen=True, kw_only=True)
class TargetScaler:
    """A regression target in units of its standard deviation."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, y: Floats) -> TargetScaler:
        """Learn mean and standard deviation of the training rows' target."""
        deviation = float(np.std(y))
        return cls(mean=float(np.mean(y)), deviation=deviation if deviation > 0 else 1.0)

    def scale(self, y: Floats) -> npt.NDArray[np.float32]:
        """Standardise the target for training."""
        return ((y - self.mean) / self.deviation).astype(np.float32)

    def restore(self, values: npt.NDArray[np.floating]) -> Floats:
        """Turn a network's output back into the target's units."""
        return values.astype(np.float64) * self.deviation + self.mean


def _linear(numbers: Floats, fill: Floats, centre: Floats, factor: Floats, bound: float) -> Floats:
    filled = np.where(np.isnan(numbers), fill, numbers)
    return np.clip((filled - centre) * factor, -bound, bound)


def _fit_numbers(numbers: Floats, variant: Variant) -> tuple[Floats, Floats, Floats]:
    """Return fill, centre and factor of each column."""
    if not numbers.shape[1]:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    filled = imputer.fit_transform(numbers)
    spread = np.ptp(filled, axis=0)
    if variant.scaling == "standard":
        scaler = StandardScaler().fit(filled)
        centre, scale = scaler.mean_, np.where(spread > 0, scaler.scale_, 0)
    else:
        lower, centre, upper = np.quantile(filled, (0.25, 0.5, 0.75), axis=0)
        scale = np.where(upper > lower, upper - lower, spread / 2)
    usable = scale > 1 / LARGEST
    return imputer.statistics_, centre, np.where(usable, 1 / np.where(usable, scale, 1), 0)


def _places(
    levels: Levels, frame: pd.DataFrame, merge: bool, *, first: int, rare: int, unknown: int
) -> Integers:
    """Give each level its place: of its own, or the one for rare or for unknown levels."""
    positions = levels.positions(frame)
    counts = np.bincount(positions[positions >= 0], minlength=len(levels.levels))
    places = np.arange(first, first + len(counts))
    if merge:
        places[counts < rare_below(len(frame))] = rare
    places[counts == 0] = unknown
    return places


def _inverse_frequencies(terms: Terms, frame: pd.DataFrame) -> Floats:
    """Return ln((1 + rows) / (1 + rows with the term)) + 1, and 0 for a term never seen."""
    rows_with = np.zeros(len(terms.terms), dtype=np.int64)
    for _, counts in terms.counts(frame):
        rows_with += np.count_nonzero(counts, axis=0)
    smooth = np.log((1 + len(frame)) / (1 + rows_with)) + 1
    return np.where(rows_with > 0, smooth, 0.0)
