"""What a study tries next, and whether a trial is worth going on with."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.parameters import Value
from objectives.rungs import REDUCTION, first_judged
from objectives.space import Space
from storage.rows import Drawn

Direction = Literal["minimize", "maximize"]

STARTUP = 4  # Trials that are never pruned, so that later ones have completed ones to beat.
RANDOM = 10  # Ended trials before TPE models them, the portfolio's among them; Optuna's default.
# A failed trial says nothing of its parameters; a running one is where not to look again.
SEEN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)


class Sampler:
    """Draws the parameters of a study's trials, one unit at a time.

    The space's portfolio comes first, then what Optuna draws from all trials given; a space
    that enumerates itself comes in its own order. A draw depends on the space, the direction,
    the study's seed, the unit and the trials given, and on nothing else: not on the process, nor
    on what it drew before.

    Args:
        space: What the study may try.
        direction: Of the study's metric.
        kind: `tpe`, or `random` after the portfolio.
        seed: The study's.
    """

    def __init__(
        self, space: Space, direction: Direction, kind: Literal["tpe", "random"], seed: int
    ) -> None:
        if kind not in ("tpe", "random"):
            raise ValueError(f"Expected the sampler tpe or random. Received: {kind!r}.")
        self._space = space
        self._kind = kind
        self._seed = seed
        self._enumerated = space.enumerated
        self._mirror = _Mirror(space, direction)

    def draw(self, trials: Sequence[FrozenTrial], unit: int) -> Drawn | None:
        """Return what the unit is to try; None where the space is through.

        Args:
            trials: All of the study's, of every worker and in every state, by number.
            unit: Counted from 0 over the whole study.
        """
        parameters = self._parameters(trials, unit)
        if parameters is None:
            return None
        return Drawn(parameters=parameters, seed=derive(self._seed, "training", unit) % 2**31)

    def _parameters(self, trials: Sequence[FrozenTrial], unit: int) -> dict[str, Value] | None:
        if self._enumerated is not None:
            return self._enumerated[unit] if unit < len(self._enumerated) else None
        if unit < len(self._space.portfolio):
            return dict(self._space.portfolio[unit])
        seed = derive(self._seed, "sampling", unit) % 2**32
        # A sampler's state would make a draw depend on this process's earlier ones.
        if self._kind == "random":
            return self._mirror.draw(RandomSampler(seed=seed))
        self._mirror.follow(trials)
        return self._mirror.draw(TPESampler(seed=seed, n_startup_trials=RANDOM))


def derive(seed: int, purpose: str, unit: int) -> int:
    """Return a whole number of 64 bits that is the same on every machine and in every process."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def judge(
    kind: Literal["asha", "none"],
    direction: Direction,
    reports: Mapping[int, Mapping[int, float]],
    number: int,
    *,
    step: int,
    value: float,
    epochs: int,
) -> bool:
    """Return whether a trial should be pruned at a rung.

    Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934), as Optuna's
    `SuccessiveHalvingPruner` has it: of the trials that came to a rung, the best third go on.

    Args:
        kind: `asha`, or `none` to prune nothing.
        direction: Of the study's metric.
        reports: What each trial of the study reported, by its number: values by step.
        number: The trial's.
        step: The step it reports now, in epochs.
        value: The score there.
        epochs: At most, for every trial of the study.
    """
    if kind == "none":
        return False
    if kind != "asha":
        raise ValueError(f"Expected the pruner asha or none. Received: {kind!r}.")
    own = reports.get(number, {})
    if number < STARTUP or any(other > step for other in own):
        return False  # In an attempt before this one it had passed here.
    before = max((other for other in own if other < step), default=0)
    rung = first_judged(epochs)
    while rung <= step:
        if before < rung and not _goes_on(rung, value, number, reports, direction):
            return True
        rung *= REDUCTION
    return False


def _goes_on(
    rung: int,
    value: float,
    number: int,
    reports: Mapping[int, Mapping[int, float]],
    direction: Direction,
) -> bool:
    """Tell whether a value is among the best third of those with which trials came to a rung."""
    others = []
    for other, values in reports.items():
        came = min((step for step in values if step >= rung), default=None)
        if came is not None and other != number:
            others.append(values[came])
    if direction == "maximize":
        better = sum(other > value for other in others)
    else:
        better = sum(other < value for other in others)
    return better < max(1, (len(others) + 1) // REDUCTION)


class _Mirror:
    """A study in memory that follows the shared one: Optuna's samplers read all trials at once."""

    def __init__(self, space: Space, direction: Direction) -> None:
        self._space = space
        self._distributions = space.distributions()
        # It would tell of a new study, which is none of the user's.
        logging.getLogger("optuna.storages._in_memory").setLevel(logging.WARNING)
        self._storage = optuna.storages.InMemoryStorage()
        directions = [optuna.study.StudyDirection[direction.upper()]]
        self._study_id = self._storage.create_new_study(directions, "mirror")
        self._study = optuna.load_study(study_name="mirror", storage=self._storage)
        self._ended: set[int] = set()  # Numbers of shared trials that need no second look.
        self._running: dict[int, int] = {}  # Numbers of shared trials to ids of mirrored ones.

    def follow(self, trials: Sequence[FrozenTrial]) -> None:
        """Take over the trials that are new or have ended, in the order of their numbers."""
        for trial in sorted(trials, key=lambda trial: trial.number):
            if trial.number not in self._ended:
                self._take(trial)

    def draw(self, sampler: BaseSampler) -> dict[str, Value]:
        """Return the parameters that `sampler` suggests, brought to values that can be drawn."""
        self._study.sampler = sampler
        asked = self._study.ask(self._distributions)
        self._study.tell(asked, state=TrialState.FAIL)
        return self._space.nearest(asked.params)

    def _take(self, trial: FrozenTrial) -> None:
        ended = trial.state.is_finished()
        if ended:
            self._ended.add(trial.number)
        if trial.number in self._running:
            if ended:
                self._end(self._running.pop(trial.number), trial)
        elif trial.state in SEEN and self._space.contains(trial.params):
            # Scores and attributes stay behind: nothing is copied that no sampler reads.
            running = create_trial(
                state=TrialState.RUNNING, params=trial.params, distributions=self._distributions
            )
            self._running[trial.number] = self._storage.create_new_trial(self._study_id, running)
            if ended:
                self._end(self._running.pop(trial.number), trial)

    def _end(self, mirrored: int, trial: FrozenTrial) -> None:
        if trial.state is TrialState.PRUNED:
            for step, value in trial.intermediate_values.items():
                self._storage.set_trial_intermediate_value(mirrored, step, value)
        values = trial.values if trial.state is TrialState.COMPLETE else None
        self._storage.set_trial_state_values(mirrored, trial.state, values)
