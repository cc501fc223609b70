"""From a text's layout to its cells, column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from objectives.columns import PROSE_DISTINCT, PROSE_WORDS
from objectives.dialect import BLANKS, RULER, are_values, closes, is_blank, is_ruler, parse
from objectives.encoding import HEAD, open_text
from objectives.margins import drop_notes, drop_units
from objectives.memory import available_memory
from objectives.ragged import (
    Beside,
    Ragged,
    RaggedError,
    Spans,
    dropped_rows,
    settle_short,
)
from objectives.reading import DroppedRow, LayoutError, ReadingError
from objectives.shape import Shape
from objectives.sizes import TERMS

CHUNK = 4096  # rows turned into columns at a time
REPETITIVE = 0.5  # share of distinct cells up to which a column's equal cells are kept once
CELL_BYTES = 56  # of a Python string, without its characters
SLOT_BYTES = 28  # of a cell in the list, the frames and an index

__all__ = ["Grid", "Integers", "RaggedError", "TooLargeError", "load"]

Integers = np.ndarray[Any, np.dtype[np.int64]]


class TooLargeError(ReadingError):
    """The table does not fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A text's cells as they stand there."""

    shape: Shape
    columns: list[list[str]]  # to be emptied by whoever takes a column, to free its memory
    lines: Integers  # physical line on which each row begins
    dropped: tuple[DroppedRow, ...]
    blank: int  # rows that hold nothing; they are left out
    short: tuple[int, ...] = ()  # lines of rows without their last cells, which are empty
    units: bool = False  # whether rows of units stood below the names


def load(data: bytes, shape: Shape, limit: int | None = None, *, most: int | None = None) -> Grid:
    """Return the cells of every row that has as many fields as the table has names.

    A row may lack its last cells where they are likely to be empty.

    Args:
        data: the file.
        shape: where the table lies in it.
        limit: bytes of memory that may be used; what the machine has free if not given.
        most: rows that it may have; any number if not given.

    Raises:
        RaggedError: more than 1 % of the rows have another number of fields.
        TooLargeError: the table needs more memory than `limit`.
        ReadingError: there is no row, or more than `most`, or a quote is never closed.
    """
    _refuse_too_large(data, shape, available_memory() if limit is None else limit)
    width = len(shape.names)
    columns: list[list[str]] = [[] for _ in range(width)]
    store: list[Callable[[tuple[str, ...]], None]] = []
    lines: list[int] = []
    chunk: list[list[str]] = []
    beside = Beside()
    with open_text(data, shape.encoding) as text:
        parsed = parse(text, shape.separator, shape.quote, shape.skip)
        for line, row in _rows(parsed, shape, beside):
            lines.append(line)
            chunk.append(row)
            if len(chunk) == CHUNK:
                store = _append(columns, chunk, store)
                chunk = []
                _refuse_long(len(lines), most)
    _refuse_long(len(lines), most)
    if chunk:
        _append(columns, chunk, store)
    _refuse_broken_quotes(data, shape, beside.spans)
    short = settle_short(columns, lines, beside)
    units = drop_units(columns, lines) if shape.header and shape.units else []
    notes = drop_notes(columns, lines)
    dropped = (*units, *dropped_rows(columns, lines, beside), *notes)
    if not lines:
        raise ReadingError("The table has no rows below its names. Expected at least one.")
    return Grid(
        shape=shape,
        columns=columns,
        lines=np.array(lines, dtype=np.int64),
        dropped=dropped,
        blank=beside.blank,
        short=short,
        units=bool(units),
    )


