"""Intervals that hold the truth 95 times of a hundred; of scores on rows never seen before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LEVEL = 0.95
_DEVIATIONS = 1.959964  # That a normal distribution has to either side of its middle 95 %.
_TINY = 1e-12  # Of an area.


def percentiles(values: Array) -> tuple[float, float]:
    """Return the percentile interval that has 95 % of some values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def share_interval(right: Array, rows: Array) -> tuple[float, float]:
    """Return the interval of the mean of shares: so many right (shares,) of so many rows.

    Of one share it is exact (Clopper and Pearson 1934); of the mean of several, independent of each
    other, it joins theirs (Zou and Donner 2008, doi:10.1002/sim.3095).
    """
    from scipy.special import betaincinv

    tail, wrong = (1 - LEVEL) / 2, rows - right
    low = np.where(right > 0, betaincinv(np.maximum(right, 1), wrong + 1, tail), 0)
    high = np.where(wrong > 0, betaincinv(right + 1, np.maximum(wrong, 1), 1 - tail), 1)
    shares = right / rows
    below, above = (np.linalg.norm(shares - end) / len(shares) for end in (low, high))
    return float(np.mean(shares) - below), float(np.mean(shares) + above)


def area_interval(area: float, rows: int, others: int) -> tuple[float, float]:
    """Return the interval of an area under a ROC curve, of so many rows beside so many others.

    It is where the area found lies within two deviations of what is true (Newcombe 2006,
    doi:10.1002/sim.2324, method 5).
    """
    from scipy.optimize import brentq

    more = (rows + others) / 2 - 1

    def beyond(true: float) -> float:
        spread = 1 + more * (1 - true) / (2 - true) + more * true / (1 + true)
        variance = true * (1 - true) * spread / (rows * others)
        return float((area - true) ** 2 - _DEVIATIONS**2 * variance)

    inside = np.clip(area, _TINY, 1 - _TINY)  # At the ends of the scale nothing varies.
    low = brentq(beyond, 0, inside) if area > 0 else 0.0
    return low, brentq(beyond, inside, 1) if area < 1 else 1.0
