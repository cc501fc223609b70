"""The main job: a study served on this machine to its end, and what comes of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage import leases, studies, trials, workers
from storage.connection import Storage, hidden, holds_password
from storage.progress import Progress, progress_of, progress_of_all
from storage.rows import StudyRow
from topo_search import predictor
from topo_search.finish import best_of, best_of_each
from topo_search.plain import plain
from topo_search.report import write_report
from topo_search.results import Results, results_of
from topo_search.retries import Retries
from topo_search.worker import Worker
from topo_search.writing import network_beside

PATIENCE = 30.0  # Seconds that what follows a search waits for a database that is away.


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
    """Serve one study with this machine's slots until it ends or a signal drains the worker.

    Raises:
        PermissionError: Its objective is its own, and not among `objectives`.
    """
    check_allowed(studies.get(storage, study_id), objectives)
    worker = Worker(
        storage,
        home,
        slots=slots,
        slots_per_gpu=slots_per_gpu,
        only=[study_id],
        until_idle=True,
        objectives=objectives,
        trial_timeout=trial_timeout,
        on_tick=on_tick,
    )
    worker.run()
    if worker.draining:  # Whoever interrupted it waits.
        return studies.get(storage, study_id)
    return patient(storage)(lambda: studies.get(storage, study_id))


def patient(storage: Storage) -> Retries:
    """Return what asks again, for `PATIENCE` from now, where the database is away.

    A server that starts anew just as a search is through does not cost its report.
    """
    retry = Retries(storage, lambda: None)
    retry.give_up_at(time.monotonic() + PATIENCE)
    return retry


def check_allowed(row: StudyRow, objectives: Collection[str]) -> None:
    """Refuse a study whose objective may not run here: whoever wrote its row has named it.

    Raises:
        PermissionError: The objective is its own, and not among `objectives`.
    """
    objective = str(row.plan["objective"])
    if objective != "tabular" and objective not in objectives:
        raise PermissionError(
            f"Study {row.id} runs an objective of its own, which is not allowed here. If you "
            f"trust who made the study, resume it with{serving_needed(row)}"
        )


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
        "seconds": row.spent_seconds,
    }
    return results_of(
        study=trials.optuna_study(storage, row),
        plan=row.plan,
        identity=identity,
        outcome=row.outcome,
        live=leases.live_trials(storage, row.id),
    )


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


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of a command that is not in its study, and is asked again to go on."""

    storage: str | None = None  # The URL that --storage named, if any.
    serving: str | None = None  # The options of who serves, as typed; by default those it needs.

    @property
    def where(self) -> str:
        """The option that names the storage; none for a URL with a password, which none shows."""
        if self.storage is None or self.secret:
            return ""
        return f" --storage {shlex.quote(self.storage)}"

    @property
    def secret(self) -> bool:
        """Whether the storage's URL has a password: TOPO_SEARCH_STORAGE is then to name it."""
        return self.storage is not None and holds_password(self.storage)


def serving_needed(row: StudyRow) -> str:
    """Return the options without which a study is not served: that its own objective may run."""
    objective = str(row.plan["objective"])
    return "" if objective == "tabular" else f" --allow-objective {shlex.quote(objective)}"


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


def write_again(row: StudyRow, asked: Asked) -> str:
    """Return in words how to write a finished study's report and network once more."""
    report = f"topo-search results {row.id} --html FILE.html{asked.where}"
    if not (row.outcome and row.outcome.get("test")):
        return f"Write the report elsewhere: {report}"
    network = f"topo-search export {row.id} -o FOLDER{asked.where}"
    return f"Write them elsewhere: {report} and {network}"


def go_on(row: StudyRow, asked: Asked) -> str:
    """Return in words how to go on with a study, or with the trials of a cancelled one."""
    go = "With TOPO_SEARCH_STORAGE set to the same URL, go" if asked.secret else "Go"
    if row.state == "cancelled":
        where = asked.where
        return f"{go} on with its trials in a new study: topo-search create --from {row.id}{where}"
    return f"{go} on with: {_resume(row, asked)}"


def not_open(row: StudyRow, where: str | None) -> str:
    """Return in words why no worker has anything to do for a study, and how to change that.

    Args:
        row: A study that is not open.
        where: The storage's URL, where one was named.
    """
    reason = f": {row.reason}" if row.reason else ""
    then = go_on(row, Asked(storage=where, serving=" --no-serve"))
    return f"Study {row.id} is {row.state}{reason}. Workers have nothing to do for it. {then}"


def commands(row: StudyRow, asked: Asked | None = None) -> dict[str, str]:
    """Return what a user may do next with a study: what it does, and the exact command."""
    asked = asked or Asked()
    named = {}
    if asked.storage is not None and asked.secret:
        named = {"storage": f"export TOPO_SEARCH_STORAGE={shlex.quote(hidden(asked.storage))}"}
    where = asked.where
    taken = {
        "export": f"topo-search export {row.id} -o network{where}",
        "predict": "topo-search predict network new.csv -o predictions.csv",
    }
    return {
        **named,
        **({} if row.state == "cancelled" else {"resume": _resume(row, asked)}),
        **(taken if row.outcome and row.outcome.get("test") else {}),
        "results": f"topo-search results {row.id} --csv trials.csv{where}",
        "dashboard": f"topo-search dashboard{where}",
    }


def _resume(row: StudyRow, asked: Asked) -> str:
    more = " --trials +20" if row.state == "finished" else ""
    serving = serving_needed(row) if asked.serving is None else asked.serving
    return f"topo-search resume {row.id}{more}{serving}{asked.where}"
