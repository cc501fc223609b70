"""A study's results as one HTML page that needs nothing else: no network, no server.

Whatever comes from a table or from a user is escaped by markupsafe; a content security policy that
names our scripts by their hashes stands behind that.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from string import Template

import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup, escape

from topo_search import charts, sections
from topo_search.results import Results
from topo_search.writing import writing


def write_report(results: Results, path: Path, *, commands: Mapping[str, str]) -> Path:
    """Write the page and return its path.

    Args:
        results: What to show; a study in any state.
        path: The file to write; folders above it are made.
        commands: What to type to go on, by purpose: `resume`, `export`, `predict` or others;
            without any the page names no options of commands either.

    Raises:
        UnwritableError: The file cannot be written.
    """
    page = report_html(results, commands=commands)
    with writing(path):
        path.write_text(page, encoding="utf-8")
    return path


def report_html(results: Results, *, commands: Mapping[str, str]) -> str:
    """Return the page as text; arguments as of `write_report`."""
    figures = charts.charts_of(results)
    parts = (
        sections.head(results),
        sections.winner(results),
        sections.method(results),
        sections.leaderboard(results),
        sections.learned(results, figures),
        sections.endings(results),
        sections.reading(results, advice=bool(commands)),
        sections.commands(commands),
        sections.foot(results),
    )
    return page(f"{sections.subject(results)} · topo-search", parts, figures)


def page(title: str, parts: Iterable[Markup], figures: Mapping[str, go.Figure]) -> str:
    """Return a page that needs nothing else as text.

    Args:
        title: As the browser shows it.
        parts: Its sections; empty ones are left out.
        figures: The charts for which the sections have places, by name.
    """
    scripts = [plotly.offline.get_plotlyjs(), _template("report.js")] if figures else []
    return Template(_template("report.html")).substitute(
        title=escape(title),
        style=_template("report.css"),
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'",
        body=Markup("\n").join(filter(None, parts)),
        figures=figures_json(figures),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def figures_json(figures: Mapping[str, go.Figure]) -> str:
    """Return figures by name as JSON that is safe inside a script element.

    Titles are left out: they stand above the charts, where they can wrap. Dragging does nothing,
    so that a finger on a chart scrolls the page.
    """
    content = {}
    for name, figure in figures.items():
        value = json.loads(figure.to_json())
        value["layout"].pop("title", None)
        value["layout"]["dragmode"] = False
        content[name] = value
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _template(name: str) -> str:
    return (resources.files("topo_search") / "templates" / name).read_text(encoding="utf-8")
