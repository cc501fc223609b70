"""Our side of `quality.py`: the real command on all cores, and when its trials ended."""

from __future__ import annotations

import time
from pathlib import Path

from quality_curves import Trial
from tables import searched
from throughput import remove_server
from throughput_study import leases_of

from storage import studies, trials
from storage.connection import Storage
from topo_search.settings import Settings, opened

ENDLESS = 100_000  # Trials: time is what ends a search, not the 50 trials of the default.
OPTIONS: dict[str, list[str]] = {  # Of each side, beside the defaults.
    "topo-search": [],
    "unpruned": ["--pruner", "none"],
    "holdout": ["--validation", "holdout"],
}


def search(
    side: str, target: str, seed: int, seconds: float, folder: Path
) -> tuple[list[Trial], float | None, float]:
    """Return what the trials of a search gave, its test score, and its wall seconds."""
    asked = ["--target", target, "--test-file", str(folder / "test.csv"), "--seed", str(seed)]
    budget = ["--timeout", f"{seconds:.3f}s", "--trials", str(ENDLESS)]
    home = folder / "home"
    started = time.time()
    try:
        arguments = [str(folder / "train.csv"), *asked, *budget, *OPTIONS[side]]
        found, wall, _ = searched(arguments, folder)
        with opened(Settings(storage=None, home=home)) as storage:
            ended = trials_of(storage, found["study"], started)
    finally:
        remove_server(home)
    return ended, found["test"] and found["test"]["value"], wall


def trials_of(storage: Storage, study: str, started: float) -> list[Trial]:
    """Return a study's trials by the time of their end; the score of a pruned one is left out."""
    row = studies.get(storage, study)
    by_number = {one.number: one for one in trials.optuna_study(storage, row).get_trials()}
    found = []
    for kind, number, taken_at, ended_at in leases_of(storage, row):
        if kind != "trial" or number is None or ended_at is None:
            continue
        trial, held = by_number[number], (ended_at - taken_at).total_seconds()
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        found.append(
            Trial(
                at=ended_at.timestamp() - started,
                seconds=trial.user_attrs.get("seconds", held),
                state=state,
                value=trial.value if state == "complete" else None,
            )
        )
    return sorted(found, key=lambda trial: trial.at)
