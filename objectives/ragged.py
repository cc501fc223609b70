"""Rows with another number of fields than the table: notes, comments, cut short, or broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from objectives.dialect import BLANKS, JUNK, VALUE, are_values
from objectives.reading import MISSING, DroppedRow, LayoutError

RAGGED_SHARE = 0.01  # of the rows; above it the file is refused
TRIMMED = 0.05  # of the rows; if fewer lack their last cells, they are likely to be broken
LOOKED_AT = 200  # full rows, to see what a column holds
NOTES = 20  # lines below a table that may be notes

Spans = list[tuple[int, int | None]]  # first line of a row, and of the next


class RaggedError(LayoutError):
    """Too many rows have another number of fields than the table."""


class Ragged(NamedTuple):
    """A row with another number of fields."""

    line: int
    fields: int
    comment: bool = False  # begins with #
    place: int = -1  # among the rows of the table, if it was filled up


@dataclass
class Beside:
    """What a text holds beside the rows of its table."""

    ragged: list[Ragged] = field(default_factory=list)
    short: list[Ragged] = field(default_factory=list)  # among the table's rows, until settled
    again: list[int] = field(default_factory=list)  # lines that repeat the header
    spans: Spans = field(default_factory=list)  # of rows of several lines, and of the last
    rulers: list[int] = field(default_factory=list)  # lines drawn between rows
    blank: int = 0


def settle_short(columns: list[list[str]], lines: list[int], beside: Beside) -> tuple[int, ...]:
    """Take short rows away that were not just spared their last, empty cells.

    Some programs write no separators behind a row's last value. The columns whose cells are then
    lacking are empty in full rows, too; or many rows are short, of several lengths and none of them
    a part of its neighbour, none ends with an empty cell, and full rows stand among them; and no
    row is longer than the table.

    Returns:
        The lines of the short rows that stay.
    """
    short, width = beside.short, len(columns)
    if not short:
        return ()
    places = {row.place for row in short}
    longer = any(row.fields > width for row in beside.ragged)
    trimmed = len(short) > TRIMMED * len(lines) and _are_trimmed(columns, beside.short)
    least = width if longer else 0 if trimmed else _fewest_fields(columns, places)
    known = [_known_if_values(column, places) for column in columns]
    unfit = [row for row in short if row.fields < least or not _fits(row, columns, known)]
    if unfit:
        places = {row.place for row in unfit}
        for cells in columns:
            cells[:] = [cell for place, cell in enumerate(cells) if place not in places]
        lines[:] = [line for place, line in enumerate(lines) if place not in places]
        beside.ragged = sorted([*beside.ragged, *unfit])
    gone = {row.line for row in unfit}
    return tuple(row.line for row in short if row.line not in gone)


def _are_trimmed(columns: list[list[str]], short: list[Ragged]) -> bool:
    """Return whether no row ends with an empty cell, and full rows stand below half the short.

    Rows that all lack as many cells may lack any, and pairs of neighbours may be one row each.
    """
    fields = {row.place: row.fields for row in short}
    if len(set(fields.values())) == 1 or _are_torn(fields, len(columns)):
        return False
    rows = range(len(columns[0]))
    ends = (columns[fields.get(at, len(columns)) - 1][at] for at in rows)
    last = max((at for at in rows if at not in fields), default=0)
    return last > short[len(short) // 2].place and all(cell.strip(JUNK) for cell in ends)


def _are_torn(fields: dict[int, int], width: int) -> bool:
    """Return whether short rows, by their places, come in pairs as rows broken over two lines."""
    begins = [at for at in fields if at - 1 not in fields]
    pairs = (fields[at] + fields.get(at + 1, 0) for at in begins if at + 2 not in fields)
    return sum(both in (width, width + 1) for both in pairs) > len(begins) / 2


def _fewest_fields(columns: list[list[str]], short: set[int]) -> int:
    """Return from which column on all have an empty cell in a full row."""
    for position in reversed(range(len(columns))):
        cells = enumerate(columns[position])
        if not any(place not in short and not cell.strip(JUNK) for place, cell in cells):
            return position + 1
    return 0


def _known_if_values(column: list[str], short: set[int]) -> set[str]:
    """Return the texts of a column in the first full rows, if most are numbers, dates or times."""
    full = (cell.strip(BLANKS) for place, cell in enumerate(column) if place not in short)
    held = [cell for cell in islice(full, LOOKED_AT) if cell not in MISSING]
    return {*held, *MISSING} if are_values(held) else set()


def _fits(row: Ragged, columns: list[list[str]], known: list[set[str]]) -> bool:
    """Return whether a short row has values where full ones do: a note has none, nor a shifted row.

    What a column of texts may hold, `known` leaves open.
    """
    cells = (column[row.place].strip(BLANKS) for column in columns[: row.fields])
    return all(
        not texts or cell in texts or VALUE.fullmatch(cell)
        for cell, texts in zip(cells, known[: row.fields], strict=True)
    )


def dropped_rows(
    columns: list[list[str]], lines: list[int], beside: Beside
) -> tuple[DroppedRow, ...]:
    """Return the rows that are dropped, or raise RaggedError where too many are ragged."""
    width, kept = len(columns), len(lines)
    asides = _asides(columns, lines, beside)
    dropped = tuple(
        DroppedRow(line=row.line, reason=f"{row.fields} fields where {width} are expected")
        for row in beside.ragged
        if row.line not in asides
    )
    if len(dropped) > RAGGED_SHARE * (kept + len(dropped)):
        first = dropped[0]
        others = ", and so on" if len(dropped) > 1 else ""
        raise RaggedError(
            f"Line {first.line} has {first.reason}{others}: {len(dropped)} of "
            f"{kept + len(dropped)} rows, above the {RAGGED_SHARE:.0%} that may be dropped. "
            "Repair or remove these rows, or say how they are to be read, with --separator, "
            "--quote or --skip."
        )
    return (
        *dropped,
        *(DroppedRow(line=line, reason=reason) for line, reason in asides.items()),
        *(DroppedRow(line=line, reason="repeats the header") for line in beside.again),
        *(DroppedRow(line=line, reason="is a ruler") for line in beside.rulers),
    )


def _asides(columns: list[list[str]], lines: list[int], beside: Beside) -> dict[int, str]:
    """Return why rows, by their lines, are none of the table: comments, and notes below it."""
    asides: dict[int, str] = {}
    comments = [row.line for row in beside.ragged if row.comment]
    if comments and not any(cell.lstrip().startswith("#") for cell in columns[0]):
        asides |= dict.fromkeys(comments, "begins with #, as a comment")
    end = lines[-1] if lines else 0
    below = [row for row in beside.ragged if row.line > end and row.line not in asides]
    alone = len(columns) > 2 and all(row.fields == 1 for row in below)
    if alone and len(below) <= NOTES:
        asides |= {row.line: "holds one text, as a note" for row in below}
    return asides
