"""Which row of a text names the columns, and which rows above it are none of the table's."""

from __future__ import annotations

import re
from itertools import pairwise

from objectives.dialect import BLANKS, VALUE, Row, are_values, is_blank
from objectives.reading import MISSING, MISSING_NUMBERS, LayoutError, Overrides

NAMED_APART = 0.5  # share of distinct values below which a column's own value would recur
TITLES = 20  # rows of titles, and headings of groups of columns, above the names at most
ORDERS = {"years": 0.5, "steps": 0.5, "long": 0.1}  # of the rows that may stand like the names
NUMERAL = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
YEAR = re.compile(r"(19|20)[0-9]{2}")
MOMENT = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ].*)?|\d{4}-\d\d|\d{1,2}:\d\d(:\d\d)?")

Header = tuple[int, list[str], bool]  # physical line, cells, whether they are names


def find_header(rows: list[Row], width: int, overrides: Overrides) -> Header:
    """Return the physical line where the table begins, its cells, and whether they are names.

    Raises:
        LayoutError: names seem to stand above the table, but they are not as many as its columns.
    """
    fitting = [(line, row[:width]) for line, row in rows if fits(row, width)]
    bodies = [row for _, row in fitting]
    line, first = fitting[_first(bodies, width) if overrides.skip is None else 0]
    if overrides.header is False:
        return line, first, False
    body = [row for at, row in fitting if at > line]
    if _is_header(first, body):
        return line, first, True
    above = [(at, row) for at, row in rows if at < line and any(cell.strip("#") for cell in row)]
    while len(above) > 1 and _are_comments([row for _, row in above[-2:]], width):
        above.pop()  # units, below names
    if above:
        top, row = above[-1]
        if names := _named_above(row, [first, *body], width):
            return top, names, True
        if len(row) > 1 and not _is_comment(row):
            raise LayoutError(
                f"Line {top} has {len(row)} fields, where the rows below it have {width}: "
                f"{', '.join(row)[:80]!r}. If it names the columns, repair it; else leave it out, "
                f"with --skip {top}"
            )
    return line, first, bool(overrides.header)


def _named_above(row: list[str], bodies: list[list[str]], width: int) -> list[str]:
    """Return the names in the row above the table, if it has them; row names are all different."""
    names = names_above(row, bodies, width)
    keys = [cells[0] for cells in bodies]
    if not names or _is_comment(row):
        return names
    return names if _is_header(names, bodies) and (names[0] or len({*keys}) == len(keys)) else []


def fits(row: list[str], width: int) -> bool:
    """Return whether a row has that many fields, empty ones beyond them not counted."""
    return len(row) == width or (len(row) > width and is_blank(row[width:]))


def uncommented(row: list[str]) -> list[str]:
    """Return names without the # that makes them a comment."""
    return [row[0].lstrip("#" + BLANKS), *row[1:]] if _is_comment(row) else row


def names_above(row: list[str], bodies: list[list[str]], width: int) -> list[str]:
    """Return the names of a header that is a comment, or is some fields short; else nothing.

    R writes no name above row names; other programs end every row but the header with
    separators.
    """
    if _is_comment(row) and len(row) == width:
        return uncommented(row)
    short = width - len(row)
    if short < 1 or len(row) < 2:
        return []
    if is_blank([cell for body in bodies for cell in body[len(row) :]]):
        return [*row, *[""] * short]
    return ["", *row] if short == 1 else []


def _is_comment(row: list[str]) -> bool:
    return row[0].startswith("#") and row[0] != "#"


def _are_comments(rows: list[list[str]], width: int) -> bool:
    """Return whether all rows are comments that may name the columns or say their units."""
    wide = all(_is_comment(row) and len(row) == width for row in rows)
    return wide and not any(VALUE.fullmatch(cell) for row in rows for cell in row)


