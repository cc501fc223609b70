"""Requests as they come in: how long and how large they may be, before anything looks at them.

Waitress takes a request in whole, large ones to a file, before a thread answers it. So a slow
client holds no thread; but what it sends must be limited here, as it may fill the disk.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask

from topo_search.web import access_log

HEADERS = 16 * 1024  # Bytes of a request's headers.
HEADER_SECONDS = 30.0  # In which a request's headers have to come.
SWALLOWED = 4  # Times the limit that a body too large is read and dropped, to be answered then.
AT_ONCE = 4  # Times the limit that all bodies may have that are being sent.
SMALL = 256 * 1024  # Bytes of a body that is taken whatever others send.
SLOWEST = 8 * 1024  # Bytes a second that a body has to come with, …
BODY_SECONDS = 60.0  # … this long after its request began.


@dataclass(kw_only=True)
class RequestLimits:
    """What all clients of a server may send."""

    limit: int  # Bytes of one body.
    too_large: str  # What is said of a larger one.
    open: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)  # Requests with bodies.

    @property
    def taken(self) -> int:
        """Bytes that are held of bodies."""
        return sum(request.body_bytes_received for request in self.open if not request.refusal)

    @property
    def is_full(self) -> bool:
        """Whether so much is held that no more large bodies are taken."""
        return self.taken > AT_ONCE * self.limit

    @property
    def hard_limit(self) -> int:
        """Bytes of a body after which a client is cut off."""
        return SWALLOWED * self.limit

    def tend(self, server: Any) -> None:
        """Let a server of waitress take connections so, and close those on which nothing comes."""
        server.channel_class = self.channel()
        server.maintenance = lambda now: _close_silent(
            server.active_channels.values(), now, server.adj.channel_timeout
        )

    def channel(self) -> type:
        """Return what waitress is to take connections with."""
        parser = type("Request", (Incoming,), {"limits": self})
        return type("Channel", (HTTPChannel,), {"parser_class": parser, "error_task_class": Answer})


class Refusal:
    """What a request is answered with that nothing looked at: problem details (RFC 9457)."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        self.code, self.title, self.detail = status, title, detail

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        """Return status, headers and body."""
        said = {"type": "about:blank", "title": self.title, "status": self.code}
        headers = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
        headers.append(("X-Content-Type-Options", "nosniff"))
        if self.code == 503:
            headers.append(("Retry-After", "30"))
        body = json.dumps({**said, "detail": self.detail}).encode()
        return f"{self.code} {self.title}", headers, body


class Dropped:
    """Takes the bytes of a body that is refused."""

    def append(self, data: bytes) -> None:
        """Drop them."""

    def close(self) -> None:
        """There is nothing to close."""

    def __len__(self) -> int:
        return 0


class Incoming(HTTPRequestParser):  # type: ignore[misc]  # Waitress has no types.
    """One request while it comes in.

    A body that is too large is read to its end, if that is not too far away, and dropped: browsers
    read no answer while they send, and show a broken connection where they could have read one.
    """

    limits: RequestLimits
    completed: bool  # Of waitress, as is `error`.
    error: Any
    command, path = "-", "-"  # Of a request that cannot be read.
    refusal: Refusal | None = None

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()

    def received(self, data: bytes) -> int:
        """Take in what came; return how much of it belongs to this request."""
        headers_had_ended = self.headers_finished
        taken: int = super().received(data)
        if not self.headers_finished:
            if time.monotonic() - self.began > HEADER_SECONDS:
                self._cut(Refusal(408, "Too slow", "Expected a request's headers sooner."))
            return taken
        if not headers_had_ended and self.body_rcv is not None:
            self.limits.open.add(self)
        if not self.completed and self._is_slow():
            self._cut(Refusal(408, "Too slow", "Expected the body sooner. Try again."))
        elif max(self.content_length, self.body_bytes_received) > self.limits.limit:
            self._refuse(Refusal(413, "Too large", self.limits.too_large))
        elif self.body_bytes_received > SMALL and self.limits.is_full:
            self._refuse(Refusal(503, "Not now", "Others send large tables. Try again later."))
        if self.completed and self.refusal is not None:
            self.error = self.refusal
        return taken

    def _is_slow(self) -> bool:
        late = time.monotonic() - self.began - BODY_SECONDS
        return bool(late > self.body_bytes_received / SLOWEST)

    def _refuse(self, refusal: Refusal) -> None:
        if self.refusal is not None:
            return
        self.refusal = refusal
        if self.body_rcv is not None:
            self.body_rcv.getbuf().close()
            self.body_rcv.buf = Dropped()
        if self.expect_continue:  # It asked before it sends.
            self._cut(refusal)

    def _cut(self, refusal: Refusal) -> None:
        self.error = self.refusal = refusal
        self.expect_continue, self.completed = False, True


class Answer(ErrorTask):  # type: ignore[misc]
    """Answers a request that nothing looked at, and logs it like the others."""

    def execute(self) -> None:
        """Answer it."""
        request = self.request
        began = getattr(request, "began", time.monotonic())
        if not isinstance(request.error, Refusal):  # Waitress' own are for nobody to read.
            request.error = _refusal_of(request.error.code)
        access_log.log(request.command, request.path, request.error.code, began)
        super().execute()


def _close_silent(channels: Iterable[Any], now: float, silence: float) -> None:
    """Close connections on which nothing was said for long, those without headers sooner."""
    for channel in channels:
        comes = channel.request is not None and channel.request.headers_finished
        busy = comes or channel.total_outbufs_len
        longest = silence if busy else HEADER_SECONDS
        if not channel.requests and channel.last_activity < now - longest:
            channel.will_close = True


def _refusal_of(status: int) -> Refusal:
    """Return what is said of a request that waitress cannot take."""
    said = {
        431: ("Too large", f"Expected headers of at most {HEADERS // 1024} KiB. Send fewer."),
        501: ("Not possible here", "Expected `chunked` as Transfer-Encoding, or none."),
        500: ("Something went wrong", "An error of topo-search. Try again."),
    }
    title, detail = said.get(
        status, ("The request cannot be read", "Expected an HTTP request. Received something else.")
    )
    return Refusal(status, title, detail)
