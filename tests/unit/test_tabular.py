"""The built-in objective: a point of the space, trained and scored on a table."""

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from small_tables import mixed, plan_of, point

from objectives import metrics, network, tabular
from objectives.frames import csv_bytes
from objectives.objective import Assignment, Outcome
from objectives.preprocessing import Preprocessor, TargetScaler, Variant
from objectives.space import Space
from objectives.table import ReadingError
from objectives.tabular import Prepared, objective, prepared
from objectives.training import Trainer, Training

WHOLE = {"class": "multiclass", "price": "regression"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Train as a slot does, unless TensorFlow is running already with more threads."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The mixed table with either target, as files."""
    folder = tmp_path_factory.mktemp("tables")
    return {target: written(mixed(target), folder / f"{target}.csv") for target in WHOLE}


def written(frame: pd.DataFrame, path: Path) -> Path:
    path.write_bytes(csv_bytes(frame))
    return path


def run(
    plan: dict[str, Any], dataset: Path, *, seed: int = 11, test: Path | None = None, **values: Any
) -> Outcome:
    assignment = Assignment(
        trial="t",
        parameters=point(plan, **values),
        seed=seed,
        plan=plan,
        dataset=dataset,
        test_dataset=test,
    )
    return objective(assignment, lambda step, value: True)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """What the trainer gave the objective, trial by trial."""
    kept: list[Training] = []
    train = Trainer.train

    def spy(*problem: Any, **given: Any) -> Training:
        kept.append(train(*problem, **given))
        return kept[-1]

    monkeypatch.setattr(Trainer, "train", spy)
    return kept


def predicted(
    data: Prepared, plan: dict[str, Any], parameters: dict[str, Any], folds: list[network.Weights]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Targets and predictions of each fold's validation rows, from its weights alone."""
    topology, recipe = Space.from_json(plan["space"]).decode(parameters)
    variant = Variant(scaling=recipe.scaling, rare_levels=recipe.rare_levels)  # type: ignore[arg-type]
    pairs = []
    for split, weights in zip(data.validation, folds, strict=True):
        model = network.trainable(topology, data.layout.sizes, data.outputs, dropout=False)
        network.set_weights(model, weights)
        learner = Preprocessor.fit(data.rest.iloc[split.train], data.layout, variant)
        arrays = learner.transform(data.rest.iloc[split.held_out])
        output = model({name: getattr(arrays, name) for name in model.input}).numpy()
        if data.target.classes:
            output = keras.ops.softmax(output).numpy()
        else:
            output = TargetScaler.fit(data.rest_y[split.train]).restore(output[:, 0])
        pairs.append((data.rest_y[split.held_out], output))
    return pairs


@pytest.mark.parametrize("validation", ["holdout", "cv"])
@pytest.mark.parametrize("target", WHOLE)
def test_the_score_is_that_of_the_kept_weights_on_validation_rows(
    target: str, validation: str, tables: dict[str, Path], trained: list[Training]
) -> None:
    frame = mixed(target)
    plan = plan_of(frame, target, validation=validation)
    assert plan["task"] == WHOLE[target]
    outcome = run(plan, tables[target], depth=2, width=8, normalisation="batch")
    data = prepared(plan, tables[target], None)
    parameters = point(plan, depth=2, width=8, normalisation="batch")
    pairs = predicted(data, plan, parameters, trained[0].weights)
    assert len(pairs) == (5 if validation == "cv" else 1)
    score, loss = (
        (metrics.accuracy, metrics.log_loss) if target == "class" else (metrics.rmse, metrics.rmse)
    )
    assert outcome.value == pytest.approx(np.mean([score(*pair) for pair in pairs]), rel=1e-4)
    expected = np.mean([loss(*pair) for pair in pairs])
    assert outcome.metrics["loss"] == pytest.approx(expected, rel=1e-4)


def test_an_outcome_says_what_was_trained_and_how_it_went(
    tables: dict[str, Path], trained: list[Training]
) -> None:
    plan = plan_of(mixed(), epochs=4)
    shape = {"depth": 3, "width": 8, "residual": True, "embedding": "periodic"}
    outcome = run(plan, tables["class"], activation="relu", **shape)
    said = outcome.attributes
    assert json.loads(json.dumps(said)) == said
    assert said["topology"] == "3 × 8 relu, residual, periodic"
    assert said["depth"] == 3
    assert len(said["curve"]) == len(said["losses"]) == said["epochs"] == 4
    assert outcome.value == said["curve"][said["best_epoch"] - 1] == max(said["curve"])
    assert outcome.metrics["loss"] == said["losses"][said["best_epoch"] - 1]
    assert said["seconds"] > 0
    (weights,) = trained[0].weights
    learned = {n: w for n, w in weights.items() if "moving" not in n}
    assert said["weights"] == sum(w.size for w in learned.values())
    model = network.trainable(
        *(Space.from_json(plan["space"]).decode(point(plan, **shape))[:1]),
        prepared(plan, tables["class"], None).layout.sizes,
        3,
        dropout=True,
    )
    assert said["weights"] == sum(math.prod(v.shape) for v in model.trainable_variables)


def test_a_trial_repeats_from_its_seed(tables: dict[str, Path], trained: list[Training]) -> None:
    plan = plan_of(mixed())
    first, again, _ = (run(plan, tables["class"], seed=seed) for seed in (1, 1, 2))
    assert (first.value, first.metrics) == (again.value, again.metrics)
    (once,), (twice,), (other,) = (training.weights for training in trained)
    assert all(np.array_equal(once[name], twice[name]) for name in once)
    assert not all(np.array_equal(once[name], other[name]) for name in once)


def test_reports_reach_the_trial_and_their_answer_ends_it(tables: dict[str, Path]) -> None:
    plan = plan_of(mixed(), epochs=9)
    seen: list[int] = []

    def report(step: int, value: float) -> bool:
        seen.append(step)
        return step < 3

    given = Assignment(
        trial="t", parameters=point(plan), seed=0, plan=plan, dataset=tables["class"]
    )
    outcome = objective(given, report)
    assert seen == [1, 2, 3]
    assert outcome.attributes["epochs"] == 3


def test_a_variant_changes_the_arrays_and_not_their_shapes(tables: dict[str, Path]) -> None:
    plan = plan_of(mixed(), validation="cv")
    data = prepared(plan, tables["class"], None)
    space = Space.from_json(plan["space"])
    recipe = space.decode(point(plan, scaling="standard", rare_levels="keep"))[1]
    robust = data.folds(replace(recipe, scaling="robust", rare_levels="keep"))
    merged = data.folds(replace(recipe, scaling="standard", rare_levels="merge"))
    plain = data.folds(recipe)
    assert len(plain) == 5
    for one in (robust, merged):
        for (ours, _), (theirs, _) in zip(one, plain, strict=True):
            assert {n: t.shape for n, t in ours.tensors.items()} == {
                n: t.shape for n, t in theirs.tensors.items()
            }
    assert not np.allclose(robust[0][0].tensors["numeric"], plain[0][0].tensors["numeric"])
    assert (merged[0][0].tensors["codes"].numpy() != plain[0][0].tensors["codes"].numpy()).any()
    assert plain[0][0].tensors is data.folds(recipe)[0][0].tensors  # Kept.


def test_balanced_class_weights_give_each_class_one_share_of_the_training_rows(
    tmp_path: Path,
) -> None:
    frame = mixed()
    frame.loc[:85, "class"] = "low"
    plan = plan_of(frame)
    data = prepared(plan, written(frame, tmp_path / "t.csv"), None)
    recipe = Space.from_json(plan["space"]).decode(point(plan, class_weights="balanced"))[1]
    ((fold, _),) = data.folds(recipe)
    weights, y = fold.sample_weights.numpy()[fold.train], data.rest_y[fold.train]
    assert weights.mean() == pytest.approx(1)
    totals = [weights[y == code].sum() for code in range(3)]
    np.testing.assert_allclose(totals, len(y) / 3, rtol=1e-5)
    ((fold, _),) = data.folds(replace(recipe, class_weights="none"))
    assert (fold.sample_weights.numpy() == 1).all()


def test_networks_compared_by_absolute_errors_learn_the_median(
    tmp_path: Path, trained: list[Training]
) -> None:
    random = np.random.default_rng(0)
    price = np.exp(1.5 * random.normal(size=400))  # Its mean is three times its median.
    frame = pd.DataFrame({"size": random.normal(size=400), "price": price.round(4)})
    path = written(frame, tmp_path / "table.csv")
    predictions = {}
    for metric in ("mae", "rmse"):
        plan = plan_of(frame, "price", metric=metric, epochs=15)
        values = {"learning_rate": 0.02, "depth": 1, "width": 8}
        run(plan, path, **values)
        data, weights = prepared(plan, path, None), trained[-1].weights
        ((y, output),) = predicted(data, plan, point(plan, **values), weights)
        predictions[metric] = float(np.mean(output))
    assert predictions["mae"] < 0.7 * predictions["rmse"]
    assert predictions["mae"] == pytest.approx(np.median(y), rel=0.5)


def test_a_regression_target_is_scaled_by_training_rows_only(tables: dict[str, Path]) -> None:
    plan = plan_of(mixed("price"), "price")
    data = prepared(plan, tables["price"], None)
    recipe = Space.from_json(plan["space"]).decode(point(plan))[1]
    ((fold, scaler),) = data.folds(recipe)
    assert scaler is not None
    trained = data.rest_y[fold.train]
    assert (scaler.mean, scaler.deviation) == (trained.mean(), trained.std())
    assert fold.target.numpy()[fold.train].mean() == pytest.approx(0, abs=1e-5)
    assert fold.target.numpy()[fold.train].std() == pytest.approx(1, rel=1e-5)


def rows_of(data: Prepared) -> dict[str, int]:
    valid = len(data.validation[0].held_out)
    train, test = len(data.rest) - valid, len(data.test)
    return {"train": train, "validation": valid, "test": test, "dropped": data.dropped}


def test_rows_are_split_into_training_validation_and_test(tables: dict[str, Path]) -> None:
    holdout = prepared(plan_of(mixed()), tables["class"], None)
    assert rows_of(holdout) == {"train": 77, "validation": 19, "test": 24, "dropped": 0}
    folds = prepared(plan_of(mixed(), validation="cv"), tables["class"], None)
    assert rows_of(folds) == {"train": 76, "validation": 20, "test": 24, "dropped": 0}
    for split in folds.validation:
        assert not set(split.train) & set(split.held_out)
        assert len(split.train) + len(split.held_out) == len(folds.rest) == 96


def test_a_test_file_gives_the_test_rows_and_all_others_train(tmp_path: Path) -> None:
    frame, other = mixed(), mixed(rows=150, seed=9)
    other.loc[0, "class"] = ""
    dataset, test = written(frame, tmp_path / "a.csv"), written(other, tmp_path / "b.csv")
    test.write_bytes(test.read_bytes() + b"one,ragged,row\n")
    data = prepared(plan_of(frame), dataset, test)
    assert rows_of(data) == {"train": 96, "validation": 24, "test": 149, "dropped": 2}
    np.testing.assert_allclose(data.rest["size"], frame["size"])
    np.testing.assert_allclose(data.test["size"], other["size"][1:])
    assert [data.target.classes[code] for code in data.test_y] == list(other["class"][1:])


def test_a_class_of_the_test_file_that_no_row_trains_is_refused(tmp_path: Path) -> None:
    frame, other = mixed(), mixed(seed=9)
    other.loc[5, "class"] = "unheard of"
    dataset, test = written(frame, tmp_path / "a.csv"), written(other, tmp_path / "b.csv")
    with pytest.raises(ReadingError, match="unheard of"):
        prepared(plan_of(frame), dataset, test)


def test_dropped_columns_reach_no_network(tables: dict[str, Path]) -> None:
    plan = plan_of(mixed(), drop=["city", "when"])
    data = prepared(plan, tables["class"], None)
    assert {f.column for f in data.features} == {
        "size", "rate km/h", "head", "on", "kind", "notes",
    }  # fmt: skip
    assert data.layout.sizes.codes == ()


def test_a_class_that_some_folds_lack_is_no_obstacle(tmp_path: Path) -> None:
    frame = mixed()
    frame.loc[0, "class"] = "rare"  # One row, in one fold: there it validates only.
    dataset = written(frame, tmp_path / "t.csv")
    plan = plan_of(frame, validation="cv", epochs=2)
    data = prepared(plan, dataset, None)
    assert data.target.classes[3] == "rare"
    assert any(3 not in data.rest_y[split.held_out] for split in data.validation)
    assert any(3 not in data.rest_y[split.train] for split in data.validation)
    for weights in ("none", "balanced"):
        outcome = run(plan, dataset, class_weights=weights)
        assert 0 <= outcome.value <= 1
        assert math.isfinite(outcome.metrics["loss"])


def test_a_table_is_read_once_for_all_trials_of_a_study(tables: dict[str, Path]) -> None:
    plan = plan_of(mixed())
    assert prepared(plan, tables["class"], None) is prepared(dict(plan), tables["class"], None)


@pytest.mark.parametrize("target", WHOLE)
def test_a_table_is_read_once_for_all_slots_of_a_machine(
    target: str, tables: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = mixed(target)
    plan = plan_of(frame, target, validation="cv")
    alone = prepared(plan, tables[target], None)
    first = prepared(plan, tables[target], None, shared=tmp_path)
    tabular._prepared.cache_clear()  # As in another process.
    monkeypatch.setattr(tabular, "apply_reading", None)
    again = prepared(plan, tables[target], None, shared=tmp_path)
    recipe = Space.from_json(plan["space"]).decode(point(plan))[1]
    of_first = first.folds(recipe)
    monkeypatch.setattr(tabular, "fitted", None)
    for one, folds in ((first, of_first), (again, again.folds(recipe))):
        pd.testing.assert_frame_equal(one.rest, alone.rest)
        pd.testing.assert_frame_equal(one.test, alone.test)
        np.testing.assert_array_equal(one.test_y, alone.test_y)
        assert (one.layout, one.features) == (alone.layout, alone.features)
        assert rows_of(one) == rows_of(alone)
        monkeypatch.undo()
        for (fold, _), (expected, _) in zip(folds, alone.folds(recipe), strict=True):
            for name, tensor in expected.tensors.items():
                np.testing.assert_array_equal(fold.tensors[name], tensor)
            np.testing.assert_array_equal(fold.target, expected.target)


def test_the_tabular_objective_needs_a_dataset() -> None:
    with pytest.raises(ValueError, match="dataset"):
        prepared({}, None, None)
