"""Columns of dates: how they are read, and what is doubtful in that."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import date

import numpy as np

from objectives.cells import Cells, Floats
from objectives.dates import PARTS, first_date, late_year, to_moments, to_parts, written
from objectives.identifiers import MONTHS, TIMES, name_words, names_dates
from objectives.reading import ColumnRule

FEWEST = 3  # distinct texts that tell what they all look like
QUARTER = re.compile(r"\d{4}[-/][1-4]|[1-4][-/]\d{4}")
CENTURIES = ("19", "20")  # which numbers begin with that may be dates
SERIALS = (30_000, 60_000)  # days as Excel counts them, of 1982 to 2064
UTC = re.compile(r"(Z|GMT|UTC)?([+-]00?(:?00)?)?", re.IGNORECASE)
EXCEL = np.datetime64("1899-12-30")  # its day 0


def as_dates(cells: Cells, rule: ColumnRule, order: str) -> ColumnRule:
    """Return the rule of a datetime column: the parts of it that vary become features.

    Where each date is the first of its month, they are months, whose weekday says nothing.
    """
    moments = cells.moments(order)
    origin = "" if order == "time" else first_date(moments)
    parts = {part: known[np.isfinite(known)] for part, known in to_parts(moments, origin).items()}
    kept = [part for part in PARTS if len(np.unique(parts[part])) > 1]
    if order == "time":
        kept = [part for part in kept if part in ("hour", "minute", "second")]
    elif (parts["day"] == 1).all():
        kept = [part for part in kept if part != "weekday"]
    return replace(rule, kind="datetime", dates=order, parts=tuple(kept), origin=origin)


def named_order(cells: Cells) -> str:
    """Return the order of dates that are written as numbers, if the column's name says they are."""
    words = name_words(cells.name)
    dated = names_dates(cells.name) or not MONTHS.isdisjoint(words)
    if (dated or not TIMES.isdisjoint(words)) and _all_dates(cells, "digits"):
        return "digits"
    return "months" if dated and _all_dates(cells, "months") else ""


def _all_dates(cells: Cells, order: str) -> bool:
    few = to_moments(cells.sample, order)
    return bool(np.isfinite(few).all() and np.isfinite(cells.moments(order)).all())


def number_warnings(cells: Cells, numbers: Floats) -> list[str]:
    """Return a warning where numbers may be dates, which nothing says for certain."""
    column, known = f"Column {cells.name!r}", np.isfinite(numbers)
    first = int(np.argmax(known))
    example, least, most = repr(cells.values[first]), numbers[known].min(), numbers[known].max()
    last = "".join(name_words(cells.name)[-1:])
    if names_dates(last) and SERIALS[0] <= least and most <= SERIALS[1]:
        return [
            f"{column}: {example} and the like are read as numbers. If they count days as Excel "
            f"does, {example} is {EXCEL + int(numbers[first])}: format the column as dates there, "
            "such as 2024-12-31, and save it again."
        ]
    likely = len(cells.values) >= FEWEST and all(v.startswith(CENTURIES) for v in cells.sample)
    weeks = not TIMES.isdisjoint(name_words(cells.name))  # or quarters
    if likely and not weeks and (_all_dates(cells, "months") or _all_dates(cells, "digits")):
        return [
            f"{column}: {example} and the like are read as numbers. If they are dates, say so "
            f"with --column {shlex.quote(cells.name + '=datetime')}"
        ]
    return []


def date_warnings(cells: Cells, order: str, guess: bool) -> list[str]:
    """Return what is doubtful in reading a column's texts as dates in an order.

    `guess` is whether nothing says that it is this order.
    """
    column, example = f"Column {cells.name!r}", repr(cells.values[0])
    warnings = []
    if len(cells.values) >= FEWEST and all(map(QUARTER.fullmatch, cells.sample)):
        warnings.append(
            f"{column}: {example} and the like are read as months of a year. If they are quarters, "
            "write each by its first month, as 2024-10 for the fourth, or say so with "
            f"--column {shlex.quote(cells.name + '=categorical')}"
        )
    elif guess and order == "my":
        warnings.append(
            f"{column}: {example} and the like are read as months of a year. If they are not, "
            f"say so with --column {shlex.quote(cells.name + '=categorical')}"
        )
    elif guess:
        first = {"dmy": "day", "mdy": "month", "yy": "year"}[order]
        others = [f"--{part}-first" for part in ("day", "month") if part != first]
        warnings.append(
            f"{column}: dates such as {example} are read with the {first} first. Nothing in the "
            f"file says which it is. If that is wrong, say so with {' or '.join(others)}."
        )
    if order == "time":
        lengths = {value.count(":") for value in cells.sample if value[-1].isdigit()}
        if lengths >= {1, 2}:
            warnings.append(
                f"{column} holds times with seconds and without, as {example}, read as times of "
                "day. If they are durations, write them as numbers of seconds."
            )
        return warnings
    moments = cells.moments(order)
    latest = int(np.nanmax(moments[:, 0]))
    if latest > date.today().year and (text := late_year(cells.values, moments, order)):
        warnings.append(
            f"{column}: {text!r} is read as a date of {latest}, which is to come. If years such "
            "as this are past, write them with four digits."
        )
    zones = {*written(cells.sample, order, "zone")} - {""}
    if all(map(UTC.fullmatch, zones)):
        return warnings
    if len(zones) > 1:
        warnings.append(
            f"{column} has times of several zones ({', '.join(sorted(zones)[:5])}), which are "
            "ignored. Write all in one zone."
        )
    return warnings
