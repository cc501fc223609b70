"""What a column's numbers are counted in, where they show it: currencies, percent, words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

import numpy as np

from objectives.cells import Cells, Floats, Strings
from objectives.dialect import MONEY
from objectives.reading import ColumnRule
from objectives.units import DRESSED, SCALES, lacks_words, without_unit

NUMERALS = "0123456789.,+-－−–—()%％'’ \xa0\u2009\u202f"
PERCENT = re.compile("[%％]")
CURRENCY = re.compile(MONEY)
ALIKE = {  # two ways to write one currency
    "EUR": "€", "USD": "$", "US$": "$", "US $": "$", "GBP": "£", "JPY": "¥", "CNY": "¥", "元": "¥",
    "円": "¥", "INR": "₹", "Rs": "₹", "RUB": "₽", "TRY": "₺", "TL": "₺", "KRW": "₩", "원": "₩",
    "PLN": "zł", "CZK": "Kč", "SEK": "kr", "NOK": "kr", "DKK": "kr", "BRL": "R$", "ZAR": "R",
    "MYR": "RM", "IDR": "Rp", "PHP": "₱", "THB": "฿", "ILS": "₪", "UAH": "₴", "NGN": "₦",
    "KZT": "₸", "＄": "$", "￡": "£", "￥": "¥", "￦": "₩", "AUD": "A$", "AU$": "A$", "CAD": "C$",
    "CA$": "C$", "NZD": "NZ$", "MXN": "MX$",
}  # fmt: skip


def has_percent(values: Iterable[str]) -> bool:
    """Return whether some text has a percent sign."""
    return any(PERCENT.search(value) for value in values)


def currency_warnings(name: str, values: Strings) -> list[str]:
    """Return a warning where a column's amounts are in several currencies."""
    rests = {value.strip(NUMERALS) for value in values}
    found = {ALIKE.get(rest, rest) for rest in rests if CURRENCY.fullmatch(rest)}
    if len(found) < 2:
        return []
    return [
        f"Column {name!r} holds amounts in several currencies ({', '.join(sorted(found))}), which "
        "are ignored. Convert all to one."
    ]


def unit_warnings(cells: Cells, numbers: Floats) -> list[str]:
    """Return a warning where a column's texts are read as numbers without their unit."""
    changed = (without_unit(cells.values, cells.unit) != cells.values) & np.isfinite(numbers)
    if not changed.any():
        return []
    text, number = cells.values[changed][0], numbers[changed][0]
    read = f"{text!r} and the like are read as numbers, without their unit {cells.unit!r}"
    if cells.unit in (*SCALES, *DRESSED):
        read = f"{text!r} is read as {number:.15g}, and so on"
    remedy = shlex.quote(f"{cells.name}=categorical")
    return [f"Column {cells.name!r}: {read}. If they are names, say so with --column {remedy}"]


def scale_warnings(columns: Iterable[Cells], rules: Iterable[ColumnRule]) -> list[str]:
    """Return a warning for each column of a later file on another scale than in the first.

    It has % where that had none or the reverse, or lacks the words for thousands or millions.
    """
    warnings = []
    for cells, rule in zip(columns, rules, strict=True):
        if rule.kind != "numeric":
            continue
        decimal = rule.decimal or "."
        numbers = cells.numbers(decimal, rule.unit)
        counted = np.isfinite(numbers) & (numbers != 0)
        if has_percent(cells.values) != rule.percent and counted.any():
            there, here = ("with", "without") if rule.percent else ("without", "with")
            warnings.append(
                f"Column {rule.name!r} holds numbers {here} %, where the table that was searched "
                f"has them {there}. The sign is ignored: 5% is read as 5. Write them as there."
            )
        if rule.unit in SCALES and (lacking := lacks_words(cells.values, decimal, rule.unit)).any():
            text, number = cells.values[lacking][0], numbers[lacking][0]
            warnings.append(
                f"Column {rule.name!r} holds numbers without a word such as {rule.unit}, which "
                f"those of the table that was searched have: {text!r} is read as {number:.15g}. "
                "Write them as there."
            )
    return warnings
