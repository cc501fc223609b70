"""A study that begins with the trials of another, in another space or with another budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.defaults import TableFacts
from objectives.named_spaces import named_space
from objectives.space import Space, deepest
from objectives.topology import DEEPEST
from storage import trials
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.finish import ranked
from topo_search.sampling import RANDOM, derive

KNOWN = 500  # Trials taken over at most, the best ones; each is written into the new study.
OWN = ("lease", "unit", "worker", "attempts")  # Attributes of a trial in its own study alone.


def space_of(
    parent: StudyRow, name: str | None, limits: Mapping[str, str], epochs: int
) -> tuple[Space, Mapping[str, str]]:
    """Return the space of a study that begins with the trials of `parent`, and its limits.

    Args:
        parent: The other study.
        name: Of a named space; the parent's by default, with the parent's limits.
        limits: On it, beside and above the parent's.
        epochs: At most, for every trial.

    Raises:
        ValueError: A limit cannot be met, or the parent's space is not one that has limits.
    """
    plan = parent.plan
    if plan["objective"] != "tabular":
        if name is not None or limits:
            raise ValueError(
                f"Study {parent.id} has a space of its own objective's, which has no other name "
                "and no limits. Leave them out."
            )
        return Space.from_json(plan["space"]), {}
    if "facts" not in plan:
        raise ValueError(
            f"Study {parent.id} was made by an older topo-search, which did not keep what another "
            "space needs. Create a study of the table instead."
        )
    same = name in (None, plan["space"]["name"])
    limits = {**(plan["limits"] if same else {}), **limits}
    facts = TableFacts(**plan["facts"])
    space = named_space(name or plan["space"]["name"], limits=limits, facts=facts, epochs=epochs)
    return space, limits


def scored_trials(storage: Storage, parent: StudyRow, epochs: int) -> list[FrozenTrial]:
    """Return the trials of which a study may know: complete ones, best first, and pruned ones.

    Those that were pruned on the way to other epochs are none of them: TPE would rank them by a
    step that means something else.

    Args:
        storage: Where the parent is.
        parent: Whose trials they are.
        epochs: At most, for every trial of the study that may know of them.
    """
    found = trials.optuna_study(storage, parent).get_trials(deepcopy=False)
    pruned = [trial for trial in found if trial.state is TrialState.PRUNED]
    return [
        *ranked(found, parent.plan["direction"]),
        *(trial for trial in pruned if _epochs_of(trial, parent) == epochs),
    ]


def known_trials(
    storage: Storage, parent: StudyRow, space: Space, epochs: int
) -> list[FrozenTrial]:
    """Return the parent's trials as trials of another space: the best that are points of it.

    The epochs may be others: a trial's score is of its best one. What it scored on the way there
    is then left out, as the learning rate falls over all epochs: at the 27th of 30 a trial is
    nearly done, at the 27th of 300 it is not.

    Args:
        storage: Where the parent is.
        parent: Whose trials they are.
        space: Of the study that is to know them.
        epochs: At most, for every trial of that study.

    Raises:
        ValueError: The parent has trials, but none of them is a point of the space.
    """
    scored = scored_trials(storage, parent, epochs)
    own = Space.from_json(parent.plan["space"])
    known: list[FrozenTrial] = []
    for trial in scored:
        point = _point(trial.params, own, space)
        if point is not None and len(known) < KNOWN:
            known.append(_taken_over(trial, parent, point, space, epochs))
    if not known and scored:  # Of failed ones there is nothing to take over.
        raise ValueError(
            f"None of the {len(scored)} trials of study {parent.id} lies in this "
            "space. Widen it, or create a study of the table instead."
        )
    return known


def plan_of(
    parent: StudyRow, known: list[FrozenTrial], space: Space, epochs: int
) -> dict[str, Any]:
    """Return what a study takes over from the plan of its parent, and what it draws anew.

    Args:
        parent: The other study.
        known: Its trials, as trials of the new study.
        space: Of the new study, with all its points. Those that are known are not tried again,
            unless they were trained for other epochs.
        epochs: At most, for every trial of the new study.

    Raises:
        ValueError: The space enumerates itself, and every point of it is known.
    """
    points = [trial.params for trial in known if _epochs_of(trial, parent) == epochs]
    space = space.without(points)
    if space.enumerates and not space.enumerated:
        last = deepest({**space.fixed, **space.parameters}["depth"])
        raise ValueError(
            f"Study {parent.id} has tried every network of this space, with as many epochs. "
            f"Nothing is left to try. Give another --depth, as 1:{min(2 * last, DEEPEST)}, or "
            "other --epochs."
        )
    described = {**space.to_json(), **({"portfolio": []} if len(known) >= RANDOM else {})}
    seed = parent.plan.get("sampling_seed", parent.plan["seed"])
    return {
        **parent.plan,
        "space": described,
        # The same split, which the seed draws, but other points.
        "sampling_seed": derive(seed, f"after {parent.id}", 0) % 2**31,
    }


def _point(parameters: Mapping[str, Any], own: Space, space: Space) -> dict[str, Any] | None:
    """Return a point of the space `own` as one of another; None where it is none."""
    if space.name == "own":
        return dict(parameters) if space.contains(parameters) else None
    topology, recipe = own.decode(parameters)
    try:
        return space.encode(topology, replace(recipe, epochs=int(space.fixed["epochs"])))
    except ValueError:
        return None


def _epochs_of(trial: FrozenTrial, parent: StudyRow) -> int:
    """Return the epochs over which a trial's learning rate was to fall; the parent may know it."""
    return int(trial.user_attrs.get("known_epochs", parent.plan["epochs"]))


def _taken_over(
    trial: FrozenTrial, parent: StudyRow, point: Mapping[str, Any], space: Space, epochs: int
) -> FrozenTrial:
    attributes = {name: v for name, v in trial.user_attrs.items() if name not in OWN}
    planned = _epochs_of(trial, parent)
    first = {
        "known_from": f"{parent.id}/{trial.number}",  # Or where the parent has it from.
        "known_epochs": planned,
    }
    return create_trial(
        state=trial.state,
        value=trial.value,
        params=dict(point),
        distributions=space.distributions(),
        user_attrs={**first, **attributes},
        intermediate_values=trial.intermediate_values if planned == epochs else {},
    )
