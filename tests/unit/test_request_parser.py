"""Requests while they come in: what is held of them, and when they are refused."""

import json
import socket
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import waitress
from waitress import wasyncore
from waitress.adjustments import Adjustments

from topo_search.web import request_parser
from topo_search.web.request_parser import AT_ONCE, HEADERS, SWALLOWED, RequestLimits

LIMIT = 1_000


@pytest.fixture
def taking() -> RequestLimits:
    return RequestLimits(limit=LIMIT, too_large="Expected less.")


def incoming(taking: RequestLimits, *headers: str) -> Any:
    """Return a request of which the headers have come."""
    adjustments = Adjustments(max_request_body_size=taking.hard_limit)
    request = taking.channel().parser_class(adjustments)  # type: ignore[attr-defined]
    lines = ["POST /v1/uploads HTTP/1.1", "Host: here", *headers, "", ""]
    data = "\r\n".join(lines).encode()
    assert request.received(data) == len(data)
    return request


def answer(request: Any) -> tuple[int, str]:
    status, headers, body = request.error.to_response()
    assert dict(headers)["Content-Type"] == "application/problem+json"
    said = json.loads(body)
    assert status.startswith(f"{said['status']} ")
    return said["status"], said["detail"]


def test_a_body_within_the_limit_is_taken(taking: RequestLimits) -> None:
    request = incoming(taking, f"Content-Length: {LIMIT}")
    request.received(b"x" * LIMIT)
    assert request.completed and request.error is None
    assert request.get_body_stream().read() == b"x" * LIMIT


def test_a_larger_one_is_dropped_as_it_comes_and_refused_at_its_end(taking: RequestLimits) -> None:
    request = incoming(taking, f"Content-Length: {2 * LIMIT}")
    request.received(b"x" * LIMIT)
    assert not request.completed and taking.taken == 0
    assert len(request.body_rcv) == 0
    request.received(b"x" * LIMIT)
    assert request.completed
    assert answer(request) == (413, "Expected less.")
    request.close()


def test_one_of_unknown_length_is_refused_at_its_end(taking: RequestLimits) -> None:
    request = incoming(taking, "Transfer-Encoding: chunked")
    piece = b"200\r\n" + b"x" * 0x200 + b"\r\n"
    for _ in range(4):
        assert request.received(piece) == len(piece)
        assert not request.completed
    assert taking.taken == 0
    request.received(b"0\r\n\r\n")
    assert request.completed
    assert answer(request)[0] == 413


@pytest.mark.parametrize("header", [f"Content-Length: {10**9}", "Transfer-Encoding: chunked"])
def test_one_without_end_is_cut_off(taking: RequestLimits, header: str) -> None:
    request = incoming(taking, header)
    for _ in range(SWALLOWED + 1):
        if not request.completed:
            request.received(b"%x\r\n" % LIMIT + b"x" * LIMIT + b"\r\n")
    assert request.completed
    assert answer(request)[0] == 413


def test_who_asks_before_sending_is_answered_before(taking: RequestLimits) -> None:
    request = incoming(taking, f"Content-Length: {2 * LIMIT}", "Expect: 100-continue")
    assert request.completed and not request.expect_continue
    assert answer(request)[0] == 413
    assert incoming(taking, "Content-Length: 9", "Expect: 100-continue").expect_continue


