from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn import metrics as reference

from objectives.intervals import percentiles
from objectives.metrics import (
    METRICS,
    Metric,
    bootstrap,
    confusion,
    default_metric,
    metric_for,
    score_interval,
)


def classified(
    classes: int, seed: int, rows: int = 400, dtype: type = np.float64
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Class codes and coarse probabilities, so that many of them are tied."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    counts = random.integers(1, 5, (rows, classes)) + 2 * np.eye(classes, dtype=np.int64)[y]
    return y, (counts / counts.sum(axis=1, keepdims=True)).astype(dtype)


def predicted(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.argmax(probabilities, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_class_metrics_equal_scikit_learns_with_ties(classes: int, seed: int, dtype: type) -> None:
    y, p = classified(classes, seed, dtype=dtype)
    expected = {
        "accuracy": reference.accuracy_score(y, predicted(p)),
        "balanced_accuracy": reference.balanced_accuracy_score(y, predicted(p)),
        "macro_f1": reference.f1_score(y, predicted(p), average="macro"),
        "log_loss": reference.log_loss(y, p, labels=range(classes)),
        "roc_auc": reference.roc_auc_score(y, p[:, 1])
        if classes == 2
        else reference.roc_auc_score(y, p, multi_class="ovr", average="macro"),
    }
    for name, value in expected.items():
        assert METRICS[name](y, p) == pytest.approx(value, rel=1e-6), name


def test_a_class_absent_from_the_rows_counts_as_in_scikit_learn() -> None:
    y, p = classified(5, seed=0)
    p = p[y < 3]
    y = y[y < 3]
    assert {3, 4} & set(predicted(p))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = reference.balanced_accuracy_score(y, predicted(p))
    assert METRICS["balanced_accuracy"](y, p) == pytest.approx(balanced)
    assert METRICS["macro_f1"](y, p) == pytest.approx(
        reference.f1_score(y, predicted(p), average="macro")
    )
    assert METRICS["log_loss"](y, p) == pytest.approx(reference.log_loss(y, p, labels=range(5)))
    areas = [reference.roc_auc_score(y == c, p[:, c]) for c in range(3)]
    assert METRICS["roc_auc"](y, p) == pytest.approx(np.mean(areas))


def test_one_class_alone_has_the_area_of_chance() -> None:
    y, p = classified(2, seed=0)
    assert METRICS["roc_auc"](np.zeros_like(y), p) == 0.5


def test_certain_and_wrong_costs_much_but_not_infinitely() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    y = np.array([0, 1])
    for dtype in (np.float32, np.float64):  # Validation and test rows have either.
        found = METRICS["log_loss"](y, p.astype(dtype))
        assert found == pytest.approx(reference.log_loss(y, p.astype(np.float32)), rel=1e-6)


def test_value_metrics_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    y = random.normal(50, 10, 300)
    values = y + random.normal(0, 4, 300)
    assert METRICS["rmse"](y, values) == pytest.approx(reference.root_mean_squared_error(y, values))
    assert METRICS["mae"](y, values) == pytest.approx(reference.mean_absolute_error(y, values))
    assert METRICS["r2"](y, values) == pytest.approx(reference.r2_score(y, values))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_constant_target_has_the_r2_of_scikit_learn(shift: float) -> None:
    y = np.full(10, 3.0)
    assert METRICS["r2"](y, y + shift) == reference.r2_score(y, y + shift)


def test_confusion_counts_true_classes_by_row() -> None:
    y, p = classified(4, seed=2)
    assert confusion(y, p).tolist() == reference.confusion_matrix(y, predicted(p)).tolist()


@pytest.mark.parametrize("name", METRICS)
def test_better_predictions_score_better_in_the_metrics_direction(name: str) -> None:
    metric = METRICS[name]
    if "regression" in metric.tasks:
        y = np.arange(20.0)
        good, bad = y + 0.1, y[::-1]
    else:
        y = np.arange(20) % 2
        good = np.where(np.eye(2)[y] > 0, 0.9, 0.1)
        bad = np.roll(good, 1, axis=0)
    assert (metric(y, good) > metric(y, bad)) == (metric.direction == "maximize")


def test_defaults_are_accuracy_and_rmse() -> None:
    assert [default_metric(t).name for t in ("binary", "multiclass", "regression")] == [
        "accuracy",
        "accuracy",
        "rmse",
    ]


@pytest.mark.parametrize(("name", "task"), [("f1", "binary"), ("rmse", "multiclass")])
def test_a_metric_that_does_not_fit_is_refused_with_those_that_do(name: str, task: str) -> None:
    with pytest.raises(ValueError, match=rf"accuracy, .*macro_f1. Received: '{name}'"):
        metric_for(name, task)  # type: ignore[arg-type]


def test_a_metric_is_found_by_name() -> None:
    assert metric_for("r2", "regression") is METRICS["r2"]


def bootstrap_interval(
    metric: Metric, y: np.ndarray, p: np.ndarray, seed: int, resamples: int = 1000
) -> tuple[float, float]:
    return score_interval(metric, y, p, bootstrap(metric, y, [p], seed, resamples)[0])


def test_the_interval_of_accuracy_is_the_binomials() -> None:
    y = np.zeros(1000, dtype=np.int64)
    p = np.tile([0.9, 0.1], (1000, 1))
    p[:200] = [0.1, 0.9]
    low, high = bootstrap_interval(METRICS["accuracy"], y, p, seed=0, resamples=4000)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert low == pytest.approx(0.8 - half, abs=0.003)
    assert high == pytest.approx(0.8 + half, abs=0.003)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        errors = random.normal(size=200)
        low, high = bootstrap_interval(METRICS["rmse"], np.zeros(200), errors, seed, resamples=200)
        held += low <= 1 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_interval_repeats_with_its_seed() -> None:
    y, p = classified(3, seed=0)
    metric = METRICS["macro_f1"]
    first = bootstrap_interval(metric, y, p, seed=1, resamples=200)
    assert bootstrap_interval(metric, y, p, seed=1, resamples=200) == first
    assert bootstrap_interval(metric, y, p, seed=2, resamples=200) != first
    assert first[0] < metric(y, p) < first[1]


def test_predictions_are_compared_on_the_same_rows() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 5000)
    right = random.random(5000) < 0.85
    better = right | (np.arange(5000) < 40)  # Right where the other is, and in some rows more.
    p, other = (np.eye(2)[np.where(one, y, 1 - y)] for one in (better, right))
    scores = bootstrap(METRICS["accuracy"], y, [p, other], seed=0)
    low, high = percentiles(scores[0] - scores[1])
    assert 0 < low < np.mean(better) - np.mean(right) < high < 0.02
    alone = score_interval(METRICS["accuracy"], y, other, scores[1])
    assert alone[0] < np.mean(right) < alone[1]  # Looked at one by one they could be the same.


def test_an_interval_that_would_take_long_draws_fewer_resamples() -> None:
    calls = []
    metric = Metric(
        name="counted",
        label="counted",
        direction="maximize",
        tasks=("multiclass",),
        function=lambda y, p: float(len(calls.append(1) or calls)),  # type: ignore[func-returns-value]
        sorts=True,
    )
    y, p = classified(50, seed=0, rows=2000)
    bootstrap_interval(metric, y, p, seed=0)
    assert len(calls) == 200
    calls.clear()
    bootstrap_interval(metric, y[:100], p[:100, :2], seed=0)
    assert len(calls) == 1000


@pytest.mark.parametrize(
    ("name", "lowest"),
    # 30 of 30, Clopper and Pearson; thrice 10 of 10, joined.
    [("accuracy", 0.884), ("balanced_accuracy", 0.822), ("macro_f1", 0.822)],
)
def test_a_perfect_score_still_has_an_honest_interval(name: str, lowest: float) -> None:
    y = np.arange(30) % 3
    low, high = bootstrap_interval(METRICS[name], y, np.eye(3)[y], seed=0)
    assert high == 1
    assert low == pytest.approx(lowest, abs=0.001)


def ranked(random: np.random.Generator, counts: tuple[int, int], apart: float) -> tuple[Any, Any]:
    """Return a target and probabilities, of which those of the second class lie apart."""
    y = np.repeat([0, 1], counts)
    scores = random.normal(size=len(y)) + apart * y
    p = 1 / (1 + np.exp(-scores))
    return y, np.stack([1 - p, p], axis=1)


@pytest.mark.parametrize("counts", [(60, 60), (100, 4), (12, 3)])
@pytest.mark.parametrize("apart", [0.0, 1.5, 3.0])
def test_the_interval_of_an_area_holds_the_truth_about_as_often_as_it_says(
    counts: tuple[int, int], apart: float
) -> None:
    random, held = np.random.default_rng(0), 0
    truth = norm.cdf(apart / np.sqrt(2))
    for _ in range(300):
        y, p = ranked(random, counts, apart)
        low, high = bootstrap_interval(METRICS["roc_auc"], y, p, seed=0, resamples=1)
        held += low <= truth <= high
    assert held / 300 >= 0.92


def test_the_interval_of_a_perfect_ranking_does_not_go_by_which_class_is_chosen() -> None:
    y = np.repeat([0, 1], 50)
    p = np.linspace(0.01, 0.4, 100)  # No row of the second class would be told.
    both = np.stack([1 - p, p], axis=1)
    low, high = bootstrap_interval(METRICS["roc_auc"], y, both, seed=0)
    assert 0.9 < low < 1 and high == 1
    assert bootstrap_interval(METRICS["roc_auc"], y, both[:, ::-1], seed=0)[0] == 0
    y3 = np.arange(30) % 3
    low, high = bootstrap_interval(METRICS["roc_auc"], y3, np.eye(3)[y3], seed=0)
    assert 0.7 < low < 0.95 and high == 1


@pytest.mark.parametrize("name", ["roc_auc", "balanced_accuracy"])
def test_no_resample_lacks_a_class_of_few_rows(name: str) -> None:
    """One that did would score 0.5, or the other class alone: no difference of two models."""
    random = np.random.default_rng(0)
    y, good = ranked(random, (1000, 2), 6.0)
    _, bad = ranked(random, (1000, 2), 0.0)
    good = np.eye(2)[(good[:, 1] > 0.9).astype(int)] if name == "balanced_accuracy" else good
    better, worse = bootstrap(METRICS[name], y, [good, bad], seed=0)
    assert better.min() > 0.9
    y = np.array([1, 0, 0, 2, 1, 0])  # Classes in no order, one of a single row.
    told = np.eye(3)[y]
    assert set(bootstrap(METRICS[name], y, [told], seed=0, resamples=50)[0]) == {1.0}


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy"])
def test_more_mistakes_lower_both_ends_of_an_interval(name: str) -> None:
    y = np.repeat([0, 1], [25, 5])
    wrong = [np.arange(30) < mistakes for mistakes in range(25)]
    ends = [
        bootstrap_interval(METRICS[name], y, np.eye(2)[np.where(w, 1 - y, y)], 0) for w in wrong
    ]
    lows, highs = np.transpose(ends)
    assert np.all(np.diff(lows) < 0) and np.all(np.diff(highs) <= 0)


def test_the_interval_of_a_share_is_exact() -> None:
    y, right = np.zeros(30, dtype=np.int64), np.arange(30) >= 2
    found = bootstrap_interval(METRICS["accuracy"], y, np.eye(2)[np.where(right, 0, 1)], seed=0)
    assert found == pytest.approx(tuple(binomtest(28, 30).proportion_ci()))


def test_the_interval_of_balanced_accuracy_holds_the_truth_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(0), 0
    y = np.repeat([0, 1, 2], [40, 12, 6])
    for _ in range(400):
        right = random.random(len(y)) < np.array([0.95, 0.9, 0.6])[y]
        p = np.eye(3)[np.where(right, y, (y + 1) % 3)]
        low, high = bootstrap_interval(METRICS["balanced_accuracy"], y, p, seed=0, resamples=1)
        held += low <= (0.95 + 0.9 + 0.6) / 3 <= high
    assert held / 400 >= 0.95
