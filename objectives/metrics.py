"""How good predictions are; numpy only, since every epoch asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from objectives.intervals import area_interval, percentiles, share_interval

Task = Literal["binary", "multiclass", "regression"]
Array = npt.NDArray[Any]

CLASSES: tuple[Task, ...] = ("binary", "multiclass")
VALUES: tuple[Task, ...] = ("regression",)
RESAMPLED_VALUES = 200_000_000  # Resamples cost about as many steps, where `FEWEST` cost less.
FEWEST_RESAMPLES = 200
_SURE = float(np.finfo(np.float32).eps)  # Nobody is surer: a single row cannot cost more than 16.


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of predictions.

    It takes the target and the predictions of the same rows: class codes (rows,) and
    probabilities (rows, classes), or values (rows,) twice, in the target's units.
    """

    name: str
    label: str
    direction: Literal["maximize", "minimize"]
    tasks: tuple[Task, ...]
    function: Callable[[Array, Array], float]
    interval: Callable[[Array, Array], tuple[float, float]] | None = None
    """Gives the 95 % interval of the score of such rows, where one is known."""
    by_class: bool = False  # knows each class by itself: no resample of rows may lack one
    sorts: bool = False  # costs a sort of every class's probabilities
    balanced: bool = False  # a row of a rare class counts for more than one of a frequent class

    def __call__(self, y: Array, prediction: Array) -> float:
        """Score predictions."""
        return self.function(y, prediction)


def accuracy(y: Array, probabilities: Array) -> float:
    """Return the share of rows whose most probable class is theirs."""
    return float(np.mean(np.argmax(probabilities, axis=1) == y))


def balanced_accuracy(y: Array, probabilities: Array) -> float:
    """Return the mean over the classes in `y` of the share of their rows that is right."""
    right, rows = _right_by_class(y, probabilities)
    return float(np.mean(right / rows))


def macro_f1(y: Array, probabilities: Array) -> float:
    """Return the mean F1 score over the classes that occur in `y` or are predicted."""
    right, rows, predicted = _counts(y, probabilities)
    met = rows + predicted > 0
    return float(np.mean(2 * right[met] / (rows + predicted)[met]))


def log_loss(y: Array, probabilities: Array) -> float:
    """Return the mean of -ln(probability of the true class), in nats, at most 15.9 a row."""
    probability = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.mean(np.log(np.clip(probability, _SURE, 1 - _SURE))))


def roc_auc(y: Array, probabilities: Array) -> float:
    """Return the chance that a row of a class ranks above one of another class.

    For more than two classes it is the mean over them, each against the rest. A class that no row
    or every row of `y` has does not count; 0.5 where none counts.
    """
    areas = [area for _, area in _areas(y, probabilities)]
    return float(np.mean(areas)) if areas else 0.5


def rmse(y: Array, values: Array) -> float:
    """Return the root of the mean squared error, in the target's units."""
    return float(np.sqrt(np.mean((y - values) ** 2)))


def mae(y: Array, values: Array) -> float:
    """Return the mean absolute error, in the target's units."""
    return float(np.mean(np.abs(y - values)))


def r2(y: Array, values: Array) -> float:
    """Return the share of the target's variance that is explained.

    A constant target gives 1 where it is met exactly, else 0, as in scikit-learn.
    """
    error, variance = float(np.sum((y - values) ** 2)), float(np.sum((y - np.mean(y)) ** 2))
    if variance == 0:
        return 1.0 if error == 0 else 0.0
    return 1 - error / variance


def confusion(y: Array, probabilities: Array) -> npt.NDArray[np.int64]:
    """Count rows by (true class, most probable class)."""
    classes = probabilities.shape[1]
    cells = np.bincount(y * classes + np.argmax(probabilities, axis=1), minlength=classes**2)
    return cells.reshape(classes, classes)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            label="accuracy",
            direction="maximize",
            tasks=CLASSES,
            function=accuracy,
            interval=lambda y, p: share_interval(
                np.array([np.sum(np.argmax(p, axis=1) == y)]), np.array([len(y)])
            ),
        ),
        Metric(
            name="balanced_accuracy",
            label="balanced accuracy",
            direction="maximize",
            tasks=CLASSES,
            function=balanced_accuracy,
            interval=lambda y, p: share_interval(*_right_by_class(y, p)),
            by_class=True,
            balanced=True,
        ),
        Metric(
            name="log_loss",
            label="log loss",
            direction="minimize",
            tasks=CLASSES,
            function=log_loss,
        ),
        Metric(
            name="roc_auc",
            label="ROC AUC",
            direction="maximize",
            tasks=CLASSES,
            function=roc_auc,
            interval=lambda y, p: _area_interval(y, p),
            by_class=True,
            sorts=True,
        ),
        Metric(
            name="macro_f1",
            label="macro F1",
            direction="maximize",
            tasks=CLASSES,
            function=macro_f1,
            balanced=True,
        ),
        Metric(name="rmse", label="RMSE", direction="minimize", tasks=VALUES, function=rmse),
        Metric(name="mae", label="MAE", direction="minimize", tasks=VALUES, function=mae),
        Metric(name="r2", label="R²", direction="maximize", tasks=VALUES, function=r2),
    )
}


