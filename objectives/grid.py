"""From a text's layout to its cells, column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from objectives.dialect import JUNK, is_blank, parse
from objectives.encoding import HEAD, open_text
from objectives.memory import available_memory
from objectives.reading import DroppedRow, ReadingError
from objectives.shape import Shape

RAGGED_SHARE = 0.01  # of the rows; above it the file is refused
CHUNK = 4096  # rows turned into columns at a time
REPETITIVE = 0.5  # share of distinct cells up to which a column's equal cells are kept once
CELL_BYTES = 56  # of a Python string, without its characters
SLOT_BYTES = 28  # of a cell in the list, the frames and an index

Integers = np.ndarray[Any, np.dtype[np.int64]]


class RaggedError(ReadingError):
    """Too many rows have another number of fields than the table."""


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


def load(data: bytes, shape: Shape, limit: int | None = None) -> Grid:
    """Return the cells of every row that has as many fields as the table has names.

    Args:
        data: the file.
        shape: where the table lies in it.
        limit: bytes of memory that may be used; what the machine has free if not given.

    Raises:
        RaggedError: more than 1 % of the rows have another number of fields.
        TooLargeError: the table needs more memory than `limit`.
        ReadingError: there is no row, or a quote is never closed.
    """
    _refuse_too_large(data, shape, available_memory() if limit is None else limit)
    width = len(shape.names)
    columns: list[list[str]] = [[] for _ in range(width)]
    store: list[Callable[[tuple[str, ...]], None]] = []
    lines: list[int] = []
    chunk: list[list[str]] = []
    ragged: list[tuple[int, int]] = []  # line, fields
    blank = last = 0
    with open_text(data, shape.encoding) as text:
        rows = parse(text, shape.separator, shape.quote, shape.skip)
        if shape.header:
            next(row for row in rows if not is_blank(row[1]))
        for last, row in rows:  # noqa: B007
            if len(row) != width or not row[0].strip(JUNK):
                if is_blank(row):
                    blank += 1
                    continue
                if len(row) != width and not (len(row) > width and is_blank(row[width:])):
                    ragged.append((last, len(row)))
                    continue
            lines.append(last)
            chunk.append(row[:width])
            if len(chunk) == CHUNK:
                store = _append(columns, chunk, store)
                chunk = []
    if chunk:
        _append(columns, chunk, store)
    if last:
        _refuse_open_quote(data, shape, last)
    dropped = _dropped(ragged, len(lines), width)
    if not lines:
        raise ReadingError("The table has no rows below its names. Expected at least one.")
    return Grid(
        shape=shape,
        columns=columns,
        lines=np.array(lines, dtype=np.int64),
        dropped=dropped,
        blank=blank,
    )


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


def _dropped(ragged: list[tuple[int, int]], kept: int, width: int) -> tuple[DroppedRow, ...]:
    """Return the ragged rows as dropped, or raise RaggedError where they are too many."""
    dropped = tuple(
        DroppedRow(line=line, reason=f"{fields} fields where {width} are expected")
        for line, fields in ragged
    )
    if len(dropped) > RAGGED_SHARE * (kept + len(dropped)):
        first = dropped[0]
        raise RaggedError(
            f"Line {first.line} has {first.reason}, and so on: {len(dropped)} of "
            f"{kept + len(dropped)} rows, above the {RAGGED_SHARE:.0%} that may be dropped. "
            "Repair these rows, or name the separator or the quote if they were read wrongly."
        )
    return dropped


def _refuse_open_quote(data: bytes, shape: Shape, line: int) -> None:
    """Raise ReadingError if the row that begins on `line`, the last one, ends inside a quote."""
    if not shape.quote:
        return
    with open_text(data, shape.encoding) as text:
        tail = list(islice(text, line - 1, None))
    following = "a line that an open quote would swallow"
    rows = list(parse([*tail[:-1], tail[-1] + "\n", following], shape.separator, shape.quote))
    if rows[-1][1] != [following]:
        raise ReadingError(
            f"The quote opened in the row on line {line} is never closed. "
            "Close it, or turn quoting off."
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
        need += int(share * (len(held) * SLOT_BYTES + kept * size))
    if need > limit:
        raise TooLargeError(
            f"The table needs about {_gigabytes(need)} of memory. The limit is "
            f"{_gigabytes(limit)}, what is free here. Give fewer rows or columns, or a machine "
            "with more memory."
        )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
