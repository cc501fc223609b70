"""From a topology to a `keras.Model`: once to be trained, once to be handed over.

Both take the arrays of `preprocessing` and give logits (classes) or one standardised value
(regression). The one to be trained holds equal hidden layers as one stacked layer, so that 1,000 of
them compile like 10, and keeps dropout rates in variables, so that one compiled epoch serves many
recipes. The one to be handed over is made of ordinary Keras layers, and takes its weights by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from objectives.sizes import EMBEDDED, FREQUENCIES, Sizes, level_values
from objectives.stack import EPSILON, MOMENTUM, UNROLLED, Dropout, Stack, trained_activation
from objectives.topology import DEEPEST, Topology

FREQUENCY_SCALE = 0.1 * 2 * math.pi  # Standard deviation of c at the start.
FEW_WEIGHTS = 2**17  # Of a stack: it costs less to go over them than to compile once more.
SELF_NORMALISING = ("selu", "tanh")  # They keep the variance of what goes through a layer; …
SHALLOW = 6  # … the others halve it, which does no harm in so many layers.

Weights = dict[str, NDArray[np.float32]]  # By "layer/weight", as Keras names them.


def array_inputs(sizes: Sizes) -> dict[str, keras.KerasTensor]:
    """Return one input for each array that `sizes` says is not empty, by the array's name."""
    inputs = {}
    if sizes.numeric:
        inputs["numeric"] = keras.Input((sizes.numeric,), name="numeric")
    if sizes.dense:
        inputs["dense"] = keras.Input((sizes.dense,), name="dense")
    if sizes.codes:
        inputs["codes"] = keras.Input((len(sizes.codes),), dtype="int32", name="codes")
    return inputs


def trainable(
    topology: Topology, sizes: Sizes, outputs: int, *, dropout: bool, padding: bool = False
) -> keras.Model:
    """Build the network to be trained; `initial_weights` gives what its training starts from.

    Args:
        topology: What to build.
        sizes: Widths of the arrays it takes.
        outputs: Classes, or 1 for a regression.
        dropout: Whether dropout follows the hidden layers, with its rates in variables.
        padding: Whether a deep stack may have fewer layers than there are weights: see `padded`.
    """
    inputs = array_inputs(sizes)
    hidden = _encoded(inputs, topology, sizes)
    padding = padding and is_deep(topology)
    stack = stackable(topology)
    hidden = _hidden(
        hidden, topology, trained_activation, stack=stack, dropout=dropout, padded=padding
    )
    return keras.Model(inputs, _head(hidden, outputs))


def delivered(
    topology: Topology, sizes: Sizes, outputs: int, tensors: dict[str, keras.KerasTensor]
) -> keras.KerasTensor:
    """Build the network to be handed over on `tensors` and return its output.

    Where the topology `needs_stack` its equal layers are one registered layer
    (`objectives.stack.Stack`), which has to be importable where the network is loaded.
    """
    hidden = _encoded(tensors, topology, sizes)
    stack, named = topology.needs_stack, keras.activations.get
    hidden = _hidden(hidden, topology, named, stack=stack, dropout=False, padded=False)
    return _head(hidden, outputs)


def stackable(topology: Topology) -> bool:
    """Tell whether the hidden layers after the first are equal, and so can be one stacked layer."""
    return topology.uniform and topology.depth > 1


def padded(topology: Topology) -> Topology:
    """Return the topology whose network, its stack padded, trains this one and others like it.

    Stacks of narrow layers are padded to all the layers there may be, others to the next power of
    two, as padding costs time, too.
    """
    if not is_deep(topology):
        return topology
    power = 2 ** math.ceil(math.log2(topology.depth - 1))
    narrow = DEEPEST * topology.widths[0] ** 2 <= FEW_WEIGHTS
    return replace(
        topology,
        depth=DEEPEST if narrow else min(1 + power, DEEPEST),
        width=topology.widths[0],
        activation=topology.activations[0],
    )


def is_deep(topology: Topology) -> bool:
    """Tell whether the equal hidden layers are gone through in a loop, not traced one by one."""
    return stackable(topology) and topology.depth > UNROLLED + 1


