"""The winner trained once more, on all rows that are not test rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from objectives import network
from objectives.baselines import simplest
from objectives.network import Weights
from objectives.objective import Diverged
from objectives.preprocessing import Preprocessor, TargetScaler
from objectives.splits import Split
from objectives.tabular import Prepared, fitted, trainer
from objectives.topology import Recipe, Topology
from objectives.training import resident

logger = logging.getLogger(__name__)

REFITS = 5  # Beginnings of which one must neither diverge nor collapse.
OWN_ROWS = 4_096  # Rows on which a refit is held against its trial.
COLLAPSED = 0.5  # Of what a trial gained over guessing: a refit that lost more is begun anew.


@dataclass(frozen=True, kw_only=True)
class Refitted:
    """The winner, trained once more."""

    preprocessor: Preprocessor
    scaler: TargetScaler | None  # Of a regression's target.
    weights: Weights
    seed: int
    value: float  # Of the metric, on rows that it was trained on.
    failed: tuple[str, ...] = ()  # What beginnings came to, in order: "diverged" or "collapsed".
    collapsed: bool = False  # Whether this one has, as no beginning came to more.


def refit(data: Prepared, topology: Topology, recipe: Recipe, winner: Any) -> Refitted:
    """Train the winner once on all rows that are not test rows, for its best number of epochs.

    The learning rate falls to 0 within them: where the schedule goes on beyond, the score after
    its best epoch was in part luck of that epoch, which another training does not have. With other
    rows and another schedule than the trial's it may diverge, or collapse: a trial keeps the
    weights from before, and a refit has no validation rows to tell when that was. Then it begins
    with other weights. Where it collapses from every beginning, the best of them stands.

    Raises:
        Diverged: Where it does so from every beginning tried.
    """
    recipe = replace(recipe, epochs=winner["epochs"])
    others = np.random.SeedSequence(winner["seed"]).generate_state(REFITS - 1) >> 1
    collapsed: list[Refitted] = []
    diverged: Diverged | None = None
    failed: list[str] = []
    for seed in [int(winner["seed"]), *others.tolist()]:
        try:
            refitted = _refitted(data, topology, recipe, seed)
        except Diverged as error:
            logger.warning("The refit with seed %d: %s", seed, error)
            diverged = error
            failed.append("diverged")
            continue
        if not _has_collapsed(data, refitted.value, winner["value"]):
            return replace(refitted, failed=tuple(failed))
        logger.warning(
            "The refit with seed %d scores %s %.4g on the rows it was trained on, and its trial "
            "%.4g on others.", seed, data.metric.name, refitted.value, winner["value"],
        )  # fmt: skip
        collapsed.append(refitted)
        failed.append("collapsed")
    if not collapsed:
        assert diverged is not None
        raise diverged
    best = max if data.metric.direction == "maximize" else min
    kept = best(collapsed, key=lambda refitted: refitted.value)
    return replace(kept, failed=tuple(failed), collapsed=True)


def _refitted(data: Prepared, topology: Topology, recipe: Recipe, seed: int) -> Refitted:
    everything = np.arange(len(data.rest))
    preprocessor = fitted(data.rest, everything, data.layout, recipe)
    tensors = resident(preprocessor.transform(data.rest))
    split = Split(train=everything, held_out=everything[:0])
    fold, scaler = data.fold(tensors, data.rest_y, split, recipe)
    (weights,) = trainer().fit(topology, recipe, data.problem([fold]), seed=seed)
    rows = np.random.default_rng(seed).permutation(everything)[:OWN_ROWS]
    said = outputs(data, topology, preprocessor, weights, rows)
    known = keras.ops.softmax(said) if scaler is None else scaler.restore(said[:, 0])
    value = data.metric(data.rest_y[rows], np.asarray(known))
    return Refitted(
        preprocessor=preprocessor, scaler=scaler, weights=weights, seed=seed, value=value
    )


def _has_collapsed(data: Prepared, value: float, trial: float) -> bool:
    """Tell whether a network lost most of what its trial was better by than always guessing alike.

    Args:
        data: The study's.
        value: On rows the network was trained on.
        trial: On rows its trial was not trained on, so the lower of both as a rule.
    """
    y = data.rest_y
    _, guess = simplest(y, len(y), data.metric, data.outputs)
    sign = 1 if data.metric.direction == "maximize" else -1
    gain = sign * (trial - data.metric(y, guess))
    return gain > 0 and not sign * (trial - value) <= COLLAPSED * gain


def outputs(
    data: Prepared,
    topology: Topology,
    preprocessor: Preprocessor,
    weights: Weights,
    rows: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Return what a trained network says of some rows that are not test rows (rows, outputs)."""
    trained = network.trainable(topology, preprocessor.sizes, data.outputs, dropout=False)
    network.set_weights(trained, weights)
    arrays = preprocessor.transform(data.rest.iloc[rows])
    given = {name: getattr(arrays, name) for name in trained.input}
    return np.asarray(keras.ops.convert_to_numpy(trained(given)))
