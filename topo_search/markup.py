"""Pieces of HTML that sections are made of; all text given to them gets escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from topo_search.formats import format_name

EMPTY = Markup("")


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    style: Literal["", "name", "number"] = ""


def table(
    label: str, head: Iterable[Cell], rows: Iterable[Iterable[Cell]], *, first: bool = False
) -> Markup:
    """Return a table that scrolls sideways on its own.

    Args:
        label: What screen readers call it.
        head: Its columns' names.
        rows: Its rows of cells.
        first: Whether the first row stands out.
    """
    heads = [Markup('<th scope="col" class="{1}">{0}</th>').format(*cell) for cell in head]
    lines = [
        Markup("<tr{}>{}</tr>").format(
            Markup(' class="first"') if first and place == 0 else EMPTY,
            EMPTY.join(Markup('<td class="{1}"><bdi>{0}</bdi></td>').format(*cell) for cell in row),
        )
        for place, row in enumerate(rows)
    ]
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table class="wide">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(label, EMPTY.join(heads), EMPTY.join(lines))


def pairs(facts: Mapping[str, str]) -> Markup:
    """Return names with what belongs to them; those without are left out."""
    items = [
        Markup("<dt>{}</dt><dd><bdi>{}</bdi></dd>").format(name, value)
        for name, value in facts.items()
        if value
    ]
    return Markup("<dl>{}</dl>").format(EMPTY.join(items))


def section(title: str, *parts: Markup) -> Markup:
    """Return a section with its heading; empty where all parts are."""
    if not any(parts):
        return EMPTY
    return Markup("<section><h2>{}</h2>{}</section>").format(title, EMPTY.join(parts))


def words(name: str) -> str:
    """Return a parameter's name as words."""
    return format_name(name.replace("_", " "), 60)


def shown(value: Any) -> str:
    """Return a parameter's value for reading."""
    return f"{value:.4g}" if isinstance(value, float) else format_name(value)


def capital(text: str) -> str:
    """Return the text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]