def _first(bodies: list[list[str]], width: int) -> int:
    """Return the place of the first row below comments and titles.

    Comments are rows that begin with # if no other row does. Titles and headings of groups fill
    fewer cells than the names below them; a title is one cell, unless columns are of numbers.
    """
    at = next((place for place, row in enumerate(bodies) if not _is_comment(row)), 0)
    if any(map(_is_comment, bodies[at:])):
        at = 0
    filled = [sum(map(bool, row)) for row in bodies[at : at + TITLES + 1]]
    for above in range(1, len(filled)):
        row, below = bodies[at + above], bodies[at + above + 1 :]
        if filled[above] > max(filled[:above]) and _names_numbers(row, below):
            return at + above
    titles = next((place for place, cells in enumerate(filled) if cells != 1), 0)
    body = bodies[at + titles + 1 :]
    named = width > 2 and body and _is_header(bodies[at + titles], body)
    return at + titles if named else at


def _names_numbers(row: list[str], body: list[list[str]]) -> bool:
    """Return whether a row is a header of words, one of them at least above numbers."""
    if not body or any(map(VALUE.fullmatch, row)) or not _is_header(row, body):
        return False
    named = zip(row, *body, strict=False)
    return any(name not in MISSING and are_values(_held(cells)) for name, *cells in named)


def _held(cells: list[str]) -> list[str]:
    return [cell for cell in cells if cell not in MISSING]


def _orders(cells: list[str]) -> set[str]:
    """Return in which orders numbers stand: as years, in equal steps, or as a long row."""
    if not all(map(NUMERAL.fullmatch, cells)):
        return set()
    steps = {round(float(b) - float(a), 9) for a, b in pairwise(cells)}
    if not steps or min(steps) <= 0 <= max(steps):
        return set()
    orders = {
        "years": all(map(YEAR.fullmatch, cells)),
        "steps": len(cells) > 2 and len(steps) == 1,
        "long": len(cells) > 4,
    }
    return {order for order, found in orders.items() if found}


def _named_by(first: list[str], body: list[list[str]]) -> set[str]:
    """Return the orders in which the numbers of a row stand, but not most rows below it.

    Steps other than one do not count where a number recurs below it, as among marks from 1 to 5.
    """
    places = [place for place, cell in enumerate(first) if NUMERAL.fullmatch(cell)]
    names = [first[place] for place in places]
    orders = _orders(names)
    rows = [[row[place] for place in places] for row in body]
    if "steps" in orders and float(names[1]) - float(names[0]) != 1:
        recurs = any(name in cells for name, *cells in zip(names, *rows, strict=False))
        orders -= {"steps"} if recurs else set()
    below = [_orders(row) for row in rows[:200]] if orders else []
    alike = {order: sum(order in found for found in below) for order in orders}
    return {order for order in orders if alike[order] <= ORDERS[order] * len(below)}


def _is_header(first: list[str], body: list[list[str]]) -> bool:
    """Return whether a row names the columns below it.

    A word above numbers is certain, or a date above what is none; a number above numbers speaks
    against it unless such numbers stand in order. Where nothing is a number, names are what does
    not recur below.
    """
    if not body:
        return not any(VALUE.fullmatch(cell) for cell in first)
    orders = _named_by(first, body)
    if orders and all(map(NUMERAL.fullmatch, first)):
        # pandas' names where it was given none
        return "years" in orders or (first[0] == "0" and len(first) > 3)
    certain = likely = 0
    for name, *cells in zip(first, *body, strict=False):
        held = _held(cells)
        if name in MISSING or not held:
            continue
        if are_values([cell for cell in held if cell not in MISSING_NUMBERS]):
            if MOMENT.fullmatch(name) and not any(map(MOMENT.fullmatch, held)):
                certain += 1
            elif not (orders and NUMERAL.fullmatch(name)):
                certain += -1 if VALUE.fullmatch(name) else 1
        elif name in held:
            likely -= 1
        elif len(set(held)) < NAMED_APART * len(held):
            likely += 1
    return certain > 0 if certain else likely >= 0
