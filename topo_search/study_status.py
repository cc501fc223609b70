"""How far studies are, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage import workers
from storage.connection import Storage
from storage.progress import Progress, progress_of, progress_of_all
from storage.rows import StudyRow
from topo_search.finish import best_of, best_of_each


def status(storage: Storage, row: StudyRow) -> dict[str, Any]:
    """Return how far a study is, as JSON."""
    refused = workers.refusals(storage, row.id)
    return _status(row, progress_of(storage, row.id), best_of(storage, row), refused)


def statuses(storage: Storage, rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """Return what `status` does of each study, in a few statements however many there are."""
    progress, best = progress_of_all(storage), best_of_each(storage, rows)
    refused = workers.refusals(storage)
    # One that was deleted meanwhile is left out.
    return [
        _status(row, progress[row.id], best[row.id], refused) for row in rows if row.id in progress
    ]


def _status(
    row: StudyRow,
    progress: Progress,
    best: dict[str, Any] | None,
    refused: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    names = ("finished", "running", "waiting", "complete", "pruned", "failed")
    return {
        "study": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "trials": {name: getattr(progress, name) for name in names},
        "best": best,
        "refused": dict(refused.get(row.id, {})),  # Why, by the workers that do not serve it.
    }
