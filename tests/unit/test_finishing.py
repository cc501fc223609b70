"""The winner trained once more, scored on the test rows, and handed over whole."""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from small_tables import mixed, plan_of, point

from objectives import finishing, network, refitting
from objectives.baselines import Baselines
from objectives.encoder import typed_columns
from objectives.finishing import exported, finish, predictions, saved
from objectives.frames import csv_bytes
from objectives.objective import Diverged, Final, Finish
from objectives.preprocessing import Preprocessor, TargetScaler, Variant
from objectives.refitting import Refitted, refit
from objectives.space import Space
from objectives.stack import Stack
from objectives.tabular import Prepared, prepared
from objectives.topology import Topology
from objectives.training import Trainer

# TensorFlow's variables do not know NumPy's `copy` yet, and Keras saves them so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TARGETS = ("class", "price")
WINNER = {"seed": 4, "epochs": 1, "value": 0.3}  # No better than guessing: nothing to lose.
VALUES = {"depth": 2, "width": 8, "normalisation": "batch", "dropout": 0.1}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Train as a slot does, unless TensorFlow is running already with more threads."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


@dataclass(frozen=True)
class Finished:
    """A study of the mixed table, finished."""

    plan: dict[str, Any]
    data: Prepared
    final: Final
    model: keras.Model  # As loaded from the file.


def finishing_of(
    plan: dict[str, Any], dataset: Path, test: Path | None = None, **winner: Any
) -> Finish:
    value = 1e9 if plan["task"] == "regression" else 0.0  # No better than guessing.
    known = {
        "trial": 7,
        "value": value,
        "parameters": point(plan, **VALUES),
        "seed": 4,
        "epochs": 2,
    }
    return Finish(
        trial="finish",
        plan=plan,
        winner=known | winner,
        looks=1,
        dataset=dataset,
        test_dataset=test,
    )


def written(frame: pd.DataFrame, path: Path) -> Path:
    path.write_bytes(csv_bytes(frame))
    return path


def loaded(final: Final, folder: Path) -> keras.Model:
    path = folder / "network.keras"
    path.write_bytes(final.files["network.keras"])
    return finishing.loaded(path)


def no_models(*given: Any) -> Baselines:
    """Leave out what takes longest and has no part in the network."""
    return Baselines(rows=0, predictions={})


