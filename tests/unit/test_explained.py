"""How much of a target one column tells: the counts against their definition, large and fast."""

import time
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from objectives import explained as module
from objectives.explained import explained


def by_hand(column: Any, y: Any) -> float:
    """The share of the rows besides the largest class that each level's own class gets right."""
    held: dict[Any, Counter[Any]] = {}
    for level, value in zip(column, y, strict=True):
        held.setdefault(level, Counter())[value] += 1
    missed = len(y) - sum(max(classes.values()) for classes in held.values())
    return float(1 - missed / (len(y) - max(Counter(y).values())))


@pytest.mark.parametrize("dense", [module.DENSE, 0])
@pytest.mark.parametrize("seed", range(5))
def test_levels_explain_the_rows_of_their_most_frequent_class(
    monkeypatch: pytest.MonkeyPatch, dense: int, seed: int
) -> None:
    monkeypatch.setattr(module, "DENSE", dense)
    rng = np.random.default_rng(seed)
    column, y = rng.integers(0, 2 + 9 * seed, 400).astype(str), rng.integers(0, 2 + seed, 400)
    column, y = column.astype(object), y + (y > 0)  # a class that no row has
    assert explained(column, y, regression=False) == by_hand(column, y)


def test_counting_classes_by_level_takes_little_longer_than_numbering_the_levels() -> None:
    rng = np.random.default_rng(0)
    column, y = rng.integers(0, 50, 400_000).astype(float), rng.integers(0, 3, 400_000)

    def seconds(work: Any, *args: Any) -> float:
        begins = time.process_time()
        work(*args)
        return time.process_time() - begins

    usual = min(seconds(pd.factorize, column) for _ in range(3))
    assert min(seconds(explained, column, y, False) for _ in range(3)) < 20 * usual


@pytest.mark.parametrize("scale", [1e300, 1.0, 1e-300])
def test_the_size_of_a_target_s_numbers_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(0)
    column = np.repeat(["a", "b"], 50).astype(object)
    y = np.repeat([0.0, 1.0], 50) + rng.normal(0, 0.1, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        share = explained(column, y * scale, regression=True)
    assert share > 0.9
    assert share == pytest.approx(explained(column, y, regression=True))
