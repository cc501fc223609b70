"""Where a table lies in a text: what stands above it, and whether it names its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from objectives.dialect import (
    JUNK,
    VALUE,
    Row,
    find_dialect,
    find_stray_quotes,
    first_rows,
    is_ruler,
)
from objectives.encoding import (
    HEAD,
    find_encoding,
    guessed,
    is_valid,
    open_text,
    refuse_other_text,
    refuse_zeros,
)
from objectives.header import find_header, fits, names_above, uncommented
from objectives.ragged import RAGGED_SHARE
from objectives.reading import Overrides, Reading, ReadingError

DECLARED = re.compile(r'"?sep=([^\w\s"]|\t)"?,*\s*', re.I)  # Excel's own way to name the separator

SHOWN = 10  # Names in a warning, at most.


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Where the table lies in the text."""

    encoding: str
    separator: str
    quote: str
    header: bool
    skip: int  # physical lines above the header or the first row
    names: tuple[str, ...]
    units: bool = True  # whether rows of units may stand below the names
    unnamed: bool = False  # whether of all columns the first alone has no name
    repeated: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # positions, from 1
    warnings: tuple[str, ...] = ()


def find_shape(data: bytes, overrides: Overrides) -> Shape:
    """Find where the table lies.

    Raises:
        ReadingError: the bytes are not a table of two columns or more.
    """
    encoding = overrides.encoding or find_encoding(data)
    head = _head(data, encoding)
    separator, skip = overrides.separator, overrides.skip or 0
    if head and overrides.skip is None and (match := DECLARED.fullmatch(head[0])):
        separator, skip = separator or match[1], 1
    rest = head[skip:]
    if skip and not rest:
        raise ReadingError(f"Expected rows below the {skip} lines to skip. Give a smaller --skip.")
    separator, quote = find_dialect(rest, separator, overrides.quote)
    rows = [(skip + line, row) for line, row in first_rows(rest, separator, quote)]
    line, names, header = find_header(rows, _named_width(rows), overrides)
    given = uncommented(names) if header else [""] * len(names)
    named, repeated = unique_names(given), _repeated(given)
    return Shape(
        encoding=encoding,
        separator=separator,
        quote=quote,
        header=header,
        skip=line - 1,
        names=named,
        unnamed=header and not plain_name(names[0]) and all(map(plain_name, names[1:])),
        repeated=repeated,
        warnings=(
            *(guessed(head, encoding) if overrides.encoding is None else ()),
            *_left_out(head, skip, line - 1),
            *_stray([skip + at for at in find_stray_quotes(rest, separator, quote)]),
            *_unnamed(dict(rows)[line], names, line),
            *_renamed(named, repeated),
        ),
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
        units=reading.units,
    )
    if not reading.header:
        rows = first_rows(head[shape.skip :], shape.separator, shape.quote)
        if _width(rows) == len(known) - len(set(optional)):
            return replace(shape, names=tuple(name for name in known if name not in optional))
        return shape
    (line, names), *below = _from_names(head, shape, known)
    bodies = [row for _, row in below]
    width = _width(below) if bodies else len(names)
    if len(names) < width:
        names = names_above(names, [row for row in bodies if fits(row, width)], width) or names
    elif fits(names, width):
        names = uncommented(names)[:width]
    return replace(shape, skip=line - 1, names=unique_names(names))


def _from_names(head: list[str], shape: Shape, known: Sequence[str]) -> list[Row]:
    """Return the rows from that on which has most of the names: the shape's own, or the first.

    Raises:
        ReadingError: no row has any.
    """

    def named(row: list[str]) -> int:
        return len({*known} & _names_in(row))

    rows = first_rows(head, shape.separator, shape.quote)
    matches = [named(row) for _, row in rows[: shape.skip + 20]]
    there: list[Row] = []
    with suppress(ReadingError):  # No rows from there on: the table begins above.
        # By themselves, as the lines above may open a quote, or be a table of the same names.
        below = first_rows(head[shape.skip :], shape.separator, shape.quote)
        there = [(shape.skip + line, row) for line, row in below]
    if there and named(there[0][1]) >= max(1, *matches):
        return there
    if not any(matches):
        raise ReadingError(
            f"Expected a line with the names {', '.join(known[:10])}, separated by "
            f"{shape.separator!r}. Received: {head[min(shape.skip, len(head) - 1)].strip()!r}."
        )
    return rows[matches.index(max(matches)) :]


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


