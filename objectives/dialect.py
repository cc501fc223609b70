"""How a text's rows are written: what separates cells, and what quotes them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from objectives.reading import LayoutError, ReadingError

SEPARATORS = (",", ";", "\t", "|")
UNUSUAL = "~^:# "  # separators that the user has to name
# Around cells; what nobody sees, too: blanks without width, marks of direction and of byte order.
BLANKS = (
    " \t\r\n\f\v\xa0\ufeff\u200b\u200e\u200f\u2060"
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
JUNK = BLANKS + ",;|"  # a cell of nothing but these is empty, as editors leave behind
RULER = JUNK + "-+=:"  # what lines are drawn with

# Codes of ISO 4217 that stand apart from the number, but for those that are words, as ALL and TOP.
CODES = (
    "AED AFN AMD ANG AOA ARS AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BSD BTN BWP BYN BZD CDF "
    "CLP COP CRC CVE DJF DOP DZD EGP ERN ETB FJD FKP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG "
    "IDR ILS IQD IRR ISK JMD JOD KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MDL "
    "MGA MKD MMK MNT MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NPR NZD OMR PGK PHP PKR PYG QAR RON "
    "RSD RWF SAR SBD SCR SDG SGD SHP SLE SRD SSP STN SVC SYP SZL THB TJS TMT TND TTD TWD TZS UAH "
    "UGX UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL RM TL R"
).replace(" ", "|")
MONEY = (  # before or behind a number
    r"(?:[$＄£￡¥￥￦฿\u20a0-\u20cf]|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|RUB|TRY"
    rf"|(?:US ?|HK|NT|AU|NZ|CA|MX|[ACRS])\$|Rs\.?|Rp\.?|S/\.?|zł|kr\.?|Kč|[元円원]|\b(?:{CODES})\b)"
)
VALUE = re.compile(  # a number, date or time, whatever its conventions
    rf"[-－+(]?(?:{MONEY}|[%％])?\s?[-+(]?(\d[\d.,' \xa0]*|\.\d+)([eE][-+]?\d+)?[-–—]?\)?"
    rf"\s?(?:{MONEY}|[%％])?\)?"
    rf"|{MONEY}\s*[-–—]"
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\S[^;|\t]*)?"
    r"|\d{1,2}[:.]\d\d([:.]\d\d\S*)?( ?[AaPp][Mm])?"
)
MOSTLY = 0.9  # of a column's cells that are values, if it is one of them
PROTECTED = re.compile(r'="([^"]*)"')  # a cell that Excel is to take as it stands
KEPT = re.compile(r'\\([\\"])?')  # a backslash, and what it stands before if that is escaped
SEEN = 1000  # rows looked at
PLAIN = 0.9  # how much a plain text says for a dialect, where a number, date or time says 1

csv.field_size_limit(1 << 30)  # characters of a cell; csv's own 131,072 is less than some texts

Row = tuple[int, list[str]]  # physical line on which it begins, cells


def parse(
    lines: Iterable[str], separator: str, quote: str, skip: int = 0, strict: bool = False
) -> Iterator[Row]:
    """Yield each row with the physical line it begins on.

    Raises:
        ReadingError: a row cannot be read, or, where `strict`, goes on behind a closing quote.
    """
    source = iter(lines)
    for _ in range(skip):
        next(source, None)
    escaped = quote[:1] == "\\"
    if escaped:  # csv takes the backslash from any sign, as from the N of \N, or from a path.
        source = (KEPT.sub(lambda m: m[0] if m[1] else "\\\\", line) for line in source)
    reader = csv.reader(
        source,
        delimiter=separator,
        quotechar=quote[-1:] or None,
        escapechar="\\" if escaped else None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        skipinitialspace=True,
        strict=strict,
    )
    line = skip + 1
    try:
        for row in reader:
            yield line, row
            line = skip + reader.line_num + 1
    except csv.Error as error:
        raise LayoutError(
            f"Line {line} cannot be read ({error}). Expected cells separated by {separator!r}; "
            "look for a quote that is never closed, or turn quoting off with --quote ''."
        ) from error


def closes(lines: list[str], separator: str, quote: str) -> bool:
    """Return whether in these lines of one row all quotes end where cells do."""
    blanks = re.compile(f"(?<={quote[-1]})[ \t]+(?=[{re.escape(separator)}\r\n]|$)")
    text = [blanks.sub("", line) for line in lines]
    try:
        return len(list(parse(text, separator, quote, strict=True))) == 1
    except ReadingError:
        return False


def find_stray_quotes(head: list[str], separator: str, quote: str) -> list[int]:
    """Return the lines, from 1, of rows in which a quote stands amid a quoted cell.

    The last row is not looked at, as it may go on behind these lines.
    """
    if not quote or _some_rows(head, separator, quote)[1]:
        return []
    starts = [line for line, _ in parse(head, separator, quote)]
    rows = ((line, head[line - 1 : behind - 1]) for line, behind in pairwise(starts))
    return [
        line
        for line, raw in rows
        if quote[-1] in "".join(raw) and not closes(raw, separator, quote)
    ]


def bare_cell(cell: str) -> str:
    """Return a cell without blanks around it, and without what keeps Excel from changing it."""
    text = cell.strip(BLANKS)
    match = PROTECTED.fullmatch(text) if text[:1] == "=" else None
    return match[1].strip(BLANKS) if match else text


def is_blank(row: Sequence[str]) -> bool:
    """Return whether a row holds nothing."""
    return not "".join(row).strip(JUNK)


def is_ruler(row: Sequence[str]) -> bool:
    """Return whether a row is a line drawn between others, as ----+----, in all its cells."""
    drawn = any("---" in cell or "===" in cell for cell in row)
    if not drawn or "".join(row).strip(RULER):
        return False
    return all("--" in cell or "==" in cell for cell in row if cell.strip(JUNK))


def are_values(cells: Sequence[str]) -> bool:
    """Return whether most cells, of which there are some, are numbers, dates or times."""
    return 0 < MOSTLY * len(cells) <= sum(1 for cell in cells if VALUE.fullmatch(cell))


def first_rows(head: list[str], separator: str, quote: str) -> list[Row]:
    """Return the first rows that hold something; raises ReadingError where there is none."""
    parsed = parse(head, separator, quote)
    rows = [(line, list(map(bare_cell, row))) for line, row in parsed if _holds_cells(row)]
    if not rows:
        raise ReadingError("The file holds no rows. Expected a line of names, then rows.")
    return rows[:SEEN]


def find_dialect(head: list[str], separator: str | None, quote: str | None) -> tuple[str, str]:
    """Return the separator and quote under which the rows are most alike and their cells clean.

    The idea, consistency of rows times cleanness of cells, is that of van den Burg, Nazábal
    and Sutton, "Wrangling messy CSV files by detecting row and type patterns" (2019).
    """
    best, found = (0.0, 0), None
    for candidate in SEPARATORS if separator is None else (separator,):
        apostrophes = any(line.startswith("'") or f"{candidate}'" in line for line in head)
        backslashes = any('\\"' in line for line in head)
        marks = ('"', *("'" * apostrophes), *(['\\"'] * backslashes))
        for mark in marks if quote is None else (quote,):
            score = _score(head, candidate, mark)
            if score > best:
                best, found = score, (candidate, mark)
    if found is not None:
        return found
    if separator is not None:
        raise LayoutError(
            f"Expected at least two columns separated by {separator!r}. "
            f"Received: {head[0].strip()[:80] if head else ''!r}."
        )
    sign = _likely(head)
    raise LayoutError(
        "Expected at least two columns, separated by comma, semicolon, tab or |. Received one "
        f"column: {head[0].strip()[:80] if head else ''!r}. "
        + (
            f"Name the separator if it is another, as with --separator '{sign}'."
            if sign
            else "Add one to learn from, or name the separator if it is another sign."
        )
    )


def _holds_cells(row: Sequence[str]) -> bool:
    return not is_blank(row) and not is_ruler(row)


def _likely(head: list[str]) -> str:
    """Return a sign that may separate cells, in each line as often or blanks at all, or ""."""
    lines = [line.strip() for line in head[:20] if line.strip()]
    counts = {sign: [line.count(sign) for line in lines] for sign in UNUSUAL}
    even = (sign for sign, times in counts.items() if min(times) == max(times) > 0)
    return next(even, " " if min(counts[" "], default=0) else "")


def _score(head: list[str], separator: str, quote: str) -> tuple[float, int]:
    """Return how much rows look like a table: alike and clean (0 to 1), and how wide."""
    rows, orderly = _some_rows(head, separator, quote)
    widths = Counter(len(row) for row in rows if len(row) > 1)
    if not widths:
        return 0.0, 0
    width = max(widths, key=lambda w: (widths[w], w))
    others = re.compile(f"[{''.join(s for s in SEPARATORS if s != separator)}](?! )|^'.*'$")
    cells = [cell.strip(BLANKS) for row in rows[:200] if len(row) == width for cell in row]
    values = sum(1 for cell in cells if VALUE.fullmatch(cell))
    texts = sum(1 for cell in cells if not VALUE.fullmatch(cell) and not others.search(cell))
    clean = values + PLAIN * texts
    share = widths[width] / len(rows) * (0.1 + 0.9 * clean / max(1, len(cells)))
    if len(rows[0]) != width:  # names are as many as cells, where lists in cells are not
        share /= 2
    return round(share if orderly else share / 2, 3), width


def _some_rows(head: list[str], separator: str, quote: str) -> tuple[list[list[str]], bool]:
    """Return the first rows that hold something, and whether all quotes end where cells do."""
    for strict in (True, False):
        try:
            rows = [row for _, row in parse(head, separator, quote, strict=strict)]
        except ReadingError:
            continue
        return [row for row in rows if _holds_cells(row)][:SEEN], strict
    return [], False
