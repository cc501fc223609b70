import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from objectives import baselines as module
from objectives.baselines import baselines
from objectives.metrics import METRICS, Metric
from objectives.table import Feature, Task

FEATURES = (
    Feature(name="x", kind="numeric", column="x"),
    Feature(name="flag", kind="boolean", column="flag"),
    Feature(name="colour", kind="categorical", column="colour"),
    Feature(name="place", kind="categorical", column="place"),
    Feature(name="note", kind="text", column="note"),
)


def example(rows: int = 600, places: int = 50) -> pd.DataFrame:
    random = np.random.default_rng(0)
    x = random.normal(size=rows)
    x[:20] = np.nan
    x[20] = np.inf
    strings = {
        "colour": random.choice(["red", "green", "blue", ""], rows),
        "place": [f"place {i}" for i in random.integers(0, places, rows)],
        "note": random.choice(["good day", "bad night", ""], rows),
    }
    return pd.DataFrame(
        {"x": x, "flag": random.choice([0.0, 1.0, np.nan], rows)}
        | {name: pd.Series(list(values), dtype=object) for name, values in strings.items()}
    )


def score(
    frame: pd.DataFrame,
    y: np.ndarray,
    task: Task,
    classes: int,
    metric: Metric,
    names: tuple[str, ...] = ("x", "flag", "colour", "place", "note"),
) -> dict[str, float]:
    """Score on the last quarter of the rows; no warning may get out."""
    cut = len(frame) * 3 // 4
    features = [f for f in FEATURES if f.name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = baselines(
            frame[:cut], y[:cut], frame[cut:], features, task, classes, metric, seed=0
        )
    return {
        name: np.nan if predicted is None else metric(y[cut:], predicted)
        for name, predicted in found.predictions.items()
    }


@pytest.mark.parametrize("name", ["colour", "place", "note", "flag"])
def test_every_kind_of_column_is_learned_from(name: str) -> None:
    frame = example(1600, places=33)
    y = pd.factorize(frame[name].fillna(-1))[0].astype(np.int64) % 2
    scores = score(frame, y, "binary", 2, METRICS["accuracy"], (name,))
    assert list(scores) == ["majority", "linear", "boosting"]
    assert scores["majority"] < 0.75
    assert scores["linear"] > 0.95
    assert scores["boosting"] > 0.9


def test_a_regression_is_scored_beside_the_mean() -> None:
    frame = example()
    x = np.nan_to_num(frame["x"].to_numpy(), nan=0.0, posinf=0.0)
    y = 100 + 10 * x + 5 * (frame["colour"] == "red").to_numpy()
    scores = score(frame, y, "regression", 0, METRICS["rmse"])
    assert list(scores) == ["mean", "linear", "boosting"]
    assert scores["mean"] == pytest.approx(np.sqrt(np.mean((y[450:] - y[:450].mean()) ** 2)))
    assert scores["linear"] < 0.2 * scores["mean"]
    assert scores["boosting"] < 0.2 * scores["mean"]


def test_a_class_absent_from_the_training_rows_is_scored() -> None:
    frame = example(200)
    y = 1 + np.arange(200) % 3
    y[-5:] = 0
    scores = score(frame, y, "multiclass", 5, METRICS["log_loss"])
    # Five of fifty rows were impossible to every model: each costs 15.9 nats.
    assert all(1.59 < value < 10 for value in scores.values())


def test_a_linear_model_that_has_not_converged_is_scored_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(module, "_linear", lambda metric: LogisticRegression(max_iter=1))
    frame = example()
    y = (frame["colour"] == "red").to_numpy().astype(np.int64)
    scores = score(frame, y, "binary", 2, METRICS["accuracy"], ("x", "colour"))
    assert scores["linear"] >= scores["majority"]


def test_one_class_in_the_training_rows_is_all_that_is_predicted() -> None:
    y = np.zeros(200, dtype=np.int64)
    y[-10:] = 1
    scores = score(example(200), y, "binary", 2, METRICS["accuracy"])
    assert set(scores.values()) == {0.8}


def test_a_class_with_one_row_does_not_stop_boosting_on_many_rows() -> None:
    frame = example(14_000)
    y = np.arange(14_000) % 2
    y[0] = 2
    scores = score(frame, y, "multiclass", 3, METRICS["accuracy"], ("flag",))
    assert all(0.4 < value < 0.6 for value in scores.values())


def test_many_rows_are_sampled_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    whole = module._predicted

    def spy(model, x, y, *rest):  # type: ignore[no-untyped-def]
        fitted.append(len(y))
        return whole(model, x, y, *rest)

    monkeypatch.setattr(module, "_predicted", spy)
    monkeypatch.setattr(module, "ROWS", 300)
    frame = example(800)
    scores = score(frame, np.arange(800) % 2, "binary", 2, METRICS["accuracy"], ("flag",))
    assert fitted == [300, 300]
    assert scores["majority"] == 0.5
    monkeypatch.setattr(module, "ROWS_TIMES_CLASSES", 1000)
    score(frame, np.arange(800) % 10, "multiclass", 10, METRICS["accuracy"], ("flag",))
    assert fitted[2:] == [100, 100]


def test_a_column_with_more_levels_than_boosting_takes_is_usable() -> None:
    frame = example(1200, places=600)
    y = (frame["colour"] == "red").to_numpy().astype(np.int64)
    assert score(frame, y, "binary", 2, METRICS["accuracy"], ("colour", "place"))["boosting"] > 0.95


def test_the_same_seed_gives_the_same_scores() -> None:
    frame = example(300)
    y = np.random.default_rng(1).integers(0, 2, 300)
    first = score(frame, y, "binary", 2, METRICS["log_loss"], ("x",))
    assert score(frame, y, "binary", 2, METRICS["log_loss"], ("x",)) == first


def test_where_classes_count_equally_the_models_weigh_them_so() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=4000)})
    y = (frame["x"].to_numpy() + random.normal(size=4000) > 2).astype(np.int64)
    assert 0.05 < y.mean() < 0.12
    for name in ("balanced_accuracy", "macro_f1"):
        scores = score(frame, y, "binary", 2, METRICS[name], ("x",))
        assert scores["majority"] <= 0.5
        if name == "balanced_accuracy":
            assert scores["linear"] > 0.75 and scores["boosting"] > 0.75
    plain = score(frame, y, "binary", 2, METRICS["accuracy"], ("x",))
    assert min(plain.values()) > 0.9  # Weighed classes would be right less often.


