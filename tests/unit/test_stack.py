"""Stacked layers are ordinary layers; dropout drops what its rate says."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from objectives import stack
from objectives.stack import EPSILON, MOMENTUM, Dropout, Stack

WIDTH, ROWS = 6, 16
SHALLOW, DEEP = 3, 17  # Traced one by one, and in a loop.
KINDS = [  # normalisation, residual links, activation
    ("none", False, "tanh"),
    ("none", True, "relu"),
    ("layer", False, "mish"),
    ("layer", True, "silu"),
    ("batch", False, "selu"),
    ("batch", True, "gelu"),
]

Results = dict[str, Any]


def rows(seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=(ROWS, WIDTH)), tf.float32)


def stacked(depth: int, normalisation: str, residual: bool, activation: str) -> Stack:
    """A stack whose weights all matter: none is zero or one."""
    layer = Stack(
        depth=depth,
        width=WIDTH,
        activation=activation,
        normalisation=normalisation,
        residual=residual,
    )
    layer.build((None, WIDTH))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        value = random.normal(0, 0.3, weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
    return layer


def ordinary(of: Stack) -> keras.Model:
    """The same layers as anyone would write them in Keras, with the same weights."""
    hidden = inputs = keras.Input((WIDTH,))
    for index in range(of.depth):
        before = hidden
        hidden = keras.layers.Dense(WIDTH, name=f"dense_{index}")(hidden)
        if of.normalisation == "batch":
            hidden = keras.layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, name=f"norm_{index}"
            )(hidden)
        elif of.normalisation == "layer":
            hidden = keras.layers.LayerNormalization(epsilon=EPSILON, name=f"norm_{index}")(hidden)
        hidden = keras.layers.Activation(of.activation)(hidden)
        if of.residual:
            hidden = keras.layers.Add()([before, hidden])
    model = keras.Model(inputs, hidden)
    for weight in model.weights:
        layer, name = weight.path.split("/")
        weight.assign(getattr(of, name)[int(layer.split("_")[1])])
    return model


def results(layer: Callable[..., Any], jit: bool = False) -> Results:
    """What a layer gives in inference and in training, its gradients and its moving statistics."""

    def all_of_them(inputs: tf.Tensor) -> Results:
        inference = layer(inputs, training=False)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * rows(seed=2))
        own = [weight.value for weight in layer.trainable_weights]  # type: ignore[attr-defined]
        gradients = tape.gradient(loss, [inputs, *own])
        return {
            "inference": inference,
            "training": outputs,
            "inputs": gradients[0],
            "gradients": gradients[1:],
        }

    given = (tf.function(all_of_them, jit_compile=True) if jit else all_of_them)(rows())
    names = [weight.path.split("/")[-1] for weight in layer.trainable_weights]  # type: ignore[attr-defined]
    moved = layer.non_trainable_weights  # type: ignore[attr-defined]
    return {
        **{name: given[name].numpy() for name in ("inference", "training", "inputs")},
        "gradients": [(n, g.numpy()) for n, g in zip(names, given["gradients"], strict=True)],
        "moved": [(weight.path.split("/")[-1], weight.numpy()) for weight in moved],
    }


def by_depth(values: list[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The layers' values, stacked: those of one name, in their order."""
    names = {name for name, _ in values}
    return {name: np.stack([value for n, value in values if n == name]) for name in names}


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare by the array's scale: where sums cancel, nothing but rounding is left."""
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-5 * (1 + np.abs(theirs).max()))


@pytest.mark.parametrize(
    ("depth", "normalisation", "residual", "activation"),
    [*((SHALLOW, *kind) for kind in KINDS), *((DEEP, *kind) for kind in KINDS[::2])],
)
def test_a_stack_equals_ordinary_layers_in_outputs_gradients_and_moving_statistics(
    depth: int, normalisation: str, residual: bool, activation: str
) -> None:
    layer = stacked(depth, normalisation, residual, activation)
    theirs = results(ordinary(layer))
    ours = results(layer, jit=depth == DEEP)
    for name in ("inference", "training", "inputs"):
        assert_close(ours[name], theirs[name])
    for kind in ("gradients", "moved"):
        of_layers = by_depth(theirs[kind])
        assert of_layers.keys() == dict(ours[kind]).keys()
        for name, value in ours[kind]:
            assert_close(value, of_layers[name])


