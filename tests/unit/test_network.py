"""A topology becomes the network it describes, to be trained and to be handed over."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from drawn_spaces import NAMES, facts, points
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from objectives import network
from objectives.defaults import TableFacts
from objectives.named_spaces import named_space
from objectives.preprocessing import Sizes
from objectives.program import Program
from objectives.stack import Stack
from objectives.topology import ACTIVATIONS, Topology

SIZES = Sizes(numeric=3, dense=2, codes=(50, 7))
ROWS, OUTPUTS = 64, 4
TOPOLOGIES = {
    "one layer": Topology(depth=1, width=5, activation="relu"),
    "equal layers": Topology(depth=3, width=6, activation="gelu", normalisation="layer"),
    "unequal layers": Topology(
        depth=3, width=(8, 5, 6), activation=("relu", "tanh", "mish"), normalisation="batch"
    ),
    "equal widths, unequal activations": Topology(
        depth=3, width=6, activation=("relu", "selu", "silu"), residual=True
    ),
    "residual batch periodic": Topology(
        depth=4,
        width=6,
        activation="silu",
        normalisation="batch",
        residual=True,
        embedding="periodic",
    ),
}


def arrays(sizes: Sizes = SIZES, rows: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    codes = [random.integers(0, levels, rows) for levels in sizes.codes]
    given = {
        "numeric": random.normal(size=(rows, sizes.numeric)).astype(np.float32),
        "dense": random.integers(0, 2, (rows, sizes.dense)).astype(np.float32),
        "codes": np.array(codes, np.int32).reshape(len(codes), rows).T,
    }
    return {name: array for name, array in given.items() if array.shape[1]}


def started(
    topology: Topology, sizes: Sizes = SIZES, outputs: int = OUTPUTS, seed: int = 0
) -> keras.Model:
    """A network with the weights that its training starts from."""
    model = network.trainable(topology, sizes, outputs, dropout=False)
    weights = network.initial_weights(model, topology, seed)
    for variable in model.trainable_variables:
        variable.assign(weights[variable.path])
    return model


def weights_of(model: keras.Model) -> network.Weights:
    return {variable.path: variable.numpy() for variable in model.variables}


def shaken(model: keras.Model) -> keras.Model:
    """Let every weight, moving statistics too, have a value of its own."""
    random = np.random.default_rng(5)
    for variable in model.variables:
        variable.assign(variable + random.uniform(0.01, 0.3, variable.shape))
    return model


def delivered(topology: Topology) -> keras.Model:
    tensors = network.array_inputs(SIZES)
    return keras.Model(tensors, network.delivered(topology, SIZES, OUTPUTS, tensors))


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_the_delivered_network_is_the_trained_one_in_ordinary_layers(topology: Topology) -> None:
    trained = shaken(started(topology))
    handed_over = delivered(topology)
    network.set_weights(handed_over, weights_of(trained))
    theirs = trained(arrays()).numpy()
    assert theirs.shape == (ROWS, OUTPUTS)
    np.testing.assert_allclose(handed_over(arrays()).numpy(), theirs, rtol=1e-4, atol=1e-5)
    assert trained.count_params() == handed_over.count_params()
    assert not any(isinstance(layer, Stack) for layer in handed_over.layers)


def test_equal_hidden_layers_are_one_stack_while_training_and_above_200_when_delivered() -> None:
    def stacks(model: keras.Model) -> list[int]:
        return [layer.depth for layer in model.layers if isinstance(layer, Stack)]

    deep = Topology(depth=201, width=2, activation="relu")
    assert stacks(started(deep)) == [200]
    assert stacks(delivered(deep)) == [200]
    assert stacks(started(TOPOLOGIES["equal layers"])) == [2]
    for name in ("one layer", "unequal layers", "equal widths, unequal activations"):
        assert stacks(started(TOPOLOGIES[name])) == []


def test_hidden_layers_have_the_widths_and_activations_of_the_topology_in_its_order() -> None:
    model = started(TOPOLOGIES["unequal layers"])
    kernels = [model.get_layer(f"hidden_{k}").kernel.shape[1] for k in (1, 2, 3)]
    activations = [
        layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
    ]
    assert kernels == [8, 5, 6]
    assert [name for name in activations if name != "linear"] == ["relu", "tanh", "mish"]


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(numeric=2, dense=0, codes=()),
        Sizes(numeric=0, dense=3, codes=()),
        Sizes(numeric=0, dense=0, codes=(40,)),
        Sizes(numeric=1, dense=0, codes=(40, 50)),
    ],
    ids=str,
)
def test_a_network_takes_only_the_arrays_that_are_not_empty(sizes: Sizes) -> None:
    topology = Topology(depth=1, width=4, activation="relu", embedding="periodic")
    model = started(topology, sizes, outputs=1)
    assert model.input.keys() == arrays(sizes).keys()
    assert model(arrays(sizes)).shape == (ROWS, 1)


def test_the_periodic_embedding_is_a_number_beside_mixed_cosines_of_it() -> None:
    topology = Topology(depth=1, width=4, activation="relu", embedding="periodic")
    sizes = Sizes(numeric=3, dense=0, codes=())
    model = shaken(started(topology, sizes))
    weights = weights_of(model)
    x = arrays(sizes)["numeric"]
    frequency, phase = weights["frequencies/kernel"][:, 0], weights["frequencies/bias"]
    assert frequency.shape == (3, network.FREQUENCIES)
    waves = np.cos(x[:, :, None] * frequency + phase)
    mixed = np.einsum("bfk,fkd->bfd", waves, weights["mixed/kernel"]) + weights["mixed/bias"]
    expected = np.concatenate([x[:, :, None], mixed], axis=2).reshape(ROWS, -1)
    embedded = keras.Model(model.input, model.get_layer("embedded").output)(arrays(sizes))
    np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "depth", "gain"),
    [("relu", 3, 1.0), ("mish", 6, 1.0), ("relu", 24, 2**0.75), ("tanh", 24, 1.0)],
)
@pytest.mark.parametrize("stack", [True, False])
def test_kernels_start_with_the_variance_that_their_sides_and_the_depth_ask_for(
    activation: str, depth: int, gain: float, stack: bool
) -> None:
    width: int | tuple[int, ...] = 80 if stack else (80,) * (depth - 1) + (79,)
    topology = Topology(depth=depth, width=width, activation=activation)
    model = started(topology, Sizes(numeric=60, dense=0, codes=()), outputs=30)
    weights = weights_of(model)
    kernels = {name: w for name, w in weights.items() if name.endswith("/kernel")}
    assert len(kernels) == (3 if stack else depth + 1)
    for name, kernel in kernels.items():
        expected = (2.0 if name == "head/kernel" else 2 * gain) / sum(kernel.shape[-2:])
        assert kernel.var() == pytest.approx(expected, rel=0.12)
        assert abs(kernel).max() <= math.sqrt(3 * expected)  # Uniform: nothing lies far out.
        assert abs(kernel.mean()) < 4 * math.sqrt(expected / kernel.size)
    assert all((w == 0).all() for name, w in weights.items() if name.endswith("/bias"))


def test_values_of_levels_and_mixed_waves_start_as_kernels_do() -> None:
    topology = Topology(depth=1, width=8, activation="relu", embedding="periodic")
    weights = weights_of(started(topology, Sizes(numeric=40, dense=0, codes=(900,)), outputs=3))
    for name in ("levels_0/embeddings", "mixed/kernel"):
        expected = 2 / sum(weights[name].shape[-2:])
        assert weights[name].var() == pytest.approx(expected, rel=0.12)
        assert abs(weights[name]).max() <= math.sqrt(3 * expected)


@pytest.mark.parametrize(
    ("normalisation", "shrunk", "whole"),
    [("none", "kernel", None), ("layer", "gamma", "kernel"), ("batch", "gamma", "kernel")],
)
@pytest.mark.parametrize("stack", [True, False])
def test_what_a_residual_layer_adds_starts_divided_by_the_depth(
    normalisation: str, shrunk: str, whole: str | None, stack: bool
) -> None:
    def values(residual: bool) -> network.Weights:
        activation = "relu" if stack else ("relu",) * 4 + ("silu",)
        return weights_of(
            started(
                Topology(
                    depth=5,
                    width=12,
                    activation=activation,
                    normalisation=normalisation,
                    residual=residual,
                )
            )
        )

    plain, residual = values(False), values(True)
    norm = "norm_{}" if shrunk == "gamma" else "hidden_{}"
    linked = ["stack"] if stack else [norm.format(k) for k in range(2, 6)]
    for layer in linked:
        np.testing.assert_allclose(
            residual[f"{layer}/{shrunk}"], plain[f"{layer}/{shrunk}"] / 5, rtol=1e-6
        )
    same = ["hidden_1/kernel", "head/kernel"]
    if whole:
        same += ["norm_1/gamma", *(["stack/kernel"] if stack else ["hidden_2/kernel"])]
    for name in same:
        np.testing.assert_array_equal(residual[name], plain[name])


def test_initial_weights_follow_from_the_seed() -> None:
    topology = TOPOLOGIES["residual batch periodic"]
    first, again, other = (weights_of(started(topology, seed=seed)) for seed in (1, 1, 2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        if name.split("/")[1] in ("kernel", "embeddings"):
            assert (value != other[name]).mean() > 0.9


@pytest.mark.parametrize(
    ("activation", "normalisation"),
    [*((name, "none") for name in ACTIVATIONS), ("relu", "layer"), ("relu", "batch")],
)
def test_a_thousand_residual_layers_start_with_activations_of_order_one(
    activation: str, normalisation: str
) -> None:
    topology = Topology(
        depth=1000, width=8, activation=activation, normalisation=normalisation, residual=True
    )
    sizes = Sizes(numeric=8, dense=0, codes=())
    model = started(topology, sizes)
    hidden = keras.Model(model.input, model.get_layer("stack").output)
    forward = tf.function(hidden, jit_compile=True)
    # Moving statistics are of no step yet; in training those of the batch count.
    outputs = forward(arrays(sizes), training=normalisation == "batch").numpy()
    assert 0.1 < np.sqrt(np.mean(outputs**2)) < 10


@pytest.mark.parametrize("depth", [6, 30])
def test_plain_relu_layers_keep_as_much_of_what_they_are_given_as_six_do(depth: int) -> None:
    sizes = Sizes(numeric=64, dense=0, codes=())
    model = started(Topology(depth=depth, width=256, activation="relu"), sizes)
    hidden = keras.Model(model.input, model.get_layer("stack").output)
    scale = np.sqrt(np.mean(hidden(arrays(sizes)).numpy() ** 2))
    assert 0.03 < scale < 0.5  # 2^-3 of the standard deviation.


def test_stacked_weights_come_apart_under_the_names_of_ordinary_layers() -> None:
    weights = weights_of(started(TOPOLOGIES["residual batch periodic"]))
    apart = network.unstacked(weights)
    assert not any(name.startswith("stack/") for name in apart)
    for k in (2, 3, 4):
        np.testing.assert_array_equal(apart[f"hidden_{k}/kernel"], weights["stack/kernel"][k - 2])
        np.testing.assert_array_equal(
            apart[f"norm_{k}/moving_variance"], weights["stack/moving_variance"][k - 2]
        )
    np.testing.assert_array_equal(apart["hidden_1/kernel"], weights["hidden_1/kernel"])


def test_weights_that_do_not_fit_a_delivered_network_are_refused() -> None:
    topology = TOPOLOGIES["equal layers"]
    weights = weights_of(started(topology))
    deeper = delivered(Topology(depth=2, width=6, activation="gelu", normalisation="layer"))
    with pytest.raises(ValueError, match="no weight 'hidden_3/"):
        network.set_weights(deeper, weights)
    with pytest.raises(ValueError, match="shape"):
        network.set_weights(delivered(topology), {**weights, "head/bias": np.zeros(3, np.float32)})


def test_a_delivered_network_that_lacks_weights_is_refused() -> None:
    topology = TOPOLOGIES["equal layers"]
    weights = weights_of(started(topology))
    del weights["head/kernel"]
    with pytest.raises(ValueError, match="head/kernel"):
        network.set_weights(delivered(topology), weights)


@settings(max_examples=100, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(facts(), st.sampled_from(NAMES), st.data())
def test_every_point_of_every_space_builds_to_be_trained_and_to_be_handed_over(
    table: TableFacts, name: str, data: st.DataObject
) -> None:
    space = named_space(name, limits={}, facts=table)
    topology, recipe = space.decode(data.draw(points(space)))
    sizes = Sizes(numeric=table.numeric, dense=1, codes=(9,) * table.categorical)
    outputs = max(1, table.classes)
    dropout = any(recipe.dropouts(topology.depth))
    program = Program(topology, sizes, outputs, dropout=dropout, compiled=False)
    assert program.model.output_shape == (None, outputs)
    weights = program.named(program.start(topology, recipe, seed=0))
    tensors = network.array_inputs(sizes)
    handed = keras.Model(tensors, network.delivered(topology, sizes, outputs, tensors))
    network.set_weights(handed, weights)  # Raises where one has other names or shapes.
    assert handed.output_shape == (None, outputs)
    widths = [layer.units for layer in handed.layers if layer.name.startswith("hidden_")]
    assert widths == list(topology.widths)
