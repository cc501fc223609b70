"""What is told in a header, beside an answer that is a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from topo_search.formats import format_name

MOST = 20  # Texts.
LONGEST = 200  # Characters of each.
SIZE = 2_500  # Bytes: nginx takes 4 KiB of headers unless told otherwise.


def in_header(texts: Sequence[str]) -> str:
    """Return the first few texts as a list in percent-encoded JSON, as short as proxies take it."""
    shown = [format_name(text, LONGEST) for text in texts[:MOST]]
    while len(told := quote(json.dumps(shown, ensure_ascii=False))) > SIZE:
        shown.pop()
    return told
