"""Whether a trial is worth going on with."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from objectives.rungs import REDUCTION, first_judged, rungs

STARTUP = 4  # Own trials that are never pruned, so that later ones have completed ones to beat.


class Halving:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

    As Optuna's `SuccessiveHalvingPruner` has it: of the trials that came to a rung, the best third
    go on. The values at a rung are kept in order, so that a verdict costs the same in a study of
    any size.

    Args:
        kind: `asha`, or `none` to prune nothing.
        direction: Of the study's metric.
        epochs: At most, for every trial of the study.
        known: Trials that it began with; their numbers come before those of its own.
    """

    def __init__(
        self,
        kind: Literal["asha", "none"],
        direction: Literal["minimize", "maximize"],
        epochs: int,
        known: int = 0,
    ) -> None:
        if kind not in ("asha", "none"):
            raise ValueError(f"Expected the pruner asha or none. Received: {kind!r}.")
        self.prunes_any = kind == "asha"
        self._maximize = direction == "maximize"
        self._first = first_judged(epochs)
        self._spared = known + STARTUP  # Numbers below are of trials that are never pruned.
        self._values: dict[int, list[float]] = defaultdict(list)  # By rung, lowest first.
        self._reports: dict[int, dict[int, float]] = {}  # Of trials that run: by number and step.

    def note(self, number: int, reports: Mapping[int, float]) -> None:
        """Take note of what a trial has reported so far: values by step."""
        if not self.prunes_any or self._reports.get(number) == reports:
            return
        before, now = self._came(self._reports.get(number, {})), self._came(reports)
        for rung, value in before.items():
            values = self._values[rung]
            del values[bisect_left(values, value)]
        for rung, value in now.items():
            insort(self._values[rung], value)
        self._reports[number] = dict(reports)

    def settle(self, number: int) -> None:
        """Let go of a trial that has ended; with what it reported others are compared still."""
        self._reports.pop(number, None)

    def prunes(self, number: int, step: int, value: float) -> bool:
        """Return whether a trial should be pruned at a step it reports, and take note of it.

        Args:
            number: The trial's.
            step: In epochs.
            value: The score there.
        """
        if not self.prunes_any:
            return False
        own = self._reports.get(number, {})
        self.note(number, {**own, step: value})
        if number < self._spared or any(other > step for other in own):
            return False  # In an attempt before this one it had passed here.
        before = max((other for other in own if other < step), default=0)
        came = self._came(self._reports[number])
        return any(
            before < rung and not self._goes_on(rung, value, came[rung])
            for rung in self._rungs(step)
        )

    def _goes_on(self, rung: int, value: float, own: float) -> bool:
        """Tell whether a value is among the best third of those with which trials came to a rung.

        Args:
            rung: One that the trial has come to.
            value: To be compared with those of others.
            own: Of the trial, with which it came to this rung.
        """
        values = self._values[rung]
        if self._maximize:
            better = len(values) - bisect_right(values, value) - (own > value)
        else:
            better = bisect_left(values, value) - (own < value)
        return better < max(1, len(values) // REDUCTION)

    def _came(self, reports: Mapping[int, float]) -> dict[int, float]:
        """Return the values with which a trial came to the rungs that it has reached."""
        return {
            rung: reports[min(step for step in reports if step >= rung)]
            for rung in self._rungs(max(reports, default=0))
        }

    def _rungs(self, step: int) -> list[int]:
        """Return the rungs up to a step at which trials are judged."""
        return [rung for rung in rungs(step) if rung >= self._first] if step else []
