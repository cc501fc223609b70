"""Spaces: every point means something, and everything said about one holds."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from drawn_spaces import NAMES, facts, points, spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.defaults import TableFacts
from objectives.limits import BOUNDS
from objectives.named_spaces import named_space
from objectives.parameters import Choice, Range
from objectives.portfolio import portfolio
from objectives.rungs import first_judged, rungs
from objectives.space import Space

FACTS = TableFacts(
    task="multiclass", rows=2_000, numeric=4, categorical=2, inputs=9, classes=3, metric="accuracy"
)
NUMBERS = TableFacts(
    task="regression", rows=400, numeric=7, categorical=0, inputs=7, classes=0, metric="rmse"
)


def space(name: str = "mlp", facts: TableFacts = FACTS, **limits: str) -> Space:
    return named_space(name, limits=limits, facts=facts, epochs=20)


@settings(deadline=None)
@given(st.data())
def test_every_point_of_every_space_decodes_and_comes_back(data: st.DataObject) -> None:
    drawn = data.draw(spaces())
    point = data.draw(points(drawn))
    topology, recipe = drawn.decode(json.loads(json.dumps(point)))
    again = drawn.encode(topology, recipe)
    assert drawn.decode(again) == (topology, recipe)
    if drawn.name != "layers":  # There, what lies beyond the depth is forgotten.
        assert again == point


@settings(deadline=None)
@given(st.data())
def test_every_space_comes_back_from_json_equal_with_its_order(data: st.DataObject) -> None:
    drawn = data.draw(spaces())
    again = Space.from_json(json.loads(json.dumps(drawn.to_json())))
    assert again == drawn
    assert list(again.parameters) == list(drawn.parameters)


@settings(deadline=None)
@given(st.data())
def test_what_optuna_draws_is_moved_to_a_point_that_optuna_accepts(data: st.DataObject) -> None:
    drawn = data.draw(spaces())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = drawn.distributions()
    point = drawn.nearest(study.ask(distributions).params)
    assert drawn.contains(point)
    assert drawn.nearest(point) == point
    optuna.trial.create_trial(params=point, distributions=distributions, value=0.0)


@settings(deadline=None)
@given(spaces())
def test_the_portfolio_lies_in_the_space_without_doubles(drawn: Space) -> None:
    assert bool(drawn.portfolio) == (drawn.name != "depth")
    for place, point in enumerate(drawn.portfolio):
        drawn.decode(point)
        assert point not in drawn.portfolio[:place]


@given(facts())
def test_the_portfolio_names_every_parameter_and_fits_the_usual_space(table: TableFacts) -> None:
    drawn = named_space("mlp", limits={}, facts=table)
    for entry in portfolio(table):
        assert entry.keys() == BOUNDS.keys()
        for name, parameter in drawn.parameters.items():
            if name != "batch_size":
                assert parameter.nearest(entry[name]) == entry[name]


def test_limits_move_the_portfolio_into_the_space() -> None:
    drawn = space(activation="tanh,gelu", width="8:20", depth="2", residual="false")
    topologies = [drawn.decode(point)[0] for point in drawn.portfolio]
    assert len(topologies) == 6  # Their recipes differ still.
    assert {t.activation for t in topologies} == {"tanh"}
    assert {(t.depth, t.width, t.residual) for t in topologies} == {(2, 20, False)}


@pytest.mark.parametrize("name", NAMES)
def test_one_value_fixes_a_parameter(name: str) -> None:
    drawn = space(name, learning_rate="0.001", activation="tanh")
    topology, recipe = drawn.decode(drawn.nearest({n: 1 for n in drawn.parameters}))
    assert recipe.learning_rate == 0.001
    assert set(topology.activations) == {"tanh"}
    assert not any(n.startswith(("learning_rate", "activation")) for n in drawn.parameters)


def test_a_range_of_one_value_and_a_named_boolean_fix_as_well() -> None:
    drawn = space(depth="4:4", residual="true", **{"batch-size": "64"})
    assert {n: drawn.fixed[n] for n in ("depth", "residual", "batch_size")} == {
        "depth": 4,
        "residual": True,
        "batch_size": 64,
    }


def test_limits_become_ranges_and_choices() -> None:
    drawn = space(depth="1:1000", width="20:100", dropout="0.1:0.3", activation="tanh, mish")
    assert drawn.parameters["depth"] == Range(low=1, high=1000, log=True)
    assert drawn.parameters["width"] == Range(
        low=20, high=100, log=True, grid=(20, 24, 32, 48, 64, 96, 100)
    )
    assert drawn.parameters["dropout"] == Range(low=0.1, high=0.3, grid=(0.1, 0.15, 0.2, 0.25, 0.3))
    assert drawn.parameters["activation"] == Choice(choices=("tanh", "mish"))
    assert space(width="10,20,40").parameters["width"] == Choice(choices=(10, 20, 40))
    assert space(weight_decay="0:0.1").parameters["weight_decay"] == Range(low=0.0, high=0.1)


def test_no_dropout_and_no_smoothing_at_all_are_drawn() -> None:
    drawn = space()
    for name in ("dropout", "label_smoothing"):
        parameter = drawn.parameters[name]
        assert parameter.nearest(0.02) == 0.0
        assert parameter.nearest(0.06) == 0.05
        assert parameter.contains(0.123)  # A user may still ask for it.


@pytest.mark.parametrize(
    ("metric", "weights", "smoothing"),
    [("accuracy", "none", 0.1), ("macro_f1", "balanced", 0.1), ("log_loss", "none", 0.0)],
)
def test_the_portfolio_suits_the_metric(metric: str, weights: str, smoothing: float) -> None:
    entries = portfolio(replace(FACTS, metric=metric))
    assert {entry["class_weights"] for entry in entries} == {weights}
    assert max(entry["label_smoothing"] for entry in entries) == smoothing


def test_drawn_widths_move_to_a_few_sizes_in_the_logarithm() -> None:
    width = space().parameters["width"]
    assert width.nearest(140) == 128
    assert width.nearest(56) == 64  # Of 48 and 64, the nearer in the logarithm.
    assert width.contains(140)  # A user may still ask for it.
    assert not width.contains(128.0)
    assert not width.contains(True)
    assert not width.contains("128")


@pytest.mark.parametrize(("rows", "widest", "batches"), [
    (100, 128, (16, 64)), (5_000, 256, (64, 256)), (50_000, 512, (128, 512)),
])  # fmt: skip
def test_widths_and_batches_grow_with_the_table(
    rows: int, widest: int, batches: tuple[int, int]
) -> None:
    table = TableFacts(
        task="binary", rows=rows, numeric=3, categorical=0, inputs=3, classes=2, metric="accuracy"
    )
    drawn = space(facts=table)
    width, batch_size = drawn.parameters["width"], drawn.parameters["batch_size"]
    assert isinstance(width, Range)
    assert isinstance(batch_size, Range)
    assert (width.low, width.high) == (16, widest)
    assert (batch_size.low, batch_size.high) == batches
    assert space(facts=table, width="8:2000").parameters["width"].contains(2000)


def test_parameters_without_effect_on_the_table_are_left_out() -> None:
    full, numbers = space(), space(facts=NUMBERS)
    gone = {"rare_levels", "label_smoothing", "class_weights"}
    assert set(full.parameters) == set(BOUNDS)
    assert set(numbers.parameters) == set(BOUNDS) - gone
    words = TableFacts(
        task="binary", rows=500, numeric=0, categorical=3, inputs=9, classes=2, metric="accuracy"
    )
    assert set(space(facts=words).parameters) == set(BOUNDS) - {"embedding", "scaling"}


def test_layers_chooses_width_activation_and_dropout_layer_by_layer() -> None:
    drawn = space("layers", depth="1:3", width="16:64")
    point = drawn.nearest(drawn.portfolio[0]) | {
        "depth": 2,
        **{"width_1": 64, "width_2": 16, "width_3": 33},
        **{"activation_1": "relu", "activation_2": "tanh", "activation_3": "mish"},
        **{"dropout_1": 0.0, "dropout_2": 0.25, "dropout_3": 0.5},
    }
    topology, recipe = drawn.decode(point)
    assert topology.width == (64, 16)
    assert topology.activation == ("relu", "tanh")
    assert recipe.dropout == (0.0, 0.25)
    assert not topology.residual


def test_depth_tries_plain_networks_as_wide_as_the_input_in_order() -> None:
    drawn = space("depth", depth="1:1000")
    assert drawn.enumerated is not None
    topologies = [drawn.decode(point)[0] for point in drawn.enumerated]
    assert [t.depth for t in topologies] == list(range(1, 1001))
    assert {(t.width, t.normalisation, t.residual) for t in topologies} == {(9, "none", False)}
    assert space("depth", width="5", depth="1,4").enumerated == ({"depth": 1}, {"depth": 4})
    assert space("depth", depth="3").enumerated == ({"depth": 1}, {"depth": 2}, {"depth": 3})
    assert space("depth", depth="7:7").enumerated == ({},)


def test_only_depth_enumerates() -> None:
    assert space().enumerated is None


@pytest.mark.parametrize(("name", "limits", "message"), [
    ("mlq", {}, "no space mlq. Did you mean mlp"),
    ("mlp", {"widht": "3"}, "no parameter widht. Did you mean width"),
    ("layers", {"residual": "true"}, "spaces mlp and depth have it"),
    ("mlp", {"width": "64:16"}, "Write 16:64"),
    ("mlp", {"depth": "0:3"}, "depth from 1 to 1000. Received: 0"),
    ("mlp", {"depth": "1001"}, "depth from 1 to 1000"),
    ("mlp", {"depth": "2.5"}, "a whole number"),
    ("mlp", {"depth": "1:2:3"}, "a whole number"),
    ("mlp", {"depth": ""}, "a whole number"),
    ("mlp", {"dropout": "nan"}, "dropout from 0 to 0.95"),
    ("mlp", {"dropout": "much"}, "dropout as a number"),
    ("mlp", {"learning_rate": "0"}, "learning_rate from 1e-07"),
    ("mlp", {"activation": "rellu"}, "Did you mean relu"),
    ("mlp", {"activation": ""}, "activation from relu"),
    ("mlp", {"residual": "maybe"}, "from false, true"),
    ("depth", {"width": "3:8"}, "varies the depth only. Give one width"),
    ("layers", {"depth": "1:30"}, "goes to depth 20"),
])  # fmt: skip
def test_limits_that_cannot_be_met_are_refused_with_a_remedy(
    name: str, limits: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        named_space(name, limits=limits, facts=FACTS)


@pytest.mark.parametrize("key", ["rare_levels", "label_smoothing", "class_weights"])
def test_a_limit_without_effect_on_the_table_is_refused_with_the_reason(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} has no effect on this table: it"):
        space(facts=NUMBERS, **{key: "1"})


def test_points_of_another_space_are_refused_by_name() -> None:
    drawn = space(dropout="0.1")
    point = dict(drawn.portfolio[0])
    with pytest.raises(ValueError, match="unknown parameter colour"):
        drawn.decode(point | {"colour": 1})
    with pytest.raises(ValueError, match="lacks parameter depth"):
        drawn.decode({name: value for name, value in point.items() if name != "depth"})
    with pytest.raises(ValueError, match="depth within 1 to 6. Received: 7"):
        drawn.decode(point | {"depth": 7})
    with pytest.raises(ValueError, match="residual within False, True. Received: 1"):
        drawn.decode(point | {"residual": 1})
    topology, recipe = drawn.decode(point)
    with pytest.raises(ValueError, match="epochs fixed at 20. Received: 21"):
        space(dropout="0.1").encode(topology, type(recipe)(**{**vars(recipe), "epochs": 21}))


def own(folder: Path, text: str) -> Space:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return Space.from_toml(path)


def test_a_users_own_space_is_read_from_toml(tmp_path: Path) -> None:
    read = own(
        tmp_path,
        """
        [parameters]
        filters = {low = 8, high = 64, step = 8}
        rate = {low = 1e-4, high = 1e-1, log = true}
        pooling = {choices = ["max", "average"]}
        """,
    )
    assert read.name == "own"
    assert read.parameters == {
        "filters": Range(low=8, high=64, step=8),
        "rate": Range(low=1e-4, high=1e-1, log=True),
        "pooling": Choice(choices=("max", "average")),
    }
    assert read.portfolio == ()
    assert Space.from_json(json.loads(json.dumps(read.to_json()))) == read
    assert read.nearest({"filters": 21, "rate": 1.0, "pooling": "max"}) == {
        "filters": 24,
        "rate": 0.1,
        "pooling": "max",
    }
    with pytest.raises(ValueError, match="no topologies"):
        read.decode({"filters": 8, "rate": 0.1, "pooling": "max"})


@pytest.mark.parametrize(("text", "message"), [
    ("parameters = ", "space.toml is none"),
    ("", "an empty file"),
    ("[parameter]\nx = {low = 1, high = 2}", "Received: parameter"),
    ("[parameters]", "an entry for each parameter"),
    ("[parameters]\nx = 3", "Parameter x of space.toml: Expected {low"),
    ("[parameters]\nx = {low = 1}", "Parameter x.*Expected {low"),
    ("[parameters]\nx = {low = 1, high = 2, choices = [1]}", "Parameter x.*Expected {low"),
    ("[parameters]\nx = {low = 3, high = 2}", "low ≤ high"),
    ("[parameters]\nx = {low = 'a', high = 2}", "low to be a number"),
    ("[parameters]\nx = {low = 1, high = inf}", "high to be a number"),
    ("[parameters]\nx = {low = 0, high = 2, log = true}", "low above 0"),
    ("[parameters]\nx = {low = 1, high = 2, log = 1}", "true or false"),
    ("[parameters]\nx = {low = 1, high = 2, log = true, step = 1}", "takes no step"),
    ("[parameters]\nx = {low = 1, high = 6, step = 2}", "whole steps"),
    ("[parameters]\nx = {low = 1, high = 6, step = 0.5}", "whole step"),
    ("[parameters]\nx = {low = 1, high = 6, step = 0}", "step above 0"),
    ("[parameters]\nx = {choices = []}", "at least one"),
    ("[parameters]\nx = {choices = [1, 1]}", "each choice once"),
    ("[parameters]\nx = {choices = [[1]]}", "texts, numbers or booleans"),
])  # fmt: skip
def test_a_file_that_describes_no_space_is_refused_with_the_entry(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        own(tmp_path, text)


def test_spaces_load_neither_tensorflow_nor_optuna() -> None:
    code = (
        "import objectives.space, sys; print({'tensorflow', 'keras', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("epochs", "expected", "judged"), [
    (1, (1,), 1), (2, (1,), 1), (3, (1, 3), 1), (26, (1, 3, 9), 1), (27, (1, 3, 9, 27), 3),
    (100, (1, 3, 9, 27, 81), 9), (243, (1, 3, 9, 27, 81, 243), 27),
])  # fmt: skip
def test_rungs_are_powers_of_three_and_judged_from_a_ninth_on(
    epochs: int, expected: tuple[int, ...], judged: int
) -> None:
    assert rungs(epochs) == expected
    assert first_judged(epochs) == judged


def test_no_epochs_have_no_rungs() -> None:
    with pytest.raises(ValueError, match="at least 1 epoch"):
        rungs(0)
