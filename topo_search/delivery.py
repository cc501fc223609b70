"""The main job: a study served on this machine to its end, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from storage import studies, trials
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import predictor
from topo_search.finish import ranked
from topo_search.report import write_report
from topo_search.results import Results, plain, results_of
from topo_search.worker import Worker


def serve(
    storage: Storage,
    home: Path,
    study_id: str,
    *,
    slots: int | None = None,
    objectives: Collection[str] = (),
    trial_timeout: float | None = None,
    on_tick: Callable[[Worker], None] = lambda worker: None,
) -> StudyRow:
    """Serve one study with this machine's slots until it ends or a signal drains the worker."""
    Worker(
        storage,
        home,
        slots=slots,
        only=[study_id],
        until_idle=True,
        objectives=objectives,
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
    }
    outcome = None
    if row.outcome is not None:
        outcome = {**row.outcome, "seconds": row.spent_seconds}
    return results_of(
        study=trials.optuna_study(storage, row), plan=row.plan, identity=identity, outcome=outcome
    )


def status(storage: Storage, row: StudyRow) -> dict[str, Any]:
    """Return how far a study is, as JSON."""
    progress = studies.progress(storage, row.id)
    names = ("finished", "running", "waiting", "complete", "pruned", "failed")
    return {
        "study": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "trials": {name: getattr(progress, name) for name in names},
        "best": best_so_far(storage, row),
    }


def best_so_far(storage: Storage, row: StudyRow) -> dict[str, Any] | None:
    """Return number, value and topology of the best complete trial; None where there is none."""
    found = trials.optuna_study(storage, row).get_trials(deepcopy=False)
    best = next(iter(ranked(found, row.plan["direction"])), None)
    if best is None:
        return None
    topology = best.user_attrs.get("topology")
    return {"trial": best.number, "value": best.value, "topology": topology}


def to_json(
    storage: Storage, row: StudyRow, key: str | None, report: Path | None
) -> dict[str, Any]:
    """Return what a search came to, as JSON."""
    progress = studies.progress(storage, row.id)
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
            "best": outcome.get("best") or best_so_far(storage, row),
            "test": {name: test[name] for name in named} if test else None,
            "baselines": outcome.get("baselines"),
            "report": None if report is None else str(report),
        }
    )


def hand_over(storage: Storage, row: StudyRow, report: Path) -> tuple[Path, Path | None]:
    """Write a study's report, and beside it the folder with its network if there is one."""
    network = None
    if row.outcome and row.outcome.get("test"):
        stem = report.stem.removesuffix("-report")
        network = predictor.export(storage, row, report.with_name(f"{stem}-network"))
    return write_report(results(storage, row), report, commands=commands(row)), network


def commands(row: StudyRow) -> dict[str, str]:
    """Return what a user may do next with a study: what it does, and the exact command."""
    go_on = {"resume": f"topo-search resume {row.id} --trials +20"}
    if row.state != "finished":
        go_on = {"resume": f"topo-search resume {row.id}"}
    taken = {
        "export": f"topo-search export {row.id} -o network",
        "predict": "topo-search predict network new.csv -o predictions.csv",
    }
    return {
        **go_on,
        **(taken if row.outcome and row.outcome.get("test") else {}),
        "results": f"topo-search results {row.id} --csv trials.csv",
        "dashboard": "topo-search dashboard",
    }
