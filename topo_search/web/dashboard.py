"""optuna-dashboard in our origin: behind the operator's login, and read-only unless opened."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from apiflask import APIBlueprint
from flask import Response, current_app, jsonify, redirect, request, session, url_for
from werkzeug.wrappers import Response as Answer

from storage.removal import delete_of_optuna
from topo_search.plain import csv_text
from topo_search.web.access import is_operator, service
from topo_search.web.security import SAFE

dashboard = APIBlueprint("dashboard", __name__, enable_openapi=False)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OPEN_FOR = 15 * 60.0  # Seconds.
RENEWED = 3600.0  # Seconds after which its caches, which only grow, are let go.
# Its bundle sets styles, and draws parallel coordinates with functions made from text of its own
# (https://github.com/plotly/plotly.js/issues/897): no inline script, but eval, as its own policy.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
READ_ONLY = (
    "optuna-dashboard is read-only here. To change something with it, open it for 15 minutes on "
    "the operator's page."
)
ELSEWHERE = "Expected a request from this dashboard's own pages. Received one from elsewhere."
NO_ARTIFACTS = "Artifacts are not served here: they could act as a page of ours."
NO_SESSION = "You are not logged in any more. Log in on the operator's page."


def open_up() -> None:
    """Let whoever has this session change things for a while."""
    session["dashboard_open_until"] = _now() + OPEN_FOR


def close() -> None:
    """Make it read-only again."""
    session.pop("dashboard_open_until", None)


def open_until() -> float | None:
    """Return when it becomes read-only, in seconds since 1970; None where it is."""
    until = session.get("dashboard_open_until")
    return until if isinstance(until, float) and until > _now() else None


@dashboard.before_request
def _guard() -> Answer | None:
    person = request.path.startswith(("/dashboard", "/csv")) and request.method in SAFE
    if not is_operator():
        if not person:
            return _refused(401, NO_SESSION)
        goal = request.full_path if request.query_string else request.path
        return redirect(url_for("operators.login", next=goal))
    if request.path.startswith(("/artifacts", "/api/artifacts")):
        return _refused(403, NO_ARTIFACTS)
    if request.method in SAFE:
        return None
    # Its requests carry no token of ours: besides SameSite=Strict, this tells who asks.
    origin = urlsplit(request.headers.get("Origin", ""))
    if origin.scheme not in ("http", "https") or origin.netloc != request.host:
        return _refused(403, ELSEWHERE)
    return None if open_until() else _refused(403, READ_ONLY)


# These paths are built into its bundle, so that no prefix can be put before them.
@dashboard.route("/dashboard", defaults={"rest": ""}, methods=METHODS, strict_slashes=False)
@dashboard.route("/dashboard/<path:rest>", methods=METHODS)
@dashboard.route("/api/<path:rest>", methods=METHODS)
@dashboard.route("/static/<path:rest>", methods=METHODS)
@dashboard.route("/artifacts/<path:rest>", methods=METHODS)
def passed_on(rest: str) -> Answer:
    """Answer as optuna-dashboard does."""
    # It changes what it is given, so that is a copy; a body is read as it comes.
    environ = {"HTTP_ACCEPT_ENCODING": "", **request.environ}  # It takes for granted that one is.
    response = Response.from_app(_application(), environ)
    response.headers["Content-Security-Policy"] = POLICY
    if request.path.startswith("/static/"):  # Megabytes, to be sent once; see security.py.
        response.headers["Cache-Control"] = "private, no-cache"
    return response


@dashboard.delete("/api/studies/<int:number>")
def delete_study(number: int) -> Answer:
    """Delete a study of ours as we do; answer as optuna-dashboard does."""
    if delete_of_optuna(service().storage, number):
        return Response(status=204, mimetype="application/json")
    return passed_on(f"studies/{number}")


@dashboard.get("/csv/<int:number>")
def trials_csv(number: int) -> Answer:
    """Answer with the trials as a file, in which no spreadsheet finds a formula."""
    response = passed_on(str(number))
    if response.status_code != 200:
        return response
    text = io.StringIO(response.get_data(as_text=True))
    frame = pd.read_csv(text, dtype=str, keep_default_na=False)
    response = Response(csv_text(frame, numerals=True), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f"attachment; filename=optuna-{number}.csv"
    return response


class _Application:
    """optuna-dashboard over a storage, made when it is first asked for and anew now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Callable[..., Iterable[bytes]] | None = None
        self._made_at = 0.0

    def get(self, storage: Any) -> Callable[..., Iterable[bytes]]:
        from optuna_dashboard import wsgi

        with self._lock:
            if self._made is None or time.monotonic() - self._made_at > RENEWED:
                self._made = wsgi(storage.with_own_cache().optuna)
                self._made_at = time.monotonic()
            return self._made


def _application() -> Callable[..., Iterable[bytes]]:
    kept: _Application = current_app.extensions.setdefault("optuna-dashboard", _Application())
    return kept.get(service().storage)


def _refused(status: int, words: str) -> Response:
    response = jsonify(reason=words)  # Its pages show this key.
    response.status_code = status
    return response


def _now() -> float:
    return time.time()
