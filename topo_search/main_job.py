"""The main job: a study served on this machine to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from storage import studies
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.next_steps import check_allowed
from topo_search.retries import Retries
from topo_search.worker import Worker

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
