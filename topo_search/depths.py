"""What a sweep over depths found: a curve for each kind of network, and where it turns.

Where a curve turns is said with an interval: 5 to 95 % of what comes of drawing each depth's
trainings anew, with replacement (Efron and Tibshirani 1993, An Introduction to the Bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from objectives.space import Space

DRAWS = 300  # Of the bootstrap.
CLEAR = 3.0  # Standard errors that a fall must exceed to be one,
LARGE = 0.25  # and the share of the way from the worst score to the best.
KIND = ("residual", "normalisation", "activation")

Floats = NDArray[np.float64]


class Turn(NamedTuple):
    """A depth at which something changes, and the interval in which that is known to lie."""

    depth: int
    low: int
    high: int


class Line(NamedTuple):
    """A straight line through times by depth."""

    base: float  # Seconds.
    slope: float  # Seconds a layer.
    r2: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The scores of one kind of network by depth."""

    residual: bool
    normalisation: str
    activation: str
    depths: NDArray[np.int64]  # (depths,), rising.
    scores: tuple[Floats, ...]  # For each depth, of each training; larger is better or smaller.
    maximize: bool

    @property
    def label(self) -> str:
        """What tells it from the others."""
        parts = ["residual" if self.residual else "plain", self.activation]
        return ", ".join([*parts, *([f"{self.normalisation} norm"] * (self.normalised))])

    @property
    def normalised(self) -> bool:
        """Whether its layers are normalised."""
        return self.normalisation != "none"

    @property
    def medians(self) -> Floats:
        """The middle score at each depth."""
        return np.array([np.median(each) for each in self.scores])

    @property
    def best(self) -> tuple[int, float]:
        """The depth of the best middle score, the least of several, and that score."""
        medians = self.medians
        at = int(np.argmax(medians if self.maximize else -medians))
        return int(self.depths[at]), float(medians[at])

    @property
    def noise(self) -> float:
        """The standard deviation between trainings that differ by chance alone."""
        spread = [each.var(ddof=1) for each in self.scores if len(each) > 1]
        if spread:
            return float(np.sqrt(np.mean(spread)))
        steps = np.diff(self.medians)
        return float(steps.std() / np.sqrt(2)) if len(steps) > 1 else 0.0

    def rises_until(self) -> Turn:
        """Return the least depth that is as good as the best, but for one standard error."""
        error = self.noise / np.sqrt(max(1, np.median([len(each) for each in self.scores])))
        return self._turn(lambda means: int(np.argmax(means >= means.max() - error)))

    def collapses_at(self) -> Turn | None:
        """Return the first depth after a fall that lasts; None where there is none.

        The two levels before and after it fit the curve best (least squares).
        """
        means = self._means([slice(None)] * len(self.scores))
        at = _fall(means)
        if at is None:
            return None
        fall = means[:at].mean() - means[at:].mean()
        before, after = (sum(map(len, part)) for part in (self.scores[:at], self.scores[at:]))
        error = self.noise * np.sqrt(1 / before + 1 / after)
        if fall < CLEAR * error or fall < LARGE * (means.max() - means.min()):
            return None
        return self._turn(lambda drawn: found if (found := _fall(drawn)) is not None else at)

    def survives_to(self, floor: float) -> int:
        """Return the deepest depth whose middle score is better than `floor`; 0 where none is."""
        medians = self.medians
        good = medians > floor if self.maximize else medians < floor
        return int(self.depths[good].max()) if good.any() else 0

    def _means(self, drawn: Sequence[Any]) -> Floats:
        sign = 1.0 if self.maximize else -1.0
        return np.array(
            [sign * each[which].mean() for each, which in zip(self.scores, drawn, strict=True)]
        )

    def _turn(self, find: Callable[[Floats], int]) -> Turn:
        random = np.random.default_rng(0)
        found = [
            find(self._means([random.integers(0, len(each), len(each)) for each in self.scores]))
            for _ in range(DRAWS)
        ]
        at = find(self._means([slice(None)] * len(self.scores)))
        low, high = np.quantile(found, [0.05, 0.95], method="nearest")
        ends = min(int(low), at), max(int(high), at)
        return Turn(*(int(self.depths[place]) for place in (at, *ends)))


