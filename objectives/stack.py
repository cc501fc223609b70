"""Equal hidden layers as one Keras layer, and dropout whose rate is a variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

MOMENTUM = 0.9  # Of batch normalisation: Keras's 0.99 needs more steps than a small table gives.
EPSILON = 1e-3  # Of both normalisations; Keras's default.
UNROLLED = 16  # Layers; up to here they are traced one by one, beyond in a loop (XLA only).


class Dropout(keras.layers.Layer):  # type: ignore[misc]
    """Drop units at a rate that is set between trials without compiling again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seed = keras.random.SeedGenerator(0)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the rate: one number from 0 to below 1."""
        self.rate = self.add_weight(shape=(1,), initializer="zeros", trainable=False, name="rate")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return `inputs` (rows, units), some units zero and the others scaled up."""
        if not training:
            return inputs
        return dropped(inputs, ops.convert_to_tensor(self.rate)[0], self.seed.next())


@keras.saving.register_keras_serializable(package="topo_search")
class Stack(keras.layers.Layer):  # type: ignore[misc]
    """Equal hidden layers, their weights stacked by depth.

    Each layer is `Dense`, normalisation, activation, dropout and a residual link, as ordinary Keras
    layers in that order would be. Tracing and compiling cost the same at any depth beyond 16.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        activation: str,
        normalisation: str = "none",
        residual: bool = False,
        dropout: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.depth, self.width, self.activation = depth, width, activation
        self.normalisation, self.residual, self.dropout = normalisation, residual, dropout
        self.activate: Callable[[tf.Tensor], tf.Tensor] = keras.activations.get(activation)
        if dropout:
            self.seed = keras.random.SeedGenerator(0)

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the weights, each with `depth` as its first dimension."""
        each = (self.depth, self.width)
        self.kernel = self.add_weight(
            shape=(*each, self.width), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=each, initializer="zeros", name="bias")
        if self.normalisation != "none":
            self.gamma = self.add_weight(shape=each, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=each, initializer="zeros", name="beta")
        if self.normalisation == "batch":
            self.moving_mean = self.add_weight(
                shape=each, initializer="zeros", trainable=False, name="moving_mean"
            )
            self.moving_variance = self.add_weight(
                shape=each, initializer="ones", trainable=False, name="moving_variance"
            )
        if self.dropout:
            self.rate = self.add_weight(
                shape=(self.depth,), initializer="zeros", trainable=False, name="rate"
            )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the last layer's output (rows, width) for `inputs` (rows, width)."""
        names = [v.name for v in (*self.trainable_variables, *self.non_trainable_variables)]
        stacked = {
            name: ops.convert_to_tensor(getattr(self, name))
            for name in names
            if not name.startswith("seed")
        }
        seed = self.seed.next() if self.dropout and training else None
        moving = [stacked[name] for name in ("moving_mean", "moving_variance") if name in stacked]
        if self.depth <= UNROLLED:
            parts = {name: tf.unstack(value) for name, value in stacked.items()}
            rows = []
            hidden = inputs
            for index in range(self.depth):
                weights = {name: part[index] for name, part in parts.items()}
                hidden, moved = self._layer(hidden, weights, seed, index, training)
                rows.append(moved)
            moving = [tf.stack(values) for values in zip(*rows, strict=True)]
        else:
            hidden, moving = self._loop(inputs, stacked, moving, seed, training)
        if training and self.normalisation == "batch":
            self.moving_mean.assign(moving[0])
            self.moving_variance.assign(moving[1])
        return hidden

    def get_config(self) -> dict[str, Any]:
        """Return what builds an equal layer."""
        names = ("depth", "width", "activation", "normalisation", "residual", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _loop(
        self,
        inputs: tf.Tensor,
        stacked: dict[str, tf.Tensor],
        moving: list[tf.Tensor],
        seed: tf.Tensor | None,
        training: bool,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        def body(index: tf.Tensor, hidden: tf.Tensor, *moving: tf.Tensor) -> tuple[tf.Tensor, ...]:
            weights = {name: value[index] for name, value in stacked.items()}
            hidden, moved = self._layer(hidden, weights, seed, index, training)
            at = tf.reshape(index, (1, 1))
            after = [
                tf.tensor_scatter_nd_update(all_, at, new[None])
                for all_, new in zip(moving, moved, strict=True)
            ]
            return index + 1, hidden, *after

        _, hidden, *after = tf.while_loop(
            lambda index, *_: index < self.depth,
            body,
            (tf.constant(0), inputs, *moving),
            maximum_iterations=self.depth,  # XLA needs it for the gradient.
        )
        return hidden, after

    def _layer(
        self,
        inputs: tf.Tensor,
        weights: dict[str, tf.Tensor],
        seed: tf.Tensor | None,
        index: int | tf.Tensor,
        training: bool,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        hidden = tf.matmul(inputs, weights["kernel"]) + weights["bias"]
        moved: list[tf.Tensor] = []
        if self.normalisation == "batch":
            mean, variance = weights["moving_mean"], weights["moving_variance"]
            moved = [mean, variance]
            if training:
                mean, variance = tf.nn.moments(hidden, axes=[0])
                moved = [
                    MOMENTUM * old + (1 - MOMENTUM) * tf.stop_gradient(new)
                    for old, new in zip(moved, (mean, variance), strict=True)
                ]
        elif self.normalisation == "layer":
            mean, variance = tf.nn.moments(hidden, axes=[-1], keepdims=True)
        if self.normalisation != "none":
            hidden = (hidden - mean) * tf.math.rsqrt(variance + EPSILON) * weights["gamma"]
            hidden = hidden + weights["beta"]
        hidden = self.activate(hidden)
        if seed is not None:
            own = seed + tf.stack([tf.cast(index, seed.dtype), tf.zeros((), seed.dtype)])
            hidden = dropped(hidden, weights["rate"], own)
        return (inputs + hidden if self.residual else hidden), moved


def dropped(inputs: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return `inputs` with a share `rate` of units zero and the others scaled by 1 / (1 - rate)."""
    noise = tf.random.stateless_uniform(tf.shape(inputs), tf.cast(seed, tf.int32))
    return tf.where(noise >= rate, inputs / (1.0 - rate), 0.0)
