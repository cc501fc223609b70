"""From arrays and a topology to scores by epoch and the best epoch's weights."""

from __future__ import annotations

import math
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from objectives import network
from objectives.memory import own_memory
from objectives.objective import Diverged
from objectives.preprocessing import Arrays, Sizes
from objectives.program import Fold, Program, State
from objectives.topology import Recipe, Topology

# Programs, the least recently used dropped; each holds some 10 MB, most of it graph. So many while
# the process has less memory of its own than this, else so few: what a table takes comes first.
KEPT, ROOMY, LEAST_KEPT = 24, 208 * 2**20, 4
DROPPED = 4  # Programs dropped before what they leave is looked for and freed.
SCORED_ROWS = 8_192  # Rows validated at a time, which bounds the memory of wide layers.
ALIGNED = 64  # Bytes; where the memory of a tensor has to begin.


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What networks learn: training sets of one shape, and what comes out."""

    sizes: Sizes  # Widths of the arrays of `folds`.
    outputs: int  # Classes, or 1 for a regression.
    folds: Sequence[Fold]
    absolute: bool = False  # Whether a regression learns by absolute instead of squared errors.


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training gave."""

    values: list[float]  # The metric on validation rows after each epoch, mean over folds.
    losses: list[float]  # The validation loss after each epoch, mean over folds.
    best_epoch: int  # Counted from 1.
    epoch_seconds: float  # Median of the epochs, so without tracing and compiling.
    program: Program
    states: Sequence[State]  # Of each fold's network, after the best epoch.

    @property
    def weights(self) -> list[network.Weights]:
        """The weights of the best epoch, one set for each fold."""
        return [self.program.named(state) for state in self.states]


# Given a fold's number and the outputs on its validation rows: the metric and the loss.
Evaluate = Callable[[int, NDArray[np.float32]], tuple[float, float]]


def resident(arrays: Arrays) -> dict[str, tf.Tensor]:
    """Put the arrays that are not empty where the epochs gather from: on a CPU where they are."""
    named = {"numeric": arrays.numeric, "dense": arrays.dense, "codes": arrays.codes}
    on_gpu = tf.config.list_logical_devices("GPU")
    put = tf.constant if on_gpu else _in_place
    return {name: put(array) for name, array in named.items() if array.shape[1]}


def _in_place(array: NDArray[Any]) -> tf.Tensor:
    """Return a tensor over an array's own memory, which may be a file's that others map, too."""
    whole = array.size and array.flags.c_contiguous and array.flags.writeable
    if not whole or array.ctypes.data % ALIGNED:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


