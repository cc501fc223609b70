"""The log of requests: a line for each, in which no key, token or query can be read."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)

LONGEST = 200  # Characters of a path in a line.
QUIET = ("/assets/", "/bootstrap/", "/static/", "/healthz")  # Asked for all the time, and nobody's secret.
_PLACES = re.compile(r"((?:/s|/tables|/v1/+studies|/v1/+uploads)/+)([^/?\s\"'<>]+)", re.IGNORECASE)
_TOKENS = re.compile(r"\b(bearer +|topo_(?=[\w-]{20}))[\w.~+/=-]+", re.IGNORECASE)
_LONG = re.compile(r"[^/]{16,}")  # A key has 22 characters, a public id 8.


def masked(text: str) -> str:
    """Return a text for a log with the keys in its addresses hidden, and operators' tokens."""
    text = _PLACES.sub(lambda found: f"{found[1]}…", text)
    return _TOKENS.sub(lambda found: f"{found[1]}…", text)


def shown(path: str) -> str:
    """Return a request's path for a log: printable, short, and without any key.

    A key in the wrong place, as of a link that was mistyped, is hidden like one in the right place.
    """
    shortened = _LONG.sub("…", masked(path.partition("?")[0]))
    printable = "".join(
        # Of WSGI it is Latin-1, whatever it was.
        character if character == "…" else ascii(character)[1:-1]
        for character in shortened[:LONGEST]
    )
    return printable if len(shortened) <= LONGEST else f"{printable}…"


def log(method: str, path: str, status: str | int, began: float) -> None:
    """Log a request.

    Args:
        method: Of HTTP.
        path: As it was asked for.
        status: Of the answer.
        began: When it came in, by the monotonic clock.
    """
    level = logging.DEBUG if path.startswith(QUIET) else logging.INFO
    took = (time.monotonic() - began) * 1000
    logger.log(level, "%s %s %s %.0f ms", ascii(method)[1:-1][:16], shown(path), status, took)


def logged(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that logs every request as soon as its answer begins."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = time.monotonic()
        # An application may change them while it answers.
        method, path = environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", "")

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            log(method, path, status.partition(" ")[0], began)
            return start_response(status, headers, *rest)

        return app(environ, started)

    return answer
