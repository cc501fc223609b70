"""Columns of texts that hold numbers or answers, but not one alone."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

from objectives.cells import Cells, Strings
from objectives.dialect import MONEY
from objectives.reading import ColumnRule
from objectives.units import CLOCK

MOST = 0.9  # of the texts that are alike
NUMBER = r"\d[\d.,]*"
MEASURE = re.compile(rf"[-+−]?{NUMBER}(?: ([^\W\d_]+)|([^\W\d_]{{2,}}))\.?")
NO_UNITS = {*CLOCK, "st", "nd", "rd", "th"}
UNITS = 5  # at most, in one column
STEM = 4  # letters, by which year and years are one
TWO = re.compile(
    rf"[-+−]?{NUMBER}\s?(?:±|\+/-)\s?{NUMBER}.*"
    rf"|{MONEY}\s?{NUMBER}[KkM]?\s?[-–—]\s?{MONEY}?\s?{NUMBER}[KkM]?\b.*"
)
# As 2h 50m, PT1H5M, 0 days 00:05:00, 1:20.137 and, where they are no times of day, 30:15:00.
SPAN = (
    r"\d+(?:[.,]\d+)?\s?(?:d|days?|h|hrs?|hours?|std|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])\.?"
)
DURATION = re.compile(
    rf"{SPAN}(?:,? ?{SPAN})*|P(?:\d+D)?T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?"
    r"|-?\d+ days?,? \+?\d\d?:\d\d:\d\d(?:\.\d+)?|(?:\d+:)?\d+:[0-5]\d\.\d+|\d+:[0-5]\d:[0-5]\d",
    re.IGNORECASE,
)
# Alone, 5m or 12D may be anything, and 10:00:00 be a time of day.
UNCLEAR = re.compile(rf"{SPAN}|(?:[01]?\d|2[0-3]):\d\d:\d\d(?:\.\d+)?", re.IGNORECASE)
CHOICES = re.compile("[,;|]")
CHOSEN_ROWS, CHOSEN_SHARE = 5, 0.2  # of the texts that are several choices, at least


def mixture_warnings(cells: Cells, rule: ColumnRule) -> list[str]:
    """Return what texts hold that a network cannot see as long as they are texts."""
    values, column = cells.sample, f"Column {cells.name!r} is {rule.kind}"
    if units := _units(values):
        return [
            f"{column}: its numbers have several units ({', '.join(units)}). If they are to be "
            "numbers, write all in one unit."
        ]
    if lasting := _duration(values):
        return [
            f"{column}: its cells look like durations, as {lasting!r}. If they are to be numbers, "
            "write them as numbers of minutes or seconds."
        ]
    pairs = [value for value in values if TWO.fullmatch(value)]
    if len(pairs) >= MOST * len(values):
        return [
            f"{column}: its cells hold two numbers each, as {pairs[0]!r}. If they are to be "
            "numbers, write them into a column each."
        ]
    if several := _several_choices(values):
        return [
            f"{column}: its cells hold several answers each, as {several!r}, and each combination "
            "is a level of its own. If the answers are to be, write them into a column each."
        ]
    return []


def _units(values: Strings) -> list[str]:
    """Return the units of texts that are numbers with one each, if they have several.

    One at least is written small: the A and B of rooms are none, nor are streets.
    """
    found = [match for value in values if (match := MEASURE.fullmatch(value))]
    if len(found) < MOST * len(values):
        return []
    units: dict[str, str] = {}
    for match in found:
        unit = match[1] or match[2]
        plural = len(unit) > 2 and unit.endswith("s")
        units.setdefault(unit[: -1 if plural else None][:STEM], unit)
    several = 1 < len(units) <= UNITS and NO_UNITS.isdisjoint(map(str.lower, units))
    return [*units.values()] if several and not all(map(_is_name, units.values())) else []


def _duration(values: Strings) -> str:
    """Return a text of a length of time, if most are such and some are unmistakable; else ""."""
    found = [value for value in values if DURATION.fullmatch(value)]
    clear = [value for value in found if not UNCLEAR.fullmatch(value)]
    return clear[0] if len(values) > 1 and clear and len(found) >= MOST * len(values) else ""


def _is_name(unit: str) -> bool:
    """Return whether a word behind numbers may be a name: a letter, or a word like Main."""
    return unit.isupper() if len(unit) == 1 else unit.istitle() and len(unit) > 2


def _several_choices(values: Strings) -> str:
    """Return a text of several choices, if most are of a few; "" if they are none.

    Each text has a choice once only, and every choice stands in several texts.
    """
    chosen = [[part.strip() for part in CHOICES.split(value)] for value in values]
    several = [value for value, parts in zip(values, chosen, strict=True) if len(parts) > 1]
    if len(several) < max(CHOSEN_ROWS, CHOSEN_SHARE * len(values)):
        return ""
    counts = Counter(chain.from_iterable(chosen))
    alone = {parts[0] for parts in chosen if len(parts) == 1}
    once = all(len(set(parts)) == len(parts) for parts in chosen)
    few = len(counts) <= len(values) / 2 and min(counts.values()) > 1
    return several[0] if once and few and len(alone) > 1 else ""
