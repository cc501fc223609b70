"""The other sides of `throughput.py`, each the command of a process of its own.

    python benchmarks/throughput_sides.py keras-tuner|optuna|optuna-worker|peak FOLDER [...]

FOLDER has the table, the rows and the list; what the trials gave is written there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from throughput_world import (
    ACTIVATIONS,
    HIGH_RATE,
    LOW_RATE,
    TARGET,
    WEIGHT_DECAY,
    WIDEST,
    Job,
    Trial,
    read_job,
    write_trials,
)

os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
STUDY = "throughput"


def loaded(folder: Path, job: Job) -> dict[str, Any]:
    """Return what `fit` is called with: the same rows as topo-search has, standardised as there."""
    import pandas as pd

    frame = pd.read_csv(folder / "table.csv")
    y = frame.pop(TARGET).to_numpy(np.int32)
    x = frame.to_numpy(np.float32)
    rows = np.load(folder / "rows.npz")
    train, valid = rows["train"], rows["valid"]
    x = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-9)
    return {
        "x": x[train],
        "y": y[train],
        "validation_data": (x[valid], y[valid]),
        "batch_size": job.batch,
        "epochs": job.epochs,
        "verbose": 0,
    }


def built(job: Job, point: dict[str, Any]) -> Any:
    """Return a compiled network as a user of Keras would write it."""
    import keras

    model = network(job.columns, job.classes, point)
    model.compile(
        optimizer=optimizer(point),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def network(columns: int, outputs: int, point: dict[str, Any]) -> Any:
    """Return the layers of a point."""
    import keras

    model = keras.Sequential([keras.Input((columns,))])
    for _ in range(point["depth"]):
        model.add(keras.layers.Dense(point["width"], activation=point["activation"]))
        if point["dropout"]:
            model.add(keras.layers.Dropout(point["dropout"]))
    model.add(keras.layers.Dense(outputs))
    return model


def optimizer(point: dict[str, Any]) -> Any:
    """Return what trains the network of a point."""
    import keras

    return keras.optimizers.AdamW(point["learning_rate"], weight_decay=WEIGHT_DECAY)


def by_keras_tuner(folder: Path) -> None:
    """Search by KerasTuner's own `Tuner`, whose oracle hands out the list."""
    import keras_tuner  # type: ignore[import-not-found,unused-ignore]

    job, points = read_job(folder)
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    epochs: list[int] = []

    class Listed(keras_tuner.Oracle):  # type: ignore[misc]
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            started[trial_id] = time.time()
            return {"status": "RUNNING", "values": points[len(started) - 1]}

    class Network(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            rate = {"min_value": LOW_RATE, "max_value": HIGH_RATE, "sampling": "log"}
            point = {
                "depth": hp.Int("depth", 1, 6),
                "width": hp.Int("width", 16, WIDEST),
                "activation": hp.Choice("activation", ACTIVATIONS),
                "dropout": hp.Float("dropout", 0.0, 0.5),
                "learning_rate": hp.Float("learning_rate", **rate),
            }
            return built(job, point)

        def fit(self, hp: Any, model: Any, *given: Any, **options: Any) -> Any:
            history = model.fit(*given, **options)
            epochs.append(len(history.epoch))
            return history

    class Tuner(keras_tuner.Tuner):  # type: ignore[misc]
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            ended[trial.trial_id] = time.time()

    oracle = Listed(objective="val_accuracy", max_trials=len(points))
    tuner = Tuner(oracle, Network(), directory=folder / "tuner", overwrite=True)
    data = loaded(folder, job)
    tuner.search(data.pop("x"), data.pop("y"), **data)
    trials = [
        Trial(
            start=start,
            end=ended[trial_id],
            seconds=ended[trial_id] - start,
            score=float(oracle.trials[trial_id].score),
            epochs=trained,
        )
        for (trial_id, start), trained in zip(started.items(), epochs, strict=True)
    ]
    write_trials(trials, folder)


def by_optuna(folder: Path, url: str, processes: int) -> None:
    """Put the list into Optuna's queue, work through it, and write down what came of it."""
    import optuna

    _, points = read_job(folder)
    study = optuna.create_study(storage=url, study_name=STUDY, direction="maximize")
    for point in points:
        study.enqueue_trial(point)
    command = [sys.executable, __file__, "optuna-worker", str(folder), url]
    others = [subprocess.Popen(command) for _ in range(processes - 1)]
    work(folder, url)
    for other in others:
        if other.wait() != 0:
            raise SystemExit("A worker of Optuna's failed.")
    ended = [trial for trial in study.get_trials() if trial.number < len(points)]
    trials = []
    for trial in ended:
        assert trial.datetime_start and trial.datetime_complete and trial.value is not None
        start, end = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
        trained = trial.user_attrs["epochs"]
        trials.append(
            Trial(start=start, end=end, seconds=end - start, score=trial.value, epochs=trained)
        )
    write_trials(trials, folder)


def work(folder: Path, url: str) -> None:
    """Work through the queue by `optimize`, with `fit` and all defaults."""
    import keras
    import optuna

    job, points = read_job(folder)
    data = loaded(folder, job)

    def objective(trial: optuna.Trial) -> float:
        if trial.number >= len(points):  # The other process took the last of the queue.
            trial.study.stop()
            raise optuna.TrialPruned
        keras.backend.clear_session()  # As Optuna's own examples do.
        point = {
            "depth": trial.suggest_int("depth", 1, 6),
            "width": trial.suggest_int("width", 16, WIDEST),
            "activation": trial.suggest_categorical("activation", ACTIVATIONS),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "learning_rate": trial.suggest_float("learning_rate", LOW_RATE, HIGH_RATE, log=True),
        }
        history = built(job, point).fit(**data)
        trial.set_user_attr("epochs", len(history.epoch))
        return float(max(history.history["val_accuracy"]))

    def stop_at_the_end(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.WAITING]):
            study.stop()

    study = optuna.load_study(storage=url, study_name=STUDY)
    study.optimize(objective, callbacks=[stop_at_the_end])


def measure_peak(folder: Path) -> None:
    """Write the operations a second of one core."""
    from topo_search.slot import configure_tensorflow

    configure_tensorflow()
    (folder / "peak.json").write_text(json.dumps(peaks()), encoding="utf-8")


def peaks() -> dict[str, float]:
    """Return the most float32 operations a second in products of matrices, by library and size."""
    import tensorflow as tf

    found = {}
    for size in (256, 512, 1024):
        one = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
        tensor = tf.constant(one)
        found[f"numpy {size}"] = rate(size, lambda one=one: one @ one)
        found[f"tensorflow {size}"] = rate(size, lambda t=tensor: tf.linalg.matmul(t, t).numpy())
    return found


def rate(size: int, product: Any) -> float:
    """Return the most operations a second of ten turns."""
    repeats = max(1, (1024 // size) ** 3)
    best = 0.0
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(repeats):
            product()
        best = max(best, 2 * size**3 * repeats / (time.perf_counter() - began))
    return best


def main() -> None:
    what, folder, *rest = sys.argv[1:]
    if what == "keras-tuner":
        by_keras_tuner(Path(folder))
    elif what == "optuna":
        by_optuna(Path(folder), rest[0], int(rest[1]))
    elif what == "optuna-worker":
        work(Path(folder), rest[0])
    elif what == "peak":
        measure_peak(Path(folder))
    else:
        raise SystemExit(f"Expected a side. Received: {what}.")


if __name__ == "__main__":
    main()
