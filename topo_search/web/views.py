"""A study as a page shows it at one moment: how far it is, and what it has found."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from storage.connection import Storage
from storage.errors import unavailable_as_storage_error
from storage.rows import StudyRow
from topo_search import delivery
from topo_search.formats import format_value
from topo_search.plain import plain
from topo_search.web.found import Found, as_json
from topo_search.web.study_state import StudyState


@dataclass(frozen=True, kw_only=True)
class View:
    """One study at one moment, with all that it had found then or a moment before."""

    mark: str  # Changes whenever something shown may have.
    standing: StudyState
    found: Found
    # By the mark of the view before.
    _told: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _telling: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def state(self) -> dict[str, Any]:
        """How far it is, and the best network so far."""
        best, metric = self.found.results.best, self.found.results.metric
        return {
            **self.standing.state,
            "best": plain(best) if best else None,
            "best_value": format_value(metric, best["value"]) if best else None,
        }

    @cached_property
    def state_json(self) -> str:
        """`state` as JSON."""
        return as_json(self.state)

    def since(self, before: View | None) -> dict[str, Any]:
        """Return what a viewer needs who has seen the view `before`, or none."""
        known = before.found.fragments if before is not None else {}
        new = {name: html for name, html in self.found.fragments.items() if known.get(name) != html}
        drawn = before is None or before.found.digests != self.found.digests
        reason = self.found.results.importances_reason
        return {
            "state": self.state,
            "trials": before is None or before.found is not self.found,
            "fragments": new,
            **({"figures": self.found.captions, "importances_reason": reason} if drawn else {}),
        }

    def told_since(self, before: View | None) -> str:
        """Return `since` as JSON, made once for all viewers who have seen the same."""
        mark = "" if before is None else before.mark
        with self._telling:
            if mark not in self._told:
                self._told[mark] = as_json(self.since(before))
            return self._told[mark]


def view_of(storage: Storage, row: StudyRow, mark: str, before: View | None) -> View:
    """Gather a study as it is now, after it was as in the view `before`, if any.

    Raises:
        LookupError: It was deleted.
        StorageError: The database is away.
    """
    with unavailable_as_storage_error(storage.url):  # Optuna says so in words of its own.
        standing = StudyState.of(storage, row)
        results = delivery.results(storage, row)
    found = Found.after(None if before is None else before.found, mark, results)
    return View(mark=mark, standing=standing, found=found)
