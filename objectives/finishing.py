"""The end of a study: its winner trained once more, scored on the test rows, and packed."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from objectives import metrics, network
from objectives.baselines import baselines
from objectives.encoder import encode, free_name, typed_columns
from objectives.intervals import percentiles
from objectives.network import Weights
from objectives.objective import Final, Finish
from objectives.preprocessing import Preprocessor, TargetScaler
from objectives.refitting import Refitted, outputs, refit
from objectives.sizes import count_weights
from objectives.space import Space
from objectives.table import Feature
from objectives.tabular import Prepared, prepared
from objectives.topology import Topology

CHECKED_ROWS = 512  # Rows on which the exported network is held against the trained one.
TOLERANCE = 1e-4  # Largest difference allowed: of a probability, or in target deviations.
CONFUSED_CLASSES = 100  # With more of them their matrix is neither kept nor drawn.
SHOWN_POINTS = 2_000  # Test rows kept for the chart of predicted against true values.
PREDICTED_ROWS = 4_096  # Rows predicted at a time.


def finish(assignment: Finish) -> Final:
    """Refit the winner on all rows but the test rows, score it there, and pack it.

    Raises:
        Diverged: Where the refit does, from every beginning tried.
        ArithmeticError: Where the packed network does not predict what the trained one does.
    """
    data = prepared(
        assignment.plan, assignment.dataset, assignment.test_dataset, shared=assignment.shared
    )
    winner = assignment.winner
    topology, recipe = Space.from_json(assignment.plan["space"]).decode(winner["parameters"])
    refitted = refit(data, topology, recipe, winner)
    model = exported(
        refitted.preprocessor, topology, refitted.weights, data.outputs, refitted.scaler
    )
    network_file = saved(model)
    _check(network_file, data, topology, refitted)
    predicted = predictions(model, data.test, data.features, data.target.classes)
    outcome = {
        "best": {
            **{name: winner[name] for name in ("trial", "value", "parameters", "epochs", "seed")},
            "topology": str(topology),
            "weights": count_weights(topology, data.layout.sizes, data.outputs),
        },
        "refit_seed": refitted.seed,  # The trial's, unless it diverged or collapsed with that.
        "refit": {"failed": list(refitted.failed), "collapsed": refitted.collapsed},
        **_scored(data, predicted, assignment.looks, int(assignment.plan["seed"])),
    }
    return Final(outcome=outcome, files={"network.keras": network_file})


def exported(
    preprocessor: Preprocessor,
    topology: Topology,
    weights: Weights,
    outputs: int,
    scaler: TargetScaler | None,
) -> keras.Model:
    """Build the network that takes typed columns by name, preprocessing inside.

    Its output (rows, classes) holds probabilities, or (rows, 1) values in the target's units.
    """
    sizes = preprocessor.sizes
    held = network.array_inputs(sizes)
    output = network.delivered(topology, sizes, outputs, held)
    if scaler is None:
        output = keras.layers.Softmax(name="probabilities")(output)
    else:
        # In float64: the numbers of a target may be close together and far from zero.
        wide = keras.ops.cast(output, "float64")
        output = wide * np.array([scaler.deviation]) + np.array([scaler.mean])
    inputs, arrays = encode(preprocessor)
    # Nested, so that no layer can have the name of a column.
    inner = keras.Model(held, output, name=free_name("network", set(inputs)))
    tensors = dict(zip(("numeric", "dense", "codes"), arrays, strict=True))
    with _any_keys():
        model = keras.Model(inputs, inner({name: tensors[name] for name in held}))
    network.set_weights(model, weights)
    return model


def predictions(
    model: keras.Model,
    frame: pd.DataFrame,
    features: Sequence[Feature],
    classes: tuple[str, ...],
) -> NDArray[np.float64]:
    """Predict typed rows: probabilities (rows, classes), or values (rows,)."""
    parts = []
    for start in range(0, len(frame), PREDICTED_ROWS):
        columns = typed_columns(frame.iloc[start : start + PREDICTED_ROWS], features)
        parts.append(keras.ops.convert_to_numpy(model(columns)))
    output = np.concatenate(parts).astype(np.float64)
    return output if classes else output[:, 0]


def saved(model: keras.Model) -> bytes:
    """Return a network as the bytes of a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        model.save(path)
        return path.read_bytes()


