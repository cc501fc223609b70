"""The main job: a study served on this machine to its end, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from storage import leases, studies, trials
from storage.connection import Storage, hidden
from storage.progress import progress_of
from storage.rows import StudyRow
from topo_search import predictor
from topo_search.finish import best_of
from topo_search.plain import plain
from topo_search.report import write_report
from topo_search.results import Results, results_of
from topo_search.worker import Worker


def serve(
    storage: Storage,
    home: Path,
    study_id: str,
    *,
    slots: int | None = None,
    slots_per_gpu: int = 1,
    objectives: Collection[str] = (),
    trial_timeout: float | None = None,
    on_tick: Callable[[Worker], None] = lambda worker: None,
) -> StudyRow:
    """Serve one study with this machine's slots until it ends or a signal drains the worker."""
    Worker(
        storage,
        home,
        slots=slots,
        slots_per_gpu=slots_per_gpu,
        only=[study_id],
        until_idle=True,
        # Whoever starts a study here means its objective to run here.
        objectives={studies.get(storage, study_id).plan["objective"], *objectives},
        trial_timeout=trial_timeout,
        on_tick=on_tick,
    ).run()
    return studies.get(storage, study_id)


def results(storage: Storage, row: StudyRow) -> Results:
    """Return what a study has found so far."""
    identity = {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "created_at": row.created_at,
        "parent": row.parent,
        "children": studies.children(storage, row.id),
    }
    outcome = None
    if row.outcome is not None:
        outcome = {**row.outcome, "seconds": row.spent_seconds}
    return results_of(
        study=trials.optuna_study(storage, row),
        plan=row.plan,
        identity=identity,
        outcome=outcome,
        live=leases.live_trials(storage, row.id),
    )


def status(storage: Storage, row: StudyRow) -> dict[str, Any]:
    """Return how far a study is, as JSON."""
    progress = progress_of(storage, row.id)
    names = ("finished", "running", "waiting", "complete", "pruned", "failed")
    return {
        "study": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "trials": {name: getattr(progress, name) for name in names},
        "best": best_of(storage, row),
    }


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
            "rows": outcome.get("rows"),
            "trials": {name: getattr(progress, name) for name in counted},
            "seconds": row.spent_seconds,
            "best": outcome.get("best") or best_of(storage, row),
            "test": {name: test[name] for name in named} if test else None,
            "baselines": outcome.get("baselines"),
            "report": None if report is None else str(report),
        }
    )


def storage_named(url: str | None) -> str:
    """Return the option that names a storage again, its password hidden, or "" for none."""
    return "" if url is None else f" --storage '{hidden(url)}'"


def hand_over(
    storage: Storage, row: StudyRow, report: Path, where: str = ""
) -> tuple[Path, Path | None]:
    """Write a study's report, and beside it the folder with its network if there is one."""
    network = None
    if row.outcome and row.outcome.get("test"):
        stem = report.stem.removesuffix("-report")
        network = predictor.export(storage, row, report.with_name(f"{stem}-network"))
    page = write_report(results(storage, row), report, commands=commands(row, where))
    return page, network


def commands(row: StudyRow, where: str = "") -> dict[str, str]:
    """Return what a user may do next with a study: what it does, and the exact command.

    Args:
        row: The study.
        where: The option that names its storage, if one was given: see `storage_named`.
    """
    go_on = {"resume": f"topo-search resume {row.id}{where}"}
    if row.state == "finished":
        go_on = {"resume": f"topo-search resume {row.id} --trials +20{where}"}
    elif row.state == "cancelled":
        go_on = {}
    taken = {
        "export": f"topo-search export {row.id} -o network{where}",
        "predict": "topo-search predict network new.csv -o predictions.csv",
    }
    return {
        **go_on,
        **(taken if row.outcome and row.outcome.get("test") else {}),
        "results": f"topo-search results {row.id} --csv trials.csv{where}",
        "dashboard": f"topo-search dashboard{where}",
    }
