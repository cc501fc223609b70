"""The pages for people: start, configure, one study."""

from __future__ import annotations

from flask import Blueprint, render_template

from topo_search import examples, sections
from topo_search.choices import KINDS, LIMITS, SPACES
from topo_search.web.access import GUESSES, limiter, service, study_of
from topo_search.web.schemas import OPTIONS
from topo_search.web.service import MB

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
    row = study_of(key)
    view = service().watches.of(row.id).current()
    return render_template(
        "study.html",
        api=f"/v1/studies/{key}",
        view=view,
        subject=sections.subject(view.results),
        operator=False,
    )


@pages.get("/docs")
def docs() -> str:
    """Show the REST calls."""
    from flask import current_app

    return render_template("docs.html", spec=current_app.spec)
