"""Fields of the pages' forms, made from the command line's options: one definition for both."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from topo_search.choices import VALUES
from topo_search.study import TRIALS
from topo_search.web.schemas import OPTIONS

_DEFAULT = re.compile(r"\s*\[default: (.*)\]")
# What an option's help says of how it is written on a command line.
_SYNTAX = re.compile(
    rf", as 10m|; tab as \\t|; '' for none|\s*(May be r|R)epeat(ed|able)\.|{_DEFAULT.pattern}"
)
FILLED = {"trials": TRIALS}  # What the command line finds out by itself where nothing is said.
NUMBERS = (click.IntRange, click.types.IntParamType, click.types.FloatParamType)


@dataclass(frozen=True, kw_only=True)
class Field:
    """One option as a field."""

    name: str
    label: str
    help: str  # What it means, in a sentence; may be empty.
    unless: str  # What holds where nothing is said; may be empty.
    value: str  # What it holds at first; may be empty.
    choices: dict[str, str]  # By value, in words; empty where any text or number may stand.
    kind: str  # `text`, `number` or `choice`.
    least: int | None
    step: int | str | None


def field(name: str, label: str = "") -> Field:
    """Return an option of the command line as a field.

    Args:
        name: The option's.
        label: By default its name in words.
    """
    option = OPTIONS[name]
    text, kind, default = option.help or "", option.type, FILLED.get(name, option.default)
    unless = _DEFAULT.search(text)
    words = VALUES.get(name, {})
    choices = list(kind.choices) if isinstance(kind, click.Choice) else []
    number = isinstance(kind, NUMBERS)
    label = label or name.replace("_", " ").capitalize()
    said = _SYNTAX.sub("", text)
    return Field(
        name=name,
        label=label,
        help="" if said.rstrip(".") == label else said,  # It would say the same twice.
        unless=unless[1] if unless else "",
        value=str(default) if isinstance(default, int | float | str) else "",
        choices={value: words.get(value, value) for value in choices},
        kind="choice" if choices else "number" if number else "text",
        least=kind.min if isinstance(kind, click.IntRange) else None,
        step="any" if isinstance(kind, click.types.FloatParamType) else 1 if number else None,
    )
