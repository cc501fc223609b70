"""Topology and Recipe: what they accept, refuse, say of themselves and survive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.topology import (
    ACTIVATIONS,
    CLASS_WEIGHTS,
    EMBEDDINGS,
    NORMALISATIONS,
    RARE_LEVELS,
    SCALINGS,
    Recipe,
    Topology,
)

PLAIN: dict[str, Any] = {"depth": 3, "width": 128, "activation": "relu"}
USUAL: dict[str, Any] = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "dropout": 0.1,
    "batch_size": 64,
    "epochs": 10,
}


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    depth = draw(st.integers(1, 12))
    width, activation = st.integers(1, 512), st.sampled_from(ACTIVATIONS)
    residual = draw(st.booleans())
    widths = st.lists(width, min_size=depth, max_size=depth).map(tuple)
    activations = st.lists(activation, min_size=depth, max_size=depth).map(tuple)
    return Topology(
        depth=depth,
        width=draw(width if residual else width | widths),
        activation=draw(activation | activations),
        normalisation=draw(st.sampled_from(NORMALISATIONS)),
        residual=residual,
        embedding=draw(st.sampled_from(EMBEDDINGS)),
    )


rates = st.floats(0, 1, exclude_max=True)
recipes = st.builds(
    Recipe,
    learning_rate=st.floats(1e-9, 10),
    weight_decay=st.floats(0, 10),
    dropout=rates | st.lists(rates, min_size=1, max_size=8).map(tuple),
    label_smoothing=rates,
    batch_size=st.integers(1, 4096),
    epochs=st.integers(1, 1000),
    scaling=st.sampled_from(SCALINGS),
    rare_levels=st.sampled_from(RARE_LEVELS),
    class_weights=st.sampled_from(CLASS_WEIGHTS),
)


@given(topologies())
def test_a_topology_comes_back_from_json_equal_and_hashes_alike(topology: Topology) -> None:
    again = Topology.from_json(json.loads(json.dumps(topology.to_json())))
    assert again == topology
    assert hash(again) == hash(topology)


@given(recipes)
def test_a_recipe_comes_back_from_json_equal(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@given(topologies())
def test_widths_and_activations_name_every_hidden_layer(topology: Topology) -> None:
    assert len(topology.widths) == len(topology.activations) == topology.depth
    layers = set(zip(topology.widths, topology.activations, strict=True))
    assert topology.uniform == (len(layers) == 1)


def test_a_topology_of_a_thousand_layers_is_accepted() -> None:
    assert str(Topology(depth=1000, width=4, activation="tanh")) == "1000 × 4 tanh"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"depth": 0}, "depth to be a whole number from 1 to 1,000"),
        ({"depth": 1001}, "depth"),
        ({"depth": True}, "depth"),
        ({"depth": 2.0}, "depth"),
        ({"width": 0}, "width"),
        ({"width": (8, 8)}, "one for each of 3 hidden layers. Received: 2"),
        ({"activation": "swish"}, "one of relu, gelu, silu, selu, tanh, mish. Received: 'swish'"),
        ({"activation": ("relu", "relu", "step")}, "'step'"),
        ({"normalisation": "group"}, "none, batch, layer"),
        ({"embedding": "plr"}, "none, periodic"),
        ({"residual": 1}, "true or false"),
        ({"residual": True, "width": (8, 16, 8)}, "one width"),
    ],
)
def test_a_topology_refuses_what_no_network_can_be(change: dict[str, Any], part: str) -> None:
    Topology(**PLAIN)
    with pytest.raises(ValueError, match=".") as error:
        Topology(**PLAIN | change)
    assert part in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"learning_rate": "0.1"},
        {"weight_decay": -1e-9},
        {"dropout": 1.0},
        {"dropout": (0.1, 1.0)},
        {"label_smoothing": 1.0},
        {"batch_size": 0},
        {"batch_size": 32.0},
        {"epochs": 0},
        {"scaling": "minmax"},
        {"rare_levels": "drop"},
        {"class_weights": "equal"},
    ],
)
def test_a_recipe_refuses_what_cannot_be_trained(change: dict[str, Any]) -> None:
    Recipe(**USUAL)
    with pytest.raises(ValueError, match=f"{next(iter(change))}.*Received"):
        Recipe(**USUAL | change)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "3 × 128 relu"),
        (
            {"normalisation": "layer", "residual": True, "embedding": "periodic"},
            "3 × 128 relu, layer norm, residual, periodic",
        ),
        ({"width": (64, 32, 16)}, "64 · 32 · 16 relu"),
        ({"width": (64, 64, 64), "activation": ("relu",) * 3}, "3 × 64 relu"),
        (
            {"depth": 2, "width": 8, "activation": ("relu", "tanh"), "normalisation": "batch"},
            "8 relu · 8 tanh, batch norm",
        ),
        ({"depth": 8, "width": (1, 2, 3, 4, 5, 6, 7, 8)}, "1 · 2 · 3 · 4 · … · 8 relu"),
    ],
)
def test_a_topology_reads_as_a_line_of_text(change: dict[str, Any], text: str) -> None:
    assert str(Topology(**PLAIN | change)) == text


def test_json_with_unknown_or_missing_fields_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="topology has no field 'widht'"):
        Topology.from_json({**PLAIN, "widht": 3})
    with pytest.raises(ValueError, match="recipe needs a field 'batch_size'"):
        Recipe.from_json({name: value for name, value in USUAL.items() if name != "batch_size"})


def test_dropout_is_one_rate_for_all_layers_or_one_for_each() -> None:
    assert Recipe(**USUAL).dropouts(3) == (0.1, 0.1, 0.1)
    layered = Recipe(**USUAL | {"dropout": (0.1, 0.2)})
    assert layered.dropouts(2) == (0.1, 0.2)
    with pytest.raises(ValueError, match="each of 3 hidden layers"):
        layered.dropouts(3)


def test_a_recipe_names_its_variant_of_the_data() -> None:
    assert Recipe(**USUAL | {"scaling": "robust"}).variant == ("robust", "keep")
