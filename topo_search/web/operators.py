"""The operator's pages: log in, see all studies and the fleet, hand out tokens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import argon2
from apiflask import APIBlueprint
from flask import (
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as Answer
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, Length

from storage import listing, retention, tokens
from storage.names import LONGEST
from storage.rows import State
from storage.tables import STUDY_STATES
from topo_search import fleet
from topo_search.formats import (
    format_bytes,
    format_count,
    format_days,
    format_name,
    format_share,
)
from topo_search.web import overview
from topo_search.web.access import (
    ALL_LOGINS,
    LOGINS,
    csrf,
    in_some_time,
    is_operator,
    limited,
    log_in,
    log_out,
    service,
    study_of,
)
from topo_search.web.dashboard import OPEN_FOR, close, open_until, open_up
from topo_search.web.pages import again_page, study_page
from topo_search.web.security import SAFE

logger = logging.getLogger(__name__)

operators = APIBlueprint(
    "operators",
    __name__,
    url_prefix="/operator",
    template_folder="templates",
    enable_openapi=False,
)
operators.add_app_template_filter(format_days, "days")
operators.add_app_template_filter(format_share, "share")
operators.add_app_template_filter(overview.age, "age")
operators.add_app_template_filter(format_count, "count")
operators.add_app_template_filter(format_bytes, "bytes")
operators.add_app_template_filter(format_name, "name")
operators.add_app_template_filter(fleet.limits, "limits")
operators.add_app_template_global(overview.moment, "moment")

SIZE = 25  # Studies a page.
EVENTS = 100
FAILURES = 500  # Of the latest, gathered by study and reason.
OURS = ("/operator", "/dashboard")  # Where logging in may lead.
PASSWORD = 1_000  # Characters, at most.
# Argon2 takes 64 MiB and a core for each: many who guess at once are not to take the machine.
_CHECKING = threading.BoundedSemaphore(2)


class LoginForm(FlaskForm):  # type: ignore[misc]
    """The operator's password."""

    password = PasswordField("Password", validators=[DataRequired(), Length(max=PASSWORD)])


class TokenForm(FlaskForm):  # type: ignore[misc]
    """A token's name."""

    name = StringField("Name", validators=[DataRequired(), Length(max=LONGEST)])


@operators.before_request
def _guard() -> Answer | None:
    if request.method not in SAFE:
        csrf.protect()
    if request.endpoint == "operators.login" or is_operator():
        return None
    return sent_to_login()


def sent_to_login() -> Answer:
    """Return what leads someone to the login and back; refuse what cannot be done after it."""
    if request.method not in SAFE:
        abort(401, "You are not logged in any more. Log in, and do it again.")
    goal = request.full_path if request.query_string else request.path
    return redirect(url_for("operators.login", next=goal))


def _often() -> str:
    return f"Too many attempts to log in. {in_some_time()}"


@operators.route("/login", methods=["GET", "POST"])
@limited(LOGINS, _often, methods=["POST"])
@limited(
    ALL_LOGINS,
    _often,
    key_func=lambda: "everybody",
    methods=["POST"],
    deduct_when=lambda response: response.status_code == 403,
)
def login() -> Answer | tuple[str, int]:
    """Let the operator in."""
    goal = _goal(request.values.get("next", ""))
    if is_operator():
        return redirect(goal)
    hashed, form, wrong, status = current_app.config["OPERATOR_PASSWORD"], LoginForm(), "", 200
    if request.method == "POST":
        if hashed and form.validate() and _fits(hashed, form.password.data):
            logger.info("An operator logged in from %s.", request.remote_addr)
            log_in()
            return redirect(goal, 303)
        logger.warning("A wrong operator's password from %s.", request.remote_addr)
        wrong = "This is not the operator's password. Check it and type it again."
        status = 403
    bare = current_app.config["SESSION_COOKIE_SECURE"] and not request.is_secure
    page = render_template(
        "login.html", form=form, wrong=wrong, settable=not hashed, goal=goal, bare=bare
    )
    return page, status


@operators.post("/logout")
def logout() -> Answer:
    """End the session."""
    log_out()
    flash("You are logged out.", "info")
    return redirect(url_for("operators.login"), 303)


