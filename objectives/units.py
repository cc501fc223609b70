"""What stands around a column's numbers: units, words for a thousand, notes, late minus signs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from objectives.dialect import MONEY
from objectives.numerals import PATTERNS, Floats, Strings, to_numbers

UNIT = re.compile(r"(?<=\d)\s?((?:[^\W\d_]|[°′″'\"‰℃℉㎡㎥㎏㎞㎝㎜])[^\d\s]*(?: [^\W\d_]+)?)$")
CLOCK = ("am", "pm", "a.m.", "p.m.", "uhr")  # What stands before them is no plain number.
SHARED = 0.9  # of the texts, from which a unit is the column's
MINUS = "-"  # as a unit: a minus behind whole numbers, as SAP writes it
NOTES = "[1] (e)"  # as a unit: footnotes
FLAGS = "b e p"  # as a unit: the letters that Eurostat sets behind a number and a blank
ARROWS = "▲ ▼"  # as a unit: signs, where both occur: in Japan ▲ alone is a minus
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Instead = str | Callable[[re.Match[str]], str]
DRESSED: dict[str, tuple[re.Pattern[str], Instead]] = {
    MINUS: (re.compile(r"^(\d(?:.*\d)?)-$"), r"-\1"),
    NOTES: (re.compile(r"(?<=\d)\s?(?:\[\w\w?\]|\([a-z]\)|[*†‡]{1,3})$"), ""),
    FLAGS: (re.compile(r"(?<=\d)\s[bcdefnprsuz]{1,2}$"), ""),
    ARROWS: (re.compile(r"^(?:▲|(▼))\s?(?=\d)"), lambda found: "-" if found[1] else ""),
}
FEW = 20  # distinct texts, up to which one with a note or letter may be a level of its own
PLAIN = 1 / 3  # of texts some of which have notes or flags: that have none, at least
LATE_DECIMALS = re.compile(r"\d.*[.,]\d\d-")
SHORT = {"K": 1e3, "k": 1e3, "M": 1e6, "Mn": 1e6, "mn": 1e6, "B": 1e9, "Bn": 1e9, "bn": 1e9}
AMOUNTS = "K, M, B, T"  # of money only: elsewhere m, b and T may be metres or tons
SCALES: dict[str, dict[str, float]] = {  # each by what a column's rule calls it
    AMOUNTS: {**SHORT, "m": 1e6, "b": 1e9, "T": 1e12},
    "K, M, B": SHORT,
    "thousand, million, billion": {"thousand": 1e3, "million": 1e6, "billion": 1e9},
    "Tsd, Mio, Mrd": {"Tsd": 1e3, "Tsd.": 1e3, "Mio": 1e6, "Mio.": 1e6, "Mrd": 1e9, "Mrd.": 1e9},
    "KB, MB, GB": {"B": 1, "bytes": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    "KiB, MiB, GiB": {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}  # fmt: skip
WORDS = {word for words in SCALES.values() for word in words}
FACTORS = {
    scale: re.compile(
        rf"(?<=\d)\s?({'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})"
        rf"(?=\)?\s?{MONEY}?\)?$)"
    )
    for scale, words in SCALES.items()
}
DECIMALS = re.compile(r"[.,]\d")
AMOUNT = re.compile(MONEY)
KELVIN = re.compile(r"\sK$", re.MULTILINE)
LETTER = re.compile(r"\d\s?[A-Za-z]")


def shows_late_minus(values: Strings) -> bool:
    """Return whether texts are numbers, some of which have a minus behind their decimals."""
    shown = any(map(LATE_DECIMALS.fullmatch, values))
    return shown and any(np.isfinite(to_numbers(values, sign)).all() for sign in PATTERNS)


def may_have_late_minus(values: Strings) -> bool:
    """Return whether most texts are numbers if a minus behind some that are none counts."""
    late = np.array([value for value in values if DRESSED[MINUS][0].search(value)], dtype=object)
    signs = PATTERNS if len(late) else ()
    return any(
        _known(to_numbers(late, sign)) == 0 < _known(to_quantities(late, sign, MINUS))
        and _known(to_quantities(values, sign, MINUS)) >= SHARED * len(values)
        for sign in signs
    )


def find_dress(values: Strings) -> str:
    """Return what makes numbers of texts without being a unit: notes, flags or arrows; or ""."""
    return next((dress for dress in (NOTES, FLAGS, ARROWS) if _is_dress(values, dress)), "")


def _is_dress(values: Strings, dress: str) -> bool:
    plain = without_unit(values, dress)
    changed = plain != values
    if not changed.any() or not any(np.isfinite(to_numbers(plain, s)).all() for s in PATTERNS):
        return False
    marked = values[changed]
    if dress == ARROWS:
        return len({value[0] for value in marked}) == len(ARROWS.split())
    if len(values) <= FEW or 1 - changed.mean() < PLAIN:
        return False
    if dress == NOTES:  # Stars by themselves may mean more.
        return any(value.endswith((")", "]")) for value in marked)
    return all(map(DECIMALS.search, plain))  # House numbers have letters, but no decimals.


def find_unit(values: Strings) -> str:
    """Return the unit that most texts end with behind a digit, "" where there is none.

    Where texts are numbers without it, as 7 % among 57 pts, they are on another scale, and there
    is none.
    """
    found = Counter(match[1] for value in values if (match := UNIT.search(value)))
    unit, times = found.most_common(1)[0] if found else ("", 0)
    if times < SHARED * len(values) or unit.lower() in CLOCK:
        return ""
    others = np.array([value for value in values if not value.endswith(unit)], dtype=object)
    if any(np.isfinite(to_numbers(others, sign)).any() for sign in PATTERNS if len(others)):
        return ""
    return unit


def find_scale(values: Strings) -> str:
    """Return the scale whose words stand behind numbers in most texts, "" where none does."""
    if not LETTER.search("\n".join(values)):
        return ""
    return next((scale for scale in SCALES if _is_scale(values, scale)), "")


def _is_scale(values: Strings, scale: str) -> bool:
    """Return whether most texts are numbers of a scale.

    One word alone is a unit, but for amounts of money. Letters may mean all sorts of things, as
    kelvins or the widths of shoes: they count beside amounts, or in many fractions of which some
    are thousands.
    """
    if not any(map(FACTORS[scale].search, values)):
        return False
    plain = without_unit(values, scale)
    decimal = max(PATTERNS, key=lambda sign: _known(to_numbers(plain, sign)))
    numbers = to_numbers(plain, decimal)
    words = _words(values, numbers, scale)
    few = not words or _known(numbers) < SHARED * len(values)
    if few or lacks_words(values, decimal, scale).any():
        return False
    if AMOUNT.search("\n".join(plain)):
        return True
    factors = {SCALES[scale][word] for word in words}
    if np.nan_to_num(to_numbers(values, decimal)).any():
        factors.add(1.0)
    if scale == AMOUNTS or len(factors) == 1:
        return False
    if any(len(word) > 1 for word in words):
        return True
    thousands = bool(words & {"K", "k"}) and bool((numbers % 1 > 0).any())
    kelvin = words == {"K"} and KELVIN.search("\n".join(values))
    return thousands and not kelvin and len(values) > FEW


def lacks_words(values: Strings, decimal: str, scale: str) -> Flags:
    """Return which texts are numbers without a word that they may be meant to have.

    Numbers below a thousand have none: others are thousands then, and counts are whole.
    """
    plain = without_unit(values, scale)
    bare = np.nan_to_num(to_numbers(values, decimal))
    words = _words(values, to_numbers(plain, decimal), scale)
    least = min((SCALES[scale][word] for word in words), default=np.inf)
    fractions = (bare % 1 > 0).any() and not AMOUNT.search("\n".join(plain))
    lacking: Flags = (bare != 0) & bool(fractions or least > 1e3)
    return lacking


def _words(values: Strings, numbers: Floats, scale: str) -> set[str]:
    """Return the words of a scale behind those texts that are numbers without them."""
    known = values[np.isfinite(numbers)]
    return {match[1] for match in map(FACTORS[scale].search, known) if match}


def without_unit(values: Strings, unit: str) -> Strings:
    """Return texts without the unit and the blanks before it; a minus stands in front."""
    if not unit:
        return values
    if unit in DRESSED:
        pattern, instead = DRESSED[unit]
        bare = [pattern.sub(instead, value) for value in values]
    elif unit in SCALES:
        bare = [FACTORS[unit].sub("", value) for value in values]
    else:
        bare = [value.removesuffix(unit).rstrip() for value in values]
    return np.array(bare, dtype=object)


def to_quantities(values: Strings, decimal: str, unit: str) -> Floats:
    """Return texts as numbers, whether the unit follows or not; NaN where they are none."""
    numbers = to_numbers(without_unit(values, unit), decimal)
    if unit not in SCALES:
        return numbers
    found = map(FACTORS[unit].search, values)
    factors = np.array([SCALES[unit][match[1]] if match else 1.0 for match in found])
    scaled: Floats = np.round(numbers * factors, 6)  # 32.8 million are not 32799999.999999996
    return scaled


def _known(numbers: Floats) -> int:
    return int(np.isfinite(numbers).sum())
