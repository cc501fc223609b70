"""Charts as they are sent: whole, or what has been added since a viewer last had them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from topo_search import charts
from topo_search.results import Results

GROWING = ("x", "y", "hovertext")  # Of a trace: one entry for each dot.


@dataclass(frozen=True)
class Figure:
    """One chart: plotly's `data` and `layout`, with its `title` and `text`."""

    value: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """What tells whether it has changed."""
        return hashlib.sha256(_json(self.value).encode()).hexdigest()[:12]

    @cached_property
    def json(self) -> str:
        """The chart, for who has none of it."""
        return _json({"digest": self.digest, **self.value})

    def since(self, before: Figure) -> str:
        """Return what turns the chart `before` into this one, trace by trace, as JSON."""
        value, old = self.value, before.value["data"]
        known = [*old, *[None] * (len(value["data"]) - len(old))]
        patch = [_change(was, now) for was, now in zip(known, value["data"], strict=False)]
        return _json({"digest": self.digest, **value, "data": None, "patch": patch})


def figures_of(results: Results) -> dict[str, Figure]:
    """Draw a study's charts, by name, in the order of reading."""
    drawn = {}
    for name, figure in charts.charts_of(results).items():
        value = json.loads(figure.to_json())
        value["layout"].pop("title", None)
        value["layout"]["dragmode"] = False
        value["title"], value["text"] = charts.title_of(figure), charts.text_of(figure)
        drawn[name] = Figure(value)
    return drawn


def _change(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return how a trace has changed: `same`, by what was added to it, or as another trace."""
    if before == now:
        return {"same": True}
    if before is not None and _without_dots(before) == _without_dots(now):
        pairs = [(name, before[name], now[name]) for name in GROWING if name in now]
        if all(_begins(longer, shorter) for _, shorter, longer in pairs):
            return {"added": {name: longer[len(shorter) :] for name, shorter, longer in pairs}}
    return {"trace": now}


def _without_dots(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name not in GROWING else None for name, value in trace.items()}


def _begins(longer: Any, shorter: Any) -> bool:
    both = isinstance(longer, list) and isinstance(shorter, list)
    return both and longer[: len(shorter)] == shorter


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
