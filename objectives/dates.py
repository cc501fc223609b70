"""Dates and times as people write them, and the numbers a network takes of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

Strings = np.ndarray[Any, np.dtype[np.object_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

PARTS = ("year", "month", "day", "weekday", "hour", "minute", "second", "days")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# How months begin in German, French, Spanish, Italian, Portuguese and Dutch, without accents.
FOREIGN = {
    "ene": 1, "gen": 1, "fev": 2, "maa": 3, "mrt": 3, "mrz": 3, "avr": 4, "abr": 4, "mai": 5,
    "mag": 5, "mei": 5, "juin": 6, "giu": 6, "juil": 7, "lug": 7, "aou": 8, "ago": 8, "set": 9,
    "okt": 10, "ott": 10, "out": 10, "dez": 12, "dic": 12,
}  # fmt: skip
MONTH_NUMBERS = {**{name: number for number, name in enumerate(MONTHS, start=1)}, **FOREIGN}
WEEKDAYS = (  # in German, French, Spanish, Italian, Portuguese and Dutch, without accents
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag "
    "lundi mardi mercredi jeudi vendredi samedi dimanche "
    "lunes martes miercoles jueves viernes sabado domingo "
    "lunedi martedi mercoledi giovedi venerdi sabato domenica segunda terca quarta quinta sexta "
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag"
).split()
SEASON = re.compile(r"(\d{4})[-/](\d\d)")
FEWEST_SEASONS, SEASONS = 3, 1000  # distinct texts: that tell them from months; that are looked at
CENTURY = 69  # two-digit years below it are 20xx, as POSIX's strptime has it
YEARS = (1600, 2199)

_YEAR, _DAY = r"(?P<year>\d{4}|\d{2})", r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|o)?"
_NAME = rf"(?:{'|'.join(MONTH_NUMBERS)})[a-z]*\.?"
_ENGLISH = rf"(?:{'|'.join(MONTHS)})[a-z]*\.?"
_MONTH = rf"(?P<month>\d{{1,2}}|{_NAME})"
_BETWEEN = r"(?P<s>[-/]|\.? (?:de )?|\.)"  # 1. Januar, 1 de enero
_DAYS = "|".join(day[:letters] for day in WEEKDAYS for letters in (2, 3, None))
_WEEKDAY = rf"(?:(?!\d)(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|(?:{_DAYS})(?:-feira)?)\.?,?\s+)?"
_CLOCK = (
    r"(?P<hour>\d{1,2})(?:(?P<colon>:)|\.)(?P<minute>\d\d)"
    r"(?:(?(colon):|\.)(?P<second>\d\d(?:[.,]\d+)?))?\s?(?P<half>[ap]\.?\s?m\.?)?"
)
_ZONE = (
    r"(?P<zone>(?:UTC|GMT)(?: ?[-+]\d{1,2}(?::?\d\d)?)?|[-+]\d\d(?::?\d\d)?|Z"
    r"|(?-i:[A-Z]{2,4}T|MSK|MESZ?))?"
    r"(?: ?(?:\[[\w/+-]+\]|\([\w ]+\)))?"  # Java's [Europe/Berlin], JavaScript's (Central …)
)
_TIME = rf"(?:(?:T|,?\s+){_CLOCK}\s?{_ZONE})?"
PATTERNS = {
    "time": re.compile(rf"(?!\d+\.\d\d(?!\.)){_CLOCK}", re.IGNORECASE),  # 18.26 is a number
    "ymd": re.compile(
        rf"(?P<year>\d{{4}})(?P<s>[-/. ]|\. ){_MONTH}(?:(?P=s){_DAY}\.?{_TIME})?", re.IGNORECASE
    ),
    "dmy": re.compile(
        rf"{_WEEKDAY}{_DAY}{_BETWEEN}{_MONTH}(?:(?P=s)|,? (?:de )?){_YEAR}"
        rf"(?:(?<=\d{{4}})\.)?{_TIME}",
        re.I,
    ),
    "mdy": re.compile(
        rf"{_WEEKDAY}{_MONTH}(?P<s>[-/. ])(?:(?<= ) )?{_DAY}(?:(?P=s)|, ){_YEAR}{_TIME}", re.I
    ),
    "yy": re.compile(rf"(?P<year>\d\d)(?P<s>[-/.])(?P<month>\d\d)(?P=s)(?P<day>\d\d){_TIME}"),
    "digits": re.compile(
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
        r"(?:(?:T?| (?=\d\d:|\d{6}$))(?P<hour>\d\d)"
        r"(?:(?P<colon>:)?(?P<minute>\d\d)(?:(?(colon):)(?P<second>\d\d))?)?Z?)?"
    ),
    "months": re.compile(r"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)"),
    "log": re.compile(  # of SAS and of web servers
        rf"(?P<open>\[)?(?P<day>\d{{1,2}})(?P<s>/?)(?P<month>{'|'.join(MONTHS)})(?P=s){_YEAR}"
        rf"(?::{_CLOCK}\s?{_ZONE})?(?(open)\])",
        re.IGNORECASE,
    ),
    "my": re.compile(
        rf"(?P<month>{_NAME}(?=.*\d{{4}})|{_ENGLISH}|\d{{1,2}}(?=[-/]\d{{4}}$))"
        r"[-/ ,]+(?:de )?(?P<year>\d{4}|\d\d)",
        re.IGNORECASE,
    ),
    "ctime": re.compile(
        rf"{_WEEKDAY}(?P<month>{_ENGLISH}) +(?P<day>\d{{1,2}}) (?P<hour>\d\d):(?P<minute>\d\d):"
        r"(?P<second>\d\d) (?:(?P<zone>[A-Z]{3,4}|[-+]\d{4}) )?(?P<year>\d{4})",
        re.IGNORECASE,
    ),
}
EASTERN = re.compile(r"(\d{4})[年년] ?(\d{1,2})[月월](?: ?(\d{1,2})[日일])?")
EASTERN_DAY = re.compile(r"(?<=\d) ?[(（][日月火水木金土일월화수목금토][)）]")
AFTERNOON = ("오후", "午後", "下午")
HALVES = re.compile(rf"(오전|午前|上午|{'|'.join(AFTERNOON)}) ?(\d[\d:]+)")


def to_moments(values: Strings, order: str) -> Floats:
    """Return texts as year, month, day, hour, minute, second, one row each.

    24:00 of a date is 0:00 of the next one; alone, it is hour 24.

    Args:
        values: the texts.
        order: a key of PATTERNS; of "time", times of day, the date is 1970-01-01.

    Returns:
        An array of shape (texts, 6); a row of NaN where a text is no such date.
    """
    pattern = PATTERNS[order]
    rows = [_moment(pattern.fullmatch(_plain(value))) for value in values]
    moments = np.array(rows, dtype=np.float64).reshape(-1, 6)
    with np.errstate(invalid="ignore"):
        year, month, day, hour, minute, second = moments.T
        good = (year >= YEARS[0]) & (year <= YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1)
        midnight = (hour == 24) & (minute == 0) & (second == 0)
        good &= (midnight | (hour < 24)) & (minute < 60) & (second < 61)
    good[good] &= _dates(_days(moments[good]))[:, 1] == month[good]
    moments[~good] = np.nan
    if order != "time":
        midnight &= good
        moments[midnight, :3] = _dates(_days(moments[midnight]) + 1)
        moments[midnight, 3] = 0
    return moments


def _plain(text: str) -> str:
    """Return a text without accents, as of février, with plain blanks, and 2021年5月12日 in ISO.

    Of 오후 5:37 it is 5:37 pm.
    """
    if text.isascii():
        return text
    text = EASTERN.sub(lambda found: "-".join(filter(None, found.groups())), text)
    text = EASTERN_DAY.sub("", text)
    text = HALVES.sub(lambda found: f"{found[2]} {'ap'[found[1] in AFTERNOON]}m", text)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _moment(match: re.Match[str] | None) -> tuple[float, ...]:
    if match is None:
        return (np.nan,) * 6
    found = match.groupdict()
    hour, minute = int(found.get("hour") or 0), int(found.get("minute") or 0)
    if half := found.get("half"):
        hour = hour % 12 + 12 * half.lower().startswith("p") if 1 <= hour <= 12 else 99
    second = float((found.get("second") or "0").replace(",", "."))
    if "year" not in found:
        return (1970, 1, 1, hour, minute, second)
    year, month = int(found["year"]), found["month"].lower()
    if len(found["year"]) == 2:
        year += 2000 if year < CENTURY else 1900
    number = int(month) if month.isdigit() else _month_number(month)
    return (year, number, int(found.get("day") or 1), hour, minute, second)


def _month_number(name: str) -> int:
    return MONTH_NUMBERS.get(name[:4]) or MONTH_NUMBERS[name[:3]]


def _days(moments: Floats) -> Floats:
    """Return the days from 1970-01-01 to each row's, whether its month has so many or not."""
    months = ((moments[:, 0] - 1970) * 12 + moments[:, 1] - 1).astype(np.int64)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.float64)
    return np.asarray(first + moments[:, 2] - 1, dtype=np.float64)


