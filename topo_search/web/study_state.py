"""How far a study is, as pages and REST calls say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from storage import workers
from storage.connection import Storage
from storage.progress import Progress, progress_of
from storage.rows import OPEN, StudyRow
from topo_search.formats import format_left, format_metric


@dataclass(frozen=True, kw_only=True)
class StudyState:
    """How far a study is: what a few quick questions answer, however many trials it has."""

    row: StudyRow
    progress: Progress
    serving: int  # Workers that are there and may serve it.
    refusal: str | None  # Why one that is there does not serve it.
    busy: int  # Slots that train it.

    @classmethod
    def of(cls, storage: Storage, row: StudyRow) -> Self:
        """Ask how far a study is."""
        known = workers.known(storage)
        refused = workers.refusals(storage, row.id).get(row.id, {})
        here = [
            one
            for one in known
            if one.state == "serving"
            and one.worker.may_serve(row.id, row.tags)
            and one.worker.name not in refused
        ]
        # What lost ones had begun waits to be taken up.
        there = [one for one in known if one.state in workers.HERE]
        trained = [trains for one in there for trains in one.trains if trains.study == row.id]
        begun = [trains for trains in trained if trains.trial is not None]
        progress = progress_of(storage, row.id)
        return cls(
            row=row,
            progress=progress,
            serving=len(here),
            refusal=next(reversed(refused.values()), None),
            busy=len(begun),
        )

    @property
    def state(self) -> dict[str, Any]:
        """What changes all the time, in a few numbers and words."""
        row, progress, left = self.row, self.progress, self._seconds_left
        metric = str(row.plan.get("metric") or "value")
        return {
            "study": row.id,
            "name": row.name,
            "state": row.state,
            "reason": row.reason,
            "failure": row.failed,
            "created_at": _iso(row.created_at),
            "started_at": _iso(row.started_at),
            "ended_at": _iso(row.ended_at),
            "expires_at": _iso(row.expires_at),
            "table": row.plan.get("dataset_name"),
            "target": row.plan.get("target"),
            "task": row.plan.get("task"),
            "metric": metric,
            "metric_label": format_metric(metric),
            "direction": row.plan["direction"],
            "seconds": row.seconds,
            "spent_seconds": row.spent_seconds,
            "seconds_left": left,
            "left": None if left is None else format_left(left),
            "workers": self.serving,
            "refusal": self.refusal,
            "busy": self.busy,
            "trials": {
                name: getattr(progress, name)
                for name in ("finished", "running", "waiting", "complete", "pruned", "failed")
            },
            "budget": progress.units,
            "has_network": bool(row.outcome and row.outcome.get("test")),
        }

    @property
    def _seconds_left(self) -> float | None:
        """Return how long its trials take yet, as far as can be told."""
        row, progress = self.row, self.progress
        if row.state not in OPEN or not progress.finished:
            return None
        left = row.spent_seconds / progress.finished * (progress.units - progress.finished)
        return left if row.seconds is None else min(left, max(0.0, row.seconds - row.spent_seconds))


def _iso(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