@operators.get("")
def home() -> str:
    """Show everything at a glance."""
    parts: dict[str, Any] = {}
    for part in PARTS:
        parts |= PARTS[part]()
    return render_template(
        "operator.html",
        tokens=tokens.list_tokens(service().storage),
        token_form=TokenForm(),
        open_until=open_until(),
        open_minutes=round(OPEN_FOR / 60),
        **parts,
    )


@operators.get("/<any(fleet,studies,events,stored):part>")
def part(part: str) -> Response:
    """Show one part anew; the page asks for it as long as somebody looks at it."""
    return Response(render_template(f"operator_{part}.html", **PARTS[part]()))


@operators.get("/studies/<string:study>")
def study(study: str) -> str:
    """Show a study to the operator, by its public id."""
    row = study_of(study)
    return study_page(row, row.id, operator=True)


@operators.get("/again")
def again() -> str:
    """Show what may be chosen for a study that begins with another's trials."""
    return again_page(operator=True)


@operators.post("/tokens")
def create_token() -> Answer | tuple[str, int]:
    """Make a token, and show it this once."""
    form = TokenForm()
    if not form.validate():
        return _told(f"Expected a name of 1 to {LONGEST} characters for the token.", "error")
    try:
        token = tokens.create(service().storage, form.name.data)
    except ValueError as error:
        return _told(str(error), "error")
    return render_template("token.html", name=form.name.data, token=token), 201


@operators.post("/tokens/revoke")
def revoke_token() -> Answer:
    """Let a token be worth nothing any more."""
    name = request.form.get("name", "")
    try:
        tokens.revoke(service().storage, name)
    except LookupError as error:
        return _told(str(error), "error")
    return _told(f"The token {format_name(name)} is revoked: whoever sends it is refused.", "info")


@operators.post("/dashboard")
def open_dashboard() -> Answer:
    """Let optuna-dashboard change studies for a while, or no more."""
    if request.form.get("open") == "yes":
        open_up()
        logger.warning("optuna-dashboard was opened for changes from %s.", request.remote_addr)
    else:
        close()
    return redirect(url_for("operators.home", _anchor="dashboard"), 303)


def _fleet() -> dict[str, Any]:
    storage = service().storage
    seen = fleet.look(storage, 0)
    named = {one.study for known in seen.workers for one in known.trains} | {*seen.unserved}
    return {"fleet": seen, "names": listing.names(storage, named) if named else {}}


def _studies() -> dict[str, Any]:
    state = request.args.get("state", "")
    states = (cast(State, state),) if state in STUDY_STATES else None
    page = max(1, min(request.args.get("page", 1, int), 10**6))
    storage = service().storage
    totals = listing.totals(storage)
    found = listing.page(storage, states=states, page=page, size=SIZE)
    return {
        "listed": found,
        "totals": totals,
        "state": state if states else "",
        "page": page,
        "pages": max(1, -(-found.total // SIZE)),
        "first": (page - 1) * SIZE + 1,
        "now": datetime.now(UTC),
        "keep": service().keep,
    }


def _events() -> dict[str, Any]:
    storage = service().storage
    latest, failures = overview.latest(storage, EVENTS), overview.failures(storage, FAILURES)
    named = (*(one.study for one in latest), *(one.study for one in failures))
    return {
        "events": latest,
        "cancelled": overview.cancelled(latest),
        "failures": failures,
        "there": listing.existing(storage, {study for study in named if study is not None}),
    }


def _stored() -> dict[str, Any]:
    limits, held = service().limits, retention.stored(service().storage)
    return {
        "stored": held,
        "limits": limits,
        "share": min(1.0, held.bytes / limits.stored),
        "keep": service().keep,
    }


PARTS: Mapping[str, Any] = {
    "fleet": _fleet,
    "studies": _studies,
    "events": _events,
    "stored": _stored,
}


def _goal(wanted: str) -> str:
    """Return where a login leads: a path of the operator's, never another host."""
    path = wanted.partition("?")[0]
    within = any(path == place or path.startswith(f"{place}/") for place in OURS)
    # Browsers take a backslash for a slash, and drop what controls.
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    if within and plain and not path.startswith("/operator/log"):
        return wanted
    return url_for("operators.home")


def _fits(hashed: str, password: str) -> bool:
    with _CHECKING:
        try:
            return argon2.PasswordHasher().verify(hashed, password)
        except argon2.exceptions.VerificationError:
            return False


def _told(text: str, kind: str) -> Answer:
    flash(text, kind)
    return redirect(url_for("operators.home", _anchor="tokens"), 303)
