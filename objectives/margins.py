"""Rows that stand between a table's names and its values, or below them, and are neither."""

from __future__ import annotations

from collections import Counter

from objectives.dialect import BLANKS, JUNK, VALUE, are_values
from objectives.reading import MISSING, MISSING_NUMBERS, DroppedRow

UNITS = 2  # texts above columns of numbers that a row of units has, where it has others too
LOOKED_AT = 200  # rows below or above such a row
FEW = 20  # rows, below which a text that does not recur says nothing


def drop_units(columns: list[list[str]], lines: list[int]) -> list[DroppedRow]:
    """Take rows of units and further names away from below the header; return them."""
    dropped: list[DroppedRow] = []
    while lines and (reason := _why_no_values(columns, bool(dropped))):
        for column in columns:
            del column[0]
        dropped.append(DroppedRow(line=lines.pop(0), reason=reason))
    return dropped


def _why_no_values(columns: list[list[str]], further: bool) -> str:
    """Return why the first row is none of values, "" if it may be.

    It holds no number, but texts above columns of numbers, and one at least that is no level there
    if it holds nothing else; or it repeats a text, as "Response", and no column holds its text of
    that row again. Below such a row it may hold one text alone, as the name of pandas' index.
    """
    above, once = [], []
    for column in columns:
        first, *below = (cell.strip(BLANKS) for cell in column[: LOOKED_AT + 1])
        if VALUE.fullmatch(first):
            return ""
        if first in MISSING or first in MISSING_NUMBERS:
            continue
        held = [cell for cell in below if cell not in MISSING]
        if are_values([cell for cell in held if cell not in MISSING_NUMBERS]):
            above.append(first not in held)
        elif len(held) >= FEW and first not in held:
            once.append(first)
        else:
            once.append("")
    if len(above) >= (1 if further else UNITS) or (not once and any(above)):
        return "holds units, not values"
    text, times = Counter(once).most_common(1)[0] if once else ("", 0)
    enough = times >= UNITS or (further and len(once) == 1 and not above)
    return f"holds {text!r}, not values" if text and enough and "" not in once else ""


def drop_notes(columns: list[list[str]], lines: list[int]) -> list[DroppedRow]:
    """Take notes away from below the table: texts in the first column, alone as none above is."""
    end = len(lines)
    while end > FEW and _is_note(columns, end - 1):
        end -= 1
    if end == len(lines) or any(_is_note(columns, r) for r in range(max(0, end - LOOKED_AT), end)):
        return []
    for column in columns:
        del column[end:]
    dropped = [DroppedRow(line=line, reason="holds one text, as a note") for line in lines[end:]]
    del lines[end:]
    return dropped


def _is_note(columns: list[list[str]], row: int) -> bool:
    text = columns[0][row].strip(BLANKS)
    alone = len(columns) > 2 and not any(column[row].strip(JUNK) for column in columns[1:])
    return alone and not VALUE.fullmatch(text)
