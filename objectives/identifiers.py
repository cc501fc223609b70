"""Columns of numbers that only tell rows apart, and what names say of columns."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from objectives.cells import KEY_SHARE, Cells, Floats
from objectives.numerals import is_code
from objectives.reading import ColumnRule

FEW = 10  # rows below which nothing is called an identifier
KEYS = frozenset("id ids uid uuid guid key no nr num number serial #".split())
PLACES = KEYS | {"index", "idx", "row", "case"}
TIMES = frozenset(
    "year month week day hour minute second quarter date time timestamp years months weeks days "
    "hours minutes seconds quarters jahr jahre monat monate woche wochen tag tage stunde stunden "
    "minuten sekunde sekunden quartal datum zeit annee annees mois semaine jour jours heure heures "
    "ano anos mes meses semana dia dias hora horas anno anni giorno giorni jaar maand dag".split()
)
DATES = frozenset(  # whose numbers may be days, as 20240131 or as Excel counts them
    "date dates datum fecha data dato dt ds day tag jour dia giorno dag datetime timestamp "
    "yyyymmdd".split()
)
MONTHS = frozenset(  # whose numbers may be months, as 202401
    "month months monat monate mois mes meses mese mesi maand maanden period periode periodo "
    "yyyymm ym yearmonth".split()
)
MEASURES = TIMES | frozenset(  # of what is often measured step by step, from 0 or 1
    "age ages alter t x y z step steps epoch distance depth height length width position dose "
    "temperature temp speed frequency wavelength angle concentration pressure voltage load "
    "tiefe dauer abstand temperatur wellenlange frequenz winkel druck spannung".split()
)
POSTAL = frozenset("zip zips zipcode postal postcode plz postleitzahl cep".split())
CODED = POSTAL | KEYS | {"code", "codes"}
PADDED = re.compile(r"0\d{2,14}")  # as codes are, of no more digits than a number keeps
CODE_DIGITS, LOST = 5, 2  # of postal codes, at least; that may be missing before them
VERSIONED = {"version", "versions", "build", "firmware"}  # Words of names.
VERSION = re.compile(r"\d{1,2}\.\d{1,2}\.\d{1,2}")
NAME_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|#")
LEFT_OUT = ("identifier", "constant", "empty")


def name_words(name: str) -> list[str]:
    """Return the words of a column's name in lower case, without accents."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if sign.isascii())
    return [word.lower() for word in NAME_WORDS.findall(plain)]


def names_dates(name: str) -> bool:
    """Return whether a name says that a column is of dates: a word of it does, or ends so."""
    words = name_words(name)
    return any(word in DATES or word.endswith(("date", "datum")) for word in words)


def are_versions(cells: Cells) -> bool:
    """Return whether texts such as 1.5.25, by their column's name, are versions and no dates."""
    words = name_words(cells.name)
    named = not VERSIONED.isdisjoint(words) and TIMES.isdisjoint(words)  # build_date is of dates.
    return named and all(VERSION.fullmatch(value) for value in cells.sample)


def postal_warnings(cells: Cells, numbers: Floats) -> list[str]:
    """Return a warning where postal codes, by their column's name, have lost leading noughts."""
    known = numbers[np.isfinite(numbers)]
    if POSTAL.isdisjoint(name_words(cells.name)) or known.min() < 1 or (known % 1).any():
        return []
    short, long = (len(f"{number:.0f}") for number in (known.min(), known.max()))
    if long < CODE_DIGITS or not long - LOST <= short < long:
        return []
    return [
        f"Column {cells.name!r}: numbers of {short} to {long} digits, as codes that have lost "
        "their leading noughts. If they name places, say so with "
        f"--column {shlex.quote(cells.name + '=categorical')}"
    ]


def padded_warnings(cells: Cells, rule: ColumnRule) -> list[str]:
    """Return a warning where digits are taken for codes, as some begin with noughts.

    Names that say as much need none.
    """
    words = name_words(cells.name)
    if rule.decimal or not CODED.isdisjoint(words) or names_keys(cells.name):
        return []
    first = next((value for value in cells.sample if PADDED.fullmatch(value)), "")
    if not first or not all(map(str.isdigit, cells.sample)) or not is_code(cells.sample):
        return []
    return [
        f"Column {cells.name!r} is {rule.kind}: numbers such as {first!r} begin with noughts, as "
        "codes do. If they are quantities, say so with "
        f"--column {shlex.quote(cells.name + '=numeric')}"
    ]


def is_row_number(cells: Cells, numbers: Floats, unnamed: bool) -> bool:
    """Return whether a column's numbers only tell rows apart.

    They are whole and nearly all different, and so named; or all different, and they count from
    0 or 1 on, as what is measured does rarely.

    Args:
        cells: the column's text.
        numbers: its values as numbers, NaN where they are none.
        unnamed: whether it is the first column and alone has no name, as an index that was written
            beside.
    """
    known = np.isfinite(numbers)
    held, distinct = int(cells.counts[known].sum()), len(np.unique(numbers[known]))
    if held < FEW or (numbers[known] % 1 != 0).any():
        return False
    if unnamed or names_keys(cells.name):
        return distinct >= KEY_SHARE * held
    if distinct < cells.rows or MEASURES.intersection(name_words(cells.name)):
        return False
    steps = np.diff(numbers[cells.codes])
    dense = np.ptp(numbers) == cells.rows - 1
    counting = (steps > 0).all() and np.ptp(numbers) <= 10 * cells.rows
    return bool(numbers.min() <= 1 and (dense or counting))


def names_keys(name: str) -> bool:
    """Return whether a name ends with a word such as number, begins with id, or is all such words.

    "Number of employees", "case_count" and "price index" name measures; "week no" a time. pandas
    calls an index that was written beside "Unnamed: 0".
    """
    words = name_words(name)
    if name.startswith("Unnamed: "):
        return True
    if not words or TIMES.intersection(words):
        return False
    return words[-1] in KEYS or words[0] == "id" or PLACES.issuperset(words)


def keep_last(
    rules: Sequence[ColumnRule], given: Collection[str]
) -> tuple[list[ColumnRule], list[str]]:
    """Return the rules with a feature beside the target, and warnings of what is kept for that.

    Args:
        rules: of all columns.
        given: names of the columns whose kind the user says.
    """
    if sum(rule.kind not in LEFT_OUT for rule in rules) > 1:
        return [*rules], []
    found = [r for r in rules if r.kind == "identifier" and r.decimal and r.name not in given]
    kept = [rule.name for rule in found if not names_keys(rule.name)]
    warnings = [
        f"Column {name!r} may only tell rows apart. It is kept, as nothing else is left to learn "
        "from."
        for name in kept
    ]
    return [replace(r, kind="numeric") if r.name in kept else r for r in rules], warnings