def weights_after(assignment: Finish, folder: Path) -> list[np.ndarray]:
    model: keras.Model = loaded(finish(assignment), folder)
    return [np.asarray(weight) for weight in model.get_weights()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """The studies of both targets."""
    folder, done = tmp_path_factory.mktemp("finished"), {}
    for target in TARGETS:
        frame = mixed(target)
        plan, dataset = plan_of(frame, target), written(frame, folder / f"{target}.csv")
        with pytest.MonkeyPatch.context() as patch:
            if target == "class":  # Three times the boosting; they have tests of their own.
                patch.setattr(finishing, "baselines", no_models)
            final = finish(finishing_of(plan, dataset))
        done[target] = Finished(plan, prepared(plan, dataset, None), final, loaded(final, folder))
    return done


@pytest.mark.parametrize("target", TARGETS)
def test_the_outcome_says_all_that_is_shown_of_a_study(
    target: str, finished: dict[str, Finished]
) -> None:
    outcome = finished[target].final.outcome
    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome.keys() == {
        "best", "refit_seed", "refit", "test", "baselines", "leads", "baseline_rows", "confusion",
        "scatter",
    }  # fmt: skip
    assert outcome["best"].keys() == {
        "trial", "value", "parameters", "topology", "weights", "epochs", "seed",
    }  # fmt: skip
    assert outcome["refit"] == {"failed": [], "collapsed": False}
    assert outcome["best"]["trial"] == 7 and outcome["best"]["epochs"] == 2
    assert outcome["best"]["topology"].startswith("2 × 8 ")
    test = outcome["test"]
    assert test.keys() == {"value", "low", "high", "looks", "rows", "metrics"}
    assert test["low"] <= test["value"] <= test["high"]
    assert (test["looks"], test["rows"]) == (1, 24)
    if target == "class":
        assert test["metrics"].keys() == {
            "accuracy", "balanced_accuracy", "log_loss", "roc_auc", "macro_f1",
        }  # fmt: skip
        assert outcome["baselines"] == outcome["leads"] == {}
        assert outcome["confusion"]["classes"] == ["high", "low", "mid"]
        assert np.sum(outcome["confusion"]["matrix"]) == 24
        assert outcome["scatter"] is None
    else:
        assert test["metrics"].keys() == {"rmse", "mae", "r2"}
        assert outcome["baselines"].keys() == {"mean", "linear", "boosting"}
        for name, value in outcome["baselines"].items():
            low, high = outcome["leads"][name]
            assert low <= value - test["value"] <= high
        assert outcome["baseline_rows"] == 96
        assert outcome["confusion"] is None
        assert len(outcome["scatter"]["true"]) == len(outcome["scatter"]["predicted"]) == 24
        assert sorted(outcome["scatter"]["true"]) == sorted(finished[target].data.test_y)


@pytest.mark.parametrize("target", TARGETS)
def test_the_test_score_is_that_of_the_exported_file(
    target: str, finished: dict[str, Finished]
) -> None:
    of = finished[target]
    predicted = predictions(of.model, of.data.test, of.data.features, of.data.target.classes)
    assert predicted.shape == ((24, 3) if target == "class" else (24,))
    score = of.data.metric(of.data.test_y, predicted)
    assert score == pytest.approx(of.final.outcome["test"]["value"], rel=1e-5)
    assert of.final.outcome["test"]["metrics"][of.data.metric.name] == pytest.approx(score)


def test_an_exported_network_gives_probabilities_or_values_in_the_targets_units(
    finished: dict[str, Finished],
) -> None:
    classes, numbers = finished["class"], finished["price"]
    given = typed_columns(classes.data.rest, classes.data.features)
    probabilities = classes.model(given).numpy()
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    values = numbers.model(typed_columns(numbers.data.rest, numbers.data.features)).numpy()
    assert values.shape == (96, 1)
    assert values.mean() == pytest.approx(50_000, rel=0.2)  # The target: 50,000 ± 10,000.
    assert 500 < values.std() < 30_000


def test_predictions_in_parts_are_those_at_once(
    finished: dict[str, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = finished["price"]
    whole = predictions(of.model, of.data.rest, of.data.features, ())
    monkeypatch.setattr(finishing, "PREDICTED_ROWS", 7)
    np.testing.assert_allclose(
        predictions(of.model, of.data.rest, of.data.features, ()), whole, rtol=1e-5
    )


# What the network is fitted on


@pytest.fixture
def no_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest and has no part in the network."""
    monkeypatch.setattr(finishing, "baselines", no_models)


@pytest.mark.usefixtures("no_baselines")
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_in_the_test_rows_reaches_the_exported_weights(target: str, tmp_path: Path) -> None:
    """Neither features nor targets, of a test file or of rows set aside."""
    frame, test = mixed(target), mixed(target, rows=30, seed=8)
    plan = plan_of(frame, target)
    dataset = written(frame, tmp_path / "rows.csv")
    changed = test.assign(
        **{
            "size": test["size"] * 1e6,
            "kind": "unseen",
            "notes": "wholly other words",
            target: test[target].to_numpy()[::-1],
        }
    )
    assert (changed[target] != test[target]).any()
    one, other = (written(t, tmp_path / f"{k}.csv") for k, t in enumerate((test, changed)))
    first, second = (weights_after(finishing_of(plan, dataset, t), tmp_path) for t in (one, other))
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("no_baselines")
def test_rows_set_aside_for_the_test_reach_no_weights_and_every_other_row_does(
    tmp_path: Path,
) -> None:
    frame = mixed()
    plan = plan_of(frame)
    data = prepared(plan, written(frame, tmp_path / "rows.csv"), None)
    of_test = frame["rate km/h"].isin(data.test["rate km/h"])
    assert of_test.sum() == len(data.test) == 24

    def trained(frame: pd.DataFrame, name: str) -> list[np.ndarray]:
        return weights_after(finishing_of(plan, written(frame, tmp_path / name)), tmp_path)

    first = trained(frame, "rows.csv")
    test_changed = frame.assign(head=np.where(of_test, 1e6, frame["head"]))
    for ours, theirs in zip(first, trained(test_changed, "test.csv"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    validating = data.validation[0].held_out[0]  # In trials it never trained.
    row = frame.index[~of_test][validating]
    rest_changed = frame.copy()
    rest_changed.loc[row, "head"] += 3
    second = trained(rest_changed, "rest.csv")
    assert any((ours != theirs).any() for ours, theirs in zip(first, second, strict=True))


def test_the_preprocessing_handed_over_is_fitted_on_all_rows_but_the_test_rows(
    finished: dict[str, Finished],
) -> None:
    of = finished["price"]
    parameters = point(of.plan, **VALUES)
    topology, recipe = Space.from_json(of.plan["space"]).decode(parameters)
    refitted = refit(of.data, topology, recipe, WINNER)
    variant = Variant(scaling=recipe.scaling, rare_levels=recipe.rare_levels)  # type: ignore[arg-type]
    whole = Preprocessor.fit(of.data.rest, of.data.layout, variant)
    np.testing.assert_array_equal(refitted.preprocessor.centre, whole.centre)
    np.testing.assert_array_equal(refitted.preprocessor.factor, whole.factor)
    assert refitted.scaler == TargetScaler.fit(of.data.rest_y)


def test_a_refit_that_diverges_begins_anew_with_other_weights(
    finished: dict[str, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = finished["class"]
    topology, recipe = Space.from_json(of.plan["space"]).decode(point(of.plan, **VALUES))
    fit, seeds = Trainer.fit, []

    def diverging(*problem: Any, seed: int) -> Any:
        seeds.append(seed)
        if len(seeds) < times:
            raise Diverged("The training loss is not finite.")
        return fit(*problem, seed=seed)

    monkeypatch.setattr(Trainer, "fit", diverging)
    times = refitting.REFITS
    refitted = refit(of.data, topology, recipe, WINNER)
    assert refitted.seed == seeds[-1]
    assert (refitted.failed, refitted.collapsed) == (("diverged",) * (times - 1), False)
    assert seeds[0] == 4 and len(set(seeds)) == times
    first, times = list(seeds), 99
    seeds.clear()
    with pytest.raises(Diverged):
        refit(of.data, topology, recipe, WINNER)
    assert seeds == first


@pytest.mark.parametrize("target", TARGETS)
def test_a_refit_that_collapses_begins_anew_and_the_best_of_them_stands(
    target: str, finished: dict[str, Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = finished[target]
    topology, recipe = Space.from_json(of.plan["space"]).decode(
        point(of.plan, **VALUES | {"dropout": 0.0, "learning_rate": 0.01})
    )
    recipe = replace(recipe, epochs=60)
    value = refitting._refitted(of.data, topology, recipe, 4).value
    winner = {"seed": 4, "epochs": 60, "value": value}
    fit, seeds = Trainer.fit, []

    def collapsing(*problem: Any, seed: int) -> Any:
        seeds.append(seed)
        (weights,) = fit(*problem, seed=seed)
        if len(seeds) in dead:  # It says the same of every row.
            weights = {name: weight * (name == "head/bias") for name, weight in weights.items()}
        return [weights]

    monkeypatch.setattr(Trainer, "fit", collapsing)
    dead: range = range(1, 3)
    healthy = refit(of.data, topology, recipe, winner)
    assert len(seeds) == 3 and healthy.seed == seeds[2]
    assert (healthy.failed, healthy.collapsed) == (("collapsed",) * 2, False)
    seeds.clear()
    dead = range(1, 99)
    best = refit(of.data, topology, recipe, winner)
    assert len(set(seeds)) == refitting.REFITS and best.seed in seeds
    assert (best.failed, best.collapsed) == (("collapsed",) * refitting.REFITS, True)
    values = [refitting._refitted(of.data, topology, recipe, seed).value for seed in seeds.copy()]
    assert best.value == (max if target == "class" else min)(values)


@pytest.mark.usefixtures("no_baselines")
def test_a_target_far_from_zero_beside_its_spread_is_handed_over(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size = random.normal(size=120)
    latitude = 47.6 + 0.005 * size + 0.001 * random.normal(size=120)
    frame = pd.DataFrame({"size": size, "latitude": latitude.round(6)})
    plan, dataset = plan_of(frame, "latitude"), written(frame, tmp_path / "table.csv")
    final = finish(finishing_of(plan, dataset))
    data = prepared(plan, dataset, None)
    again = predictions(loaded(final, tmp_path), data.test, data.features, ())
    assert final.outcome["test"]["value"] == pytest.approx(
        data.metric(data.test_y, again), rel=1e-3
    )


@pytest.mark.usefixtures("no_baselines")
def test_the_matrix_of_very_many_classes_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "CONFUSED_CLASSES", 2)
    frame = mixed("class")
    final = finish(finishing_of(plan_of(frame, "class"), written(frame, tmp_path / "table.csv")))
    assert final.outcome["confusion"] is None and final.outcome["scatter"] is None


def test_the_refit_trains_for_the_winners_best_number_of_epochs_as_if_planned_so(
    finished: dict[str, Finished],
) -> None:
    of = finished["class"]

    def refitted(planned: int, epochs: int) -> network.Weights:
        plan = plan_of(mixed(), epochs=planned)
        topology, recipe = Space.from_json(plan["space"]).decode(point(plan, **VALUES))
        return refit(of.data, topology, recipe, WINNER | {"epochs": epochs}).weights

    planned, cut, longer = refitted(2, 2), refitted(30, 2), refitted(30, 3)
    for name, weight in planned.items():
        np.testing.assert_array_equal(weight, cut[name])
    assert (planned["head/kernel"] != longer["head/kernel"]).any()


# The exported network is the trained one

EXPORTS: dict[str, tuple[str, Topology]] = {
    "one layer": ("class", Topology(depth=1, width=8, activation="relu")),
    "equal layers, layer norm, residual, periodic": (
        "price",
        Topology(
            depth=3,
            width=8,
            activation="gelu",
            normalisation="layer",
            residual=True,
            embedding="periodic",
        ),
    ),
    "unequal layers, batch norm": (
        "class",
        Topology(
            depth=3,
            width=(8, 4, 6),
            activation=("selu", "tanh", "mish"),
            normalisation="batch",
            embedding="periodic",
        ),
    ),
    "the deepest of ordinary layers": (
        "class",
        Topology(depth=200, width=3, activation="relu", normalisation="batch", residual=True),
    ),
    "one registered layer": (
        "price",
        Topology(depth=250, width=3, activation="silu", normalisation="layer", residual=True),
    ),
}
ORDINARY = [name for name, (_, topology) in EXPORTS.items() if topology.depth <= 200]


@dataclass(frozen=True)
class Export:
    """An exported network beside the one it should be."""

    model: keras.Model
    frame: pd.DataFrame
    data: Prepared
    expected: np.ndarray  # What the trained network predicts of the frame.
    scaler: TargetScaler | None
    preprocessor: Preprocessor
    weights: network.Weights


@pytest.fixture(scope="module")
def exports(finished: dict[str, Finished]) -> dict[str, Export]:
    """Networks of every kind, with weights that all matter."""
    return {name: export(finished[t].data, topology) for name, (t, topology) in EXPORTS.items()}


def export(data: Prepared, topology: Topology) -> Export:
    variant = Variant(scaling="quantile", rare_levels="merge")
    preprocessor = Preprocessor.fit(data.rest, data.layout, variant)
    scaler = None if data.target.classes else TargetScaler.fit(data.rest_y)
    trained = network.trainable(topology, data.layout.sizes, data.outputs, dropout=False)
    start = network.initial_weights(trained, topology, 1)
    random = np.random.default_rng(2)
    for variable in trained.variables:
        shift = random.uniform(0.01, 0.2, variable.shape) / topology.depth
        variable.assign(start.get(variable.path, variable.numpy()) + shift)
    weights = {variable.path: variable.numpy() for variable in trained.variables}
    frame = unknown(data.rest)
    arrays = preprocessor.transform(frame)
    output = trained({name: getattr(arrays, name) for name in trained.input})
    expected = (
        keras.ops.softmax(output).numpy()
        if scaler is None
        else scaler.restore(output.numpy()[:, 0])
    )
    model = exported(preprocessor, topology, weights, data.outputs, scaler)
    return Export(model, frame, data, expected, scaler, preprocessor, weights)


def unknown(frame: pd.DataFrame) -> pd.DataFrame:
    """Some rows with values missing and levels and words that were never seen."""
    odd = frame.copy()
    odd.loc[:5, ["size", "head", "on"]] = np.nan
    odd.loc[3:9, ["kind", "city"]] = "never seen"
    odd.loc[6:12, ["notes", "city"]] = ""
    return odd


def assert_same(received: np.ndarray, of: Export) -> None:
    scale = of.scaler.deviation if of.scaler else 1.0
    np.testing.assert_allclose(received, of.expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", EXPORTS)
def test_the_exported_network_predicts_what_the_trained_one_does(
    name: str, exports: dict[str, Export]
) -> None:
    of = exports[name]
    assert np.ptp(of.expected, axis=0).max() > 1e-3 * np.abs(of.expected).max()
    assert_same(predictions(of.model, of.frame, of.data.features, of.data.target.classes), of)
    inner = [layer for part in of.model.layers for layer in getattr(part, "layers", [part])]
    stacks = [layer for layer in inner if isinstance(layer, Stack)]
    assert len(stacks) == (0 if name in ORDINARY else 1)


LOAD = """
import json, os, sys
import keras, numpy as np, tensorflow as tf

folder = sys.argv[1]
names = json.load(open(f"{folder}/names.json"))
for index, (name, ordinary) in enumerate(names):
    path = f"{folder}/{index}.keras"
    if not ordinary:
        assert not any(module.split(".")[0] == "objectives" for module in sys.modules)
        try:
            keras.models.load_model(path, safe_mode=True)
        except (TypeError, ValueError) as error:
            assert "Stack" in str(error), error
        else:
            raise AssertionError("A Stack was loaded without its code.")
        import objectives.stack
    model = keras.models.load_model(path, safe_mode=True)
    columns = json.load(open(f"{folder}/{index}.json"))
    rows = {name: tf.constant(values, dtype=dtype) for name, (dtype, values) in columns.items()}
    np.save(f"{folder}/{index}.npy", model(rows))
"""


def test_saved_networks_load_in_safe_mode_without_this_project_but_for_the_registered_layer(
    exports: dict[str, Export], tmp_path: Path
) -> None:
    for index, of in enumerate(exports.values()):
        (tmp_path / f"{index}.keras").write_bytes(saved(of.model))
        columns = {
            f.name: (
                "float64" if of.frame[f.name].dtype == np.float64 else "string",
                of.frame[[f.name]].to_numpy().tolist(),
            )
            for f in of.data.features
        }
        (tmp_path / f"{index}.json").write_text(json.dumps(columns))
    names = [(name, name in ORDINARY) for name in exports]
    (tmp_path / "names.json").write_text(json.dumps(names))
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, tmp_path], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for index, of in enumerate(exports.values()):
        output = np.load(tmp_path / f"{index}.npy")
        assert_same(output if of.data.target.classes else output[:, 0], of)


@pytest.mark.parametrize("name", ["one layer", "equal layers, layer norm, residual, periodic"])
def test_a_network_that_differs_from_the_trained_one_is_not_handed_over(
    name: str, exports: dict[str, Export]
) -> None:
    of, topology = exports[name], EXPORTS[name][1]
    refitted = Refitted(
        preprocessor=of.preprocessor, scaler=of.scaler, weights=of.weights, seed=0, value=0.5
    )
    given = (of.data, topology, refitted)
    finishing._check(saved(of.model), *given)
    for name, change in (("hidden_1/kernel", 0.5), ("head/bias", np.nan)):
        weight = of.weights[name].copy()
        weight.flat[0] += change
        tampered = exported(
            of.preprocessor, topology, {**of.weights, name: weight}, of.data.outputs, of.scaler
        )
        with pytest.raises(ArithmeticError, match="differs from the trained"):
            finishing._check(saved(tampered), *given)


def test_finishing_checks_what_it_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = mixed("class")
    plan, dataset = plan_of(frame, "class"), written(frame, tmp_path / "table.csv")
    real = finishing.exported

    def shifted(*given: Any) -> keras.Model:
        model = real(*given)
        bias = model.trainable_weights[-1]
        bias.assign(bias + np.linspace(0, 1, bias.shape[0]))
        return model

    monkeypatch.setattr(finishing, "exported", shifted)
    with pytest.raises(ArithmeticError, match="differs from the trained"):
        finish(finishing_of(plan, dataset))


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("class", ("network", "preprocessing", "probabilities")),
        ("class", ("stack", "hidden_1", "joined")),
        ("price", ("numeric", "dense", "codes")),
        ("price", ("values", "columns/embedded", "a b\tc")),
    ],
)
def test_columns_may_have_any_names(
    target: str, names: tuple[str, ...], finished: dict[str, Finished]
) -> None:
    data = finished[target].data
    renamed = dict(zip(("size", "kind", "city"), names, strict=True))
    features = tuple(replace(f, name=renamed.get(f.name, f.name)) for f in data.features)
    rest = data.rest.rename(columns=renamed)
    layout = type(data.layout).of(rest, features)
    named = replace(data, features=features, rest=rest, layout=layout)
    topology = Topology(depth=2, width=4, activation="relu", embedding="periodic")
    preprocessor = Preprocessor.fit(rest, layout, Variant())
    trained = network.trainable(topology, layout.sizes, data.outputs, dropout=False)
    weights = network.initial_weights(trained, topology, 0)
    scaler = None if data.target.classes else TargetScaler.fit(data.rest_y)
    model = exported(preprocessor, topology, weights, data.outputs, scaler)
    refitted = Refitted(
        preprocessor=preprocessor, scaler=scaler, weights=weights, seed=0, value=0.5
    )
    finishing._check(saved(model), named, topology, refitted)
    assert set(model.input) == {feature.name for feature in features}