def _dates(days: Floats) -> Floats:
    """Return the year, month and day, a row each, of days counted from 1970-01-01."""
    dates = days.astype(np.int64).astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    since, day = months.astype(np.int64), (dates - months).astype(np.int64) + 1
    return np.column_stack([since // 12 + 1970, since % 12 + 1, day]).astype(np.float64)


def to_parts(moments: Floats, origin: str) -> dict[str, Floats]:
    """Return the parts of dates as numbers.

    `weekday` is 0 on Monday; `days` are those elapsed since `origin`, with their fraction.
    """
    days = np.full(len(moments), np.nan)
    known = np.isfinite(moments[:, 0])
    days[known] = _days(moments[known])
    weekday = (days + 3) % 7
    start = np.datetime64(origin or "1970-01-01", "D").astype(np.int64)
    hours = moments[:, 3] + moments[:, 4] / 60 + moments[:, 5] / 3600
    columns = (*moments.T[:3], weekday, *moments.T[3:], days - float(start) + hours / 24)
    return dict(zip(PARTS, columns, strict=True))


def written(values: Iterable[str], order: str, part: str) -> list[str]:
    """Return what texts hold for a group of their order's pattern, "" where they hold nothing."""
    matches = (PATTERNS[order].fullmatch(_plain(value)) for value in values)
    return [(match and match.groupdict().get(part)) or "" for match in matches]


def late_year(values: Strings, moments: Floats, order: str) -> str:
    """Return the text of the latest date if its year has two digits only, else ""."""
    latest = str(values[int(np.nanargmax(moments[:, 0]))])
    return latest if len(written([latest], order, "year")[0]) == 2 else ""


def first_date(moments: Floats) -> str:
    """Return the earliest date, written as ISO 8601."""
    known = moments[np.isfinite(moments[:, 0])]
    return str(np.datetime64(int(_days(known).min()), "D"))


def are_seasons(values: Strings) -> bool:
    """Return whether texts are pairs of a year and the next, as 2001/02, and no months."""
    pairs = [SEASON.fullmatch(value) for value in values[:SEASONS]]
    return len(pairs) >= FEWEST_SEASONS and all(
        pair is not None and (int(pair[1]) + 1) % 100 == int(pair[2]) for pair in pairs
    )


_FIRST, _LAST = slice(0, 2), slice(6, 8)  # parts of 23-11-20


def find_order(
    values: Strings, day_first: bool | None, year_first: bool = True
) -> tuple[str, float, bool]:
    """Return the order of dates' parts, the share of texts that it reads, and if it is a guess.

    Args:
        values: a column's distinct texts.
        day_first: whether 3/4 is the third of April; None where nothing says so.
        year_first: whether 23-11-20 may be the 20th of November 2023. It is where the first part
            takes fewer than half as many values as the last.
    """
    few = values[:: max(1, len(values) // 50)]
    likely = {order: np.isfinite(to_moments(few, order)[:, 0]).mean() for order in PATTERNS}
    if max(likely.values()) < 0.5:
        return "", 0.0, False
    read = {order: to_moments(values, order) for order, share in likely.items() if share}
    shares = {order: float(np.isfinite(rows[:, 0]).mean()) for order, rows in read.items()}
    best = max(shares, key=lambda order: shares[order])
    if year_first and best in ("dmy", "mdy") and shares[best] == shares.get("yy"):
        firsts, lasts = ({value[place] for value in values} for place in (_FIRST, _LAST))
        if len(firsts) < len(lasts) / 2:
            return "yy", shares["yy"], True
    if shares.get("dmy") == shares.get("mdy") == shares[best]:
        pointed = all("." in value for value in few)
        guess = day_first is None and not pointed
        guess = guess and not np.array_equal(read["dmy"], read["mdy"], equal_nan=True)
        best = "dmy" if day_first or (pointed and day_first is None) else "mdy"
        return best, shares[best], guess
    return best, shares[best], best == "my" and not all(value[-4:].isdigit() for value in few)
