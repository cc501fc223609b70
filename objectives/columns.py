"""Kinds of columns, and how a column's text becomes values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from objectives.cells import KEY_SHARE, Cells, Floats, Strings
from objectives.date_columns import as_dates, date_warnings, named_order, number_warnings
from objectives.dates import are_seasons, find_order, to_parts
from objectives.identifiers import FEW, are_versions, is_row_number, postal_warnings
from objectives.numerals import are_addresses, are_dialled, find_thousands, is_code
from objectives.reading import ColumnRule, Kind, ReadingError
from objectives.scales import currency_warnings, has_percent, unit_warnings
from objectives.units import without_unit

Flags = np.ndarray[Any, np.dtype[np.bool_]]

UNREADABLE = 0.01  # share of a column's texts that may fail to be numbers or dates
FEW_NUMBERS = 20  # distinct numbers up to which every text must be one
WORDS = (
    ("no", "yes"), ("false", "true"), ("n", "y"), ("off", "on"),
    ("nein", "ja"), ("n", "j"), ("falsch", "wahr"),
)  # fmt: skip
PROSE_WORDS, PROSE_LENGTH, PROSE_DISTINCT = 3, 40, 0.3  # a text column has at least these means


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What the columns of one file share."""

    decimal: str
    certain: bool  # whether the columns that show a decimal sign show the same
    given: bool = False  # whether the user says the decimal sign
    day_first: bool | None
    year_first: bool = True  # whether it may come first where it has two digits


def find_conventions(
    columns: Sequence[Cells], separator: str, decimal: str | None, day_first: bool | None
) -> Conventions:
    """Find the decimal sign that most columns show, and whether days come before months."""
    full = [cells for cells in columns if len(cells.values) and not are_addresses(cells.sample)]
    votes = [cells.evidence for cells in full]
    points, commas = votes.count("."), votes.count(",")
    given = decimal is not None
    if not given and points == commas == 0:
        # Where commas separate no cells, they are likely to be decimal signs.
        decimal = "," if separator == ";" and "either" in votes else "."
    year_first = day_first is None
    orders = {
        find_order(cells.bare, None)
        for cells, vote in zip(full, votes, strict=True)
        if not vote and not are_versions(cells)
    }
    known = {order for order, share, guess in orders if share > 1 - UNREADABLE and not guess}
    if day_first is None and len(known & {"dmy", "mdy"}) == 1:
        day_first = "dmy" in known
    chosen = decimal or ("," if commas > points else ".")
    if day_first is None and chosen == "," and not known & {"dmy", "mdy"}:
        day_first = True
    return Conventions(
        decimal=chosen,
        certain=bool(points) != bool(commas),
        given=given,
        day_first=day_first,
        year_first=year_first,
    )


def infer(
    cells: Cells, conventions: Conventions, unnamed: bool = False
) -> tuple[ColumnRule, list[str]]:
    """Return how a column is to be read, and warnings of what is doubtful in that.

    `unnamed` is the first column of a file if it alone has no name.
    """
    rule = ColumnRule(name=cells.name, position=cells.position, kind="categorical")
    values = cells.values
    if not len(values):
        return replace(rule, kind="empty"), []
    rule, numbers, warnings = _as_numbers(cells, rule, conventions)
    if len(values) == 1 and cells.held == cells.rows:
        return replace(rule, kind="constant"), []
    if numbers is not None:
        if order := named_order(cells):
            return as_dates(cells, replace(rule, decimal="", thousands=""), order), []
        if set(numbers[np.isfinite(numbers)]) == {0.0, 1.0}:
            return replace(rule, kind="boolean"), warnings
        if is_row_number(cells, numbers, unnamed):
            return replace(rule, kind="identifier"), warnings
        warnings += number_warnings(cells, numbers) + postal_warnings(cells, numbers)
        return replace(rule, kind="numeric"), warnings
    words = {value.lower() for value in values[:9]}
    if len(values) < 9 and (pair := next((p for p in WORDS if words == set(p)), None)):
        return replace(rule, kind="boolean", words=pair), []
    order, share, guess = find_order(values, conventions.day_first, conventions.year_first)
    no_dates = are_versions(cells) or are_seasons(values)
    if share >= 1 - UNREADABLE and len(values) > 1 and not no_dates:
        return as_dates(cells, rule, order), date_warnings(cells, order, guess)
    return replace(rule, kind=_text_kind(cells)), []


def force(cells: Cells, kind: Kind, conventions: Conventions) -> ColumnRule:
    """Return how a column is to be read as the kind the user says it is.

    Raises:
        ReadingError: no text of the column can be read as that kind.
    """
    rule = ColumnRule(name=cells.name, position=cells.position, kind=kind)
    if not len(cells.values):
        return replace(rule, kind="empty")
    example = cells.values[0]
    numeric, numbers, _ = _as_numbers(cells, rule, conventions)
    if kind == "numeric" and numbers is None:
        decimal = _decimal(cells, conventions)
        if not np.isfinite(cells.numbers(decimal, cells.unit)).any():
            raise ReadingError(
                f"Expected numbers in column {cells.name!r}. Received {example!r} and the like. "
                "Leave its kind out, or call it categorical."
            )
        percent = has_percent(cells.values)
        return replace(rule, decimal=decimal, unit=cells.unit, percent=percent)
    if kind == "datetime":
        order, share, _ = find_order(cells.values, conventions.day_first, conventions.year_first)
        if not share:
            raise ReadingError(
                f"Expected dates in column {cells.name!r}, such as 2024-12-31. "
                f"Received {example!r} and the like. Leave its kind out, or call it categorical."
            )
        return as_dates(cells, rule, order)
    if kind == "boolean":
        words = sorted({value.lower() for value in cells.values})
        if numbers is not None and set(numbers) <= {0.0, 1.0}:
            return numeric
        if len(words) != 2:
            raise ReadingError(
                f"Expected two values in column {cells.name!r}, as it is to be boolean. "
                f"Received {len(words)}. Leave its kind out, or call it categorical."
            )
        return replace(rule, words=next((p for p in WORDS if set(p) == set(words)), tuple(words)))
    return numeric