def _rows(
    parsed: Iterator[tuple[int, list[str]]], shape: Shape, beside: Beside
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of every row of the table, and take note of all else.

    Short rows are filled up; whether they may be shows when all have been read.
    """
    width = len(shape.names)
    names = next(row for _, row in parsed if not is_blank(row)) if shape.header else [""]
    folded = _folded(names)
    end = folded[-1]
    last = place = 0
    for line, row in parsed:
        if last and line - last > 1:
            beside.spans.append((last, line))
        last = line
        if len(row) != width or not row[0].strip(RULER):
            if is_blank(row):
                beside.blank += 1
                continue
            if is_ruler(row):
                beside.rulers.append(line)
                continue
            if len(row) != width and not (len(row) > width and is_blank(row[width:])):
                comment = row[0].lstrip().startswith("#")
                if comment or not 1 < len(row) < width:
                    beside.ragged.append(Ragged(line, len(row), comment))
                    continue
                beside.short.append(Ragged(line, len(row), place=place))
                row += [""] * (width - len(row))
        if row[-1].strip(BLANKS).casefold() == end and _folded(row) == folded:
            beside.again.append(line)
            continue
        yield line, row[:width]
        place += 1
    beside.spans.append((last, None))


def _folded(row: list[str]) -> list[str]:
    """Return names as they are compared: joined files differ in blanks and case."""
    return [cell.strip(BLANKS).casefold() for cell in row]


def _append(
    columns: list[list[str]],
    rows: list[list[str]],
    store: list[Callable[[tuple[str, ...]], None]],
) -> list[Callable[[tuple[str, ...]], None]]:
    """Add rows to the columns and return how each column takes more of them."""
    cells = list(zip(*rows, strict=True))
    if not store:
        store = [_storing(column, held) for column, held in zip(columns, cells, strict=True)]
    for add, held in zip(store, cells, strict=True):
        add(held)
    return store


def _storing(column: list[str], cells: tuple[str, ...]) -> Callable[[tuple[str, ...]], None]:
    """Return how a column takes cells: equal ones as one string, if it holds many equal ones."""
    if len(set(cells)) > REPETITIVE * len(cells):
        return column.extend
    known: dict[str, str] = {}
    return lambda more: column.extend(map(known.setdefault, more, more))


def _refuse_broken_quotes(data: bytes, shape: Shape, spans: Spans) -> None:
    """Raise ReadingError if a quote is never closed, or closed by one that was to open a cell."""
    if shape.quote and spans[-1][0]:
        _refuse_open_quote(data, shape, spans[-1][0])
        _refuse_swallowed_lines(data, shape, spans)


def _refuse_open_quote(data: bytes, shape: Shape, line: int) -> None:
    """Raise ReadingError if the row that begins on `line`, the last one, ends inside a quote."""
    with open_text(data, shape.encoding) as text:
        tail = list(islice(text, line - 1, None))
    following = "swallowed"  # by an open quote; one word, as blanks may separate
    rows = list(parse([*tail[:-1], tail[-1] + "\n", following], shape.separator, shape.quote))
    if rows[-1][1] != [following]:
        raise LayoutError(
            f"The quote opened in the row on line {line} is never closed. "
            "Close it, or turn quoting off with --quote ''."
        )


def _refuse_swallowed_lines(data: bytes, shape: Shape, spans: Spans) -> None:
    """Raise ReadingError if a row of several lines is one only because a quote was not closed.

    The next quote in the file, which should open a cell, then closes this one amid its text.
    """
    with open_text(data, shape.encoding) as text:
        source, line = iter(text), 1
        for first, behind in spans:
            raw = list(islice(source, first - line, None if behind is None else behind - line))
            line = behind or 0
            if len(raw) > 1 and not closes(raw, shape.separator, shape.quote):
                raise LayoutError(
                    f"The quote opened in the row on line {first} is closed amid a cell on line "
                    f"{first + len(raw) - 1}, as if {len(raw)} lines were one row. Close it, or "
                    "turn quoting off with --quote ''."
                )


def _refuse_too_large(data: bytes, shape: Shape, limit: int) -> None:
    """Raise TooLargeError if the table is likely to need more than `limit` bytes."""
    with open_text(data, shape.encoding) as text:
        head = text.readlines(HEAD)
    share = max(1.0, len(data) / max(1, len("".join(head).encode(shape.encoding))))
    rows = [row for _, row in parse(head, shape.separator, shape.quote, shape.skip)]
    cells = zip(*[row for row in rows if len(row) == len(shape.names)], strict=True)
    need = len(data)
    for held in cells:
        distinct = set(held)
        size = CELL_BYTES + sum(map(len, distinct)) / len(distinct)
        kept = len(distinct) if len(distinct) <= REPETITIVE * len(held) else len(held)
        need += int(share * (len(held) * (SLOT_BYTES + _term_bytes(held)) + kept * size))
    if need > limit:
        raise TooLargeError(
            f"The table needs about {_gigabytes(need)} of memory. The limit is "
            f"{_gigabytes(limit)}, what is free here. Give fewer rows or columns, or a machine "
            "with more memory."
        )


def _term_bytes(cells: Sequence[str]) -> int:
    """Return what a row takes as numbers of terms, if a column's cells are texts."""
    texts = set(cells) - {""}
    if len(texts) <= PROSE_DISTINCT * len(cells) or are_values(list(texts)):
        return 0
    words = [text.lower().split() for text in texts]
    if sum(map(len, words)) < PROSE_WORDS * len(texts):
        return 0
    times = Counter(word for held in words for word in set(held))
    return 4 * min(TERMS, sum(1 for rows in times.values() if rows > 1))


def _refuse_long(rows: int, most: int | None) -> None:
    """Raise ReadingError if there are more rows than there may be."""
    if most is not None and rows > most:
        raise ReadingError(f"Expected at most {most:,} rows. Received more. Give a share of them.")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
