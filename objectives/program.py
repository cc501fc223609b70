"""A whole epoch, steps and validation, as one TensorFlow function over resident data.

Batches are gathered by index, AdamW works on all weights as one flat vector. Weights come in and go
out as tensors, so that folds take turns on one function and the best epoch's weights are kept at no
cost. What changes between recipes without changing shapes is an argument. One network is trained at
a time; what several would give is in docs/scaling.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from objectives import adamw, network
from objectives.preprocessing import Sizes
from objectives.topology import Recipe, Topology


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One training set with its validation rows; all folds of a study have one shape."""

    tensors: dict[str, tf.Tensor]  # numeric, dense, codes: all rows, preprocessed for this fold.
    target: tf.Tensor  # (rows,): int32 class codes, or float32 standardised values.
    sample_weights: tf.Tensor  # (rows,) float32, mean 1 over the training rows.
    train: NDArray[np.int32]  # Positions of training rows.
    valid: NDArray[np.int32]  # Positions of validation rows; may be empty.


@dataclass(frozen=True)
class State:
    """A network in training: all that a step changes."""

    flat: tf.Tensor  # Trainable weights, one after the other.
    mean: tf.Tensor  # AdamW's moments of their gradients.
    variance: tf.Tensor
    step: tf.Tensor
    other: tuple[tf.Tensor, ...]  # Moving statistics, dropout rates, random states.