def initial_weights(
    model: keras.Model, topology: Topology, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Draw what the trainable weights of `trainable(topology, …)` start from, by path.

    Kernels, and the values of levels, are uniform with variance 2 / (inputs + outputs) (Glorot and
    Bengio, https://proceedings.mlr.press/v9/glorot10a.html), as those of Keras' dense layers are;
    of what else was tried nothing was better (benchmarks/README.md). In deep stacks of relu and the
    like it rises towards twice that (He et al., https://arxiv.org/abs/1502.01852), so that between
    equal layers as much of the signal's variance is left as six layers leave: 2^-6. What each
    residual layer adds is divided by the depth, in its kernel or where a normalisation would undo
    that in its gamma, so that the sum of all of them stays of order one at any depth. The root of
    the depth is not enough: what relu and the like add has one sign.
    """
    random = np.random.default_rng(seed)
    deep = 2 ** (1 - SHALLOW / max(SHALLOW, topology.depth))
    gain = {name: 1.0 if name in SELF_NORMALISING else deep for name in topology.activations}
    shrunk = "kernel" if topology.normalisation == "none" else "gamma"
    weights = {}
    for variable in model.trainable_variables:
        layer, kind = variable.path.split("/")[-2:]
        shape = tuple(variable.shape)
        length = shape[0]
        if layer == "stack":
            shape = (topology.depth - 1, *shape[1:])
        if kind in ("bias", "beta"):
            value = np.zeros(shape)
            if layer == "frequencies":
                value = random.uniform(-math.pi, math.pi, shape)
        elif kind == "gamma":
            value = np.ones(shape)
        elif layer == "frequencies":
            value = random.normal(0, FREQUENCY_SCALE, shape)
        else:
            variance = 2.0 / (shape[-2] + shape[-1])
            if layer == "stack" or layer.startswith("hidden_"):
                index = 0 if layer == "stack" else int(layer.removeprefix("hidden_")) - 1
                variance *= gain[topology.activations[index]]
            most = math.sqrt(3 * variance)
            value = random.uniform(-most, most, shape)
        if topology.residual and kind == shrunk and _has_link(layer):
            value = value / topology.depth
        if layer == "stack":
            value = pad(value, length)
        weights[variable.path] = value.astype(np.float32)
    return weights


def pad(value: NDArray[Any], length: int) -> NDArray[Any]:
    """Return what each layer of a stack has, padded with zeros to so many layers."""
    return np.concatenate([value, np.zeros((length - len(value), *value.shape[1:]), value.dtype)])


def _has_link(layer: str) -> bool:
    """Tell whether a layer belongs to a hidden layer after the first."""
    return layer == "stack" or (layer.startswith(("hidden_", "norm_")) and not layer.endswith("_1"))


def unstacked(weights: Weights) -> Weights:
    """Return trained weights under the names of ordinary layers, one for each hidden layer."""
    ordinary = {}
    for path, value in weights.items():
        layer, kind = path.split("/")
        if layer != "stack":
            ordinary[path] = value
            continue
        name = "hidden" if kind in ("kernel", "bias") else "norm"
        for index, part in enumerate(value):
            ordinary[f"{name}_{index + 2}/{kind}"] = part
    return ordinary


def set_weights(model: keras.Model, weights: Weights) -> None:
    """Give a delivered network its trained weights by name.

    Raises:
        ValueError: Where a name or a shape does not fit; the network would not be the trained one.
    """
    variables = {"/".join(v.path.split("/")[-2:]): v for v in model.variables}
    if "stack/kernel" not in variables:
        weights = unstacked(weights)
    if odd := sorted(set(weights) ^ set(variables)):
        what = "no" if odd[0] in weights else "an untrained"
        raise ValueError(f"The delivered network has {what} weight {odd[0]!r}.")
    for name, value in weights.items():
        variables[name].assign(value)


def _encoded(
    tensors: dict[str, keras.KerasTensor], topology: Topology, sizes: Sizes
) -> keras.KerasTensor:
    """Join the arrays into what the first hidden layer takes, with embeddings where asked for."""
    parts = []
    if "numeric" in tensors:
        numeric = tensors["numeric"]
        parts.append(_periodic(numeric, sizes) if topology.embedding == "periodic" else numeric)
    if "dense" in tensors:
        parts.append(tensors["dense"])
    for index, levels in enumerate(sizes.codes):
        embedding = layers.Embedding(levels, level_values(levels), name=f"levels_{index}")
        parts.append(embedding(tensors["codes"][:, index]))
    return parts[0] if len(parts) == 1 else layers.Concatenate(name="joined")(parts)


def _periodic(numeric: keras.KerasTensor, sizes: Sizes) -> keras.KerasTensor:
    column = layers.Reshape((sizes.numeric, 1), name="columns")(numeric)
    waves = layers.EinsumDense(
        "bfi,fik->bfk", (sizes.numeric, FREQUENCIES), bias_axes="fk", name="frequencies"
    )(column)
    mixed = layers.EinsumDense(
        "bfk,fkd->bfd", (sizes.numeric, EMBEDDED), bias_axes="fd", name="mixed"
    )(ops.cos(waves))
    return layers.Flatten(name="embedded")(layers.Concatenate(name="beside")([column, mixed]))


def _hidden(
    tensor: keras.KerasTensor,
    topology: Topology,
    activate: Callable[[str], Any],
    *,
    stack: bool,
    dropout: bool,
    padded: bool,
) -> keras.KerasTensor:
    separate = 1 if stack else topology.depth
    for index in range(separate):
        before = tensor
        width, activation = topology.widths[index], topology.activations[index]
        tensor = layers.Dense(width, name=f"hidden_{index + 1}")(tensor)
        if topology.normalisation == "batch":
            tensor = layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, name=f"norm_{index + 1}"
            )(tensor)
        elif topology.normalisation == "layer":
            tensor = layers.LayerNormalization(epsilon=EPSILON, name=f"norm_{index + 1}")(tensor)
        tensor = layers.Activation(activate(activation), name=f"{activation}_{index + 1}")(tensor)
        if dropout:
            tensor = Dropout(name=f"dropout_{index + 1}")(tensor)
        if topology.residual and index > 0:
            tensor = layers.Add(name=f"residual_{index + 1}")([before, tensor])
    if not stack:
        return tensor
    return Stack(
        depth=topology.depth - 1,
        width=topology.widths[0],
        activation=topology.activations[0],
        normalisation=topology.normalisation,
        residual=topology.residual,
        dropout=dropout,
        padded=padded,
        name="stack",
    )(tensor)


def _head(tensor: keras.KerasTensor, outputs: int) -> keras.KerasTensor:
    return layers.Dense(outputs, name="head")(tensor)
