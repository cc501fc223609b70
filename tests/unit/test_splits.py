import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import splits
from objectives.splits import Split


def classes(*counts: int) -> np.ndarray:
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(y)


def assert_parts(split: Split, rows: int) -> None:
    assert sorted([*split.train, *split.held_out]) == list(range(rows))
    for part in (split.train, split.held_out):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


def test_test_rows_hold_the_asked_share_of_every_class() -> None:
    y = classes(800, 150, 50)
    split = splits.test_split(y, "multiclass", 0.2, seed=1)
    assert_parts(split, 1000)
    assert np.bincount(y[split.held_out]).tolist() == [160, 30, 10]


def test_what_rounding_leaves_over_goes_to_the_classes_that_lost_most_by_it() -> None:
    y = classes(94, 12, 4)
    split = splits.test_split(y, "multiclass", 0.2, seed=0)
    assert np.bincount(y[split.held_out]).tolist() == [19, 2, 1]


def test_a_class_with_one_row_is_trained_on() -> None:
    y = classes(40, 40, 1, 1, 1)
    for seed in range(20):
        split = splits.test_split(y, "multiclass", 0.4, seed)
        assert_parts(split, 83)
        assert set(y[split.held_out]) == {0, 1}


def test_test_rows_of_a_regression_cover_its_quantiles() -> None:
    y = np.random.default_rng(0).lognormal(sigma=2, size=1000)
    split = splits.test_split(y, "regression", 0.2, seed=0)
    assert_parts(split, 1000)
    edges = np.quantile(y, np.linspace(0, 1, splits.BINS + 1)[1:-1])
    counts = np.bincount(np.searchsorted(edges, y[split.held_out]))
    assert counts.min() >= 19
    assert counts.max() <= 21


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_seed_decides_the_rows(task: splits.Task) -> None:
    y = classes(60, 40)
    rows = [splits.test_split(y, task, 0.3, seed).held_out.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]
    folds = [splits.validation(y, task, "cv", seed)[0].held_out.tolist() for seed in (1, 1, 2)]
    assert folds[0] == folds[1] != folds[2]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 1.5, 0.001])
def test_a_share_that_leaves_no_rows_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share that leaves rows on both sides"):
        splits.test_split(classes(50, 50), "binary", share, seed=0)


def test_a_table_where_every_class_has_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="another target column"):
        splits.test_split(np.arange(30), "multiclass", 0.2, seed=0)


def test_validation_is_a_hold_out_from_five_thousand_rows_on() -> None:
    assert [splits.kind(n) for n in (4_999, 5_000)] == ["cv", "holdout"]
    assert (splits.kind(10, "holdout"), splits.kind(10_000, "cv")) == ("holdout", "cv")
    (split,) = splits.validation(classes(4_000, 1_000), "binary")
    assert_parts(split, 5_000)
    assert len(split.held_out) == 1_000
    assert len(splits.validation(classes(4_000, 999), "binary")) == 5


def test_an_unknown_validation_is_refused() -> None:
    with pytest.raises(ValueError, match="'bootstrap'"):
        splits.kind(100, "bootstrap")  # type: ignore[arg-type]


def test_folds_validate_every_row_once_and_share_out_the_classes() -> None:
    y = classes(101, 33, 7)
    folds = splits.validation(y, "multiclass", "cv", seed=3)
    for fold in folds:
        assert_parts(fold, 141)
        counts = np.bincount(y[fold.held_out], minlength=3)
        assert all(abs(c - total / 5) < 1 for c, total in zip(counts, (101, 33, 7), strict=True))
    assert sorted(np.concatenate([f.held_out for f in folds])) == list(range(141))
    assert {len(f.held_out) for f in folds} == {28, 29}


def test_folds_of_a_regression_cover_its_quantiles() -> None:
    y = np.random.default_rng(0).exponential(size=500)
    for fold in splits.validation(y, "regression", "cv"):
        below = np.searchsorted(np.sort(y), y[fold.held_out]) * splits.BINS // 500
        assert np.bincount(below).tolist() == [10] * splits.BINS


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=8).filter(lambda c: sum(c) >= 20),
    share=st.floats(0.1, 0.5),
    seed=st.integers(0, 2**31),
)
def test_any_classes_are_split_without_loss_or_warning(
    counts: list[int], share: float, seed: int
) -> None:
    y = classes(*counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = (
            splits.test_split(y, "multiclass", share, seed),
            *splits.validation(y, "multiclass", "cv", seed),
            *splits.validation(y, "multiclass", "holdout", seed),
        )
    for split in parts:
        assert_parts(split, len(y))
        assert len(split.held_out)
    assert set(y[parts[0].train]) == set(y)
