"""The pages for people: start, configure, one study."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import current_app, render_template, request

from storage import studies
from storage.rows import StudyRow
from topo_search import examples
from topo_search.choices import FIRST, KINDS, SPACE_NAMES, SPACES
from topo_search.formats import format_days, format_name
from topo_search.study import HIGHEST_SEED, MOST_TRIALS
from topo_search.web import docs as rest
from topo_search.web.access import service, study_of
from topo_search.web.forms import field
from topo_search.web.quota import MB
from topo_search.web.study_state import StudyState
from topo_search.web.views import View

QUICK = 0.5  # Seconds in which a page waits for what a study found.

pages = APIBlueprint("pages", __name__, template_folder="templates", enable_openapi=False)
pages.add_app_template_filter(rest.code, "code")


@pages.get("/")
def start() -> str:
    """Show where to drop a table."""
    return render_template(
        "start.html",
        examples=examples.EXAMPLES,
        largest=service().limits.upload,
        largest_shown=f"{service().limits.upload // MB:,} MiB",
        kept=_kept(),
    )


@pages.get("/tables/<string:upload>")
def configure(upload: str) -> str:
    """Show how a table was read, and what may be chosen."""
    _, name = service().opened(upload)
    return render_template(
        "configure.html",
        upload=upload,
        name=name,
        kinds=KINDS,
        first_parameters=FIRST,
        highest_seed=HIGHEST_SEED,
        **_choices(),
        kept=_kept(),
    )


def _choices() -> dict[str, Any]:
    """Return what the fields of a study to be are made from."""
    return {
        "spaces": SPACES,
        "space_names": SPACE_NAMES,
        "field": field,
        "most_trials": MOST_TRIALS,
    }


@pages.get("/s/<string:key>")
def study(key: str) -> str:
    """Show a study, and how to watch it live."""
    return study_page(study_of(key), key, operator=False)


@pages.get("/again")
def again() -> str:
    """Show what may be chosen for a study that begins with another's trials.

    Which study that is, its page tells this one in the browser: no key stands in an address.
    """
    return again_page(operator=False)


@pages.get("/docs")
def docs() -> str:
    """Show the REST calls."""
    document = cast(dict[str, Any], cast(APIFlask, current_app).spec)
    return render_template(
        "docs.html",
        host=request.host_url.rstrip("/"),
        groups=rest.grouped(document),
        texts=rest.GROUPS,
        queried=rest.queried,
        body=partial(rest.body, document),
    )


def _kept() -> str:
    """Say how long things are kept."""
    keep = service().keep
    unused = "a table without a study for a day"
    if keep is None:
        return f"Studies and their tables are kept until they are deleted, {unused}."
    return (
        f"Studies and their tables are deleted {format_days(keep)} after they were last worked at, "
        f"{unused}."
    )


def again_page(*, operator: bool) -> str:
    """Return the page where a study is made that begins with another's trials.

    Args:
        operator: Whether an operator looks at it, and not who has the other's key.
    """
    return render_template(
        "again.html", first_parameters=FIRST, **_choices(), kept=_kept(), operator=operator
    )


def study_page(row: StudyRow, reference: str, *, operator: bool) -> str:
    """Return the page of a study.

    Args:
        row: The study.
        reference: What names it in REST calls.
        operator: Whether an operator looks at it, and not who has its key.
    """
    view = service().watches.of(row.id).soon(QUICK)
    found: dict[str, Any] = {"mark": "", "figures": {}, "importances_reason": ""}
    if view is None:  # It has very many trials: they follow as they come.
        standing = StudyState.of(service().storage, row)
        found |= {"state": standing.state}
        fragments = {"head": render_template("gathering.html", standing=standing)}
    else:
        found |= {"mark": view.mark, **view.since(None)}
        fragments = found.pop("fragments")
    subject = f"Predicting {format_name(row.plan.get('target') or row.name or row.id)}"
    return render_template(
        "study.html",
        first={
            "api": f"/v1/studies/{reference}",
            "subject": subject,
            "target": row.plan.get("target") or "",
            **found,
        },
        fragments=fragments,
        title=format_name(row.name) if row.name else subject,
        board=_board(view) if view is not None else [],
        operator=operator,
        again="facts" in row.plan,
        expires=row.expires_at,
        relatives=_relatives(row) if operator else {},  # Who has a key has no others.
    )


def _board(view: View) -> list[dict[str, Any]]:
    """Return the first trials of the leaderboard: they are there at once, and without a script."""
    shown = view.found.trials(page=1, size=20, sort="rank", order="asc", state="", search="")
    found: list[dict[str, Any]] = shown["trials"]
    return found


def _relatives(row: StudyRow) -> dict[str, list[str]]:
    """Return the studies whose trials this one knows, or that know its, by what is said of them."""
    parents = [row.parent] if row.parent is not None else []
    children = studies.children(service().storage, row.id)
    said = {"It began with the trials of study": parents, "Its trials are known to study": children}
    return {text: ids for text, ids in said.items() if ids}
