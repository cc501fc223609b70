"""What a run of `quality.py` gave, and what follows from it: best scores over time, times to reach.

A list of runs is one JSON file, to which every run is added as it ends.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

NEVER = math.inf
ROUNDING = 1e-6  # Of a score, which one side has from float32 and another from float64.


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial that ended, on whichever side."""

    at: float  # Seconds from the start of the side's command to the trial's end.
    seconds: float  # Of training.
    state: str  # "complete", "pruned", "failed", or "cut" where the time was up meanwhile.
    value: float | None  # Of its best epoch, on the validation rows; None where it does not count.
    test: float | None = None  # Of the same network; None where it was no new best, or is not told.


@dataclass(frozen=True, kw_only=True)
class Run:
    """A side's work on a table, with one seed and so many minutes."""

    table: str
    side: str
    seed: int
    minutes: float
    metric: str
    direction: str  # "maximize" or "minimize".
    rows: Mapping[str, int]  # train, valid, test.
    trials: Sequence[Trial]  # By the time of their end.
    test: float | None  # The end's, of a side that tells it only then.
    wall: float  # Seconds of the whole command.
    about: Mapping[str, Any]  # On what it was measured.

    @property
    def key(self) -> tuple[str, str, int, float]:
        """What makes a run the same as another."""
        return (self.table, self.side, self.seed, self.minutes)

    @property
    def budget(self) -> float:
        """Seconds that it had."""
        return 60 * self.minutes

    @property
    def ended(self) -> list[Trial]:
        """The trials that ended in time, by the time of their end."""
        return sorted((t for t in self.trials if t.at <= self.budget), key=lambda t: t.at)

    def is_better(self, one: float, other: float) -> bool:
        """Say whether a score is above another."""
        return one > other if self.direction == "maximize" else one < other

    def reaches(self, one: float, other: float, slack: float = 0.0) -> bool:
        """Say whether a score is another, or better, or at most `slack` worse."""
        behind = other - one if self.direction == "maximize" else one - other
        return behind <= slack + ROUNDING * abs(other)


def curve(run: Run, trials: Sequence[Trial] | None = None) -> list[Trial]:
    """Return the trials that were the best so far as they ended: the score over time."""
    best: list[Trial] = []
    for trial in run.ended if trials is None else trials:
        if trial.value is None or not math.isfinite(trial.value):
            continue
        if not best or run.is_better(trial.value, best[-1].value or 0.0):
            best.append(trial)
    return best


def final(run: Run) -> float | None:
    """Return the best validation score at the end; None where no trial has one."""
    best = curve(run)
    return best[-1].value if best else None


def final_test(run: Run) -> float | None:
    """Return the test score of the network that is the best by validation at the end.

    None where nobody scored it: the winner of a side that tells it at the end came too late.
    """
    best, over = curve(run), curve(run, run.trials)
    if run.test is None:
        return best[-1].test if best else None
    return run.test if best and best[-1] == over[-1] else None


def time_to(run: Run, score: float | None, slack: float = 0.0) -> float:
    """Return the seconds until a validation score was reached, or `NEVER`."""
    for trial in curve(run):
        if score is not None and run.reaches(trial.value or 0.0, score, slack):
            return trial.at
    return NEVER


def training_to(run: Run, score: float | None, slack: float = 0.0) -> float:
    """Return the seconds of training, of all trials, until a score was reached, or `NEVER`."""
    at = time_to(run, score, slack)
    return NEVER if at == NEVER else training([t for t in run.ended if t.at <= at])


def training(trials: Sequence[Trial]) -> float:
    """Return the seconds of training of trials."""
    return math.fsum(trial.seconds for trial in trials)


def cut(run: Run, minutes: float) -> Run:
    """Return a run as it stood after fewer minutes; a test score told only at the end is lost."""
    if minutes == run.minutes:
        return run
    early = replace(run, minutes=minutes, test=None)
    return replace(early, trials=early.ended)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """A run with pruning against one without: as many trials, and the same score."""

    trials: int  # Of the run without.
    unpruned: float  # Its final validation score.
    pruned: float  # The other's after as many trials.
    share: float  # Of training time that the other spent on as many trials.
    reach: float  # … that the other spent until it had the score, within noise, or `NEVER`.
    own_reach: float  # … that the run without spent until it had its own final score, within noise.


def pruning(pruned: Run, unpruned: Run, noise: float) -> Pruning | None:
    """Compare two runs; None where one has too few trials for that."""
    there = unpruned.ended
    here = pruned.ended[: len(there)]
    best, score = curve(pruned, here), final(unpruned)
    spent = training(there)
    if len(here) < len(there) or not best or best[-1].value is None or score is None or not spent:
        return None
    return Pruning(
        trials=len(there),
        unpruned=score,
        pruned=best[-1].value,
        share=training(here) / spent,
        reach=training_to(pruned, score, noise) / spent,
        own_reach=training_to(unpruned, score, noise) / spent,
    )


def noise(runs: Sequence[Run]) -> float:
    """Return the standard deviation of the final scores of runs that differ in their seed; or 0."""
    finals = [score for run in runs if (score := final(run)) is not None]
    return statistics.stdev(finals) if len(finals) > 1 else 0.0


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of what is there, `NEVER` among it; None where there is nothing."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def read_runs(path: Path) -> list[Run]:
    """Read all runs of a file; none where it does not exist yet."""
    if not path.exists():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    return [Run(**{**run, "trials": [Trial(**one) for one in run["trials"]]}) for run in data]


def write_runs(runs: Sequence[Run], path: Path) -> None:
    """Write all runs to a file, a line each; what was there stays until that is done."""
    lines = ",\n".join(json.dumps(asdict(run)) for run in runs)
    new = path.with_name(f"{path.name}.new")
    new.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(new, path)
