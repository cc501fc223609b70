"""The OpenAPI document as a page for people: calls in groups, what they take, how one begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

METHODS = ("get", "post", "patch", "put", "delete")
GROUPS = {
    "Tables": "A table is uploaded once, and read again as often as it takes to get it right.",
    "Studies": "A study of a table: created, watched, changed, and its network used.",
    "Operators": "For an operator's token only: all studies, and the machines.",
}
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call."""

    method: str
    path: str
    about: Mapping[str, Any]  # The operation, as OpenAPI has it.

    @property
    def id(self) -> str:
        """What a link to it says."""
        return f"{self.method}{self.path}".replace("/", "-").translate({ord(c): "" for c in "{}"})


@dataclass(frozen=True, kw_only=True)
class Member:
    """One thing that a call takes."""

    name: str
    required: bool
    words: str  # What it may be.
    text: str
    members: tuple[Member, ...]  # Of an object.


def code(text: str) -> Markup:
    """Return a text with what stands between backticks as code; a filter of the templates."""
    parts = _CODE.split(text)  # Every other one stood between backticks.
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def grouped(document: Mapping[str, Any]) -> dict[str, list[Call]]:
    """Return the calls by their tag, shorter paths first: what they are about comes before it."""
    calls = [
        Call(method=method, path=path, about=methods[method])
        for path, methods in document["paths"].items()
        for method in METHODS
        if method in methods
    ]
    calls.sort(key=lambda call: (call.path.count("/"), METHODS.index(call.method)))
    return {tag: [call for call in calls if tag in call.about["tags"]] for tag in GROUPS}


def queried(call: Call) -> tuple[Member, ...]:
    """Return what a call takes in the query."""
    return tuple(
        Member(
            name=one["name"],
            required=bool(one.get("required")),
            words=_words(one["schema"]),
            text=one.get("description") or one["schema"].get("description", ""),
            members=(),
        )
        for one in call.about.get("parameters", ())
        if one["in"] == "query"
    )


def body(document: Mapping[str, Any], call: Call) -> tuple[Member, ...]:
    """Return what a call takes as JSON in its body."""
    content = call.about.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return _members(document, schema)


def _members(document: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[Member, ...]:
    known = _resolved(document, schema)
    return tuple(
        Member(
            name=name,
            required=name in known.get("required", ()),
            words=_words(_resolved(document, about)),
            text=str(about.get("description", "")),
            members=_members(document, about),
        )
        for name, about in known.get("properties", {}).items()
    )


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema says, itself or where it points to."""
    for place in [schema, *schema.get("allOf", ()), *schema.get("anyOf", ())]:
        if "$ref" in place:
            found: Mapping[str, Any] = document["components"]["schemas"][
                place["$ref"].rpartition("/")[2]
            ]
            return found
    return schema


def _words(schema: Mapping[str, Any]) -> str:
    """Return what a value may be."""
    if choices := [str(one) for one in schema.get("enum", ()) if one not in (None, "")]:
        words = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    else:
        kinds = schema.get("type", "")
        listed = [kinds] if isinstance(kinds, str) else kinds
        words = " or ".join(kind for kind in listed if kind not in ("null", "object"))
    default = schema.get("default")
    return words if default in (None, "") else f"{words}; {default} unless given"