def test_by_absolute_errors_the_models_aim_at_the_median() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=2000)})
    y = np.exp(2 * random.normal(size=2000)) * (1 + 20 * (frame["x"].to_numpy() > 0))
    scores = score(frame, y, "regression", 0, METRICS["mae"], ("x",))
    assert list(scores) == ["median", "linear", "boosting"]
    absolute = np.mean(np.abs(y[1500:] - np.median(y[:1500])))
    assert scores["median"] == pytest.approx(absolute)
    assert scores["boosting"] < scores["median"] < scores["linear"]


def test_columns_that_the_training_rows_leave_empty_do_not_stop_boosting() -> None:
    frame = example(400)
    frame["flag"] = frame["x"].where(frame.index >= 300)  # Known in the test rows alone.
    frame.loc[:299, "x"] = np.inf
    y = (frame["colour"] == "red").to_numpy().astype(np.int64)
    assert score(frame, y, "binary", 2, METRICS["accuracy"])["boosting"] > 0.95


@pytest.mark.parametrize("size", [1e-90, 1e-30, 1e30, 1e90, 1e300])
def test_numbers_of_any_size_are_learned_alike(size: float) -> None:
    frame = example(400)
    y = np.nan_to_num(frame["x"].to_numpy(), nan=0.0, posinf=0.0)
    usual, found = (score(frame, part, "regression", 0, METRICS["mae"]) for part in (y, size * y))
    assert {name: value / size for name, value in found.items()} == pytest.approx(usual, rel=0.02)


@pytest.mark.parametrize("fails", [{"side_effect": ValueError}, {"return_value": None}])
def test_a_model_that_cannot_be_fitted_has_no_score(
    fails: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Mock(fit=Mock(**fails), predict=Mock(return_value=np.full(100, np.inf)))
    monkeypatch.setattr(module, "_linear", lambda _: model)
    frame = example(400)
    scores = score(frame, np.linspace(0, 1, 400), "regression", 0, METRICS["mae"], ("x",))
    assert np.isnan(scores["linear"])
    assert np.isfinite(scores["median"]) and np.isfinite(scores["boosting"])


def test_known_scores_on_a_real_table_are_met(shared_data: Path) -> None:
    from sklearn.model_selection import train_test_split

    table = pd.read_csv(shared_data / "phoneme_noheader.csv", header=None)
    frame = table.iloc[:, :-1].astype(np.float64)
    frame.columns = [f"column_{i}" for i in range(1, 6)]
    y = pd.factorize(table.iloc[:, -1], sort=True)[0].astype(np.int64)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=y)
    features = [Feature(name=n, kind="numeric", column=n) for n in frame]
    metric = METRICS["accuracy"]
    found = baselines(
        frame.iloc[train], y[train], frame.iloc[test], features, "binary", 2, metric, seed=0
    )
    scores = {name: metric(y[test], p) for name, p in found.predictions.items() if p is not None}
    assert scores["linear"] == pytest.approx(0.740, abs=0.005)
    assert scores["boosting"] == pytest.approx(0.901, abs=0.005)
