"""The end of a study: which trial won, and what is kept of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.objective import Final, Finish, Outcome
from storage import artifacts, datasets, finishing
from storage.best_trials import best_trials
from storage.connection import Storage
from storage.finishing import Look
from storage.rows import Lease, StudyRow
from topo_search.attributes import loss_of
from topo_search.serving import ServedStudy

logger = logging.getLogger(__name__)

KEPT_WEIGHTS = 3  # Best trials of a study whose weights are kept.


def ranked(trials: Sequence[FrozenTrial], direction: str) -> list[FrozenTrial]:
    """Return the complete trials, best first; ties go to the lower loss, then to the earlier."""
    sign = -1 if direction == "maximize" else 1

    def rank(trial: FrozenTrial) -> tuple[float, float, int]:
        return (sign * (trial.value or 0.0), loss_of(trial), trial.number)

    return sorted((t for t in trials if t.state == TrialState.COMPLETE), key=rank)


def best_of(storage: Storage, row: StudyRow) -> dict[str, Any] | None:
    """Return the best complete trial of a study as JSON, None where there is none."""
    return best_of_each(storage, [row])[row.id]


def best_of_each(storage: Storage, rows: Sequence[StudyRow]) -> dict[str, dict[str, Any] | None]:
    """Return what `best_of` does of each study, by its id."""
    found = best_trials(storage, rows)
    return {row.id: _first(ranked(found[row.id], row.plan["direction"])) for row in rows}


def _first(found: Sequence[FrozenTrial]) -> dict[str, Any] | None:
    if not found:
        return None
    best = found[0]
    return {
        "trial": best.number,
        "value": best.value,
        "parameters": best.params,
        "seed": best.user_attrs["seed"],
        "epochs": best.user_attrs.get("best_epoch"),
        "topology": best.user_attrs.get("topology"),
        "weights": best.user_attrs.get("weights"),
    }


def finish_assignment(served: ServedStudy, lease: Lease, winner: dict[str, Any]) -> Finish:
    """Return what a slot needs to refit and score the winner."""
    dataset, test = served.fetch_datasets()
    if dataset is None:
        raise ValueError(f"Study {served.row.id} has no dataset to finish on.")
    return Finish(
        trial=str(lease.token),
        plan=served.plan,
        winner=winner,
        looks=len(finishing.looks(served.storage, served.row.id)) + 1,
        dataset=dataset,
        test_dataset=test,
    )


def keep(served: ServedStudy, lease: Lease, final: Final) -> bool:
    """Store what finishing gave, and close the study; False where another worker did."""
    described = {key: served.plan[key] for key in ("target", "task", "classes", "reading", "drop")}
    reading = json.dumps(described, ensure_ascii=False, indent=1).encode()
    best, test = final.outcome["best"], final.outcome["test"]
    look = Look(purpose="score the winner", trial_number=best["trial"], value=test["value"])
    return finishing.finish(
        served.storage,
        lease,
        dict(final.outcome),
        look=look,
        files={**final.files, "reading.json": reading},
    )


def weights_of(number: int) -> str:
    """Return the name of the artifact that has what a user's own objective gave as weights."""
    return f"weights/{number}"


def weights_to_keep(served: ServedStudy, number: int, outcome: Outcome) -> dict[str, bytes]:
    """Return a complete trial's weights as a file, if it will be among the study's best.

    Only a user's own objective gives any: the built-in one's winner is trained once more.
    """
    if not outcome.weights:
        return {}
    if len(outcome.weights) > datasets.MAX_BYTES:
        logger.warning("The weights of trial %d are too many to be kept.", number)
        return {}
    said = {**outcome.metrics, **outcome.attributes}
    ending = create_trial(value=outcome.value, user_attrs=said)
    ending.number = number
    try:
        trials = [*served.study.get_trials(deepcopy=False), ending]
    except LookupError:
        return {}  # The study was deleted meanwhile.
    best = ranked(trials, served.plan["direction"])[:KEPT_WEIGHTS]
    return {weights_of(number): outcome.weights} if ending in best else {}


def drop_weights(served: ServedStudy) -> None:
    """Delete the weights of trials that are no longer among the study's best."""
    try:
        trials = ranked(served.study.get_trials(deepcopy=False), served.plan["direction"])
    except LookupError:
        return  # The study was deleted meanwhile.
    names = [weights_of(trial.number) for trial in trials]
    artifacts.keep_best(served.storage, served.row.id, names, KEPT_WEIGHTS)


def is_time_up(served: ServedStudy) -> bool:
    """Tell whether a study's time is spent and it has something to show for it."""
    return finishing.is_time_up(served.storage, served.row.id)
