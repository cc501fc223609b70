"""What a study found, and its report and network handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage import leases, studies, trials
from storage.connection import Storage
from storage.progress import progress_of
from storage.rows import StudyRow
from topo_search import predictor
from topo_search.finish import best_of
from topo_search.next_steps import Asked, commands
from topo_search.plain import plain
from topo_search.report import write_report
from topo_search.results import Results, results_of
from topo_search.writing import network_beside


def results(storage: Storage, row: StudyRow) -> Results:
    """Return what a study has found so far."""
    identity = {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "failed": row.failed,
        "created_at": row.created_at,
        "parent": row.parent,
        "children": studies.children(storage, row.id),
        "seconds": row.spent_seconds,
    }
    return results_of(
        study=trials.optuna_study(storage, row),
        plan=row.plan,
        identity=identity,
        outcome=row.outcome,
        live=leases.live_trials(storage, row.id),
    )


def to_json(
    storage: Storage, row: StudyRow, key: str | None, report: Path | None
) -> dict[str, Any]:
    """Return what a search came to, as JSON."""
    progress = progress_of(storage, row.id)
    outcome = row.outcome or {}
    counted = ("finished", "complete", "pruned", "failed")
    named = ("value", "low", "high", "looks")
    test = outcome.get("test")
    return plain(  # type: ignore[no-any-return]
        {
            "study": row.id,
            "key": key,
            "state": row.state,
            "reason": row.reason,
            **{name: row.plan.get(name) for name in ("task", "metric", "direction")},
            "rows": row.plan.get("rows") or outcome.get("rows"),
            "trials": {name: getattr(progress, name) for name in counted},
            "seconds": row.spent_seconds,
            "best": outcome.get("best") or best_of(storage, row),
            "test": {name: test[name] for name in named} if test else None,
            "baselines": outcome.get("baselines"),
            "report": None if report is None else str(report),
        }
    )


def hand_over(
    storage: Storage, row: StudyRow, report: Path, asked: Asked | None = None
) -> tuple[Path, Path | None]:
    """Write a study's report, and beside it the folder with its network if there is one.

    Raises:
        UnwritableError: One of the two cannot be written.
    """
    network = None
    if row.outcome and row.outcome.get("test"):
        network = predictor.export(storage, row, network_beside(report))
    page = write_report(results(storage, row), report, commands=commands(row, asked))
    return page, network
