"""One column's text, each distinct text once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from objectives.dates import to_moments
from objectives.dialect import bare_cell
from objectives.numerals import decimal_evidence
from objectives.units import (
    MINUS,
    WORDS,
    find_dress,
    find_scale,
    find_unit,
    to_quantities,
    without_unit,
)

Strings = np.ndarray[Any, np.dtype[np.object_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Codes = np.ndarray[Any, np.dtype[np.int32]]

SAMPLE = 1000  # distinct texts looked at first
KEY_SHARE = 0.95  # of distinct texts, from which a column identifies its rows


@dataclass(frozen=True, kw_only=True)
class Cells:
    """One column's text: each row's code for its distinct text."""

    name: str
    position: int
    values: Strings  # distinct texts, blanks around them removed, in order of appearance
    codes: Codes  # of each row; -1 where missing
    counts: Integers  # rows of each value
    absent: Mapping[str, int] = field(default_factory=dict)  # rows of each text that is missing
    late_minus: bool = False  # whether one may stand behind whole numbers
    parsed: dict[tuple[str, str], Floats] = field(default_factory=dict, repr=False)
    dated: dict[str, Floats] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, name: str, position: int, raw: Sequence[str], missing: frozenset[str]) -> Cells:
        """Return the cells of raw texts; `missing` are the texts that stand for nothing."""
        found_codes, found = pd.factorize(np.array(raw, dtype=object))
        stripped = [bare_cell(text).strip() for text in found]
        cleaned = [None if t in missing or not t.strip(",;|") else t for t in stripped]
        values = np.array(cleaned, dtype=object)
        codes = found_codes.astype(np.int32)
        absent: Counter[str] = Counter()
        for code, (text, value) in enumerate(zip(stripped, cleaned, strict=True)):
            if value is None and text.strip(",;|"):
                absent[text] += int(np.count_nonzero(codes == code))
        if not np.array_equal(values, found):  # cleaning may make two texts one
            again, values = pd.factorize(values)
            codes = again.astype(np.int32)[codes]
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        return cls(
            name=name,
            position=position,
            values=values,
            codes=codes,
            counts=counts,
            absent=absent,
        )

    def without(self, texts: Collection[str]) -> Cells:
        """Return the cells where these texts stand for nothing, too."""
        kept = np.array([value not in texts for value in self.values], dtype=bool)
        codes = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
        gone = dict(zip(self.values[~kept], self.counts[~kept].tolist(), strict=True))
        return Cells(
            name=self.name,
            position=self.position,
            values=self.values[kept],
            codes=np.append(codes, np.int32(-1))[self.codes],
            counts=self.counts[kept],
            absent={**self.absent, **gone},
        )

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.codes)

    @property
    def held(self) -> int:
        """How many rows hold something."""
        return int(self.counts.sum())

    @property
    def sample(self) -> Strings:
        """Up to some 1,000 of the values, from the whole column."""
        return self.values[:: max(1, len(self.values) // SAMPLE)]

    @cached_property
    def unit(self) -> str:
        """What makes numbers of the values: their unit, as the kg of 12.5 kg; see `units`."""
        if self.late_minus:
            return MINUS
        unit = find_unit(self.sample)
        if (unit in WORDS or find_scale(self.sample)) and (scale := find_scale(self.values)):
            return scale
        if dress := find_dress(self.sample):
            return dress
        if not unit or find_unit(self.values) != unit or decimal_evidence(self.sample):
            return ""
        # Whole numbers with a letter glued to them that are all different are codes.
        codes = re.compile(rf"\d+{re.escape(unit)}")
        unlike = len(self.values) >= KEY_SHARE * self.held
        return "" if unlike and all(map(codes.fullmatch, self.sample)) else unit

    @cached_property
    def evidence(self) -> str:
        """What the values show of their decimal sign; see `decimal_evidence`."""
        return decimal_evidence(self.bare)

    @property
    def bare(self) -> Strings:
        """The sample, without the unit."""
        return without_unit(self.sample, self.unit)

    def numbers(self, decimal: str, unit: str = "") -> Floats:
        """Return the values as numbers, NaN where they are none, whether a unit follows or not."""
        how = decimal, unit
        if how not in self.parsed:
            self.parsed[how] = to_quantities(self.values, decimal, unit)
        return self.parsed[how]

    def moments(self, order: str) -> Floats:
        """Return the values as moments, a row each, NaN where they are none in that order."""
        if order not in self.dated:
            self.dated[order] = to_moments(self.values, order)
        return self.dated[order]

    def spread(self, per_value: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
        """Return what is known of each value as one entry per row."""
        return np.append(per_value, np.array([missing], dtype=per_value.dtype))[self.codes]

    def texts(self) -> Strings:
        """Return each row's text, "" where missing."""
        return self.spread(self.values, "")