@dataclass(frozen=True, kw_only=True)
class Depths:
    """A sweep's trainings, and what they say."""

    trainings: pd.DataFrame  # residual, normalisation, activation, depth, repeat, value, seconds.
    diverged: int  # Trainings without a score, counted as the worst there was.
    curves: tuple[Curve, ...]  # Those with most depths first.
    maximize: bool

    @property
    def main(self) -> tuple[Curve, ...]:
        """The curves of the space's own activation and normalisation, plain ones first."""
        first = self.curves[0]
        same = (first.normalisation, first.activation)
        found = [c for c in self.curves if (c.normalisation, c.activation) == same]
        return tuple(sorted(found, key=lambda curve: curve.residual))

    @property
    def floor(self) -> float:
        """The score halfway from the worst middle score of all to the best."""
        medians = np.concatenate([curve.medians for curve in self.curves])
        return float((medians.min() + medians.max()) / 2)

    def seconds(self, residual: bool) -> pd.Series[float]:
        """Return the time of an epoch by depth: of the quickest training, as others share cores."""
        first, all_ = self.main[0], self.trainings
        own = all_[
            (all_["residual"] == residual)
            & (all_["activation"] == first.activation)
            & (all_["normalisation"] == first.normalisation)
        ]
        return own.groupby("depth")["seconds"].min().dropna()

    def line(self, residual: bool) -> Line | None:
        """Return the straight line through the times of an epoch; None below 3 depths."""
        seconds = self.seconds(residual)
        if len(seconds) < 3:
            return None
        depth, time = seconds.index.to_numpy(float), seconds.to_numpy(float)
        slope, base = np.polyfit(depth, time, 1)
        rest = ((time - base - slope * depth) ** 2).sum()
        return Line(float(base), float(slope), float(1 - rest / ((time - time.mean()) ** 2).sum()))


def depths_of(study: optuna.Study, space: Space) -> Depths:
    """Gather what a sweep has found so far.

    Raises:
        ValueError: It is no sweep, or no training has ended yet.
    """
    if space.name != "sweep":
        raise ValueError(
            f"Expected a sweep. Received a search of the {space.name} space. "
            "Begin a sweep with: topo-search sweep CSV --target COLUMN"
        )
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    rows = [
        {
            **trial.params,
            "value": trial.value if trial.value is not None else np.nan,
            "seconds": trial.user_attrs.get("epoch_seconds", np.nan),
        }
        for trial in ended
        if trial.value is not None or trial.user_attrs.get("reason") == "diverged"
    ]
    frame = pd.DataFrame(rows)
    if frame.empty or frame["value"].isna().all():
        raise ValueError("No training of this sweep has come to its end yet. Wait a little.")
    maximize = study.direction == optuna.study.StudyDirection.MAXIMIZE
    diverged = int(frame["value"].isna().sum())
    worst = frame["value"].min() if maximize else frame["value"].max()
    frame["value"] = frame["value"].fillna(worst)
    curves = [
        _curve(dict(zip(KIND, kind, strict=True)), of_kind, maximize)
        for kind, of_kind in frame.groupby(list(KIND), sort=False)
    ]
    curves.sort(key=lambda curve: -len(curve.depths))
    return Depths(trainings=frame, diverged=diverged, curves=tuple(curves), maximize=maximize)


def _curve(kind: dict[str, Any], frame: pd.DataFrame, maximize: bool) -> Curve:
    by_depth = frame.groupby("depth", sort=True)["value"]
    return Curve(
        **kind,
        depths=np.array([depth for depth, _ in by_depth]),
        scores=tuple(values.to_numpy(float) for _, values in by_depth),
        maximize=maximize,
    )


def _fall(means: Floats) -> int | None:
    """Return where the later of two levels begins that fit best, the later one lower."""
    best, at = np.inf, None
    for place in range(1, len(means)):
        before, after = means[:place], means[place:]
        if after.mean() < before.mean():
            rest = float(
                ((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum()
            )
            if rest < best:
                best, at = rest, place
    return at
