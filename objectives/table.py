"""The dataset read: typed columns, and what was assumed in reading it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from objectives.cells import Cells
from objectives.checks import LEFT_OUT, column_warnings
from objectives.columns import find_conventions, values_of
from objectives.description import describe
from objectives.encoding import without_end_mark
from objectives.features import Feature, MissingColumnsError, features_of, find_columns
from objectives.grid import Grid, Integers, RaggedError, TooLargeError, load
from objectives.metrics import Task
from objectives.reading import (
    ColumnRule,
    DroppedRow,
    Kind,
    Overrides,
    Reading,
    ReadingError,
)
from objectives.row_checks import row_warnings
from objectives.rules import find_rules, with_late_minus, without_marks
from objectives.scales import scale_warnings
from objectives.shape import Shape, find_again, find_shape
from objectives.target import Examples, Target, choose_target, find_column, split_target
from objectives.wrapped import without_wrapping

__all__ = [
    "Column", "ColumnRule", "DroppedRow", "Examples", "Feature", "Kind", "MissingColumnsError",
    "Overrides", "RaggedError", "Reading", "ReadingError", "Table", "Target", "Task",
    "TooLargeError", "apply_reading", "choose_target", "describe", "features_of",
    "find_column", "read_rows", "read_table", "split_target",
]  # fmt: skip

EXAMPLES = 3  # values of a column that are shown


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column as `inspect` shows it."""

    name: str
    kind: Kind
    missing: float  # share of the rows, 0 to 1
    distinct: int  # different values, missing not counted
    examples: tuple[str, ...]
    absent: Mapping[str, int]  # rows of each text that counts as missing


@dataclass(frozen=True, kw_only=True)
class Table:
    """A dataset read. Its frames share one row order and a plain row index."""

    reading: Reading
    columns: tuple[Column, ...]
    features: tuple[Feature, ...]  # of every usable column
    frame: pd.DataFrame  # a column per feature: float64 with NaN, or str with "" where missing
    labels: pd.DataFrame  # every column's text, "" where missing
    others: pd.DataFrame  # the text of columns that the reading does not know
    lines: Integers  # physical line of the file on which each row begins, from 1
    dropped: tuple[DroppedRow, ...]
    warnings: tuple[str, ...]
    # names that several columns of the file have, and the positions of these, from 1
    repeated: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_table(
    data: bytes,
    *,
    overrides: Overrides | None = None,
    limit: int | None = None,
    most: tuple[int, int] | None = None,
) -> Table:
    """Read a CSV's bytes as a table, finding out how.

    Args:
        data: the file.
        overrides: what the user knows better.
        limit: bytes of memory that may be used; what the machine has free if not given.
        most: rows and columns that it may have; any number if not given. What has more is read no
            further than to see that.

    Raises:
        ReadingError: the bytes cannot be read as a table; the message says what to do.
    """
    overrides = overrides or Overrides()
    data, told = without_wrapping(
        without_end_mark(data), overrides.encoding, overrides.separator, overrides.quote
    )
    shape = find_shape(data, overrides)
    names = shape.names
    _refuse_wide(names, most)
    missing, marks = overrides.missing_texts()
    kinds = {find_column(names, wanted): kind for wanted, kind in overrides.kinds.items()}
    grid = load(data, shape, limit, most=most[0] if most else None)
    raw = _cells(grid, enumerate(names), [frozenset(missing)] * len(names))
    columns = with_late_minus(without_marks(raw, marks, kinds), kinds)
    conventions = find_conventions(columns, shape.separator, overrides.decimal, overrides.day_first)
    rules, doubtful = find_rules(columns, conventions, kinds, grid.lines, shape.unnamed)
    reading = Reading(
        encoding=shape.encoding,
        separator=shape.separator,
        quote=shape.quote,
        decimal=conventions.decimal,
        thousands=next((rule.thousands for rule in rules if rule.thousands), ""),
        header=shape.header,
        skip=shape.skip,
        columns=tuple(rules),
        units=grid.units,
        missing=missing,
        missing_numbers=marks,
        encoding_given=overrides.encoding is not None,
    )
    warnings = [*told, *shape.warnings, *doubtful]
    return _assemble(grid, columns, reading, warnings, to_split=True)


def apply_reading(
    data: bytes,
    reading: Reading,
    *,
    optional: Collection[str] = (),
    limit: int | None = None,
    most: tuple[int, int] | None = None,
) -> Table:
    """Read a file by the rules found for another.

    Columns are found by name, in any order, where there is a header; unknown ones are not
    used, with a warning. Texts that the rules cannot read count as missing, with a warning, but
    for those of optional columns.

    Args:
        data: the file.
        reading: the rules.
        optional: names of columns that may be absent, such as the target; they are then
            missing in every row.
        limit: bytes of memory that may be used; what the machine has free if not given.
        most: rows and columns that it may have, as `read_table` takes them.

    Raises:
        MissingColumnsError: a column that gives features is absent.
        ReadingError: the bytes cannot be read as a table.
    """
    encoding = reading.encoding if reading.encoding_given else None
    data, told = without_wrapping(
        without_end_mark(data), encoding, reading.separator, reading.quote
    )
    shape = find_again(data, reading, optional)
    _refuse_wide(shape.names, most)
    named, warnings = find_columns(shape.names, reading, optional)
    warnings += told
    if not data.isascii() and _family(shape.encoding) != _family(reading.encoding):
        warnings.append(f"The encoding is {shape.encoding} instead of {reading.encoding}.")
    grid = load(data, shape, limit, most=most[0] if most else None)
    columns = _cells(grid, named, reading.missing_texts())
    warnings += scale_warnings(columns, reading.columns)
    return _assemble(grid, columns, reading, warnings, quiet=_unused(reading, optional))


