"""Simple models of the same rows: what a network is worth beside them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from objectives import splits
from objectives.layout import finite
from objectives.metrics import Metric
from objectives.preprocessing import Arrays, Layout, Preprocessor, Sizes, Variant
from objectives.table import Feature, Task

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

ROWS = 100_000  # at most so many training rows; fewer above 10 classes
ROWS_TIMES_CLASSES = 1_000_000
BINS = 254  # levels that histogram boosting can tell apart in one column


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What simple models predict of the test rows."""

    rows: int  # They were fitted on.
    # Probabilities (rows, classes) or values (rows,); None for one that could not be fitted.
    predictions: Mapping[str, Array | None]


def baselines(
    train_frame: pd.DataFrame,
    train_y: Array,
    test_frame: pd.DataFrame,
    features: Sequence[Feature],
    target_task: Task,
    classes_count: int,
    metric: Metric,
    seed: int,
) -> Baselines:
    """Fit simple models on the training rows, each towards the metric, and predict the test rows.

    "majority" (how frequent the classes are), "mean" or, by absolute errors, "median"; "linear",
    logistic or ridge regression on one-hot levels and standardised numbers; "boosting",
    scikit-learn's histogram gradient boosting with its defaults. Where classes count equally, their
    rows are weighed. More than 100,000 training rows, or 1,000,000 divided by the classes, are
    first reduced to a stratified sample of so many, so that the time is bounded.

    Args:
        train_frame: Typed columns, as the table has them.
        train_y: Class codes, or values; a class may be missing.
        test_frame: The rows to predict.
        features: Which columns to use, and what they hold.
        target_task: Says what `train_y` holds.
        classes_count: Number of classes, including those missing here; ignored for a regression.
        metric: What they will be scored by.
        seed: Of the sample and of boosting's own hold-out.
    """
    most = ROWS if target_task == "regression" else min(ROWS, ROWS_TIMES_CLASSES // classes_count)
    if len(train_y) > most:
        rows = splits.test_split(train_y, target_task, most / len(train_y), seed).held_out
        train_frame, train_y = train_frame.iloc[rows], train_y[rows]
    layout = Layout.of(train_frame, features)
    preprocessor = Preprocessor.fit(train_frame, layout, Variant())
    train, test = preprocessor.transform(train_frame), preprocessor.transform(test_frame)
    models = {
        "linear": (_linear(metric), [_one_hot(a, layout.sizes) for a in (train, test)]),
        "boosting": (
            _boosting(train_y, metric, layout, seed),
            _raw(train_frame, test_frame, train, test, layout),
        ),
    }
    name, guess = simplest(train_y, len(test_frame), metric, classes_count)
    predictions: dict[str, Array | None] = {name: guess}
    for name, (model, (x, x_test)) in models.items():
        predictions[name] = _predicted(model, x, train_y, x_test, guess)
    return Baselines(rows=len(train_y), predictions=predictions)


def simplest(y: Array, rows: int, metric: Metric, classes: int) -> tuple[str, Array]:
    """Predict how frequent the training rows' classes are, or the middle of their values.

    Args:
        y: Target of the training rows.
        rows: How many to predict.
        metric: What they will be scored by.
        classes: How many there are; ignored for a regression.

    Returns:
        What it is called, and the predictions: (rows, classes) or (rows,).
    """
    if "regression" not in metric.tasks:
        return "majority", np.tile(np.bincount(y, minlength=classes) / len(y), (rows, 1))
    if metric.name == "mae":
        return "median", np.full(rows, np.median(y))
    return "mean", np.full(rows, np.mean(y))


def _predicted(model: Any, x: Any, y: Array, x_test: Any, guess: Array) -> Array | None:
    """Fit a model and predict as `guess` does; None where it cannot be fitted to such numbers."""
    classes = guess.ndim == 2
    if classes and len(np.unique(y)) == 1:
        return guess
    # These models take numbers or their errors in float32. A power of two rounds nothing.
    power = 0 if classes else int(np.frexp(np.abs(y).max())[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a linear model that has not converged is one all the same
        try:
            model.fit(x, y if classes else np.ldexp(y, -power))
            found = model.predict_proba(x_test) if classes else model.predict(x_test)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            # Not worth a search: it is about the network. Numbers near the largest there are do so.
            logger.warning("%s could not be fitted: %s", type(model).__name__, error)
            return None
    if not np.isfinite(found).all():
        logger.warning("%s predicts numbers that are not finite.", type(model).__name__)
        return None
    if not classes:
        return np.ldexp(np.asarray(found, dtype=np.float64), power)
    probabilities = np.zeros(guess.shape)
    probabilities[:, model.classes_] = found
    return probabilities


def _linear(metric: Metric) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if "regression" in metric.tasks:
        return Ridge()
    return LogisticRegression(max_iter=300, class_weight="balanced" if metric.balanced else None)


def _one_hot(arrays: Arrays, sizes: Sizes) -> Any:
    """Put numbers, flags, levels and terms side by side, sparse."""
    from scipy import sparse

    rows = np.arange(len(arrays.codes) + 1)
    levels = [
        sparse.csr_array((np.ones(len(codes), dtype=np.float32), codes, rows), (len(codes), size))
        for codes, size in zip(arrays.codes.T, sizes.codes, strict=True)
    ]
    return sparse.hstack([*map(sparse.csr_array, (arrays.numeric, arrays.dense)), *levels], "csr")


def _boosting(y: Array, metric: Metric, layout: Layout, seed: int) -> Any:
    """Make a boosting model that knows which columns of `_raw` hold levels."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    categorical = list(range(len(layout.one_hot) + len(layout.embedded)))
    if "regression" in metric.tasks:
        return HistGradientBoostingRegressor(
            loss="absolute_error" if metric.name == "mae" else "squared_error",
            categorical_features=categorical,
            random_state=seed,
        )
    # Its own hold-out, from 10,000 rows on, fails on a class with one row.
    single = np.min(np.unique(y, return_counts=True)[1]) < 2
    return HistGradientBoostingClassifier(
        categorical_features=categorical,
        class_weight="balanced" if metric.balanced else None,
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
    # Boosting cannot bin a column that the training rows leave empty.
    known = [name for name in numbers if not np.isnan(finite(train_frame, [name])).all()]
    if levels:
        encoder.fit(train_frame[levels].to_numpy(dtype=object))
    for frame, arrays in ((train_frame, train), (test_frame, test)):
        codes = [encoder.transform(frame[levels].to_numpy(dtype=object))] if levels else []
        words = arrays.dense[:, arrays.dense.shape[1] - terms :]
        parts.append(np.concatenate([*codes, finite(frame, known), words], axis=1))
    return parts[0], parts[1]
