"""What browsers are told, so that hostile text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from topo_search.formats import format_name

# plotly.js and Bootstrap set styles; scripts are files of ours, and never inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
TABLES = ("v1_tables.upload", "v1.predict")  # Take a table, and hold little of it in memory.
SAFE = ("GET", "HEAD", "OPTIONS")
OTHERS = 8 * 2**20  # Bytes of any other request, and of JSON: it is held in memory, and more.
ASSETS = ("/assets/", "/bootstrap/", "/static/")
ASSETS_KEPT = 3600  # Seconds; their addresses change with their content where it matters.


def register(app: Flask, hosts: Sequence[str]) -> None:
    """Let an application say so in every answer, and hold no large request in memory.

    Args:
        app: The application.
        hosts: Names and addresses by which it may be called, at any port; none: any.
    """

    @app.before_request
    def _refuse_others_names() -> None:
        # Any site may let its own name lead to this machine, and would be let in as a page of ours.
        if hosts and urlsplit(f"//{request.host}").hostname not in hosts:
            abort(
                400,
                f"Expected to be called {' or '.join(hosts)}, as only this machine is served. "
                f"Received {format_name(request.host, 80)}. Behind a proxy, start with --proxied.",
            )

    @app.before_request
    def _refuse_others_pages() -> None:
        # Browsers say so themselves; a page of another site has nothing to send here.
        if request.method not in SAFE and request.headers.get("Sec-Fetch-Site") == "cross-site":
            abort(403, "Expected a request from a page of ours. Received one of another site's.")

    @app.before_request
    def _limit() -> None:
        if request.endpoint not in TABLES or request.is_json:
            request.max_content_length = OTHERS

    @app.after_request
    def _headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if not request.path.startswith(ASSETS):  # Results behind a key are nobody else's.
            headers["Cache-Control"] = "no-store"
        return response