@pytest.mark.parametrize(("normalisation", "residual", "activation"), KINDS[1::2])
def test_layers_in_a_loop_equal_layers_one_by_one(
    normalisation: str, residual: bool, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = []
    for unrolled in (0, SHALLOW):
        monkeypatch.setattr(stack, "UNROLLED", unrolled)
        both.append(results(stacked(SHALLOW, normalisation, residual, activation), not unrolled))
    loop, one_by_one = both
    for name in ("inference", "training", "inputs"):
        assert_close(loop[name], one_by_one[name])
    for kind in ("gradients", "moved"):
        for (_, ours), (_, theirs) in zip(loop[kind], one_by_one[kind], strict=True):
            assert_close(ours, theirs)


def test_inference_moves_no_statistics() -> None:
    layer = stacked(SHALLOW, "batch", False, "relu")
    before = [weight.numpy() for weight in layer.non_trainable_weights]
    layer(rows(), training=False)
    for old, new in zip(before, layer.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_a_stack_is_built_again_from_its_configuration_under_its_registered_name() -> None:
    layer = Stack(
        depth=3, width=6, activation="mish", normalisation="batch", residual=True, dropout=True
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, Stack)
    assert again.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(Stack) == "topo_search>Stack"


@pytest.mark.parametrize("rate", [26 / 256, 154 / 256])
def test_dropout_drops_its_share_of_units_and_scales_up_the_others(rate: float) -> None:
    layer = Dropout()
    ones = tf.ones((300, 400))
    layer.build(ones.shape)
    layer.rate.assign([rate])
    first, second = (layer(ones, training=True).numpy() for _ in range(2))
    deviation = np.sqrt(rate * (1 - rate) / first.size)
    assert np.mean(first == 0) == pytest.approx(rate, abs=5 * deviation)
    np.testing.assert_allclose(first[first != 0], 1 / (1 - rate), rtol=1e-6)
    assert (first != second).any()


@pytest.mark.parametrize(("rate", "dropped"), [(0.1, 26), (0.6, 154), (0.999, 255), (0.001, 0)])
def test_rates_of_dropout_are_rounded_to_256ths(rate: float, dropped: int) -> None:
    layer = Dropout()
    ones = tf.ones((30, 401))  # Not a whole number of words.
    layer.build(ones.shape)
    layer.rate.assign([rate])
    outputs = layer(ones, training=True).numpy()
    np.testing.assert_allclose(outputs[outputs != 0], 256 / (256 - dropped), rtol=1e-6)


def test_dropout_lets_everything_through_at_rate_zero_and_in_inference() -> None:
    layer = Dropout()
    layer.build((ROWS, WIDTH))
    np.testing.assert_array_equal(layer(rows(), training=True), rows())
    layer.rate.assign([0.9])
    np.testing.assert_array_equal(layer(rows(), training=False), rows())


@pytest.mark.parametrize("unrolled", [0, 16], ids=["loop", "one by one"])
@pytest.mark.parametrize("rates", [(0.0, 0.625), (0.25, 0.0), (0.5, 0.5)])
def test_each_layer_of_a_stack_drops_units_of_its_own_at_its_own_rate(
    rates: tuple[float, float], unrolled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "UNROLLED", unrolled)
    layer = Stack(depth=2, width=64, activation="relu", dropout=True)
    ones = tf.ones((500, 64))
    layer.build(ones.shape)
    layer.kernel.assign(np.stack([np.eye(64)] * 2))
    layer.rate.assign(rates)
    outputs = layer(ones, training=True).numpy()
    kept = (1 - rates[0]) * (1 - rates[1])  # Where the two layers drop independently.
    assert np.mean(outputs != 0) == pytest.approx(kept, abs=5 * np.sqrt(0.25 / outputs.size))
    np.testing.assert_allclose(outputs[outputs != 0], 1 / kept, rtol=1e-6)
    np.testing.assert_array_equal(layer(ones, training=False), ones)