def _refuse_wide(names: Sequence[str], most: tuple[int, int] | None) -> None:
    """Raise ReadingError if there are more columns than there may be."""
    if most is not None and len(names) > most[1]:
        raise ReadingError(
            f"Expected at most {most[1]:,} columns. Received {len(names):,}. Leave some out."
        )


def read_rows(
    rows: Sequence[Mapping[str, str | None]], reading: Reading, *, optional: Collection[str] = ()
) -> Table:
    """Read rows given as texts by column name, such as a form's, by the rules found for a file.

    All rows are kept, also those that a file's reader would take for blank or for a header.
    Where a row lacks a column that others have, it is missing there.

    Args:
        rows: each row's texts.
        reading: the rules.
        optional: names of columns that may be absent, such as the target.

    Raises:
        MissingColumnsError: no row has a column that gives features.
        ReadingError: there are no rows.
    """
    if not rows:
        raise ReadingError("Expected at least one row. Received none.")
    given = dict.fromkeys(name for row in rows for name in row)
    named, warnings = find_columns(tuple(given), reading, optional)
    shape = Shape(
        encoding="utf-8",
        separator=reading.separator,
        quote=reading.quote,
        header=True,
        skip=0,
        names=tuple(given),
    )
    grid = Grid(
        shape=shape,
        columns=[[row.get(name) or "" for row in rows] for name in given],
        lines=np.arange(1, len(rows) + 1),
        dropped=(),
        blank=0,
    )
    columns = _cells(grid, named, reading.missing_texts())
    quiet = _unused(reading, optional)
    return _assemble(grid, columns, reading, warnings, quiet=quiet, in_file=False)


def _unused(reading: Reading, optional: Collection[str]) -> set[str]:
    """Return the columns of a later file that need give nothing, and of which nothing is told."""
    return {*optional, *(rule.name for rule in reading.columns if rule.kind in LEFT_OUT)}


def _family(encoding: str) -> str:
    """Return an encoding's name without what says only whether there is a byte order mark."""
    return encoding.removesuffix("-sig").removesuffix("-le").removesuffix("-be")


def _cells(
    grid: Grid, named: Iterable[tuple[int, str]], missing: Sequence[frozenset[str]]
) -> tuple[Cells, ...]:
    """Take columns out of the grid, given by place (-1: absent) and name, as their cells.

    `missing` are the texts that stand for nothing in each of them.
    """
    cells = []
    for position, ((place, name), tokens) in enumerate(zip(named, missing, strict=True)):
        raw = grid.columns[place] if place >= 0 else [""] * len(grid.lines)
        cells.append(Cells.of(name, position, raw, tokens))
        if place >= 0:
            raw.clear()
    return tuple(cells)


def _assemble(
    grid: Grid,
    columns: tuple[Cells, ...],
    reading: Reading,
    warnings: list[str],
    *,
    to_split: bool = False,
    quiet: Collection[str] = (),
    in_file: bool = True,
) -> Table:
    """Return the table of a grid's columns, read as the reading says.

    Args:
        grid: the rows.
        columns: its columns' text.
        reading: the rules.
        warnings: what is told already.
        to_split: whether the rows are to be split into training and test rows.
        quiet: columns of which nothing is told.
        in_file: whether the rows stand on lines of a file.
    """
    features = features_of(reading)
    own: dict[str, list[str]] = {}
    for feature in features:
        own.setdefault(feature.column, []).append(feature.name)
    frame: dict[str, pd.Series[Any]] = {}
    shown = []
    for cells, rule in zip(columns, reading.columns, strict=True):
        parts, unreadable = values_of(cells, rule)
        for name, values in zip(own.get(rule.name, ()), parts.values(), strict=True):
            frame[name] = pd.Series(values, dtype=values.dtype)
        if rule.name not in quiet:
            lines = grid.lines if in_file else None
            warnings += column_warnings(cells, rule, unreadable, lines)
        missing = cells.rows - cells.held + int(cells.counts[unreadable].sum())
        shown.append(
            Column(
                name=rule.name,
                kind=rule.kind,
                missing=missing / cells.rows,
                distinct=len(cells.values),
                examples=tuple(cells.values[:EXAMPLES]),
                absent=cells.absent,
            )
        )
    labels = {cells.name: pd.Series(cells.texts(), dtype=object) for cells in columns}
    others = {
        name: pd.Series(raw, dtype=object)
        for name, raw in zip(grid.shape.names, grid.columns, strict=True)
        if name not in labels
    }
    index = pd.RangeIndex(len(grid.lines))
    return Table(
        reading=reading,
        columns=tuple(shown),
        features=features,
        frame=pd.DataFrame(frame, index=index, copy=False),
        labels=pd.DataFrame(labels, index=index, copy=False),
        others=pd.DataFrame(others, index=index, copy=False),
        lines=grid.lines,
        dropped=grid.dropped,
        warnings=(
            *warnings,
            *row_warnings(grid, columns, reading.columns, to_split=to_split),
        ),
        repeated=grid.shape.repeated,
    )
