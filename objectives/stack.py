"""Equal hidden layers as one Keras layer, and dropout whose rate is a variable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops

MOMENTUM = 0.9  # Of batch normalisation: Keras's 0.99 needs more steps than a small table gives.
EPSILON = 1e-3  # Of both normalisations; Keras's default.
MOVING = ("moving_mean", "moving_variance")
STACKED = ("kernel", "bias", "gamma", "beta", *MOVING, "rate")  # With depth as first dimension.
BYTES = 256.0  # Values of one.
UNROLLED = 16  # Layers; up to here they are traced one by one, beyond in a loop (XLA only).

Tensors = dict[str, tf.Tensor]
# Given its index, its inputs and its own weights: a layer's outputs and its moved statistics.
Layer = Callable[[Any, tf.Tensor, Tensors], tuple[tf.Tensor, list[tf.Tensor]]]


def trained_activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return an activation, named as Keras names it, that a process may trace ever anew.

    TensorFlow's silu has a gradient of its own, which it registers for good, with all of the graph
    that it is traced in: https://www.tensorflow.org/api_docs/python/tf/custom_gradient
    """
    if name == "silu":
        return _silu
    activation: Callable[[tf.Tensor], tf.Tensor] = keras.activations.get(name)
    return activation


def _silu(inputs: tf.Tensor) -> tf.Tensor:
    return inputs * ops.sigmoid(inputs)


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
    layers in that order would be. Tracing and compiling cost the same at any depth beyond 16. A
    stack to be trained may hold weights of more layers than it has: how many those are is a
    variable then, so that what was compiled once trains stacks of every depth up to its own.
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
        padded: bool = False,
        **options: Any,
    ) -> None:
        """Make a stack.

        Args:
            depth: Layers, those of the padding among them.
            width: Units of each.
            activation: As Keras names it.
            normalisation: `none`, `batch` or `layer`.
            residual: Whether each layer's input is added to its output.
            dropout: Whether units are dropped in training, at rates that are variables.
            padded: Whether the variable `used` says how many of the layers are no padding.
            options: Of Keras's layers.
        """
        super().__init__(**options)
        self.padded = padded
        self.depth, self.width, self.activation = depth, width, activation
        self.normalisation, self.residual, self.dropout = normalisation, residual, dropout
        self.activate = trained_activation(activation)
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
        if self.padded:
            self.used = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="used"
            )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the last layer's output (rows, width) for `inputs` (rows, width)."""
        learned, others = (
            {v.name: read(v) for v in variables if v.name in STACKED}
            for variables in (self.trainable_variables, self.non_trainable_variables)
        )
        seed = self.seed.next() if self.dropout and training else None
        layer = partial(self._layer, seed=seed, training=training)
        used = read(self.used) if self.padded else tf.constant(self.depth)
        if self.depth <= UNROLLED and not self.padded:
            hidden, moving = one_by_one(layer, inputs, learned | others, self.depth)
        elif training:
            hidden, moving = in_a_loop(layer, inputs, learned, others, used)
        else:
            hidden, moving = forward(layer, inputs, learned | others, used), []
        if training and self.normalisation == "batch":
            self.moving_mean.assign(moving[0])
            self.moving_variance.assign(moving[1])
        return hidden

    def get_config(self) -> dict[str, Any]:
        """Return what builds an equal layer."""
        names = ("depth", "width", "activation", "normalisation", "residual", "dropout", "padded")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _layer(
        self,
        index: int | tf.Tensor,
        inputs: tf.Tensor,
        weights: Tensors,
        *,
        seed: tf.Tensor | None,
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


def read(variable: keras.Variable) -> tf.Tensor:
    """Return a variable's value at once: outside of this stateless call it has another."""
    return tf.identity(ops.convert_to_tensor(variable))


def one_by_one(
    layer: Layer, inputs: tf.Tensor, stacked: Tensors, depth: int
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the last layer's output and the moved statistics of all, every layer traced."""
    parts = {name: tf.unstack(value) for name, value in stacked.items()}
    hidden, rows = inputs, []
    for index in range(depth):
        hidden, moved = layer(index, hidden, {name: part[index] for name, part in parts.items()})
        rows.append(moved)
    return hidden, [tf.stack(values) for values in zip(*rows, strict=True)]


def forward(layer: Layer, inputs: tf.Tensor, stacked: Tensors, used: tf.Tensor) -> tf.Tensor:
    """Return the last layer's output, in a loop over the layers used."""

    def body(index: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index + 1, layer(index, hidden, at(stacked, index))[0]

    return tf.while_loop(lambda index, _: index < used, body, (tf.constant(0), inputs))[1]


def in_a_loop(
    layer: Layer, inputs: tf.Tensor, learned: Tensors, others: Tensors, used: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the last layer's output and the moved statistics, with a gradient of its own.

    TensorFlow's gradient of a loop needs the number of its turns when it is compiled. This one
    keeps what each layer was given, and goes through the layers once more from the last to the
    first (Chen et al. 2016, https://arxiv.org/abs/1604.06174), as many as there are.
    """
    names = list(learned)
    depth = learned["kernel"].shape[0]
    moving = [others[name] for name in MOVING if name in others]

    def empty(like: tf.Tensor) -> tf.TensorArray:
        return tf.TensorArray(like.dtype, depth, element_shape=like.shape, clear_after_read=False)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def through(inputs: tf.Tensor, *values: tf.Tensor) -> Any:
        stacked = {**others, **dict(zip(names, values, strict=True))}

        def body(index: tf.Tensor, hidden: tf.Tensor, given: Any, *moved: Any) -> Any:
            given = given.write(index, hidden)
            hidden, new = layer(index, hidden, at(stacked, index))
            return index + 1, hidden, given, *map(partial(_written, index), moved, new)

        started = [empty(value[0]).unstack(value) for value in moving]
        _, hidden, given, *moved = tf.while_loop(
            lambda index, *_: index < used, body, (tf.constant(0), inputs, empty(inputs), *started)
        )
        kept = given.stack()

        def gradient(above: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor]:
            def body(index: tf.Tensor, above: tf.Tensor, *gradients: Any) -> Any:
                own = at(stacked, index)
                sources = [kept[index], *(own[name] for name in names)]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    output, _ = layer(index, sources[0], own)
                below, *new = tape.gradient(output, sources, above)
                return index - 1, below, *map(partial(_written, index), gradients, new)

            nothing = [empty(value[0]).unstack(tf.zeros_like(value)) for value in values]
            _, below, *gradients = tf.while_loop(
                lambda index, *_: index >= 0, body, (used - 1, above, *nothing)
            )
            return [below, *(each.stack() for each in gradients)]

        return (hidden, *(each.stack() for each in moved)), gradient

    hidden, *moved = through(inputs, *learned.values())
    return hidden, moved


def at(stacked: Tensors, index: tf.Tensor) -> Tensors:
    """Return the weights of one layer."""
    return {name: value[index] for name, value in stacked.items()}


def _written(index: tf.Tensor, array: tf.TensorArray, value: tf.Tensor) -> tf.TensorArray:
    return array.write(index, value)


def dropped(inputs: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return `inputs` with a share `rate` of units zero and the others scaled up to make up for it.

    A unit has one random byte, so rates are those of 256ths: a random float32 for each costs as
    much as the product of matrices before it.
    """
    shape = tf.shape(inputs)
    units = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform(
        [(units + 3) // 4], tf.cast(seed, tf.int32), minval=None, maxval=None, dtype=tf.int32
    )
    noise = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:units], shape)
    zero = tf.minimum(tf.round(rate * BYTES), BYTES - 1)
    return inputs * tf.where(noise >= tf.cast(zero, tf.uint8), BYTES / (BYTES - zero), 0.0)
