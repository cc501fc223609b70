"""Tables whose lines are one quoted cell each, as of a CSV that was saved unsplit."""

from __future__ import annotations

import re
from collections import Counter

from objectives.dialect import find_dialect, first_rows
from objectives.encoding import HEAD, find_encoding, open_text
from objectives.reading import ReadingError

WRAPPED = re.compile(r'[ \t]*"((?:[^"\r\n]|"")*)"[ \t]*(\r?\n|\r)?')
NEARLY = 0.9  # of the lines, from which all are meant: names may stand without quotes


def without_wrapping(
    data: bytes, encoding: str | None, separator: str | None, quote: str | None
) -> tuple[bytes, tuple[str, ...]]:
    """Return the bytes without quotes around whole lines, and a warning if there were any.

    Args:
        data: the file.
        encoding: of the file; found out if not given.
        separator: of the cells in a line; found out if not given.
        quote: "" if quotes are but signs.
    """
    if quote == "":
        return data, ()
    rough = data[:HEAD].replace(b"\0", b"").decode("latin-1")  # zeros: of UTF-16
    lines = [line for line in rough.lstrip("ÿþï»¿").splitlines() if line.strip()]
    if len(data) > HEAD:
        lines.pop()
    if not lines or not _nearly_all(lines) or not _is_table(lines, separator):
        return data, ()
    encoding = encoding or find_encoding(data)
    with open_text(data, encoding) as text:
        bare = "".join(map(_unwrapped, text))
    return bare.encode(encoding), (
        "Each line is in quotes as a whole, as if it were one cell. The lines are read without "
        "these quotes.",
    )


def _nearly_all(lines: list[str]) -> bool:
    """Return whether nearly all lines are one quoted cell each."""
    return sum(1 for line in lines if WRAPPED.fullmatch(line)) >= NEARLY * len(lines)


def _is_table(lines: list[str], separator: str | None) -> bool:
    """Return whether nearly all lines hold equally many cells, several, once unwrapped."""
    bare = [text for line in lines if (text := _unwrapped(line)).strip()]
    if not bare:
        return False
    try:
        rows = first_rows(bare, *find_dialect(bare, separator, None))
    except ReadingError:
        return False
    width, times = Counter(len(row) for _, row in rows).most_common(1)[0]
    return width > 1 and times >= NEARLY * len(rows)


def _unwrapped(line: str) -> str:
    """Return a line without the quotes around it and with those in it single."""
    found = WRAPPED.fullmatch(line)
    return found[1].replace('""', '"') + (found[2] or "") if found else line
