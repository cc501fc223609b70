"""Training is plain Keras, epoch by epoch, with one compiled epoch for many recipes."""

import hashlib
import json
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from drawn_spaces import points as of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from objectives import network, training
from objectives.adamw import learning_rate
from objectives.defaults import TableFacts
from objectives.metrics import default_metric
from objectives.named_spaces import named_space
from objectives.objective import Diverged
from objectives.preprocessing import Arrays, Sizes
from objectives.program import Fold, Program
from objectives.sizes import count_weights
from objectives.stack import EPSILON, MOMENTUM, UNROLLED
from objectives.topology import ACTIVATIONS, Recipe, Topology
from objectives.training import Problem, Trainer, Training, resident

SIZES = Sizes(numeric=3, dense=2, codes=(40,))
ROWS, BATCH, CLASSES = 48, 16, 3
TOPOLOGY = Topology(depth=2, width=6, activation="silu")
RECIPE = Recipe(learning_rate=0.01, weight_decay=0.01, dropout=0.0, batch_size=BATCH, epochs=10)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Train as a slot does, unless TensorFlow is running already with more threads."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    """One trainer for this file: most tests train the same topology."""
    yield Trainer(kept=6)


def fold(
    outputs: int = CLASSES, rows: int = ROWS, valid: Sequence[int] | None = None, seed: int = 0
) -> Fold:
    """Rows with something to learn; the last quarter validates, where not said otherwise."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(rows, SIZES.numeric)).astype(np.float32)
    dense = random.integers(0, 2, (rows, SIZES.dense)).astype(np.float32)
    codes = random.integers(0, SIZES.codes[0], (rows, 1)).astype(np.int32)
    signal = numeric.sum(axis=1) + dense.sum(axis=1) - 1 + 0.3 * random.normal(size=rows)
    target: np.ndarray = (signal / signal.std()).astype(np.float32)
    if outputs > 1:
        edges = np.quantile(signal, np.arange(1, outputs) / outputs)
        target = np.digitize(signal, edges).astype(np.int32)
    scored = np.arange(rows * 3 // 4, rows) if valid is None else np.array(valid, int)
    return Fold(
        tensors=resident(Arrays(numeric=numeric, dense=dense, codes=codes)),
        target=tf.constant(target),
        sample_weights=tf.ones(rows),
        train=np.setdiff1d(np.arange(rows), scored).astype(np.int32),
        valid=scored.astype(np.int32),
    )


def scores(folds: Sequence[Fold]) -> training.Evaluate:
    """Accuracy and cross-entropy, or the mean squared error twice."""

    def evaluate(index: int, outputs: np.ndarray) -> tuple[float, float]:
        y = folds[index].target.numpy()[folds[index].valid]
        if outputs.ndim == 1:
            error = float(np.mean((outputs - y) ** 2))
            return -error, error
        hit = outputs[np.arange(len(y)), y]
        return float(np.mean(outputs.argmax(axis=1) == y)), float(-np.log(hit + 1e-7).mean())

    return evaluate


def scripted(values: Sequence[float], losses: Sequence[float] | None = None) -> training.Evaluate:
    """Scores by epoch, whatever is learned; the last is repeated."""
    calls = iter(zip(values, losses or [0.0] * len(values), strict=True))
    last = (values[-1], losses[-1] if losses else 0.0)
    return lambda index, outputs: next(calls, last)


def train(
    trainer: Trainer,
    folds: Sequence[Fold] | None = None,
    *,
    topology: Topology = TOPOLOGY,
    recipe: Recipe = RECIPE,
    sizes: Sizes = SIZES,
    outputs: int = CLASSES,
    **changed: Any,
) -> Training:
    folds = [fold()] if folds is None else folds
    problem = Problem(sizes=sizes, outputs=outputs, folds=folds)
    given: dict[str, Any] = {"evaluate": scores(folds), "maximize": True, "seed": 7}
    return trainer.train(topology, recipe, problem, **{**given, **changed})


def fingerprint(of: Training) -> str:
    """All weights, values and losses, to the last bit."""
    parts = [np.array([of.values, of.losses]).tobytes()]
    parts += [w[name].tobytes() for w in of.weights for name in sorted(w)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def programs(of: Trainer) -> list[Program]:
    return list(of._programs.values())


def traces(of: Trainer) -> list[int]:
    return [program._epoch.experimental_get_tracing_count() for program in programs(of)]


class TestPlainKeras:
    """The same initial weights and batches give the losses of a model written in plain Keras."""

    STEPS, RATE, DECAY = 30, 0.01, 0.05
    CASES: dict[str, tuple[Topology, int, float]] = {
        "classes": (Topology(depth=3, width=8, activation="gelu"), CLASSES, 0.0),
        "classes, smoothed": (Topology(depth=1, width=8, activation="relu"), CLASSES, 0.15),
        "regression": (Topology(depth=2, width=(8, 6), activation="tanh"), 1, 0.0),
        "batch norm, residual": (
            Topology(depth=4, width=8, activation="silu", normalisation="batch", residual=True),
            CLASSES,
            0.1,
        ),
        "layer norm, periodic": (
            Topology(
                depth=2,
                width=8,
                activation="selu",
                normalisation="layer",
                residual=True,
                embedding="periodic",
            ),
            1,
            0.0,
        ),
        "deep": (
            Topology(depth=UNROLLED + 2, width=4, activation="mish", residual=True),
            CLASSES,
            0.0,
        ),
    }

    @staticmethod
    def model(topology: Topology, outputs: int) -> keras.Model:
        inputs = {
            "numeric": keras.Input((SIZES.numeric,), name="numeric"),
            "dense": keras.Input((SIZES.dense,), name="dense"),
            "codes": keras.Input((1,), name="codes", dtype="int32"),
        }
        numeric = inputs["numeric"]
        if topology.embedding == "periodic":
            column = keras.layers.Reshape((SIZES.numeric, 1))(numeric)
            waves = keras.layers.EinsumDense(
                "bfi,fik->bfk", (SIZES.numeric, 16), bias_axes="fk", name="frequencies"
            )(column)
            mixed = keras.layers.EinsumDense(
                "bfk,fkd->bfd", (SIZES.numeric, 7), bias_axes="fd", name="mixed"
            )(keras.ops.cos(waves))
            numeric = keras.layers.Flatten()(keras.layers.Concatenate()([column, mixed]))
        levels = keras.layers.Embedding(SIZES.codes[0], 13, name="levels_0")(inputs["codes"])
        hidden = keras.layers.Concatenate()(
            [numeric, inputs["dense"], keras.layers.Flatten()(levels)]
        )
        for index in range(topology.depth):
            before = hidden
            hidden = keras.layers.Dense(topology.widths[index], name=f"hidden_{index + 1}")(hidden)
            if topology.normalisation == "batch":
                hidden = keras.layers.BatchNormalization(
                    momentum=MOMENTUM, epsilon=EPSILON, name=f"norm_{index + 1}"
                )(hidden)
            elif topology.normalisation == "layer":
                hidden = keras.layers.LayerNormalization(epsilon=EPSILON, name=f"norm_{index + 1}")(
                    hidden
                )
            hidden = keras.layers.Activation(topology.activations[index])(hidden)
            if topology.residual and index > 0:
                hidden = keras.layers.Add()([before, hidden])
        return keras.Model(inputs, keras.layers.Dense(outputs, name="head")(hidden))

    @classmethod
    def plain_losses(
        cls, model: keras.Model, outputs: int, smoothing: float, data: Fold, batches: np.ndarray
    ) -> list[float]:
        """Losses of a step each, by AdamW with decay of kernels only and the schedule."""
        total = cls.STEPS

        @keras.saving.register_keras_serializable("test")
        class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
            def __call__(self, step: Any) -> Any:  # Keras counts from 0.
                step = keras.ops.cast(step, "float32") + 1.0
                warm = max(1, math.floor(0.05 * total))
                fall = 0.5 * (1 + keras.ops.cos(math.pi * (step - warm) / (total - warm + 1)))
                return cls.RATE * keras.ops.where(step < warm, step / warm, fall)

            def get_config(self) -> dict[str, Any]:
                return {}

        optimizer = keras.optimizers.AdamW(Schedule(), weight_decay=cls.DECAY, beta_2=0.95)
        optimizer.exclude_from_weight_decay(
            [v for v in model.trainable_variables if not v.path.endswith("kernel")]
        )
        if outputs == 1:
            loss: keras.losses.Loss = keras.losses.MeanSquaredError()
            target = data.target.numpy()[:, None]
        else:
            loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
            target = np.eye(outputs, dtype=np.float32)[data.target.numpy()]

        @tf.function
        def step(rows: tf.Tensor) -> tf.Tensor:
            batch = {name: tf.gather(tensor, rows) for name, tensor in data.tensors.items()}
            weights = tf.gather(data.sample_weights, rows)
            with tf.GradientTape() as tape:
                value = loss(tf.gather(target, rows), model(batch, training=True), weights)
            # Dense, as Keras squares the parts of a level's sparse gradient before it sums them.
            gradients = map(tf.convert_to_tensor, tape.gradient(value, model.trainable_variables))
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return value

        optimizer.build(model.trainable_variables)
        return [float(step(tf.constant(rows))) for rows in batches]

    @pytest.mark.parametrize(
        ("case", "compiled"),
        [
            *((case, False) for case in list(CASES)[:-1]),
            *((case, True) for case in ("regression", "batch norm, residual", "deep")),
        ],
    )
    def test_losses_agree_over_thirty_steps(self, case: str, compiled: bool) -> None:
        topology, outputs, smoothing = self.CASES[case]
        weights = np.random.default_rng(2).choice([0.5, 1.5], ROWS)  # As class weights do.
        data = replace(fold(outputs), sample_weights=tf.constant(weights, tf.float32))
        recipe = replace(
            RECIPE,
            learning_rate=self.RATE,
            weight_decay=self.DECAY,
            label_smoothing=smoothing,
        )
        program = Program(topology, SIZES, outputs, dropout=False, compiled=compiled)
        state = program.start(topology, recipe, 3)
        batches = np.random.default_rng(4).integers(0, ROWS, (self.STEPS, BATCH)).astype(np.int32)

        model = self.model(topology, outputs)
        network.set_weights(model, program.named(state))
        theirs = self.plain_losses(model, outputs, smoothing, data, batches)

        rates = tf.constant([self.RATE, self.DECAY, smoothing, self.STEPS])
        first, ours = state, []
        for rows in batches:
            state, loss, _ = program.epoch(state, data, tf.constant(rows[None]), rates, None)
            ours.append(float(loss))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert max(theirs) > 1.2 * min(theirs)  # Something was learned.

        if compiled:  # The rest is the same at the cost of another compilation.
            return
        everything = tf.range(ROWS)[None]
        _, mean, predicted = program.epoch(first, data, tf.constant(batches), rates, everything)
        assert float(mean) == pytest.approx(np.mean(theirs), rel=1e-5)
        assert predicted is not None
        outputs_then = model(data.tensors, training=False)
        expected = outputs_then[:, 0] if outputs == 1 else tf.nn.softmax(outputs_then)
        # The gradient of a bias before batch norm is rounding alone, which AdamW makes a step of.
        loose = 10 if topology.normalisation == "batch" else 1
        np.testing.assert_allclose(predicted, expected, rtol=2e-3 * loose, atol=3e-4 * loose)


def test_the_schedule_rises_over_a_twentieth_of_the_steps_and_falls_towards_zero() -> None:
    rates = [float(learning_rate(tf.constant(float(k)), 2.0, 200.0)) for k in range(1, 201)]
    np.testing.assert_allclose(rates[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
    assert rates[104] == pytest.approx(1.0, abs=0.01)  # Half way down.
    assert np.all(np.diff(rates[9:]) < 0)
    assert 0 < rates[-1] < 0.001
    assert float(learning_rate(tf.constant(1.0), 2.0, 1.0)) == 2.0


def test_no_step_of_a_short_schedule_is_for_nothing() -> None:
    rates = [float(learning_rate(tf.constant(k), 2.0, 2.0)) for k in (1.0, 2.0)]
    assert rates == pytest.approx([2.0, 1.0])


# Named spaces, bounded so that a network trains within a second.

LIMITS = {"width": "1:12", "learning_rate": "0.0001:0.03", "batch_size": "1:64"}


@st.composite
def points(draw: st.DrawFn) -> tuple[Topology, Recipe, int]:
    name = draw(st.sampled_from(["mlp", "layers", "depth"]))
    task = draw(st.sampled_from(["binary", "multiclass", "regression"]))
    classes = {"binary": 2, "multiclass": 5, "regression": 0}[task]
    facts = TableFacts(
        task=task,
        rows=ROWS,
        numeric=3,
        categorical=2,
        inputs=6,
        classes=classes,
        metric=default_metric(task).name,
    )
    deepest = draw(st.sampled_from([6, 40]))
    if name == "layers":
        deepest = 6
    limits = {"depth": f"1:{deepest}"} | ({} if name == "depth" else LIMITS)
    space = named_space(name, limits=limits, facts=facts, epochs=1)
    topology, recipe = space.decode(draw(of(space)))
    return topology, recipe, classes or 1


@settings(deadline=None, max_examples=8, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(points())
def test_every_point_of_every_space_builds_and_trains(
    point: tuple[Topology, Recipe, int],
) -> None:
    topology, recipe, outputs = point
    data = fold(outputs)
    shapes = []

    def evaluate(index: int, scored: np.ndarray) -> tuple[float, float]:
        shapes.append(scored.shape)
        assert np.isfinite(scored).all()
        if outputs > 1:
            np.testing.assert_allclose(scored.sum(axis=1), 1, rtol=1e-4)
        return 0.0, 0.0

    given = {"topology": topology, "recipe": recipe, "outputs": outputs}
    after = train(Trainer(), [data], evaluate=evaluate, **given)
    rows = len(data.valid)
    assert shapes == [(rows,) if outputs == 1 else (rows, outputs)]
    assert len(after.values) == after.best_epoch == 1
    hidden = [w.shape[-1] for n, w in network.unstacked(after.weights[0]).items()
              if n.startswith("hidden_") and n.endswith("kernel")]  # fmt: skip
    assert hidden == list(topology.widths)


@pytest.mark.parametrize("depth", [1, 1000])
def test_the_shallowest_and_the_deepest_network_train_an_epoch(depth: int) -> None:
    topology = Topology(depth=depth, width=4, activation="relu", residual=True)
    after = train(Trainer(), topology=topology, recipe=replace(RECIPE, epochs=1))
    assert math.isfinite(after.losses[0])
    before = network.initial_weights(
        network.trainable(topology, SIZES, CLASSES, dropout=False), topology, 0
    )
    assert after.weights[0].keys() == before.keys()
    if depth == 1000:
        kernels = after.weights[0]["stack/kernel"]
        assert kernels.shape == (999, 4, 4)


def test_deep_networks_share_one_compiled_epoch_and_train_as_if_it_were_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = Topology(depth=20, width=4, activation="tanh", normalisation="batch", residual=True)
    recipe = replace(RECIPE, dropout=0.1, epochs=2)
    shared = Trainer()
    ours, deeper = (
        train(shared, topology=replace(deep, depth=depth), recipe=recipe) for depth in (20, 33)
    )
    assert traces(shared) == [1]
    assert deeper.weights[0]["stack/kernel"].shape == (32, 4, 4)
    model = network.trainable(deep, SIZES, CLASSES, dropout=False)
    network.set_weights(model, ours.weights[0])  # As finishing does.
    wide = replace(deep, width=64, normalisation="none")
    assert network.padded(wide).depth == network.padded(replace(wide, depth=33)).depth == 33
    monkeypatch.setattr(network, "padded", lambda topology: topology)
    own = train(Trainer(), topology=deep, recipe=recipe)
    np.testing.assert_allclose(ours.losses, own.losses, rtol=1e-5)
    for name, value in own.weights[0].items():
        np.testing.assert_allclose(ours.weights[0][name], value, rtol=1e-3, atol=1e-5)


# Dropout and other rates


@pytest.mark.parametrize("outputs", [1, CLASSES])
@pytest.mark.parametrize(
    "topology",
    [
        TOPOLOGY,
        replace(TOPOLOGY, embedding="periodic"),
        replace(TOPOLOGY, normalisation="layer", residual=True),
        Topology(depth=30, width=6, activation="relu", normalisation="batch", residual=True),
        Topology(depth=3, width=(8, 5, 6), activation=("relu", "tanh", "mish")),
        Topology(
            depth=2, width=(8, 5), activation="relu", normalisation="batch", embedding="periodic"
        ),
    ],
    ids=str,
)
def test_weights_are_reckoned_as_they_are_counted_after_training(
    topology: Topology, outputs: int, trainer: Trainer
) -> None:
    problem = Problem(sizes=SIZES, outputs=outputs, folds=[fold(outputs)])
    (weights,) = trainer.fit(topology, replace(RECIPE, epochs=1), problem, seed=0)
    counted = sum(w.size for name, w in weights.items() if "/moving_" not in name)
    assert count_weights(topology, SIZES, outputs) == counted


def test_other_rates_and_seeds_do_not_trace_again() -> None:
    trainer = Trainer()
    recipe = replace(RECIPE, dropout=0.1, epochs=2)
    trained = [train(trainer, recipe=recipe)]
    (program,) = programs(trainer)
    for change in (
        {"learning_rate": 0.001},
        {"weight_decay": 1.0},
        {"label_smoothing": 0.4},
        {"dropout": 0.7},
        {"dropout": (0.0, 0.5)},
        {"epochs": 3},
    ):
        trained.append(train(trainer, recipe=replace(recipe, **change)))
    trained.append(train(trainer, recipe=recipe, seed=8))
    assert programs(trainer) == [program]
    assert traces(trainer) == [1]
    assert len({fingerprint(one) for one in trained}) == len(trained)  # Each rate has an effect.


def test_folds_that_differ_by_a_row_share_one_trace() -> None:
    trainer = Trainer()
    folds = [fold(valid=range(0, 10)), fold(valid=range(10, 19)), fold(valid=range(19, 28))]
    seen: dict[int, int] = {}

    def evaluate(index: int, outputs: np.ndarray) -> tuple[float, float]:
        seen[index] = len(outputs)
        return 0.0, 0.0

    train(trainer, folds, recipe=replace(RECIPE, epochs=1), evaluate=evaluate)
    assert traces(trainer) == [1]
    assert seen == {0: 10, 1: 9, 2: 9}


def test_hidden_layers_drop_units_independently_of_each_other_and_by_the_seed() -> None:
    sizes = Sizes(numeric=32, dense=0, codes=())
    equal = Topology(depth=3, width=32, activation="relu")
    unequal = Topology(depth=3, width=32, activation=("relu", "relu", "gelu"))
    ones = {"numeric": tf.ones((200, 32))}
    for topology, depth in ((equal, 3), (unequal, 2)):
        program = Program(topology, sizes, 32, dropout=True, compiled=False)
        rates = (0.5, 0.5, 0.5 if depth == 3 else 0.0)
        masks = []
        for seed in (1, 2):
            state = program.start(topology, replace(RECIPE, dropout=rates), seed)
            eyes = [
                np.broadcast_to(np.eye(32), shape) if shape[-2:] == (32, 32) else np.zeros(shape)
                for shape in program.shapes
            ]  # Every layer hands on what it is given.
            flat = tf.constant(np.concatenate([part.ravel() for part in eyes]), tf.float32)
            outputs, _ = program._forward(flat, state.other, ones, training=True)
            masks.append(outputs.numpy() != 0)
            inference, _ = program._forward(flat, state.other, ones, training=False)
            assert (inference.numpy() > 0.5).all()
            assert np.mean(masks[-1]) == pytest.approx(0.5**depth, abs=0.03)
        assert np.mean(masks[0] & masks[1]) == pytest.approx(0.25**depth, abs=0.03)


def test_programs_are_kept_and_the_least_recently_used_is_dropped() -> None:
    trainer = Trainer(kept=2)
    recipe = replace(RECIPE, epochs=1)
    kinds = [Topology(depth=1, width=width, activation="relu") for width in (2, 3, 4)]
    for kind in (kinds[0], kinds[1], kinds[0], kinds[2]):
        train(trainer, topology=kind, recipe=recipe)
    assert [program.topology for program in programs(trainer)] == [kinds[0], kinds[2]]
    assert traces(trainer) == [1, 1]


@pytest.mark.parametrize(("own", "kept"), [(training.ROOMY - 1, 3), (training.ROOMY, 2)])
def test_fewer_programs_are_kept_where_a_slot_has_much_memory_of_its_own(
    own: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "own_memory", lambda: own)
    monkeypatch.setattr(training, "LEAST_KEPT", 2)
    trainer, recipe = Trainer(kept=3), replace(RECIPE, epochs=1)
    kinds = [Topology(depth=1, width=width, activation="relu") for width in (2, 3, 4, 5)]
    for kind in kinds:
        train(trainer, topology=kind, recipe=recipe)
    assert [program.topology for program in programs(trainer)] == kinds[-kept:]


def test_the_memory_of_programs_that_were_dropped_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear, cleared = keras.utils.clear_session, []

    def counted(*, free_memory: bool) -> None:  # It is what forgets TensorFlow's kernels.
        cleared.append(free_memory)
        clear(free_memory=free_memory)

    monkeypatch.setattr(keras.utils, "clear_session", counted)
    policy = keras.config.dtype_policy()
    trainer, alive = Trainer(kept=1), weakref.WeakSet[Program]()
    for width in range(8, 8 + 2 * training.DROPPED + 1):
        topology = Topology(depth=1, width=width, activation="relu")
        train(trainer, topology=topology, recipe=replace(RECIPE, epochs=1))
        alive.update(programs(trainer))
    assert len(alive) <= 1 + training.DROPPED
    assert cleared == [True, True]
    assert keras.config.dtype_policy() is policy


@pytest.mark.parametrize("activation", [ACTIVATIONS, "silu"], ids=["layers", "stack"])
def test_no_graph_outlives_its_program(activation: Any) -> None:
    topology = Topology(depth=6, width=4, activation=activation, normalisation="batch")
    trainer = Trainer()
    train(trainer, topology=topology, recipe=replace(RECIPE, epochs=1))
    [program] = programs(trainer)
    graphs = [weakref.ref(traced.graph) for traced in program._traced.values()]
    assert graphs[0]() is not None
    del trainer, program
    keras.utils.clear_session()
    assert [graph() for graph in graphs] == [None]


# Early stopping, reports, divergence


def test_the_best_epochs_weights_are_kept_and_predict_its_score_again(trainer: Trainer) -> None:
    data = fold()
    after = train(trainer, recipe=replace(RECIPE, learning_rate=0.05, epochs=30))
    assert 1 < after.best_epoch < len(after.values)  # It got worse again.
    best = after.best_epoch - 1
    ranks = [(v, -loss) for v, loss in zip(after.values, after.losses, strict=True)]
    assert max(ranks) == ranks[best] and ranks.index(ranks[best]) == best
    model = network.trainable(TOPOLOGY, SIZES, CLASSES, dropout=False)
    network.set_weights(model, after.weights[0])
    batch = {name: tf.gather(tensor, data.valid) for name, tensor in data.tensors.items()}
    outputs = keras.ops.softmax(model(batch)).numpy()
    value, loss = scores([data])(0, outputs)
    assert value == after.values[best]
    assert loss == pytest.approx(after.losses[best], rel=1e-5)


@pytest.mark.parametrize(
    ("values", "losses", "maximize", "best"),
    [
        ([0.5, 0.7, 0.6, 0.6], None, True, 2),
        ([0.5, 0.3, 0.6, 0.6], None, False, 2),
        ([0.5, 0.7, 0.7, 0.7], [3.0, 2.0, 1.0, 1.5], True, 3),  # Ties go to the lower loss,
        ([0.5, 0.3, 0.3, 0.3], [3.0, 2.0, 1.0, 1.5], False, 3),
        ([0.5, 0.7, 0.7, 0.7], [3.0, 2.0, 2.0, 2.0], True, 2),  # and then to the earlier epoch.
    ],
)
def test_the_best_epoch_is_that_of_the_metric_then_of_the_loss(
    values: list[float],
    losses: list[float] | None,
    maximize: bool,
    best: int,
    trainer: Trainer,
) -> None:
    given = {"recipe": replace(RECIPE, epochs=4), "maximize": maximize}
    after = train(trainer, evaluate=scripted(values, losses), **given)
    assert after.best_epoch == best
    assert after.values == values

    def stop_there(step: int, value: float) -> bool:
        return step < best

    stopped = train(trainer, evaluate=scripted(values, losses), report=stop_there, **given)
    assert len(stopped.values) == best
    for name, weight in stopped.weights[0].items():
        np.testing.assert_array_equal(weight, after.weights[0][name])


@pytest.mark.parametrize(("epochs", "patience"), [(40, 10), (80, 16)])
def test_training_ends_where_a_fifth_of_the_epochs_and_at_least_ten_bring_nothing(
    epochs: int, patience: int, trainer: Trainer
) -> None:
    recipe = replace(RECIPE, epochs=epochs)
    after = train(trainer, recipe=recipe, evaluate=scripted([0.1, 0.2, 0.3, 0.2]))
    assert (after.best_epoch, len(after.values)) == (3, 3 + patience)
    impatient = train(trainer, recipe=recipe, evaluate=scripted([0.1, 0.2, 0.1]), patience=4)
    assert (impatient.best_epoch, len(impatient.values)) == (2, 6)


def test_every_epoch_reports_the_best_value_so_far(trainer: Trainer) -> None:
    seen: list[tuple[int, float]] = []

    def report(step: int, value: float) -> bool:
        seen.append((step, value))
        return True

    values = [0.1, 0.9, 0.2, 0.3]
    after = train(
        trainer,
        recipe=replace(RECIPE, epochs=4),
        evaluate=scripted(values),
        report=report,
    )
    assert seen == [(1, 0.1), (2, 0.9), (3, 0.9), (4, 0.9)]
    assert len(after.values) == 4


def test_training_stops_where_the_report_says_so(trainer: Trainer) -> None:
    after = train(trainer, report=lambda step, value: step < 3)
    assert len(after.values) == 3


@pytest.mark.parametrize("outputs", [CLASSES, 1])
def test_a_loss_that_is_not_finite_is_a_divergence(outputs: int) -> None:
    data = [fold(outputs)]
    recipe = replace(RECIPE, learning_rate=1e30, epochs=3)
    unscored = [replace(data[0], valid=data[0].valid[:0])]
    for folds in (data, unscored):  # As in a trial, and as in a refit.
        with pytest.raises(Diverged, match="training loss is not finite"):
            train(Trainer(), folds, recipe=recipe, outputs=outputs)


def test_a_validation_loss_that_is_not_finite_is_a_divergence_too(trainer: Trainer) -> None:
    with pytest.raises(Diverged, match="validation"):
        train(trainer, evaluate=scripted([0.5, 0.9], [1.0, math.nan]))


# Folds, rows and seeds


def test_folds_train_in_lockstep_and_their_mean_counts(trainer: Trainer) -> None:
    folds = [fold(valid=range(12)), fold(valid=range(12, 24)), fold(valid=range(24, 36))]
    seen: list[tuple[int, tuple[float, float]]] = []

    def evaluate(index: int, outputs: np.ndarray) -> tuple[float, float]:
        seen.append((index, scores(folds)(index, outputs)))
        return seen[-1][1]

    recipe = replace(RECIPE, epochs=4)
    after = train(trainer, folds, recipe=recipe, evaluate=evaluate)
    assert [index for index, _ in seen] == [0, 1, 2] * 4
    by_epoch = np.array([score for _, score in seen]).reshape(4, 3, 2).mean(axis=1)
    np.testing.assert_allclose(after.values, by_epoch[:, 0])
    np.testing.assert_allclose(after.losses, by_epoch[:, 1])
    assert len(after.weights) == 3
    heads = [weights["head/kernel"] for weights in after.weights]
    assert not np.allclose(heads[0], heads[1], atol=1e-3)


def test_an_epoch_takes_every_training_row_once_and_fills_up_the_last_batch() -> None:
    data = fold(valid=range(13))
    orders = []

    class Spy(Program):
        def epoch(self, state: Any, fold: Any, order: tf.Tensor, *rest: Any) -> Any:
            orders.append(order.numpy())
            return super().epoch(state, fold, order, *rest)

    program = Spy(TOPOLOGY, SIZES, CLASSES, dropout=False, compiled=False)
    run = training.Networks(program, TOPOLOGY, RECIPE, [data], 0)
    run.epoch()
    run.epoch()
    for order in orders:
        assert order.shape == (3, BATCH)
        rows = order.ravel()
        assert sorted(rows[:35]) == data.train.tolist()
        np.testing.assert_array_equal(rows[35:], rows[:13])
    assert (orders[0] != orders[1]).any()


def test_the_seed_and_the_fold_decide_initial_weights_and_the_order_of_rows() -> None:
    orders, starts = set(), set()

    class Spy(Program):
        def epoch(self, state: Any, fold: Any, order: tf.Tensor, *rest: Any) -> Any:
            orders.add(order.numpy().tobytes())
            return state, 0.0, None

    program = Spy(TOPOLOGY, SIZES, CLASSES, dropout=False, compiled=False)
    for seed in (0, 1, 0):
        run = training.Networks(program, TOPOLOGY, RECIPE, [fold(), fold()], seed)
        starts |= {state.flat.numpy().tobytes() for state in run.states}
        run.epoch()
    assert len(orders) == len(starts) == 4  # Two seeds, two folds.


def test_validation_in_chunks_gives_every_row_its_own_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outputs: list[np.ndarray] = []

    def evaluate(index: int, scored: np.ndarray) -> tuple[float, float]:
        outputs.append(scored)
        return 0.0, 0.0

    recipe = replace(RECIPE, epochs=1)
    train(Trainer(), recipe=recipe, evaluate=evaluate)
    monkeypatch.setattr(training, "SCORED_ROWS", 5)
    train(Trainer(), recipe=recipe, evaluate=evaluate)
    assert len(outputs[0]) == len(outputs[1]) == 12
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5)


def test_the_targets_of_validation_rows_never_touch_the_weights(trainer: Trainer) -> None:
    data = fold()
    target = data.target.numpy().copy()
    target[data.valid] = (target[data.valid] + 1) % CLASSES
    changed = replace(data, target=tf.constant(target))
    first = train(trainer, [data], evaluate=scripted([0.0])).weights[0]
    again = train(trainer, [changed], evaluate=scripted([0.0])).weights[0]
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, again[name])
    target[data.train[0]] = (target[data.train[0]] + 1) % CLASSES
    learned = replace(data, target=tf.constant(target))
    other = train(trainer, [learned], evaluate=scripted([0.0])).weights[0]
    assert (other["head/kernel"] != first["head/kernel"]).any()


def test_without_validation_rows_every_epoch_is_trained(trainer: Trainer) -> None:
    recipe = replace(RECIPE, epochs=12)  # More than the patience.
    scored = train(trainer, recipe=recipe, evaluate=scripted(range(12)))
    assert scored.best_epoch == 12
    whole = Problem(sizes=SIZES, outputs=CLASSES, folds=[replace(fold(), valid=fold().valid[:0])])
    (fitted,) = trainer.fit(TOPOLOGY, recipe, whole, seed=7)
    for name, weight in scored.weights[0].items():
        np.testing.assert_allclose(fitted[name], weight, rtol=1e-4, atol=1e-6)


def repeated(trainer: Trainer, seed: int) -> str:
    topology = Topology(depth=3, width=6, activation="relu", normalisation="batch")
    folds = [fold(valid=range(12)), fold(valid=range(12, 24))]
    recipe = replace(RECIPE, dropout=0.2, epochs=3)
    return fingerprint(train(trainer, folds, topology=topology, recipe=recipe, seed=seed))


def test_a_seed_repeats_a_training_exactly_here_and_in_another_process() -> None:
    trainer = Trainer()
    first, again = repeated(trainer, 5), repeated(trainer, 5)
    assert first == again
    assert repeated(trainer, 6) != first
    code = (
        "import json, tensorflow as tf\n"
        "tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        "from test_training import Trainer, repeated\n"
        "print(json.dumps(repeated(Trainer(), 5)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": __file__.rpartition("/")[0]},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == first
