"""The rules by which a table's columns are read, found from their text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from objectives.cells import Cells
from objectives.checks import doubts, missing_words
from objectives.columns import FEW_NUMBERS, Conventions, force, infer
from objectives.dates import find_order
from objectives.grid import Integers
from objectives.identifiers import keep_last
from objectives.numerals import DASHES, PATTERNS, is_code
from objectives.reading import MISSING_NUMBERS, ColumnRule, Kind
from objectives.units import may_have_late_minus, shows_late_minus

CENTS = re.compile(r"[.,]\d\d\b")


def without_marks(
    columns: Sequence[Cells], marks: Collection[str], kinds: Mapping[str, Kind]
) -> tuple[Cells, ...]:
    """Return the columns without marks for a missing value, where they stand among values.

    Args:
        columns: the columns' text.
        marks: what stands for nothing where all other texts of a column are numbers or dates.
        kinds: what the user says of columns, by their names.
    """
    known, found = {*marks}, []
    for cells in columns:
        kind = kinds.get(cells.name)
        told = kind in ("numeric", "datetime")
        if (told or kind in (None, "boolean")) and not known.isdisjoint(cells.values):
            rest = cells.without(known)
            cells = rest if told or _are_values(rest) else cells
        found.append(cells)
    return tuple(found)


def with_late_minus(columns: Sequence[Cells], kinds: Mapping[str, Kind]) -> tuple[Cells, ...]:
    """Return the columns with a minus behind whole numbers, as in 229-, where it is one.

    It is where another column has it behind decimals, or the user calls the column numeric.

    Args:
        columns: the columns' text.
        kinds: what the user says of columns, by their names.
    """
    shown = any(shows_late_minus(cells.sample) for cells in columns)
    return tuple(
        replace(cells, late_minus=True)
        if kinds.get(cells.name, "numeric" if shown else "") == "numeric"
        and may_have_late_minus(cells.values)
        else cells
        for cells in columns
    )


def _are_values(cells: Cells) -> bool:
    """Return whether all texts, of which there are some, are numbers, or all are dates."""
    if not len(cells.values) or is_code(cells.bare):
        return False
    if any(np.isfinite(cells.numbers(sign, cells.unit)).all() for sign in PATTERNS):
        return True
    return find_order(cells.values, None)[1] == 1


def find_rules(
    columns: Sequence[Cells],
    conventions: Conventions,
    kinds: Mapping[str, Kind],
    lines: Integers,
    unnamed: bool,
) -> tuple[list[ColumnRule], list[str]]:
    """Return how each column is to be read, and warnings of what is doubtful in that.

    Args:
        columns: the columns' text.
        conventions: what they share.
        kinds: what the user says of columns, by their names.
        lines: the physical line of each row.
        unnamed: whether of all columns the first alone has no name.

    Raises:
        ReadingError: a column cannot be read as the kind that the user says.
    """
    rules: list[ColumnRule] = []
    warnings: list[str] = []
    for cells in columns:
        if cells.name in kinds:
            rules.append(force(cells, kinds[cells.name], conventions))
        else:
            rule, guesses = infer(cells, conventions, unnamed and cells.position == 0)
            rules.append(rule)
            warnings += guesses
        if cells.name not in kinds or rules[-1].kind == "numeric":
            warnings += doubts(cells, rules[-1], lines)
    rules, kept = keep_last(rules, kinds)
    return rules, [
        *warnings,
        *kept,
        *missing_words(columns, rules),
        *_missing_levels(columns, rules),
        *_dashes(columns, rules),
    ]


def _dashes(columns: Sequence[Cells], rules: Sequence[ColumnRule]) -> list[str]:
    """Return a warning for each dash that is missing among amounts, where it often means 0.

    Amounts have groups of thousands, or two decimals each.
    """
    return [
        f"Column {cells.name!r}: {text!r} among its amounts counts as missing ({rows} cells). If "
        "it stands for 0, write 0 in the file."
        for cells, rule in zip(columns, rules, strict=True)
        if rule.kind == "numeric"
        for text, rows in cells.absent.items()
        if text in DASHES and (rule.thousands or all(map(CENTS.search, cells.sample)))
    ]


def _missing_levels(columns: Sequence[Cells], rules: Sequence[ColumnRule]) -> list[str]:
    """Return a warning for each word that counts as missing among so few numbers as levels are."""
    return [
        f"Column {cells.name!r}: {text!r} among numbers counts as missing ({rows} cells). If it is "
        f"a value, say so with --present={shlex.quote(text)}"
        for cells, rule in zip(columns, rules, strict=True)
        if rule.holds_values and len(cells.values) <= FEW_NUMBERS
        for text, rows in cells.absent.items()
        if text in MISSING_NUMBERS and text.isalpha()
    ]
