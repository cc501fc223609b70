"""DataFrames: read as the CSV that they are written as, without anything to find out about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from objectives.reading import ColumnRule, Overrides, Reading, ReadingError
from objectives.shape import unique_names

if TYPE_CHECKING:
    import pandas as pd

WRITTEN: Mapping[str, Any] = {"encoding": "utf-8", "separator": ",", "quote": '"', "skip": 0}


@dataclass(frozen=True, kw_only=True)
class FrameCsv:
    """A DataFrame as a CSV's bytes, and how they are read."""

    data: bytes
    reading: Reading


def csv_bytes(frame: pd.DataFrame, *, header: bool = True) -> bytes:
    """Return a DataFrame as CSV bytes; its index is left out.

    Whole numbers that are floats only because some of them are missing are written as integers.

    Raises:
        ReadingError: its columns have names of several levels.
    """
    from pandas.api.types import is_float_dtype

    if frame.columns.nlevels > 1:
        raise ReadingError(
            f"Expected columns with one name each. Received names of {frame.columns.nlevels} "
            "levels: join them, as with frame.columns = frame.columns.map('_'.join)"
        )
    frame = frame.copy(deep=False)
    for place, kind in enumerate(frame.dtypes):
        column = frame.iloc[:, place]
        if is_float_dtype(kind) and column.hasnans and (column.dropna() % 1 == 0).all():
            frame.isetitem(place, column.astype("Int64").array)
    text: str = frame.to_csv(index=False, header=header)
    return text.encode()


def frame_overrides(frame: pd.DataFrame, overrides: Overrides) -> Overrides:
    """Return what is known of how `csv_bytes(frame)` is written, beside what the user knows."""
    known = {**WRITTEN, "header": True}
    if overrides.decimal is None and any(kind.kind == "f" for kind in frame.dtypes):
        known["decimal"] = "."
    return replace(overrides, **known)


def frame_csv(frame: pd.DataFrame, reading: Reading) -> FrameCsv:
    """Return a DataFrame as a CSV, with the rules found for a file as they are for this one.

    Its numbers and dates are Python's, however the file had them. Where the file had no names and
    the DataFrame has none of the reading's, columns are found by their position.
    """
    known = [rule.name for rule in reading.columns]
    names = unique_names(map(str, frame))  # As they are read of the CSV.
    header = reading.header or not {*known}.isdisjoint(names)
    kinds = dict(
        zip(names if header else known, (kind.kind for kind in frame.dtypes), strict=False)
    )
    columns = tuple(_as_python(rule, kinds.get(rule.name, "O")) for rule in reading.columns)
    rules = replace(
        reading, **WRITTEN, encoding_given=True, header=header, units=False, columns=columns
    )
    return FrameCsv(data=csv_bytes(frame, header=header), reading=rules)


def _as_python(rule: ColumnRule, kind: str) -> ColumnRule:
    """Return a column's rule where its values are of a NumPy kind ("O": texts as in a file)."""
    if kind in "iuf" and rule.decimal:
        return replace(rule, decimal=".", thousands="")
    if kind == "M" and rule.dates:
        return replace(rule, dates="ymd")
    return rule
