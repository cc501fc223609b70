"""A study as a page shows it at one moment, in pieces that can be sent by themselves."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from storage import workers
from storage.connection import Storage
from storage.progress import Progress, progress_of
from storage.rows import StudyRow
from topo_search import charts, delivery, sections
from topo_search.formats import format_count, format_metric, format_seconds, format_value
from topo_search.results import Results, plain
from topo_search.web.schemas import SORTS

HERE = 120.0  # Seconds of silence after which a worker is not counted on.


@dataclass(frozen=True, kw_only=True)
class View:
    """One study at one moment."""

    mark: str  # Changes whenever something shown may have.
    row: StudyRow
    progress: Progress
    results: Results
    serving: int  # Workers that are there and may serve it.
    busy: int  # Slots that train it.
    seconds_left: float | None  # Until its trials are through, as far as can be told.
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def state(self) -> dict[str, Any]:
        """What changes all the time, in a few numbers and words."""
        best = self.results.best
        row, progress = self.row, self.progress
        return {
            "study": row.id,
            "name": row.name,
            "state": row.state,
            "reason": row.reason,
            "created_at": _iso(row.created_at),
            "started_at": _iso(row.started_at),
            "ended_at": _iso(row.ended_at),
            "expires_at": _iso(row.expires_at),
            "table": row.plan.get("dataset_name"),
            "target": row.plan.get("target"),
            "task": row.plan.get("task"),
            "metric": self.results.metric,
            "direction": self.results.direction,
            "seconds": row.seconds,
            "spent_seconds": row.spent_seconds,
            "seconds_left": self.seconds_left,
            "left": format_seconds(self.seconds_left) if self.seconds_left is not None else None,
            "workers": self.serving,
            "busy": self.busy,
            "trials": {
                name: getattr(progress, name)
                for name in ("finished", "running", "waiting", "complete", "pruned", "failed")
            },
            "budget": progress.units,
            "best": plain(best) if best else None,
            "best_value": format_value(self.results.metric, best["value"]) if best else None,
            "metric_label": format_metric(self.results.metric),
            "has_network": bool(self.results.part("test")),
        }

    @cached_property
    def fragments(self) -> dict[str, str]:
        """The sections of the report, as HTML, by name."""
        results = self.results
        made = {
            "head": sections.head(results),
            "winner": sections.winner(results),
            "method": sections.method(results),
            "endings": sections.endings(results),
            "reading": sections.reading(results),
            "foot": sections.foot(results),
        }
        return {name: str(html) for name, html in made.items()}

    @property
    def figures(self) -> dict[str, str]:
        """The charts as plotly JSON, by name, in the order of reading."""
        with self._lock:  # Many ask for them at once, and they are dear to draw.
            return self._figures

    @cached_property
    def _figures(self) -> dict[str, str]:
        drawn = {}
        for name, figure in charts.charts_of(self.results).items():
            value = json.loads(figure.to_json())
            value["layout"].pop("title", None)
            value["layout"]["dragmode"] = False
            value["title"], value["text"] = charts.title_of(figure), charts.text_of(figure)
            drawn[name] = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return drawn

    @cached_property
    def digests(self) -> dict[str, str]:
        """What tells whether a chart has changed, by name."""
        return {name: _digest(text) for name, text in self.figures.items()}

    def since(self, before: View | None) -> dict[str, Any]:
        """Return what a viewer needs who has seen the view `before`, or none."""
        known = before.fragments if before is not None else {}
        new = {name: html for name, html in self.fragments.items() if known.get(name) != html}
        drawn = before is None or before.digests != self.digests
        reason = self.results.importances_reason
        return {
            "state": self.state,
            "fragments": new,
            **({"figures": self.digests, "importances_reason": reason} if drawn else {}),
        }

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

    def _shown(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        names = ("trial", "state", "value", "loss", "topology", "depth", "weights", "seconds")
        also = ("epochs", "best_epoch", "attempts", "worker", "reason")
        parameters = {
            str(name).removeprefix("param."): plain(value)
            for name, value in row.items()
            if str(name).startswith("param.") and plain(value) is not None
        }
        return {
            **{name: plain(row[name]) for name in (*names, *also)},
            "parameters": parameters,
            "shown": {
                "value": format_value(self.results.metric, plain(row["value"])),
                "weights": format_count(plain(row["weights"])),
                "seconds": format_seconds(plain(row["seconds"])),
            },
        }


def view_of(storage: Storage, row: StudyRow, mark: str) -> View:
    """Gather a study as it is now."""
    progress = progress_of(storage, row.id)
    known = workers.known(storage)
    serving = [one for one in known if one.state == "serving" and one.silence < HERE]
    busy = sum(trained.study == row.id for one in known for trained in one.trains)
    return View(
        mark=mark,
        row=row,
        progress=progress,
        results=delivery.results(storage, row),
        serving=len(serving),
        busy=busy,
        seconds_left=_seconds_left(row, progress),
    )


def _seconds_left(row: StudyRow, progress: Progress) -> float | None:
    if row.state not in ("created", "running") or not progress.finished:
        return None
    left = row.spent_seconds / progress.finished * (progress.units - progress.finished)
    return left if row.seconds is None else min(left, max(0.0, row.seconds - row.spent_seconds))


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
