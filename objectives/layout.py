"""Which columns the arrays have, whatever rows are trained on."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from objectives.sizes import TERMS, Sizes
from objectives.table import Feature

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ONE_HOT_LEVELS = 32  # a categorical with more levels is embedded
EMBEDDED_LEVELS = 4096  # of an embedded one, the most frequent levels
BLOCK = 1024  # rows of texts at a time: for all at once their counts may be too many
RARE_ROWS, RARE_SHARE = 5, 0.001  # a level in fewer training rows than either is rare
LARGEST = 1e30  # numbers beyond it count as it: their squares would overflow

_PUNCTUATION = string.punctuation.encode()


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The values of one categorical column, "" for missing among them if it occurs."""

    name: str
    levels: tuple[str, ...]
    rare: bool = False  # one more column for merged rare levels

    def positions(self, frame: pd.DataFrame) -> Integers:
        """Return each row's level, -1 where unknown."""
        known = pd.Index(self.levels, dtype=object)
        return np.asarray(known.get_indexer(pd.Index(frame[self.name], dtype=object)))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The words of one text column that become numbers."""

    name: str
    terms: tuple[str, ...]

    def counts(self, frame: pd.DataFrame) -> Iterator[tuple[slice, Floats]]:
        """Yield some rows at a time, and how often they hold each term: (rows, terms)."""
        place = {term.encode(): position for position, term in enumerate(self.terms)}
        width, texts = len(self.terms), frame[self.name]
        for start in range(0, len(texts), BLOCK):
            cells, part = [], texts.iloc[start : start + BLOCK]
            for row, text in enumerate(part):
                cells += [row * width + place[t] for t in tokenise(text) if t in place]
            flat = np.bincount(np.asarray(cells, dtype=np.int64), minlength=len(part) * width)
            counts = flat.reshape(len(part), width).astype(np.float64)
            yield slice(start, start + len(part)), counts


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns the arrays have, of all rows that are not test rows.

    One layout serves every fold, variant and the refit, so that their arrays have equal shapes
    and a network is compiled once. `dense` holds, in this order: missing flags of the numeric
    columns, booleans, missing flags of the booleans, one-hot levels, terms.
    """

    features: tuple[Feature, ...]
    numeric: tuple[str, ...]
    numeric_flags: tuple[int, ...]  # positions in `numeric` of columns with missing values
    boolean: tuple[str, ...]
    boolean_flags: tuple[int, ...]
    one_hot: tuple[Levels, ...]
    embedded: tuple[Levels, ...]
    text: tuple[Terms, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, features: Sequence[Feature]) -> Layout:
        """Lay out the columns of all rows that are not test rows.

        Raises:
            ValueError: If no column has anything a network could use.
        """
        names = {
            kind: tuple(f.name for f in features if f.kind == kind)
            for kind in ("numeric", "boolean", "categorical", "text")
        }
        categorical = [_levels(name, frame[name]) for name in names["categorical"]]
        layout = cls(
            features=tuple(features),
            numeric=names["numeric"],
            numeric_flags=_with_missing(frame, names["numeric"]),
            boolean=names["boolean"],
            boolean_flags=_with_missing(frame, names["boolean"]),
            one_hot=tuple(c for c in categorical if len(c.levels) <= ONE_HOT_LEVELS),
            embedded=tuple(c for c in categorical if len(c.levels) > ONE_HOT_LEVELS),
            text=tuple(
                Terms(name=name, terms=terms)
                for name in names["text"]
                if (terms := _frequent_terms(frame[name]))
            ),
        )
        if layout.sizes == Sizes(numeric=0, dense=0, codes=()):
            raise ValueError(
                "Expected at least one column to learn from. Received: "
                f"{[f.name for f in features]}, none of which has a repeated value. "
                "Name the kind of a column to use it, or give more columns."
            )
        return layout

    @property
    def sizes(self) -> Sizes:
        """How wide the arrays are."""
        return Sizes(
            numeric=len(self.numeric),
            dense=len(self.numeric_flags)
            + len(self.boolean)
            + len(self.boolean_flags)
            + sum(len(c.levels) + c.rare for c in self.one_hot)
            + sum(len(t.terms) for t in self.text),
            codes=tuple(len(c.levels) + 1 for c in self.embedded),
        )


def tokenise(text: str) -> list[bytes]:
    """Split a text into words as Keras' `TextVectorization` does by default.

    Only ASCII is lowered, stripped of punctuation and counted as white space.
    """
    return text.encode(errors="replace").lower().translate(None, _PUNCTUATION).split()


def finite(frame: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Take columns as (rows, names) with NaN for everything that is not a usable number."""
    numbers = frame[list(names)].to_numpy(dtype=np.float64)
    return np.where(np.isfinite(numbers), np.clip(numbers, -LARGEST, LARGEST), np.nan)


def _with_missing(frame: pd.DataFrame, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(np.isnan(finite(frame, names)).any(axis=0)).tolist())


def rare_below(rows: int) -> float:
    """Return how many of so many training rows a level needs not to be rare."""
    return max(RARE_ROWS, RARE_SHARE * rows)


def _levels(name: str, values: pd.Series[str]) -> Levels:
    counts = Counter(values)
    frequent = sorted(counts, key=lambda level: (-counts[level], level))[:EMBEDDED_LEVELS]
    # Twice the bound: a training fold has fewer of every level.
    rare = counts[frequent[-1]] < 2 * rare_below(len(values))
    return Levels(name=name, levels=tuple(sorted(frequent)), rare=rare)


def _frequent_terms(texts: Iterable[str]) -> tuple[str, ...]:
    counts = Counter(token for text in texts for token in set(tokenise(text)))
    repeated = [token for token, rows in counts.items() if rows > 1]
    frequent = sorted(repeated, key=lambda token: (-counts[token], token))[:TERMS]
    return tuple(token.decode() for token in frequent)
