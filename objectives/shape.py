"""Where a table lies in a text: what stands above it, and whether it names its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from objectives.dialect import BLANKS, JUNK, VALUE, Row, find_dialect, first_rows, is_blank
from objectives.encoding import (
    HEAD,
    find_encoding,
    is_valid,
    open_text,
    refuse_other_text,
    refuse_zeros,
)
from objectives.reading import MISSING, Overrides, Reading, ReadingError

DECLARED = re.compile(r'"?sep=([^\w\s"]|\t)"?,*\s*')  # Excel's own way to name the separator
NAMED_APART = 0.5  # share of distinct values below which a column's own value would recur

Header = tuple[int, list[str], bool]  # physical line, cells, whether they are names


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Where the table lies in the text."""

    encoding: str
    separator: str
    quote: str
    header: bool
    skip: int  # physical lines above the header or the first row
    names: tuple[str, ...]


def find_shape(data: bytes, overrides: Overrides) -> Shape:
    """Find where the table lies.

    Raises:
        ReadingError: the bytes are not a table of two columns or more.
    """
    encoding = overrides.encoding or find_encoding(data)
    head = _head(data, encoding)
    separator, skip = overrides.separator, overrides.skip
    if head and skip is None and (match := DECLARED.fullmatch(head[0])):
        separator, skip = separator or match[1], 1
    rest = head[skip or 0 :]
    if skip and not rest:
        raise ReadingError(f"Expected rows below the {skip} lines to skip. Give a smaller --skip.")
    separator, quote = find_dialect(rest, separator, overrides.quote)
    rows = first_rows(rest, separator, quote)
    line, names, header = _find_header(rows, _width(rows), overrides)
    return Shape(
        encoding=encoding,
        separator=separator,
        quote=quote,
        header=header,
        skip=(skip or 0) + line - 1,
        names=unique_names(names if header else [""] * len(names)),
    )


def find_again(data: bytes, reading: Reading, optional: Collection[str] = ()) -> Shape:
    """Find where the table lies in another file that is laid out as `reading` says.

    Columns are found by name, or by position where there is no header; then the `optional`
    columns are either all there or all absent.

    Raises:
        ReadingError: the bytes are not a table, or none of its names is known.
    """
    encoding = reading.encoding if reading.encoding_given else find_encoding(data)
    if not encoding.startswith("utf") and is_valid(data, reading.encoding):
        encoding = reading.encoding
    head = _head(data, encoding)
    known = [rule.name for rule in reading.columns]
    shape = Shape(
        encoding=encoding,
        separator=reading.separator,
        quote=reading.quote,
        header=reading.header,
        skip=min(reading.skip, len(head)),
        names=tuple(known),
    )
    if not reading.header:
        rows = first_rows(head[shape.skip :], shape.separator, shape.quote)
        if _width(rows) == len(known) - len(set(optional)):
            return replace(shape, names=tuple(name for name in known if name not in optional))
        return shape
    rows = first_rows(head, shape.separator, shape.quote)
    matches = [len(set(known).intersection(_plain(row))) for _, row in rows[: shape.skip + 20]]
    if not any(matches):
        raise ReadingError(
            f"Expected a line with the names {', '.join(known[:10])}, separated by "
            f"{shape.separator!r}. Received: {head[min(shape.skip, len(head) - 1)].strip()!r}."
        )
    at = matches.index(max(matches))
    line, names = rows[at]
    bodies = [row for _, row in rows[at + 1 :]]
    width = _width(rows[at + 1 :]) if bodies else len(names)
    if len(names) == width - 1:
        names = _names_above(names, [row for row in bodies if _fits(row, width)], width) or names
    elif _fits(names, width):
        names = _uncommented(names)[:width]
    return replace(shape, skip=line - 1, names=unique_names(names))


def plain_name(cell: str) -> str:
    """Return a column's name without blanks around it or line breaks in it."""
    return " ".join(cell.split()) if cell.strip(JUNK) else ""