def values_of(cells: Cells, rule: ColumnRule) -> tuple[dict[str, np.ndarray[Any, Any]], Flags]:
    """Return a column's values by the part they are ("" for the whole), and what is unreadable.

    Returns:
        One array per part, an entry per row: float64 with NaN where missing or unreadable, or
        str with "" where missing; and for each distinct text whether it cannot be read. No
        array for a column that is left out.
    """
    if rule.kind in ("identifier", "constant", "empty"):
        return {}, np.zeros(len(cells.values), dtype=bool)
    if rule.kind in ("categorical", "text"):
        return {"": cells.texts()}, np.zeros(len(cells.values), dtype=bool)
    if rule.kind == "datetime":
        moments = cells.moments(rule.dates)
        parts = to_parts(moments, rule.origin)
        spread = {part: cells.spread(parts[part], np.nan) for part in rule.parts}
        return spread, ~np.isfinite(moments[:, 0])
    if rule.words:
        known = dict(zip(rule.words, (0.0, 1.0), strict=True))
        numbers = np.array([known.get(v.lower(), np.nan) for v in cells.values], dtype=float)
    else:
        numbers = cells.numbers(rule.decimal or ".", rule.unit)
        if rule.kind == "boolean":
            numbers = np.where(np.isin(numbers, (0.0, 1.0)), numbers, np.nan)
    return {"": cells.spread(numbers, np.nan)}, np.isnan(numbers)


def _decimal(cells: Cells, conventions: Conventions) -> str:
    """Return the decimal sign of one column: its own where it shows one, else the file's."""
    evidence = cells.evidence
    return evidence if evidence in (".", ",") else conventions.decimal


def _as_numbers(
    cells: Cells, rule: ColumnRule, conventions: Conventions
) -> tuple[ColumnRule, Floats | None, list[str]]:
    """Return the rule with its number format, and the numbers, if the texts are numbers."""
    values = cells.values
    evidence = cells.evidence
    plain = without_unit(values, cells.unit)
    if not evidence or is_code(plain):
        return rule, None, []
    decimal = _decimal(cells, conventions)
    numbers = cells.numbers(decimal, cells.unit)
    unreadable = np.isnan(numbers)
    few = np.count_nonzero(~unreadable) <= FEW_NUMBERS  # an odd text may be a level of its own
    if cells.counts[unreadable].sum() > (0 if few else UNREADABLE * cells.held):
        return rule, None, []
    thousands = find_thousands(cells.bare, decimal)
    warnings = currency_warnings(cells.name, values)
    bracketed = len(values) > 1 and all("(" in value and ")" in value for value in plain)
    if bracketed and (numbers < 0).any():
        first = int(np.argmax(numbers < 0))
        warnings.append(
            f"Column {cells.name!r}: all its numbers are in brackets, which stand for a minus, so "
            f"{values[first]!r} is read as {numbers[first]:.15g}. If it is none, take them off in "
            "the file."
        )
    warnings += unit_warnings(cells, numbers)
    if decimal != conventions.decimal:
        warnings.append(
            f"Column {cells.name!r} is read with the decimal sign {decimal!r}, unlike the file's "
            f"other numbers."
        )
    elif evidence == "either" and _in_doubt(plain, decimal, conventions):
        told = zip(values, plain, numbers, strict=True)
        example, number = next((text, n) for text, bare, n in told if not bare.isdigit())
        warnings.append(
            f"Column {cells.name!r}: {example!r} is read as {number:.15g}. If that is wrong, say "
            f"so with --decimal {',' if decimal == '.' else '.'}"
        )
    percent = has_percent(values)
    rule = replace(rule, decimal=decimal, thousands=thousands, unit=cells.unit, percent=percent)
    return rule, numbers, warnings


def _in_doubt(texts: Strings, decimal: str, conventions: Conventions) -> bool:
    """Return whether numbers such as 1,234, which may be of thousands or not, are to be told.

    Points before three digits in all numbers of a column may be decimal signs, even where other
    columns show a comma.
    """
    grouped = decimal == "," and all("." in text for text in texts)
    return not conventions.given and (grouped or not conventions.certain)


def _text_kind(cells: Cells) -> Kind:
    """Return the kind of a column whose texts are neither numbers nor dates."""
    distinct = len(cells.values)
    if cells.held < FEW:
        return "categorical"
    sample = cells.sample
    words = np.mean([_count_words(value) for value in sample])
    length = np.mean([len(value) for value in sample])
    prose = words >= PROSE_WORDS or length >= PROSE_LENGTH
    if distinct > max(FEW / 2, PROSE_DISTINCT * cells.held) and prose and not are_dialled(sample):
        return "text"
    return "identifier" if distinct >= KEY_SHARE * cells.held else "categorical"


def _count_words(text: str) -> int:
    """Return how many words a text has; the parts of 0 days 01:23:45 or 40° 26' N are none."""
    parts = text.split()
    return sum(len(part) > 1 and any(map(str.isalpha, part)) for part in parts)