def loaded(path: Path) -> keras.Model:
    """Load an exported network in safe mode."""
    with _any_keys():
        return keras.models.load_model(path, safe_mode=True, compile=False)


@contextmanager
def _any_keys() -> Iterator[None]:
    """Let columns be given by their names, whatever characters Keras allows in names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        yield


def _check(network_file: bytes, data: Prepared, topology: Topology, refitted: Refitted) -> None:
    """Load the network that will be handed over, and hold it against the one that was trained."""
    frame, scaler = data.rest.iloc[:CHECKED_ROWS], refitted.scaler
    rows = np.arange(len(frame))
    expected = outputs(data, topology, refitted.preprocessor, refitted.weights, rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(network_file)
        again = loaded(path)
    received = predictions(again, frame, data.features, data.target.classes)
    if scaler is None:
        difference = received - keras.ops.convert_to_numpy(keras.ops.softmax(expected))
    else:
        difference = (received - scaler.restore(expected[:, 0])) / scaler.deviation
        # Of outputs far from the mean, which float32 holds no better.
        difference /= np.maximum(1, np.abs(expected[:, 0]))
    if not np.abs(difference).max() <= TOLERANCE:
        raise ArithmeticError(
            f"The exported network differs from the trained one by {np.abs(difference).max():.2g} "
            f"on rows of the table; at most {TOLERANCE:g} was expected. Nothing was exported."
        )


def _scored(
    data: Prepared, predicted: NDArray[np.float64], looks: int, seed: int
) -> dict[str, Any]:
    """Return what the test rows say of a network, and of simple models beside it."""
    classes, metric, y = data.target.classes, data.metric, data.test_y
    simple = baselines(
        data.rest,
        data.rest_y,
        data.test,
        data.features,
        data.target.task,
        len(classes),
        metric,
        seed,
    )
    fitted = {name: other for name, other in simple.predictions.items() if other is not None}
    own, *others = metrics.bootstrap(metric, y, [predicted, *fitted.values()], seed)
    low, high = metrics.score_interval(metric, y, predicted, own)
    sign = 1 if metric.direction == "maximize" else -1
    leads = {name: sign * (own - other) for name, other in zip(fitted, others, strict=True)}
    return {
        "test": {
            "value": metric(y, predicted),
            "low": low,
            "high": high,
            "looks": looks,
            "rows": len(y),
            "metrics": {
                each.name: each(y, predicted)
                for each in metrics.METRICS.values()
                if data.target.task in each.tasks
            },
        },
        "baselines": {
            name: None if other is None else metric(y, other)
            for name, other in simple.predictions.items()
        },
        # By how much the network is better, on the same rows drawn again.
        "leads": {name: list(percentiles(lead)) for name, lead in leads.items()},
        "baseline_rows": simple.rows,
        **_compared(data, predicted, seed),
    }


def _compared(data: Prepared, predicted: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Return what the charts of the test rows show: a confusion matrix, or points."""
    classes = data.target.classes
    if len(classes) > CONFUSED_CLASSES:
        return {"confusion": None, "scatter": None}
    if classes:
        matrix = metrics.confusion(data.test_y, predicted)
        return {
            "confusion": {"classes": list(classes), "matrix": matrix.tolist()},
            "scatter": None,
        }
    rows = np.random.default_rng(seed).permutation(len(predicted))[:SHOWN_POINTS]
    points = {"true": data.test_y[rows].tolist(), "predicted": predicted[rows].tolist()}
    return {"confusion": None, "scatter": points}
