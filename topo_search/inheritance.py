"""A study that begins with the trials of another, in another space or with another budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.defaults import TableFacts
from objectives.space import Space, named_space
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
    """
    plan = parent.plan
    if plan["objective"] != "tabular":
        return Space.from_json(plan["space"]), {}
    same = name in (None, plan["space"]["name"])
    limits = {**(plan["limits"] if same else {}), **limits}
    facts = TableFacts(**plan["facts"])
    space = named_space(name or plan["space"]["name"], limits=limits, facts=facts, epochs=epochs)
    return space, limits


def known_trials(storage: Storage, parent: StudyRow, space: Space) -> list[FrozenTrial]:
    """Return the parent's trials as trials of another space: the best that are points of it."""
    found = trials.optuna_study(storage, parent).get_trials(deepcopy=False)
    complete = ranked(found, parent.plan["direction"])
    pruned = [trial for trial in found if trial.state is TrialState.PRUNED]
    fixed = Space.from_json(parent.plan["space"]).fixed
    known: list[FrozenTrial] = []
    for trial in [*complete, *pruned]:
        point = _point({**fixed, **trial.params}, space)
        if point is not None and len(known) < KNOWN:
            known.append(_taken_over(trial, parent, point, space))
    return known


def plan_of(parent: StudyRow, known: list[FrozenTrial], space: Space) -> dict[str, Any]:
    """Return what a study takes over from the plan of its parent, and what it draws anew."""
    knows_enough = len(known) >= RANDOM
    described = {**space.to_json(), **({"portfolio": []} if knows_enough else {})}
    seed = parent.plan.get("sampling_seed", parent.plan["seed"])
    return {
        **parent.plan,
        "space": described,
        # The same split, which the seed draws, but other points.
        "sampling_seed": derive(seed, f"after {parent.id}", 0) % 2**31,
    }


def _point(values: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """Return what `values` are as a point of a space, None where they are none."""
    if any(values.get(name, value) != value for name, value in space.fixed.items()):
        return None
    point = {name: values[name] for name in space.parameters if name in values}
    return point if space.contains(point) else None


def _taken_over(
    trial: FrozenTrial, parent: StudyRow, point: Mapping[str, Any], space: Space
) -> FrozenTrial:
    attributes = {name: v for name, v in trial.user_attrs.items() if name not in OWN}
    first = {"known_from": f"{parent.id}/{trial.number}"}  # Or where the parent has it from.
    return create_trial(
        state=trial.state,
        value=trial.value,
        params=dict(point),
        distributions=space.distributions(),
        user_attrs={**first, **attributes},
        intermediate_values=trial.intermediate_values,
    )
