"""Scores of simple models on the same rows: what a network is worth beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from objectives import splits
from objectives.layout import finite
from objectives.metrics import Metric
from objectives.preprocessing import Arrays, Layout, Preprocessor, Sizes, Variant
from objectives.table import Feature, Task

Array = npt.NDArray[Any]

ROWS = 100_000  # at most so many training rows; fewer above 10 classes
ROWS_TIMES_CLASSES = 1_000_000
BINS = 254  # levels that histogram boosting can tell apart in one column


def baselines(
    train_frame: pd.DataFrame,
    train_y: Array,
    test_frame: pd.DataFrame,
    test_y: Array,
    features: Sequence[Feature],
    target_task: Task,
    classes_count: int,
    metric: Metric,
    seed: int,
) -> dict[str, float]:
    """Fit simple models on the training rows and score them on the test rows.

    "majority" (how frequent the classes are) or "mean"; "linear", logistic or ridge regression on
    one-hot levels and standardised numbers; "boosting", scikit-learn's histogram gradient boosting
    with its defaults. More than 100,000 training rows, or 1,000,000 divided by the classes, are
    first reduced to a stratified sample of so many, so that the time is bounded.

    Args:
        train_frame: Typed columns, as the table has them.
        train_y: Class codes, or values; a class may be missing.
        test_frame: The rows to score.
        test_y: Their target.
        features: Which columns to use, and what they hold.
        target_task: Says what `train_y` holds.
        classes_count: Number of classes, including those missing here; ignored for a regression.
        metric: What to score by.
        seed: Of the sample and of boosting's own hold-out.
    """
    most = ROWS if target_task == "regression" else min(ROWS, ROWS_TIMES_CLASSES // classes_count)
    if len(train_y) > most:
        rows = splits.test_split(train_y, target_task, most / len(train_y), seed).test
        train_frame, train_y = train_frame.iloc[rows], train_y[rows]
    layout = Layout.of(train_frame, features)
    preprocessor = Preprocessor.fit(train_frame, layout, Variant())
    train, test = preprocessor.transform(train_frame), preprocessor.transform(test_frame)
    models = {
        "linear": (_linear(target_task), [_one_hot(a, layout.sizes) for a in (train, test)]),
        "boosting": (
            _boosting(train_y, target_task, layout, seed),
            _raw(train_frame, test_frame, train, test, layout),
        ),
    }
    simplest = _simplest(train_y, len(test_y), target_task, classes_count)
    scores = {"mean" if target_task == "regression" else "majority": metric(test_y, simplest)}
    for name, (model, (x, x_test)) in models.items():
        prediction = _predicted(model, x, train_y, x_test, target_task, classes_count)
        scores[name] = metric(test_y, prediction)
    return scores


def _simplest(y: Array, rows: int, task: Task, classes: int) -> Array:
    """Predict the training rows' mean, or how frequent their classes are."""
    if task == "regression":
        return np.full(rows, np.mean(y))
    return np.tile(np.bincount(y, minlength=classes) / len(y), (rows, 1))


def _predicted(
    model: Any, x: Any, y: Array, x_test: Any, task: Task, classes: int
) -> npt.NDArray[np.float64]:
    """Fit a model and predict values (rows,) or probabilities (rows, classes)."""
    if task != "regression" and len(np.unique(y)) == 1:
        return np.asarray(_simplest(y, x_test.shape[0], task, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a linear model that has not converged is one all the same
        model.fit(x, y)
    if task == "regression":
        return np.asarray(model.predict(x_test), dtype=np.float64)
    probabilities = np.zeros((x_test.shape[0], classes))
    probabilities[:, model.classes_] = model.predict_proba(x_test)
    return probabilities


def _linear(task: Task) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge() if task == "regression" else LogisticRegression(max_iter=300)


def _one_hot(arrays: Arrays, sizes: Sizes) -> Any:
    """Put numbers, flags, levels and terms side by side, sparse."""
    from scipy import sparse

    rows = np.arange(len(arrays.codes) + 1)
    levels = [
        sparse.csr_array((np.ones(len(codes), dtype=np.float32), codes, rows), (len(codes), size))
        for codes, size in zip(arrays.codes.T, sizes.codes, strict=True)
    ]
    return sparse.hstack([*map(sparse.csr_array, (arrays.numeric, arrays.dense)), *levels], "csr")


def _boosting(y: Array, task: Task, layout: Layout, seed: int) -> Any:
    """Make a boosting model that knows which columns of `_raw` hold levels."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    categorical = list(range(len(layout.one_hot) + len(layout.embedded)))
    if task == "regression":
        return HistGradientBoostingRegressor(categorical_features=categorical, random_state=seed)
    # Its own hold-out, from 10,000 rows on, fails on a class with one row.
    single = np.min(np.unique(y, return_counts=True)[1]) < 2
    return HistGradientBoostingClassifier(
        categorical_features=categorical,
        early_stopping=False if single else "auto",
        random_state=seed,
    )


def _raw(
    train_frame: pd.DataFrame, test_frame: pd.DataFrame, train: Arrays, test: Arrays, layout: Layout
) -> tuple[Array, Array]:
    """Put levels as numbers, raw numbers with NaN, and term weights side by side."""
    from sklearn.preprocessing import OrdinalEncoder

    levels = [c.name for c in layout.one_hot + layout.embedded]
    numbers = [*layout.numeric, *layout.boolean]
    terms = sum(len(t.terms) for t in layout.text)
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=BINS
    )
    parts = []
    if levels:
        encoder.fit(train_frame[levels].to_numpy(dtype=object))
    for frame, arrays in ((train_frame, train), (test_frame, test)):
        codes = [encoder.transform(frame[levels].to_numpy(dtype=object))] if levels else []
        words = arrays.dense[:, arrays.dense.shape[1] - terms :]
        parts.append(np.concatenate([*codes, finite(frame, numbers), words], axis=1))
    return parts[0], parts[1]
