"""Who may see what: a study's key, an operator's token, an operator's session."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from flask import abort, current_app, g, request, session
from flask_limiter import Limiter
from flask_wtf.csrf import CSRFProtect
from limits import parse

from storage import sessions, studies, tokens
from storage.errors import StorageError
from storage.rows import StudyRow
from topo_search.formats import format_seconds
from topo_search.web.clients import client_address
from topo_search.web.security import SAFE
from topo_search.web.service import Service
from topo_search.web.watching import Watch

limiter = Limiter(client_address, storage_uri="memory://", strategy="moving-window")
csrf = CSRFProtect()
F = TypeVar("F", bound=Callable[..., Any])

UPLOADS = "30 per minute; 300 per hour"
READINGS = "120 per minute"  # Of tables, by a child each.
CHANGES = "60 per minute"  # Of studies, each of which is looked at anew.
LOGINS = "10 per minute; 50 per hour"
ALL_LOGINS = "100 per minute; 1000 per hour"  # Wrong ones, of all addresses that one may have.
GUESSES = parse("60 per minute")  # Of wrong keys and tokens, wherever they are tried.
NO_STUDY = "No study has this key. Check that the link is whole; the study may have been deleted."
PREDICTIONS = "120 per minute"
FILES = "120 per minute"  # With all that a study found: megabytes.
_ID = re.compile(r"[a-z0-9]{8}")


def limited(often: str, said: Callable[[], str] | None = None, **options: Any) -> Callable[[F], F]:
    """Return a decorator that lets each client address call an endpoint so often.

    Args:
        often: As Flask-Limiter takes it.
        said: Says what is wrong; else that it was asked for too often.
        options: Of Flask-Limiter.
    """
    limit = limiter.limit(often, error_message=said or _often, **options)

    def decorate(view: F) -> F:
        checked = cast(Any, limit(view))
        checked.is_limited = True
        return cast(F, checked)

    return decorate


@limiter.request_filter
def _has_no_limit() -> bool:
    # Flask-Limiter's search for limits takes a sixth of the time of a read, which has none.
    view = current_app.view_functions.get(request.endpoint or "")
    return not getattr(view, "is_limited", False)


def seconds_until_allowed() -> int:
    """Return when what is refused now, as it was asked for too often, may be asked for again."""
    breached = limiter.current_limit
    if g.get("guesses"):
        reset = limiter.limiter.get_window_stats(GUESSES, "guesses", client_address()).reset_time
    elif breached is not None:
        reset = breached.reset_at
    else:
        return 1
    return max(1, int(reset - time.time()))


def in_some_time() -> str:
    """Return in words, as a sentence, when that is."""
    return f"Try again in {format_seconds(seconds_until_allowed())}."


def _often() -> str:
    return f"This was asked for too often from where you are. {in_some_time()}"


def service() -> Service:
    """Return the service of the application that answers."""
    found: Service = current_app.extensions["topo-search"]
    return found


def study_of(reference: str) -> StudyRow:
    """Return the study that a request may see.

    Args:
        reference: Its key; or its public id, where the Authorization header holds its key or an
            operator's token, or an operator is logged in.
    """
    storage, bearer = service().storage, _bearer()
    g.asker = "its owner"
    if bearer is not None and tokens.find(storage, bearer) is None:
        row = _by_key(bearer)
        if not hmac.compare_digest(row.id.encode(), reference.encode()):
            _guessed()
        return row
    if not _ID.fullmatch(reference) or (bearer is None and not is_operator()):
        return _by_key(reference)
    if bearer is None and request.method not in SAFE:
        csrf.protect()  # A cookie alone may be sent by any page; a key is known to few.
    g.asker = "an operator"
    try:
        return studies.get(storage, reference)
    except LookupError:
        _guessed()


def asker() -> str:
    """Return who asked for a study with `study_of`, for the log: `its owner` or `an operator`."""
    return str(g.asker)


def may_go_on() -> Callable[[], bool]:
    """Return what tells whether whoever asked for a study with `study_of` may still see it.

    A key opens its study for good; a token may be revoked, and a session end. To be called at any
    time, also when the request is through.
    """
    if g.asker != "an operator":
        return lambda: True
    storage, bearer = service().storage, _bearer()
    key, mark = session.get("operator", ""), current_app.config["OPERATOR_MARK"]

    def is_still_one() -> bool:
        try:
            if bearer is not None:
                return tokens.find(storage, bearer) is not None
            return sessions.is_open(storage, key, mark)
        except StorageError:
            return True  # Nothing is seen either before the database is back.

    return is_still_one


def watch_of(reference: str) -> Watch:
    """Return the watch of the study that a request may see; `reference` as `study_of` takes it.

    A key in the path is looked up once for as long as its study is watched.
    """
    watches = service().watches
    if _ID.fullmatch(reference) or _bearer() is not None:
        return watches.of(study_of(reference).id)
    return watches.opened_by(reference) or watches.opens(reference, study_of(reference).id)


def log_in() -> None:
    """Make whoever asks an operator. Nothing that was known before counts after it."""
    session.clear()
    session["operator"] = sessions.begin(service().storage, current_app.config["OPERATOR_MARK"])
    session.permanent = True


def log_out() -> None:
    """End the session, also for whoever has a copy of its cookie."""
    if key := session.get("operator"):
        sessions.end(service().storage, key, current_app.config["OPERATOR_MARK"])
    session.clear()


def is_operator() -> bool:
    """Tell whether an operator is logged in."""
    key, mark = session.get("operator"), current_app.config["OPERATOR_MARK"]
    return key is not None and sessions.is_open(service().storage, key, mark)


def need_operator() -> None:
    """Refuse whoever is no operator, by session or token."""
    bearer = _bearer()
    if bearer is not None:
        if tokens.find(service().storage, bearer) is None:
            _guessed("")
        return
    if not is_operator():
        abort(401, "Log in as an operator, or send an operator's token.")


def _guessed(said: str = NO_STUDY) -> NoReturn:
    """Refuse a key, an id or a token that is none, as if there was nothing; count it.

    A right one is never refused, however many wrong ones came from its address, which many may
    share. To whoever guesses that tells nothing: of 128 random bits none guesses any.
    """
    if not limiter.limiter.hit(GUESSES, "guesses", client_address()):
        g.guesses = True
        abort(429, _often())
    abort(404, said or None)


def _bearer() -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _by_key(key: str) -> StudyRow:
    try:
        return studies.by_key(service().storage, key)
    except LookupError:
        _guessed()
