"""How long a trial will take, roughly: from its size and from what others took on this fleet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from storage.speed import TrialCost

FOLDS = 5  # Networks that cross-validation trains at once.
# On one core of an ordinary machine, pruned trials among them (benchmarks/README.md): Iris, the
# smallest table, takes about a second a trial; the Adult table, 31,000 rows and 71 inputs, 5 to 8.
FLOOR = 1.0  # Seconds that any trial takes.
UNIT = 2.5e-8  # Seconds for one row and one input in one epoch.
NEAREST = 40  # Trials of a similar size, by which the fleet is judged.
FEW = 5  # Below them nothing is known of a fleet.


def seconds_per_trial(
    took: Sequence[TrialCost], *, rows: int, inputs: int, epochs: int, validation: str
) -> float:
    """Return how many seconds a trial takes on one slot, roughly.

    The usual time of a trial of this size is multiplied by what the fleet's latest trials of about
    that size took against theirs: so it learns how fast the machines are and how much is pruned.

    Args:
        took: The fleet's latest trials.
        rows: That a network is trained on.
        inputs: Columns that its first hidden layer sees.
        epochs: At most.
        validation: `holdout` or `cv`.
    """
    usual = _usual(_size(rows, inputs, epochs, validation))
    if not is_known(took):
        return usual
    others = [(_usual(_size(t.rows, t.inputs, t.epochs, t.validation)), t.seconds) for t in took]
    others.sort(key=lambda other: abs(math.log(other[0] / usual)))
    return usual * statistics.median(seconds / its_usual for its_usual, seconds in others[:NEAREST])


def is_known(took: Sequence[TrialCost]) -> bool:
    """Tell whether there are trials enough to judge a fleet by."""
    return len(took) >= FEW


def _size(rows: int, inputs: int, epochs: int, validation: str) -> float:
    return float(rows * inputs * epochs * (FOLDS if validation == "cv" else 1))


def _usual(size: float) -> float:
    return FLOOR + UNIT * size
