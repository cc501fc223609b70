"""A study served on this machine to its end, by a worker of the command's own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from storage import studies
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.machine import Serving
from topo_search.next_steps import serving_needed
from topo_search.retries import patient
from topo_search.worker import Worker


def serve(
    storage: Storage,
    home: Path,
    study_id: str,
    serving: Serving,
    *,
    on_tick: Callable[[Worker], None] = lambda worker: None,
) -> StudyRow:
    """Serve one study with this machine's slots until it ends or a signal drains the worker.

    Raises:
        PermissionError: Its objective is its own, and not among those that may run here.
        LookupError: This machine lacks its objective.
    """
    check_allowed(studies.get(storage, study_id), serving.objectives)
    worker = Worker(storage, home, serving, only=[study_id], until_idle=True, on_tick=on_tick)
    worker.run()
    if worker.scheduler.never_serves(study_id):  # It has been logged why.
        raise LookupError(f"Study {study_id} stays open for machines that can serve it.")
    if worker.draining:  # Whoever interrupted it waits.
        return studies.get(storage, study_id)
    return patient(storage)(studies.get, storage, study_id)


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