def malformed(taking: RequestLimits, data: bytes) -> Any:
    request = taking.channel().parser_class(Adjustments(max_request_header_size=HEADERS))  # type: ignore[attr-defined]
    request.received(data)
    assert request.completed
    return request


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 2 * HEADERS + b"\r\n\r\n", 431, "16 KiB"),
        (b"GET / HTTP/1.1\r\n: none\r\n\r\n", 400, "HTTP"),
        (b"\x16\x03\x01\x02\r\n\r\n", 400, "HTTP"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding"),
    ],
)
def test_what_is_no_request_is_answered_like_the_others(
    taking: RequestLimits, data: bytes, status: int, words: str
) -> None:
    request, written = malformed(taking, data), bytearray()
    channel = SimpleNamespace(
        server=SimpleNamespace(adj=Adjustments(ident=None)),
        write_soon=lambda data: written.extend(data) or len(data),
    )
    task = taking.channel().error_task_class(channel, request)  # type: ignore[attr-defined]
    task.service()
    head, _, body = bytes(written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) or head.startswith(b"HTTP/1.0 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    said = json.loads(body)
    assert said["status"] == status and words in said["detail"]


def test_all_bodies_together_have_a_limit_that_small_ones_do_not_meet(
    taking: RequestLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_parser, "SMALL", 50)
    several = [incoming(taking, f"Content-Length: {LIMIT}") for _ in range(AT_ONCE + 2)]
    for request in several:
        request.received(b"x" * (LIMIT - 1))
    taken = [request for request in several if request.refusal is None]
    assert len(taken) == AT_ONCE
    small = incoming(taking, "Content-Length: 50")
    small.received(b"x" * 50)
    assert small.completed and small.refusal is None
    small.close()
    refused = next(request for request in several if request.refusal is not None)
    refused.received(b"x")
    assert refused.completed
    assert answer(refused)[0] == 503
    for request in several:
        request.close()
    del several, taken, refused, request, small  # They went, and others can send.
    assert taking.taken == 0


def test_headers_that_drip_are_cut_off(
    taking: RequestLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = taking.channel().parser_class(Adjustments())  # type: ignore[attr-defined]
    request.received(b"GET / HTTP/1.1\r\n")
    assert not request.completed
    monkeypatch.setattr(request_parser, "HEADER_SECONDS", -1.0)
    request.received(b"X")
    assert request.completed
    assert answer(request)[0] == 408


def test_connections_on_which_nothing_comes_are_closed_those_without_headers_sooner(
    taking: RequestLimits,
) -> None:
    listening, sockets = socket.socket(), dict[int, Any]()
    listening.bind(("127.0.0.1", 0))
    server = waitress.create_server(
        lambda *_: [], sockets, sockets=[listening], channel_timeout=60, threads=1
    )
    taking.tend(server)
    sent = [b"", b"GET / HTTP/1.1\r\nX-", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
    with ExitStack() as stack:
        stack.callback(server.close)
        stack.callback(server.task_dispatcher.shutdown)
        for data in sent:
            client = stack.enter_context(socket.create_connection(listening.getsockname()))
            client.sendall(data)

        def come() -> list[Any]:
            wasyncore.loop(timeout=0.1, use_poll=True, map=sockets, count=1)
            begun = [one for one in server.active_channels.values() if one.request is not None]
            return sorted(server.active_channels.values(), key=order) if len(begun) == 2 else []

        def order(channel: Any) -> tuple[bool, bool]:
            request = channel.request
            return request is not None, request is not None and request.headers_finished

        while len(channels := come()) < 3:
            pass
        for after, closed in ((29, [False] * 3), (31, [True, True, False]), (61, [True] * 3)):
            server.maintenance(time.time() + after)
            assert [channel.will_close for channel in channels] == closed
        stack.callback(lambda: [channel.handle_close() for channel in channels])


def test_a_body_that_drips_is_cut_off(
    taking: RequestLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, slow = (incoming(taking, f"Content-Length: {LIMIT}") for _ in range(2))
    monkeypatch.setattr(request_parser, "BODY_SECONDS", -2.0)  # So much later it seems.
    monkeypatch.setattr(request_parser, "SLOWEST", 5)
    request.received(b"x" * (LIMIT // 2))
    slow.received(b"x" * 9)
    assert not request.completed and slow.completed
    assert answer(slow)[0] == 408
    assert taking.taken == LIMIT // 2
    too_large = incoming(taking, f"Content-Length: {2 * LIMIT}")
    monkeypatch.setattr(request_parser, "SLOWEST", 5_000)
    too_large.received(b"x")
    assert too_large.completed
    assert answer(too_large)[0] == 408
