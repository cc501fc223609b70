"""The protocol of an objective: a plain function from an assignment to an outcome.

    def objective(assignment: Assignment, report: Report) -> Outcome: ...

It runs in a slot, knows no database, and may be called for many trials in one process. `report` is
called after every step (epoch) with the value so far and answers whether to go on; where it answers
no, the trial was pruned and whatever the objective returns is dropped. Values at rungs (1, 3, 9, …)
are kept and judged. An exception fails the trial, except `Diverged`, which prunes it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Report = Callable[[int, float], bool]  # step (from 1), value -> whether to go on


class Diverged(ArithmeticError):
    """The loss is not finite any more; the trial is pruned with the reason "diverged"."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a slot needs to know of a trial."""

    trial: str  # Tag of its messages; another attempt has another.
    parameters: Mapping[str, Any]  # As drawn from the study's space.
    seed: int  # Of everything random in the trial.
    plan: Mapping[str, Any]  # The study's: target, reading, space, metric …; JSON.
    dataset: Path | None  # File with the dataset's bytes.
    test_dataset: Path | None = None  # File with the test rows, where they came apart.
    shared: Path | None = None  # Folder of this machine's slots, for what all of them need.


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial gives."""

    value: float  # The study's metric.
    metrics: Mapping[str, float] = field(default_factory=dict)  # Others worth keeping.
    weights: bytes | None = None  # In a form of the objective's own; kept for the best few trials.
    attributes: Mapping[str, Any] = field(default_factory=dict)  # JSON; shown beside the trial.


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What a slot needs to know to finish a study: refit its winner and look at the test rows."""

    trial: str  # Tag of its messages.
    plan: Mapping[str, Any]
    winner: Mapping[str, Any]  # trial, value, parameters, seed, epochs
    looks: int  # How often the test rows have been looked at, this time counted in.
    dataset: Path
    test_dataset: Path | None = None
    shared: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Final:
    """What finishing a study gives."""

    outcome: Mapping[str, Any]  # JSON: best, test, baselines, confusion or scatter, rows.
    files: Mapping[str, bytes]  # By name: the network and what its user needs.


Objective = Callable[[Assignment, Report], Outcome]


def objective_named(name: str) -> Objective:
    """Import the objective called `name`: "tabular", or "package.module:function".

    Raises:
        LookupError: Where there is no such module or function on this machine.
    """
    if name == "tabular":
        name = "objectives.tabular:objective"
    module_name, _, function_name = name.partition(":")
    try:
        found: Objective = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(
            f"Expected an installed objective as package.module:function. Received: {name!r} "
            f"({error}). Install the package on this machine, or put it on PYTHONPATH."
        ) from error
    if not callable(found):
        raise LookupError(f"Expected {name!r} to be a function. Received: {found!r}.")
    return found
