"""Errors as answers: problem details (RFC 9457) for programs, a page for people, the same words."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from apiflask import APIFlask, HTTPError
from flask import Response, json, make_response, render_template, request
from jinja2 import TemplateError
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from storage.errors import StorageError
from topo_search.web.access import seconds_until_allowed
from topo_search.web.children import BusyError
from topo_search.web.quota import FullError, UploadTooLargeError, too_large
from topo_search.web.security import OTHERS
from topo_search.web.service import Service, UnreadError
from topo_search.web.watching import ManyWatchError

logger = logging.getLogger(__name__)

TITLES = {
    400: "The request cannot be read",
    401: "Log in first",
    403: "Not allowed",
    404: "There is nothing here",
    405: "Not possible here",
    409: "That does not go together",
    413: "Too large",
    422: "That does not fit",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not now",
}
AGAIN = 30  # Seconds until it may be tried again what is not possible now.
LONGEST = 2_000  # Characters of a detail: a hostile table's names may be as long as they like.
UNREADABLE = (
    "Expected a request that can be read, with valid JSON where it holds any. Received another. "
    "Check its body and headers."
)
# Instead of Werkzeug's.
WORDS = {
    400: UNREADABLE,
    404: "Expected the address of a page or a call that there is. Received another. Begin at /, or "
    "find all calls at /docs.",
    405: "Expected one of {methods} here. Received: {method}. Find all calls at /docs.",
}
OURS = ("objectives", "storage", "topo_search")
BROKEN = "An error of topo-search; it has been logged."
AWAY = "The database does not answer. Try again in a moment."


def register(app: APIFlask, service: Service) -> None:
    """Let an application answer errors so."""

    @app.error_processor
    def _invalid(error: HTTPError) -> Any:
        detail = _first(error.detail) if error.status_code == 422 else UNREADABLE
        return problem(error.status_code, detail, errors=error.detail)

    app.register_error_handler(UploadTooLargeError, lambda error: problem(413, str(error)))
    app.register_error_handler(
        RequestEntityTooLarge,
        lambda error: problem(
            413,
            f"Expected a request of at most {OTHERS // 2**20} MiB. Received a larger one."
            if request.max_content_length == OTHERS
            else too_large(service.limits.upload),
        ),
    )
    app.register_error_handler(
        UnreadError, lambda error: problem(422, str(error), upload=error.upload)
    )
    for busy in (FullError, BusyError, ManyWatchError):
        app.register_error_handler(busy, lambda error: problem(503, str(error)))
    app.register_error_handler(StorageError, _away)
    app.register_error_handler(
        ValidationError, lambda error: problem(422, _first(error.messages), errors=error.messages)
    )
    app.register_error_handler(ValueError, _unfit)
    app.register_error_handler(LookupError, _missing)
    app.register_error_handler(HTTPException, _refused)
    app.register_error_handler(RecursionError, _too_deep)
    app.register_error_handler(Exception, _broken)


def problem(status: int, detail: str, **more: Any) -> Response:
    """Return an answer that says what is wrong, to programs with more members."""
    title = TITLES.get(status, "The request cannot be answered")
    detail = detail if len(detail) <= LONGEST else f"{detail[:LONGEST]} …"
    if wants_json():
        said = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = said | {name: value for name, value in more.items() if value}
        response = make_response(json.dumps(body), status)
        response.mimetype = "application/problem+json"
    else:
        page = render_template("problem.html", status=status, title=title, detail=detail)
        response = make_response(page, status)
    if status in (429, 503):
        wait = seconds_until_allowed() if status == 429 else AGAIN
        response.headers["Retry-After"] = str(wait)
    return response


def wants_json() -> bool:
    """Tell whether a program asks."""
    return request.path.startswith("/v1")


def _refused(error: HTTPException) -> Response:
    status, detail = error.code or 500, str(error.description or "")
    methods = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    if error.description == type(error).description and status in WORDS:
        detail = WORDS[status].format(methods=methods, method=request.method)
    response = problem(status, detail)
    if methods:
        response.headers["Allow"] = methods
    return response


def _unfit(error: ValueError) -> Response:
    """Answer with the words of a refusal; where a library raised it, what was asked is to blame.

    Or we are: then the log says where.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames and frames[-1].f_globals.get("__name__", "").partition(".")[0] not in OURS:
        logger.warning("%s was refused by a library.", request.endpoint, exc_info=error)
    return problem(422, str(error))


def _missing(error: LookupError) -> Response:
    if isinstance(error, KeyError | IndexError | TemplateError):
        return _broken(error)  # Nobody's request says so: it is ours.
    return problem(404, str(error))


def _too_deep(error: RecursionError) -> Response:
    if not request.is_json:
        return _broken(error)
    return problem(400, "Expected JSON of a few levels. Received some that is nested too deeply.")


def _away(error: StorageError) -> Response:
    logger.warning("%s", error)  # It names the server, which is nobody's business.
    return problem(503, AWAY)


def _broken(error: Exception) -> Response:
    logger.error("%s failed.", request.endpoint, exc_info=error)
    return problem(500, BROKEN)


def _first(detail: Any, path: str = "") -> str:
    """Return the first of marshmallow's messages, with the name of the field."""
    if isinstance(detail, dict) and detail:
        name, rest = next(iter(detail.items()))
        inner = name in ("json", "query", "form", "files", "_schema")
        return _first(rest, path if inner else f"{path}.{name}".strip("."))
    if isinstance(detail, list) and detail:
        return _first(detail[0], path)
    return f"{path}: {detail}" if path else str(detail)