class Trainer:
    """Trains networks, keeping the compiled epochs of topologies met lately."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._programs: OrderedDict[tuple[Any, ...], Program] = OrderedDict()
        self._kept, self._dropped = kept, 0

    def fit(
        self, topology: Topology, recipe: Recipe, problem: Problem, *, seed: int
    ) -> list[network.Weights]:
        """Train one network a fold for all of the recipe's epochs and return their weights.

        Raises:
            Diverged: Where a training loss is not finite.
        """
        program = self._program(topology, recipe, problem)
        networks = Networks(program, topology, recipe, problem.folds, seed)
        for _ in range(recipe.epochs):
            networks.epoch()
        return [program.named(state) for state in networks.states]

    def train(
        self,
        topology: Topology,
        recipe: Recipe,
        problem: Problem,
        *,
        evaluate: Evaluate,
        maximize: bool,
        seed: int,
        report: Callable[[int, float], bool] = lambda step, value: True,
        patience: int | None = None,
    ) -> Training:
        """Train one network a fold, in lockstep, and keep the best epoch's weights.

        Args:
            topology: What to train.
            recipe: How.
            problem: On what; its folds have validation rows.
            evaluate: Scores a fold's outputs: probabilities (rows, classes) or values (rows,).
            maximize: Whether a larger metric is better; ties are broken by the lower loss.
            seed: Of initial weights, order of rows and dropout.
            report: Called after each epoch with the best metric so far; tells whether to go on.
            patience: Epochs without a better score after which to stop; a fifth of the recipe's,
                at least 10, by default.

        Raises:
            Diverged: Where the training loss or the validation loss is not finite.
        """
        program = self._program(topology, recipe, problem)
        networks = Networks(program, topology, recipe, problem.folds, seed)
        values: list[float] = []
        losses: list[float] = []
        best: tuple[float, float] | None = None
        best_epoch, kept = 0, networks.states
        patience = patience or max(10, recipe.epochs // 5)
        times: list[float] = []
        for epoch in range(1, recipe.epochs + 1):
            began = time.perf_counter()
            scored = networks.epoch()
            times.append(time.perf_counter() - began)
            scores = [evaluate(index, output) for index, output in enumerate(scored)]
            value, loss = np.mean(scores, axis=0).tolist()
            if not math.isfinite(loss):
                raise Diverged("The validation loss is not finite.")
            values.append(value)
            losses.append(loss)
            rank = (value if maximize else -value, -loss)
            if best is None or rank > best:
                best, best_epoch, kept = rank, epoch, networks.states
            goes_on = report(epoch, values[best_epoch - 1])
            if not goes_on or epoch - best_epoch >= patience:
                break
        return Training(
            values=values,
            losses=losses,
            best_epoch=best_epoch,
            epoch_seconds=statistics.median(times),
            program=program,
            states=kept,
        )

    def _program(self, topology: Topology, recipe: Recipe, problem: Problem) -> Program:
        dropout = any(rate > 0 for rate in recipe.dropouts(topology.depth))
        # On a CPU XLA takes seconds to compile what it then runs at most a fifth faster
        # (benchmarks/README.md); the loop over a deep stack needs it.
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        compiled = on_gpu or network.is_deep(topology)
        topology = network.padded(topology)
        sizes, outputs, absolute = problem.sizes, problem.outputs, problem.absolute
        key = (topology, sizes, outputs, dropout, compiled, absolute)
        program = self._programs.pop(key, None)
        if program is None:
            self._make_room()
            program = Program(
                topology, sizes, outputs, dropout=dropout, compiled=compiled, absolute=absolute
            )
        self._programs[key] = program
        return program

    def _make_room(self) -> None:
        """Drop the programs used longest ago where there is no room for another."""
        most = self._kept if own_memory() < ROOMY else min(self._kept, LEAST_KEPT)
        while len(self._programs) >= most:
            self._programs.popitem(last=False)
            self._dropped += 1
        if self._dropped >= DROPPED:
            self._dropped = 0
            # Graphs are in reference cycles, and TensorFlow never forgets a kernel by itself.
            policy = keras.config.dtype_policy()  # Which somebody else's objective may have set.
            keras.utils.clear_session(free_memory=True)
            keras.config.set_dtype_policy(policy)


class Networks:
    """The networks of one trial, one a fold, taking turns on one program."""

    def __init__(
        self,
        program: Program,
        topology: Topology,
        recipe: Recipe,
        folds: Sequence[Fold],
        seed: int,
    ) -> None:
        self.program, self.folds = program, folds
        self.batch = min(recipe.batch_size, max(len(fold.train) for fold in folds))
        self.steps = math.ceil(max(len(fold.train) for fold in folds) / self.batch)
        self.hyperparameters = tf.constant(
            [
                recipe.learning_rate,
                recipe.weight_decay,
                recipe.label_smoothing,
                self.steps * recipe.epochs,
            ],
            tf.float32,
        )
        seeds = np.random.SeedSequence(seed).generate_state(len(folds))
        self.states = [program.start(topology, recipe, int(own)) for own in seeds]
        self.generators = [np.random.default_rng([seed, index]) for index in range(len(folds))]
        most = max(len(fold.valid) for fold in folds)
        self.valid = [_in_chunks(fold.valid, most) for fold in folds]

    def epoch(self) -> list[NDArray[np.float32]]:
        """Train an epoch on every fold and return the outputs on each one's validation rows.

        Raises:
            Diverged: Where a training loss is not finite.
        """
        states, scored = [], []
        for index, fold in enumerate(self.folds):
            # The last batch is filled up from the front, so that every step has one shape.
            shuffled = self.generators[index].permutation(fold.train)
            order = tf.constant(np.resize(shuffled, (self.steps, self.batch)))
            state, loss, outputs = self.program.epoch(
                self.states[index], fold, order, self.hyperparameters, self.valid[index]
            )
            if not math.isfinite(float(loss)):
                raise Diverged("The training loss is not finite.")
            states.append(state)
            if outputs is not None:
                scored.append(outputs.numpy()[: len(fold.valid)])
        self.states = states
        return scored


def _in_chunks(rows: NDArray[np.int32], most: int) -> tf.Tensor | None:
    """Return positions as (chunks, rows of a chunk), filled up from the front; None if empty.

    The shape follows from `most`, of all folds, so that none of them is traced by itself.
    """
    if not len(rows):
        return None
    chunks = math.ceil(most / SCORED_ROWS)
    return tf.constant(np.resize(rows, (chunks, math.ceil(most / chunks))).astype(np.int32))
