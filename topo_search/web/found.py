"""What a study has found, in the pieces that pages and programs ask for, each made once for all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import pandas as pd

from objectives.space import Space
from topo_search import sections
from topo_search.formats import format_count, format_seconds, format_value
from topo_search.plain import plain
from topo_search.report import report_html
from topo_search.results import Results
from topo_search.web.figures import Figure, figures_of
from topo_search.web.schemas import SORTS

EARLIER = 3  # Results back, to whose charts what is new is added; of older ones all is sent.


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a study had found when it was gathered."""

    mark: str  # At which it was.
    results: Results
    earlier: tuple[dict[str, Figure], ...] = field(default=(), repr=False)  # Latest first.
    _drawing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _written: dict[str, bytes] = field(default_factory=dict, repr=False)  # By the file's name.
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def after(cls, before: Found | None, mark: str, results: Results) -> Found:
        """Return what was found after what had been found `before`, if anything."""
        earlier = () if before is None else (before.figures, *before.earlier[: EARLIER - 1])
        return cls(mark=mark, results=results, earlier=earlier)

    @cached_property
    def fragments(self) -> dict[str, str]:
        """The sections of the report, as HTML, by name."""
        results = self.results
        made = {
            "head": sections.head(results),
            "winner": sections.winner(results),
            "method": sections.method(results),
            "endings": sections.endings(results),
            "reading": sections.reading(results, advice=False),
            "foot": sections.foot(results),
        }
        return {name: str(html) for name, html in made.items()}

    @property
    def figures(self) -> dict[str, Figure]:
        """The charts, by name, in the order of reading."""
        with self._drawing:  # Many ask for them at once, and they are dear to draw.
            return self._figures

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        return figures_of(self.results)

    @property
    def digests(self) -> dict[str, str]:
        """What tells whether a chart has changed, by name."""
        return {name: figure.digest for name, figure in self.figures.items()}

    @property
    def captions(self) -> dict[str, dict[str, str]]:
        """What a card says before its chart is drawn, and what tells whether that has changed."""
        return {
            name: {"digest": figure.digest, **{of: figure.value[of] for of in ("title", "text")}}
            for name, figure in self.figures.items()
        }

    def figure(self, name: str, had: str = "") -> str:
        """Return a chart as JSON; of one that a viewer had lately, what has been added since.

        Args:
            name: Of the chart.
            had: Digest of the chart that the viewer has.

        Raises:
            LookupError: There is no such chart.
        """
        if name not in self.figures:
            there = ", ".join(self.figures) or "there is none yet"
            raise LookupError(f"Expected a chart: {there}. Received: {name}.")
        figure = self.figures[name]
        earlier = (figures[name] for figures in self.earlier if name in figures)
        before = next((one for one in earlier if one.digest == had), None)
        return figure.json if before is None else figure.since(before)

    def file(self, name: str) -> bytes:
        """Return a file of all that was found, written once for all who ask: one of `FILES`."""
        with self._writing:
            if name not in self._written:
                self._written[name] = FILES[name](self.results)
            return self._written[name]

    def trials(
        self, *, page: int, size: int, sort: str, order: str, state: str, search: str
    ) -> dict[str, Any]:
        """Return a page of the trials.

        Args:
            page: From 1.
            size: Trials a page.
            sort: A column, or `rank`: complete trials first, best first, then the others.
            order: `asc` or `desc`.
            state: Only trials in this state, where given.
            search: Only trials whose topology or reason holds this text, where given.
        """
        return self._page(page, size, sort, order, state, search)

    def trials_json(self, **asked: Any) -> str:
        """Return a page of the trials, asked for as of `trials`, as JSON."""
        return self._page_json(*(asked[name] for name in _PAGE))

    @cached_property
    def _page(self) -> Callable[..., dict[str, Any]]:
        """`_page_of`, once for all viewers: most look at the same few pages."""
        return lru_cache(maxsize=16)(self._page_of)

    @cached_property
    def _page_json(self) -> Callable[..., str]:
        return lru_cache(maxsize=16)(lambda *asked: as_json(self._page(*asked)))

    def _page_of(
        self, page: int, size: int, sort: str, order: str, state: str, search: str
    ) -> dict[str, Any]:
        frame = self._ranked if sort == "rank" else self.results.trials
        if state:
            frame = frame[frame["state"] == state]
        if search:
            wanted = search.casefold()
            texts = frame["topology"].str.casefold() + " " + frame["reason"].str.casefold()
            frame = frame[texts.str.contains(wanted, regex=False)]
        if sort in SORTS:
            frame = frame.sort_values(sort, ascending=order == "asc", kind="stable")
        elif order == "desc":
            frame = frame.iloc[::-1]
        shown = frame.iloc[(page - 1) * size : page * size]
        return {
            "total": len(frame),
            "page": page,
            "size": size,
            "trials": [self._shown(row) for row in shown.to_dict("records")],
        }

    @cached_property
    def _ranked(self) -> pd.DataFrame:
        trials, board = self.results.trials, self.results.leaderboard
        rest = trials[~trials["trial"].isin(board["trial"])]
        return pd.concat([board, rest], ignore_index=True) if len(rest) else board

    @cached_property
    def _parameters(self) -> list[str]:
        """The parameters that any trial has."""
        columns = [str(name) for name in self.results.trials.columns]
        return [name.removeprefix("param.") for name in columns if name.startswith("param.")]

    @cached_property
    def _space(self) -> Space | None:
        """The space, where its points are topologies."""
        space = Space.from_json(self.results.plan["space"])
        return None if space.name == "own" else space

    def _shown(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        names = ("trial", "state", "value", "loss", "topology", "depth", "weights", "seconds")
        also = ("epochs", "best_epoch", "attempts", "worker", "reason")
        given = {name: plain(row[f"param.{name}"]) for name in self._parameters}
        parameters = {name: value for name, value in given.items() if value is not None}
        shown = {name: plain(row[name]) for name in (*names, *also)}
        if not shown["topology"] and self._space is not None:  # It is told at a trial's end.
            shown["topology"] = str(self._space.decode(parameters)[0])
        return {
            **shown,
            "parameters": parameters,
            "shown": {
                "value": format_value(self.results.metric, plain(row["value"])),
                "weights": format_count(plain(row["weights"])),
                "seconds": format_seconds(plain(row["seconds"])),
            },
        }


_PAGE = ("page", "size", "sort", "order", "state", "search")

FILES: Mapping[str, Callable[[Results], bytes]] = {
    "report.html": lambda results: report_html(results, commands={}).encode(),
    "trials.csv": lambda results: results.to_csv().encode(),
    "trials.json": lambda results: json.dumps(results.to_json(), allow_nan=False).encode(),
}


def as_json(value: Any) -> str:
    """Return a value as JSON, as short as it can be."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
