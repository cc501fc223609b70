"""The steps at which a trial reports its score and may be pruned."""

from __future__ import annotations

REDUCTION = 3  # One trial in three goes on from a rung; each rung lies three times as far.


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs at which a trial of `epochs` reports: 1, 3, 9, 27, … as far as they go.

    Raises:
        ValueError: Where `epochs` is below 1.
    """
    if epochs < 1:
        raise ValueError(f"Expected at least 1 epoch. Received: {epochs}.")
    steps = [1]
    while steps[-1] * REDUCTION <= epochs:
        steps.append(steps[-1] * REDUCTION)
    return tuple(steps)


def next_rung(step: int) -> int:
    """Return the first rung beyond a step, which is at least 1."""
    return rungs(step)[-1] * REDUCTION


def first_judged(epochs: int) -> int:
    """Return the first rung at which a trial may be pruned: the last at or below epochs / 9, or 1.

    Before a ninth of the schedule the score says little, as the learning rate still is high.
    """
    return rungs(max(1, epochs // REDUCTION**2))[-1]
