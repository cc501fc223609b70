"""What a study tries next."""

from __future__ import annotations

import hashlib
import logging
import math
from bisect import insort
from collections.abc import Container, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial, TrialState

from objectives.parameters import Value
from objectives.space import Space
from storage.rows import Drawn

Direction = Literal["minimize", "maximize"]

MODELLED = 1_000  # Trials that TPE models at most: what a draw costs grows with them.
BEST = 25  # Trials that TPE takes for good ones at most; Optuna's default.
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

    @property
    def models(self) -> bool:
        """Whether draws depend on trials; what is enumerated or random does not."""
        return self._kind == "tpe" and self._enumerated is None

    def draw(self, trials: Sequence[FrozenTrial], unit: int) -> Drawn:
        """Return what the unit is to try.

        Args:
            trials: All of the study's, of every worker and in every state, by number: those of
                earlier draws, as they are by now, and later ones.
            unit: Counted from 0 over the whole study; below its points where the space enumerates
                itself.
        """
        parameters = self._parameters(trials, unit)
        return Drawn(parameters=parameters, seed=derive(self._seed, "training", unit) % 2**31)

    def _parameters(self, trials: Sequence[FrozenTrial], unit: int) -> dict[str, Value]:
        if self._enumerated is not None:
            return self._enumerated[unit]
        if unit < len(self._space.portfolio):
            return dict(self._space.portfolio[unit])
        seed = derive(self._seed, "sampling", unit) % 2**32
        # A sampler's state would make a draw depend on this process's earlier ones.
        if self._kind == "random":
            return self._mirror.draw(RandomSampler(seed=seed))
        return self._mirror.draw(_JointTPE(seed=seed, n_startup_trials=RANDOM), trials)


def derive(seed: int, purpose: str, unit: int) -> int:
    """Return a whole number of 64 bits that is the same on every machine and in every process."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


class _Mirror:
    """A study in memory that looks like the shared one: Optuna's samplers read all trials at once.

    It has copies of the trials that are modelled, with nothing that no sampler reads.
    """

    def __init__(self, space: Space, direction: Direction) -> None:
        self._space = space
        self._distributions = space.distributions()
        self._direction = direction
        self._modelled = Modelled(direction)
        self._copies: dict[tuple[int, TrialState], _Copy | None] = {}
        # It would tell of a new study, which is none of the user's.
        logging.getLogger("optuna.storages._in_memory").setLevel(logging.WARNING)

    def draw(self, sampler: BaseSampler, trials: Sequence[FrozenTrial] = ()) -> dict[str, Value]:
        """Return the parameters that `sampler` suggests, brought to values that can be drawn."""
        storage = _Shown(self._copied(self._modelled.of(trials)))
        directions = [optuna.study.StudyDirection[self._direction.upper()]]
        storage.create_new_study(directions, "mirror")
        study = optuna.load_study(study_name="mirror", storage=storage, sampler=sampler)
        return self._space.nearest(study.ask(self._distributions).params)

    def _copied(self, trials: Sequence[FrozenTrial]) -> list[_Copy]:
        """Return copies of trials, in their order, without those that are of another space."""
        before = self._copies
        self._copies = {}
        for trial in trials:
            key = trial.number, trial.state
            self._copies[key] = before[key] if key in before else self._copy(trial)
        return [copy for copy in self._copies.values() if copy is not None]

    def _copy(self, trial: FrozenTrial) -> _Copy | None:
        if not self._space.contains(trial.params):
            return None
        pruned = trial.state is TrialState.PRUNED
        copy = _Copy(
            # Not that of the trial drawn, which is the first of its own study.
            number=trial.number + 1,
            state=trial.state,
            value=None,
            values=trial.values if trial.state is TrialState.COMPLETE else None,
            datetime_start=None,
            datetime_complete=None,
            params=trial.params,
            distributions=self._distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values=trial.intermediate_values if pruned else {},
            trial_id=trial.number + 1,
        )
        copy.inside = [
            kind.to_internal_repr(trial.params[name]) for name, kind in self._distributions.items()
        ]
        return copy


class _Copy(FrozenTrial):
    """A trial that knows its parameters as Optuna's distributions have them inside."""

    inside: list[float]  # In the order of its distributions.


class _Shown(optuna.storages.InMemoryStorage):
    """A storage in memory that shows trials of others beside its own."""

    def __init__(self, others: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._others = others

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of others and then its own."""
        shown = [other for other in self._others if states is None or other.state in states]
        return shown + super().get_all_trials(study_id, deepcopy, states)


class _JointTPE(TPESampler):
    """TPE that need not find out what its trials have in common: all of them have all parameters.

    Optuna compares the distributions of all of them, and converts all their parameters, for every
    draw anew.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        patch_truncnorm()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what is drawn jointly: all that can vary."""
        shown = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        kinds = shown[0].distributions if shown else {}
        return {name: kinds[name] for name in sorted(kinds) if not kinds[name].single()}

    def _get_internal_repr(
        self,
        trials: list[_Copy],  # type: ignore[override]  # The mirror shows no others.
        search_space: dict[str, BaseDistribution],
        study: optuna.Study,
    ) -> dict[str, np.ndarray]:
        if not trials:
            return {name: np.empty(0) for name in search_space}
        columns = np.array([trial.inside for trial in trials]).T
        inside = dict(zip(trials[0].distributions, columns, strict=True))
        return {name: inside[name] for name in search_space}


def patch_truncnorm() -> None:
    """Patch Optuna, process-wide: its truncated normal calls Python for each number.

    SciPy's function takes arrays, equal to rounding. There is no seam for it: Optuna looks the name
    up in its module.
    """
    from scipy.special import log_ndtr  # 0.15 s, and only the first draw needs it.

    _truncnorm._log_ndtr = log_ndtr


class Modelled:
    """Those of a study's trials that TPE models: all, or of very many some.

    Of more than `MODELLED`: those that run, the best, the latest, and of the rest every so
    manieth. TPE tells the best 25 from all others, whose density a sample of them shows as well.
    What has ended is looked at once.
    """

    def __init__(self, direction: Direction) -> None:
        self._sign = -1 if direction == "maximize" else 1
        self._settled = 0  # How many of the first trials have ended.
        self._ended: list[FrozenTrial] = []  # Of these, those that say something.
        self._best: list[FrozenTrial] = []  # Of these, the best complete ones, best first.

    def of(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials to model, by number; all that were there before are still given."""
        self._settle(trials)
        later = [trial for trial in trials[self._settled :] if trial.state in SEEN]
        seen = self._ended + later
        if len(seen) <= MODELLED:
            return seen
        best = self._best.copy()
        for trial in later:
            self._rank(best, trial)
        running = (trial for trial in later if trial.state is TrialState.RUNNING)
        older, latest = len(seen) - MODELLED // 2, seen[-MODELLED // 2 :]
        some = seen[: older : math.ceil(older / (MODELLED // 2 - BEST))]
        chosen = {trial.number: trial for trial in (*best, *running, *some, *latest)}
        return [chosen[number] for number in sorted(chosen)]

    def _settle(self, trials: Sequence[FrozenTrial]) -> None:
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            trial = trials[self._settled]
            self._settled += 1
            if trial.state in SEEN:
                self._ended.append(trial)
                self._rank(self._best, trial)

    def _rank(self, best: list[FrozenTrial], trial: FrozenTrial) -> None:
        """Add a trial to the best ones, if it is one of them."""
        if trial.state is TrialState.COMPLETE:
            insort(best, trial, key=lambda one: (self._sign * one.values[0], one.number))
            del best[BEST:]