def _names_in(row: list[str]) -> set[str]:
    """Return the names that a row has in its cells, if it is a header."""
    names = unique_names(uncommented(row))
    return {name for name, cell in zip(names, row, strict=True) if cell}


def _width(rows: list[Row]) -> int:
    """Return how many fields most rows have that have more than one."""
    widths = Counter(len(row) for _, row in rows if len(row) > 1)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _named_width(rows: list[Row]) -> int:
    """Return how many fields the first row has, if it may be names and rows lack their last cells.

    No row is longer then, and more are as long than are just dropped. Else it is what most rows
    have.
    """
    width, widths = _width(rows), Counter(len(row) for _, row in rows)
    first = rows[0][1]
    names = {*first} - {""}
    named = len(names) == len(first) and not any(map(VALUE.fullmatch, first))
    full = widths[len(first)] - 1
    enough = full > max(1, RAGGED_SHARE * len(rows))
    return max(widths) if named and len(first) == max(widths) and enough else width


def _left_out(head: list[str], first: int, skip: int) -> tuple[str, ...]:
    """Return a warning of the lines above the table, but for those that the user skips."""
    lines = [line.strip(JUNK) for line in head[first:skip]]
    texts = [text for text in lines if text and not is_ruler([text])]
    if not texts:
        return ()
    which = f"Lines {first + 1} to {skip}" if skip - first > 1 else f"Line {skip}"
    shown = repr(texts[0][:60]) + (" and so on" if len(texts) > 1 else "")
    return (
        f"{which} above the table: {shown}. Left out; if the table begins there, say so with "
        f"--skip {first}",
    )


def _stray(lines: list[int]) -> tuple[str, ...]:
    """Return a warning of lines in which quotes stand amid quoted cells."""
    if not lines:
        return ()
    shown = ", ".join(f"line {line}" for line in lines[:SHOWN])
    shown += " and so on" if len(lines) > SHOWN else ""
    return (
        f"Lines with a quote amid a quoted cell ({len(lines)}): {shown}. Such quotes are left out. "
        "Double them in the file, or turn quoting off with --quote ''.",
    )


def _unnamed(row: list[str], names: list[str], line: int) -> tuple[str, ...]:
    """Return a warning where a row of names is taken to leave out the first column's."""
    if len(row) == len(names) or names[0]:
        return ()
    return (
        f"Line {line} has {len(row)} names for {len(names)} columns. The first column is taken to "
        "have none, as row names of R. If that is wrong, repair the line.",
    )


def _repeated(cells: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the names that several columns have, and the positions of these."""
    places: dict[str, list[int]] = {}
    for position, cell in enumerate(cells, start=1):
        places.setdefault(plain_name(cell), []).append(position)
    return {name: tuple(at) for name, at in places.items() if name and len(at) > 1}


def _renamed(names: Sequence[str], repeated: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Return a warning of columns whose names others have, and what they are called."""
    if not repeated:
        return ()
    if [len(at) for at in repeated.values()] == [2]:
        ((name, (_, second)),) = repeated.items()
        return (f"Two columns are named {name!r}; the second is called {names[second - 1]!r}.",)
    called = [", ".join(repr(names[place - 1]) for place in at) for at in repeated.values()]
    more = f"; and {len(called) - SHOWN} names more" if len(called) > SHOWN else ""
    return (f"Columns have the same name; they are called {'; '.join(called[:SHOWN])}{more}.",)