def default_metric(task: Task) -> Metric:
    """Return accuracy for classes, RMSE for a regression."""
    return METRICS["rmse" if task == "regression" else "accuracy"]


def metric_for(name: str, task: Task) -> Metric:
    """Return the metric of that name.

    Raises:
        ValueError: If there is none, or it does not score this task.
    """
    metric = METRICS.get(name)
    if metric is None or task not in metric.tasks:
        usable = ", ".join(m.name for m in METRICS.values() if task in m.tasks)
        raise ValueError(
            f"Expected a metric for a {task} task: {usable}. Received: {name!r}. Choose one of "
            "them, or another task."
        )
    return metric


def bootstrap(
    metric: Metric, y: Array, predictions: Sequence[Array], seed: int, resamples: int = 1000
) -> npt.NDArray[np.float64]:
    """Score predictions of rows drawn again with replacement, the same rows for each of them.

    Of a metric that knows each class by itself as many rows of every class are drawn as there are:
    with few of one class many a draw would lack it, and score something else.

    Where rows and classes are so many that it would take long, fewer resamples are drawn, 200 at
    least: their number depends on the sizes only.

    Returns:
        Scores (predictions, resamples).
    """
    random = np.random.default_rng(seed)
    cost = sum(prediction.size for prediction in predictions) * (16 if metric.sorts else 1)
    resamples = min(resamples, max(FEWEST_RESAMPLES, RESAMPLED_VALUES // cost))
    scores = np.empty((len(predictions), resamples))
    for index in range(resamples):
        rows = _drawn_again(y, random, by_class=metric.by_class)
        scores[:, index] = [metric(y[rows], prediction[rows]) for prediction in predictions]
    return scores


def _drawn_again(y: Array, random: np.random.Generator, *, by_class: bool) -> Array:
    """Draw as many rows as there are, with replacement; of each class as many as it has."""
    if not by_class:
        return random.integers(0, len(y), len(y), dtype=np.int32)
    rows = np.bincount(y)
    first = np.repeat(np.cumsum(rows) - rows, rows)  # Of its class, for every row in their order.
    place = first + random.integers(0, np.repeat(rows, rows))
    return np.argsort(y, kind="stable")[place]


def score_interval(
    metric: Metric, y: Array, prediction: Array, scores: Array
) -> tuple[float, float]:
    """Return the 95 % interval of a score.

    Where `intervals` knows none for it, it is that of its resamples; as none of rows that are all
    right has a wrong one, these then know no more than the classes' shares do.

    Args:
        metric: Which score.
        y: Target of the rows.
        prediction: Of the same rows.
        scores: (resamples,), as `bootstrap` returns them.
    """
    if metric.interval is not None:
        return metric.interval(y, prediction)
    low, high = percentiles(scores)
    if metric.name == "macro_f1" and low == high == 1:
        low = share_interval(*_right_by_class(y, prediction))[0]
    return low, high


def _area_interval(y: Array, probabilities: Array) -> tuple[float, float]:
    """Return the interval of `roc_auc`.

    Areas of several classes rise and fall with the same rows: it is the mean of their intervals.
    """
    ends = [
        area_interval(area, int(np.count_nonzero(own)), int(np.count_nonzero(~own)))
        for own, area in _areas(y, probabilities)
    ]
    low, high = np.mean(ends, axis=0) if ends else (0.0, 1.0)
    return float(low), float(high)


def _right_by_class(y: Array, probabilities: Array) -> tuple[Array, Array]:
    """Return how many rows of each class in `y` are right, and how many there are."""
    right, rows, _ = _counts(y, probabilities)
    return right[rows > 0], rows[rows > 0]


def _counts(y: Array, probabilities: Array) -> tuple[Array, Array, Array]:
    """Return each class's rows that are right, that are its own, and that are predicted so."""
    classes, chosen = probabilities.shape[1], np.argmax(probabilities, axis=1)
    right, rows, predicted = (
        np.bincount(codes, minlength=classes) for codes in (y[chosen == y], y, chosen)
    )
    return right, rows, predicted


def _areas(y: Array, probabilities: Array) -> list[tuple[Array, float]]:
    """Return which rows are of each class that counts for `roc_auc`, and the area it has."""
    classes = probabilities.shape[1]
    own = {c: y == c for c in ([1] if classes == 2 else range(classes))}
    areas = {c: _area(rows, probabilities[:, c]) for c, rows in own.items()}
    return [(own[c], area) for c, area in areas.items() if area is not None]


def _area(positive: npt.NDArray[np.bool_], scores: Array) -> float | None:
    """Return the area under the ROC curve from mean ranks, None without both sides."""
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(starts, append=len(ordered))
    ranks = np.repeat(starts + (sizes + 1) / 2, sizes)  # ties share their mean rank
    above = ranks[positive[order]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