def unique_names(cells: Iterable[str]) -> tuple[str, ...]:
    """Return a name for each cell: its text, `column_3` where empty, `name_2` where taken."""
    given = [plain_name(cell) for cell in cells]
    theirs, taken = set(given), set[str]()
    numbers = Counter[str]()  # As far as each name has been counted: thousands may be equal.
    names = []
    for position, own in enumerate(given, start=1):
        name = base = own or f"column_{position}"
        while name in taken or (name != own and name in theirs):
            numbers[base] += 1
            name = f"{base}_{numbers[base] + 1}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _head(data: bytes, encoding: str) -> list[str]:
    """Return the first lines of the text, the last of them whole; refuse what is no table."""
    with open_text(data, encoding) as text:
        head = text.readlines(HEAD)
    refuse_other_text("".join(head))
    refuse_zeros(data, encoding)
    return head


def _plain(row: list[str]) -> tuple[str, ...]:
    return unique_names(_uncommented(row))


def _width(rows: list[Row]) -> int:
    """Return how many fields most rows have that have more than one."""
    widths = Counter(len(row) for _, row in rows if len(row) > 1)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _find_header(rows: list[Row], width: int, overrides: Overrides) -> Header:
    """Return the physical line where the table begins, its cells, and whether they are names."""
    fitting = [(line, row[:width]) for line, row in rows if _fits(row, width)]
    bodies = [row for _, row in fitting]
    at = 0
    if overrides.skip is None:
        while at < len(bodies) - 1 and _is_comment(bodies[at]):
            at += 1
        below = at
        while width > 2 and below < len(bodies) and sum(1 for cell in bodies[below] if cell) == 1:
            below += 1
        if len(bodies) > below + 1 and _is_header(bodies[below], bodies[below + 1 :]):
            at = below
    line, first = fitting[at]
    if overrides.header is not None:
        return line, first, overrides.header
    if _is_header(first, bodies[at + 1 :]):
        return line, first, True
    above = [row for row in rows if row[0] < line][-1:]
    if above and (names := _names_above(above[0][1], bodies[at:], width)):
        return above[0][0], names, True
    return line, first, False


def _fits(row: list[str], width: int) -> bool:
    """Return whether a row has that many fields, empty ones beyond them not counted."""
    return len(row) == width or (len(row) > width and is_blank(row[width:]))


def _is_comment(row: list[str]) -> bool:
    return row[0].startswith("#") and row[0] != "#"


def _uncommented(row: list[str]) -> list[str]:
    return [row[0].lstrip("#" + BLANKS), *row[1:]] if _is_comment(row) else row


def _names_above(row: list[str], bodies: list[list[str]], width: int) -> list[str]:
    """Return the names of a header that is a comment, or is one field short; else nothing.

    R writes no name above row names; other programs end every row but the header with a
    separator.
    """
    if _is_comment(row) and len(row) == width:
        return _uncommented(row)
    if len(row) != width - 1 or width < 3 or any(VALUE.fullmatch(cell) for cell in row):
        return []
    return [*row, ""] if is_blank([body[-1] for body in bodies]) else ["", *row]


def _count_up(cells: list[str]) -> bool:
    """Return whether cells are years or places in a row: 2019, 2020 or 0, 1, 2."""
    steps = {int(b) - int(a) for a, b in pairwise(cells)}
    return steps == {1} and (len(cells) > 2 or cells[0][:2] in ("19", "20"))


def _is_header(first: list[str], body: list[list[str]]) -> bool:
    """Return whether a row names the columns below it.

    A word above numbers is certain, a number above numbers speaks against it unless such
    numbers count up. Where nothing is a number, names are what does not recur below.
    """
    if not body:
        return not any(VALUE.fullmatch(cell) for cell in first)
    counting = _count_up([cell for cell in first if cell.isdigit()])
    if counting and all(cell.isdigit() for cell in first):
        return first[0] == "0" and len(first) > 3  # pandas' names where it was given none
    certain = likely = 0
    for name, *cells in zip(first, *body, strict=False):
        held = [cell for cell in cells if cell not in MISSING]
        if name in MISSING or not held:
            continue
        values = sum(1 for cell in held if VALUE.fullmatch(cell))
        if values >= 0.9 * len(held):
            if not (counting and name.isdigit()):
                certain += -1 if VALUE.fullmatch(name) else 1
        elif name in held:
            likely -= 1
        elif len(set(held)) < NAMED_APART * len(held):
            likely += 1
    return certain > 0 if certain else likely >= 0
