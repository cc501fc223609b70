"""How a table was read, in words: what every report says, and what differs from the usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topo_search.formats import format_count, format_name

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}
_SIGNS = {
    ".": "point", ",": "comma", " ": "space", "'": "apostrophe", "’": "apostrophe",
    "\xa0": "space", "\u2009": "space", "\u202f": "space",
}  # fmt: skip
_QUOTES = {
    "": "none",
    "'": "single, as 'a'",
    '\\"': 'double, within a cell behind a backslash: \\"',
}
_DATES = {
    "dmy": "day first, as 31/12/2024",
    "mdy": "month first, as 12/31/2024",
    "yy": "year first, of two digits, as 24-12-31",
}


def described(reading: Mapping[str, Any]) -> dict[str, str]:
    """Return how a table was read, by what the words are about.

    Args:
        reading: As `Reading.to_json` gives it.
    """
    separator, decimal = reading.get("separator", ""), reading.get("decimal", ".")
    thousands, quote = reading.get("thousands", ""), reading.get("quote", '"')
    skip, columns = reading.get("skip", 0), reading.get("columns", ())
    facts = {
        "Encoding": format_name(reading.get("encoding", "")),
        "Separator": _SEPARATORS.get(separator) or format_name(repr(separator)),
        "Header": "yes" if reading.get("header") else "none; the columns were numbered",
    }
    if decimal != ".":
        facts["Decimal sign"] = _SIGNS.get(decimal) or format_name(repr(decimal))
    if thousands:
        facts["Between thousands"] = _SIGNS.get(thousands) or format_name(repr(thousands))
    if quote != '"':
        facts["Quotes"] = _QUOTES.get(quote) or format_name(repr(quote))
    if skip:
        facts["Skipped"] = f"{format_count(skip, 'line')} above the table"
    orders = dict.fromkeys(_DATES.get(rule.get("dates", "")) for rule in columns)
    if dates := "; ".join(filter(None, orders)):
        facts["Dates"] = dates
    return facts