class Program:
    """The whole-epoch function of a topology, or of all as deep as it or less (`network.padded`).

    Weights in, weights out.
    """

    def __init__(
        self,
        topology: Topology,
        sizes: Sizes,
        outputs: int,
        *,
        dropout: bool,
        compiled: bool,
        absolute: bool = False,
    ) -> None:
        """Make a program.

        Args:
            topology: Of the networks it trains.
            sizes: Widths of the arrays they take.
            outputs: Classes, or 1 for a regression.
            dropout: Whether units may be dropped.
            compiled: Whether XLA compiles it.
            absolute: Whether a regression's loss are absolute instead of squared errors.
        """
        self.topology, self.outputs, self.absolute = topology, outputs, absolute
        self.model = network.trainable(topology, sizes, outputs, dropout=dropout, padding=True)
        self.shapes = [tuple(v.shape) for v in self.model.trainable_variables]
        self.lengths = [math.prod(shape) for shape in self.shapes]
        # Weight decay is for kernels: not for biases, normalisations and levels.
        self.decayed = tf.concat(
            [
                tf.fill([length], 1.0 if v.path.endswith("kernel") else 0.0)
                for v, length in zip(self.model.trainable_variables, self.lengths, strict=True)
            ],
            axis=0,
        )
        self._epoch = tf.function(self._whole_epoch, jit_compile=compiled, autograph=False)
        self._traced: dict[tuple[Any, ...], Any] = {}  # By the shapes of rows given.

    def start(self, topology: Topology, recipe: Recipe, seed: int) -> State:
        """Return a network that has not been trained."""
        weights = network.initial_weights(self.model, topology, seed)
        flat = tf.constant(
            np.concatenate([weights[v.path].ravel() for v in self.model.trainable_variables])
        )
        rates = recipe.dropouts(topology.depth)
        other = []
        for index, variable in enumerate(self.model.non_trainable_variables):
            value = variable.numpy()
            if variable.name == "rate":
                stack = variable.path.startswith("stack/")
                layer = 0 if stack else int(variable.path.split("/")[-2].split("_")[-1]) - 1
                value = np.array(rates[1:] if stack else [rates[layer]], np.float32)
                value = network.pad(value, variable.shape[0])
            elif variable.name == "used":
                value = np.array(topology.depth - 1, np.int32)
            elif variable.name == "seed_generator_state":
                value = np.array([seed % 2**31 + index, 0], value.dtype)
            other.append(tf.constant(value))
        zeros = tf.zeros_like(flat)
        return State(flat, zeros, zeros, tf.constant(0), tuple(other))

    def epoch(
        self,
        state: State,
        fold: Fold,
        order: tf.Tensor,
        hyperparameters: tf.Tensor,
        valid: tf.Tensor | None,
    ) -> tuple[State, tf.Tensor, tf.Tensor | None]:
        """Train on the batches of `order`, then predict the rows of `valid`.

        Args:
            state: Of the network.
            fold: What it learns.
            order: Positions of rows (steps, batch).
            hyperparameters: Highest learning rate, weight decay, label smoothing, and the steps of
                the whole training (4,).
            valid: Positions of rows (chunks, rows), or None.

        Returns:
            The new state, the mean training loss () and the outputs (rows, outputs), of a
            regression (rows,).
        """
        given = (
            (state.flat, state.mean, state.variance, state.step, state.other),
            fold.tensors, fold.target, fold.sample_weights, order, hyperparameters, self.decayed,
            valid,
        )  # fmt: skip
        shapes = (fold.target.shape, order.shape, None if valid is None else valid.shape)
        # Finding it among all that was traced takes longer than a small table's steps.
        if shapes not in self._traced:
            self._traced[shapes] = self._epoch.get_concrete_function(*given)
        taken, loss, outputs = self._traced[shapes](*given)
        return State(*taken), loss, outputs

    def named(self, state: State) -> network.Weights:
        """Return the weights that a network needs to predict, by name."""
        parts = np.split(state.flat.numpy(), np.cumsum(self.lengths)[:-1])
        named = {
            v.path: part.reshape(shape)
            for v, part, shape in zip(
                self.model.trainable_variables, parts, self.shapes, strict=True
            )
        }
        used = None
        for variable, value in zip(self.model.non_trainable_variables, state.other, strict=True):
            if variable.name.startswith("moving_"):
                named[variable.path] = value.numpy()
            elif variable.name == "used":
                used = int(value)
        if used is not None:
            stacked = {name: value[:used] for name, value in named.items() if "stack/" in name}
            named |= stacked
        return named

    def _whole_epoch(
        self,
        state: Any,
        tensors: dict[str, tf.Tensor],
        target: tf.Tensor,
        sample_weights: tf.Tensor,
        order: tf.Tensor,
        hyperparameters: tf.Tensor,
        decayed: tf.Tensor,
        valid: tf.Tensor | None,
    ) -> tuple[Any, tf.Tensor, tf.Tensor | None]:
        peak, decay, smoothing, total = tf.unstack(hyperparameters)

        def step(index: tf.Tensor, state: Any, sum_: tf.Tensor) -> tuple[Any, ...]:
            flat, mean, variance, count, other = state
            rows = order[index]
            batch = {name: tf.gather(tensor, rows) for name, tensor in tensors.items()}
            with tf.GradientTape() as tape:
                tape.watch(flat)
                outputs, other = self._forward(flat, other, batch, training=True)
                losses = self._losses(outputs, tf.gather(target, rows), smoothing)
                loss = tf.reduce_mean(losses * tf.gather(sample_weights, rows))
            gradient = tape.gradient(loss, flat)
            count = count + 1
            time = tf.cast(count, tf.float32)
            rate = adamw.learning_rate(time, peak, total)
            flat, mean, variance = adamw.update(
                flat, gradient, mean, variance, time=time, rate=rate, decay=decay * decayed
            )
            return index + 1, (flat, mean, variance, count, other), sum_ + loss

        steps = order.shape[0]
        _, state, sum_ = tf.while_loop(
            lambda index, *_: index < steps,
            step,
            (tf.constant(0), state, tf.constant(0.0)),
            maximum_iterations=steps,
        )
        if valid is None:
            return state, sum_ / steps, None
        flat, *_, other = state
        return state, sum_ / steps, self._predicted(flat, other, tensors, valid)

    def _predicted(
        self,
        flat: tf.Tensor,
        other: tuple[tf.Tensor, ...],
        tensors: dict[str, tf.Tensor],
        valid: tf.Tensor,
    ) -> tf.Tensor:
        def chunk(rows: tf.Tensor) -> tf.Tensor:
            batch = {name: tf.gather(tensor, rows) for name, tensor in tensors.items()}
            outputs, _ = self._forward(flat, other, batch, training=False)
            return outputs[:, 0] if self.outputs == 1 else tf.nn.softmax(outputs)

        if valid.shape[0] == 1:
            return chunk(valid[0])
        # In a loop, as a table of millions of rows has hundreds of them.
        predicted = tf.map_fn(chunk, valid, fn_output_signature=tf.float32)
        return tf.reshape(predicted, (-1, *predicted.shape[2:]))

    def _forward(
        self,
        flat: tf.Tensor,
        other: tuple[tf.Tensor, ...],
        batch: dict[str, tf.Tensor],
        *,
        training: bool,
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        weights = [
            tf.reshape(part, shape)
            for part, shape in zip(tf.split(flat, self.lengths), self.shapes, strict=True)
        ]
        outputs, other = self.model.stateless_call(weights, other, batch, training=training)
        return outputs, tuple(other)

    def _losses(self, outputs: tf.Tensor, target: tf.Tensor, smoothing: tf.Tensor) -> tf.Tensor:
        """Return each row's loss: an error of values, or cross-entropy with smoothed labels."""
        if self.outputs == 1:
            error = outputs[:, 0] - target
            return tf.abs(error) if self.absolute else tf.square(error)
        log = tf.nn.log_softmax(outputs)
        # Not gathered: the gradient of that alone takes a fifth of all the tracing.
        hit = tf.reduce_sum(tf.one_hot(target, self.outputs) * log, axis=-1)
        return -(1 - smoothing) * hit - smoothing * tf.reduce_mean(log, axis=-1)
