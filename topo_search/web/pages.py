"""The pages for people: start, configure, one study."""

from __future__ import annotations

from typing import Any, cast

from apiflask import APIFlask
from flask import Blueprint, current_app, render_template

from storage.rows import StudyRow
from topo_search import examples
from topo_search.choices import KINDS, LIMITS, SPACES
from topo_search.formats import format_name
from topo_search.web.access import GUESSES, limiter, service, study_of
from topo_search.web.schemas import OPTIONS
from topo_search.web.service import MB
from topo_search.web.views import Standing

QUICK = 0.5  # Seconds in which a page waits for what a study found.

pages = Blueprint("pages", __name__, template_folder="templates")
limiter.limit(GUESSES, deduct_when=lambda response: response.status_code == 404)(pages)


@pages.get("/")
def start() -> str:
    """Show where to drop a table."""
    return render_template(
        "start.html",
        examples=examples.EXAMPLES,
        largest=service().limits.upload,
        largest_shown=f"{service().limits.upload // MB:,} MB",
        keep=service().keep,
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
        limits=LIMITS,
        spaces=SPACES,
        options=OPTIONS,
        keep=service().keep,
    )


@pages.get("/s/<string:key>")
def study(key: str) -> str:
    """Show a study, and how to watch it live."""
    return study_page(study_of(key), key, operator=False)


@pages.get("/docs")
def docs() -> str:
    """Show the REST calls."""
    return render_template("docs.html", spec=cast(APIFlask, current_app).spec)


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
        standing = Standing.of(service().storage, row)
        found |= {"state": standing.state}
        fragments = {"head": render_template("gathering.html", standing=standing)}
    else:
        found |= {"mark": view.mark, **view.since(None)}
        fragments = found.pop("fragments")
    return render_template(
        "study.html",
        first={"api": f"/v1/studies/{reference}", **found},
        fragments=fragments,
        subject=f"Predicting {format_name(row.plan.get('target') or row.name or row.id)}",
        operator=operator,
    )
