"""Numbers as people write them: decimal signs, groups of thousands, currency, percent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from objectives.dialect import MONEY

Strings = np.ndarray[Any, np.dtype[np.object_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

SPACES = " '’\xa0\u2009\u202f"  # between groups, whatever the decimal sign
SHARED = 0.9  # of the texts, from which they are all taken for telephone numbers
BEHIND = (
    r"(?:(?<=[.,]\d\d)|(?<=[.,]\d\d\d))"  # where a sign is a minus, not a mark as of 2- or 12,-
)
DIALLED = re.compile(r"\+\d+(?:[ \xa0]\d+)+")
ADDRESS = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}")  # of IPv4
FANCY = re.compile("[^0-9.,+\\-eE\n]")  # what Python's own float does not take, or takes as more


def _pattern(decimal: str) -> re.Pattern[str]:
    point = re.escape(decimal)
    other = "," if decimal == "." else "."
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+−–]?)\s?(?:{MONEY}|%)?\s?(?P<inner>\()?(?P<late>[-−–]?)"
        rf"(?:(?P<whole>[1-9]\d{{0,2}}(?P<group>[{other}{SPACES}])(?:\d{{2,3}}(?P=group))*\d{{3}}"
        rf"|\d+)(?:{point}(?P<part>[-–—]{{1,2}}|\d*))?|{point}(?P<only>\d+))"
        rf"(?P<power>[eE][-+]?\d+)?(?P<behind>{BEHIND}[-−–])?(?(inner)\))\s?(?:{MONEY}|%)?(?(open)\))"
    )


PATTERNS = {".": _pattern("."), ",": _pattern(",")}
# Arabic, Persian and full-width digits, with their decimal signs, marks of groups and so on.
WRITTEN = str.maketrans(
    "٠١٢٣٤٥٦٧٨٩٫٬۰۱۲۳۴۵۶۷۸۹０１２３４５６７８９．，％－", "0123456789.,01234567890123456789.,%-"
)
DASHES = ("-", "–", "—")
ZERO = re.compile(rf"{MONEY}\s*[-–—]|[-–—]\s*{MONEY}")  # as accountants write it


def to_numbers(values: Strings, decimal: str) -> Floats:
    """Return texts as numbers, NaN where a text is no finite number.

    Thousands may be grouped by the other of point and comma, by blanks or by apostrophes; a
    currency sign or `%` is ignored; brackets or a minus behind decimals mean a negative number. A
    dash with a currency sign is 0.
    """
    plain: Any = values
    joined = "\n".join(values)
    if not joined.isascii():
        joined = joined.translate(WRITTEN)
        plain = values = np.array([value.translate(WRITTEN) for value in values], dtype=object)
    if decimal == ",":
        plain = joined.replace(",", ".").split("\n")
    if not FANCY.search(joined) and (decimal == "." or "." not in joined):
        try:
            numbers = np.array(plain, dtype=object).astype(np.float64)
        except ValueError:  # such as "1-2"
            pass
        else:
            if len(numbers) == len(values):
                return np.where(np.isfinite(numbers), numbers, np.nan)
    pattern = PATTERNS[decimal]
    return np.array([_number(value, pattern) for value in values], dtype=np.float64)


def _number(value: str, pattern: re.Pattern[str]) -> float:
    match = pattern.fullmatch(value)
    if match is None:
        dashed = value.startswith(DASHES) or value.endswith(DASHES)
        return 0.0 if dashed and ZERO.fullmatch(value) else np.nan
    whole, group = match["whole"] or "0", match["group"]
    if group and match["power"]:
        return np.nan
    if group:
        whole = whole.replace(group, "")
    part = (match["part"] or match["only"] or "").strip("-–—")  # 12,- is 12
    number = float(f"{whole}.{part or '0'}{match['power'] or ''}")
    if not np.isfinite(number):
        return np.nan
    brackets = match["open"] or match["inner"]
    negative = brackets or match["late"] or match["behind"] or match["sign"] in ("-", "−", "–")
    return -number if negative else number


def find_thousands(values: Iterable[str], decimal: str) -> str:
    """Return what separates groups of thousands, "" where nothing does."""
    signs = ("," if decimal == "." else ".") + SPACES
    for value in values:
        if any(sign in value for sign in signs):
            match = PATTERNS[decimal].fullmatch(value)
            if match is not None and match["group"]:
                return match["group"]
    return ""


def decimal_evidence(values: Strings) -> str:
    """Return what a column's texts say of the decimal sign.

    "." or "," where only that sign makes them numbers; "either" where both do, as in 1,234;
    "both" where there is no sign; "" where they are not numbers.
    """
    point, comma = to_numbers(values, "."), to_numbers(values, ",")
    pointed, commaed = np.isfinite(point).mean(), np.isfinite(comma).mean()
    if max(pointed, commaed) < 0.9:
        return ""
    if pointed != commaed:
        return "." if pointed > commaed else ","
    return "both" if np.array_equal(point, comma, equal_nan=True) else "either"


def are_dialled(values: Iterable[str]) -> bool:
    """Return whether texts are telephone numbers: a plus and blanks, as +49 196 531, no minus."""
    texts = list(values)
    dialled = [text for text in texts if DIALLED.fullmatch(text)]
    signed = any(text.startswith(("-", "−", "–")) for text in texts)
    return bool(dialled) and len(dialled) >= SHARED * len(texts) and not signed


def are_addresses(values: Strings) -> bool:
    """Return whether texts are addresses of computers, as 192.168.10.100, no groups of digits."""
    if "\n".join(values).count(".") < 3 * SHARED * len(values):  # as in most columns: at once
        return False
    found = sum(ADDRESS.fullmatch(value) is not None for value in values)
    return 0 < found >= SHARED * len(values)


def is_code(values: Strings) -> bool:
    """Return whether texts of digits are codes rather than numbers.

    So are texts of equal length of which some begin with zero (a postal code), texts of other
    lengths of which several do (a dialling code), and those of more digits than a number keeps (a
    card's number), and telephone numbers and addresses of computers. Two digits, as 07, are
    numbers. Texts that are no numbers say nothing.
    """
    if are_dialled(values) or are_addresses(values):
        return True
    digits = [value for value in values if value.isdigit()]
    others = np.array([value for value in values if not value.isdigit()], dtype=object)
    if not digits or any(np.isfinite(to_numbers(others, sign)).any() for sign in PATTERNS):
        return False
    lengths = {len(value) for value in digits}
    if min(lengths) > 15:
        return True
    padded = len([value for value in digits if value[0] == "0" and len(value) > 2])
    return padded >= (1 if len(lengths) == 1 else 2)
