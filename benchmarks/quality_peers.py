"""The other sides of `quality.py`, each the command of a process of its own.

    python benchmarks/quality_peers.py hyperband|bayesian|optuna FOLDER SEED STARTED SECONDS

FOLDER has the arrays; what the trials gave is written there. STARTED is when the command was given,
in seconds since 1970, and SECONDS what it has from then on.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from quality_curves import Trial
from quality_world import ARRAYS
from throughput_sides import network, optimizer  # Chooses Keras's backend, too.
from throughput_world import ACTIVATIONS, HIGH_RATE, LOW_RATE

DEEPEST, NARROWEST, WIDEST, MOST_DROPOUT = 6, 16, 512, 0.5
BATCHES = (32, 64, 128, 256)
EPOCHS, PATIENCE = 100, 10
ENDLESS = 100_000  # Trials: time is what ends a search.


class TimeIsUpError(BaseException):
    """Ends a search of KerasTuner's, which takes an `Exception` for a trial that failed."""


class Race:
    """Trains networks until the time is up, and keeps what came of each."""

    def __init__(self, folder: Path, started: float, limit: float) -> None:
        with np.load(folder / ARRAYS) as loaded:
            self.data = {name: loaded[name] for name in loaded.files}
        self.classes, self.scale = int(self.data["classes"]), float(self.data["scale"])
        self.started, self.limit, self.paused = started, limit, 0.0
        self.began = 0.0  # When the trial began.
        self.trials: list[Trial] = []
        self.monitor = "val_accuracy" if self.classes else "val_rmse"
        self.mode = "max" if self.classes else "min"

    @property
    def now(self) -> float:
        """Seconds since the start, without those that do not count."""
        return time.time() - self.started - self.paused

    @property
    def is_over(self) -> bool:
        return self.now >= self.limit

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave out the time that a block takes."""
        began = time.time()
        yield
        self.paused += time.time() - began

    def built(self, point: dict[str, Any]) -> Any:
        """Return a compiled network as a user of Keras would write it."""
        import keras

        columns = self.data["x_train"].shape[1]
        model = network(columns, self.classes or 1, point)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        error = keras.metrics.RootMeanSquaredError(name="rmse")
        model.compile(
            optimizer=optimizer(point),
            loss=loss if self.classes else "mse",
            metrics=["accuracy"] if self.classes else [error],
        )
        return model

    def given(self) -> dict[str, Any]:
        """Return what every `fit` is called with."""
        data = self.data
        return {
            "x": data["x_train"],
            "y": data["y_train"],
            "validation_data": (data["x_valid"], data["y_valid"]),
            "epochs": EPOCHS,
            "verbose": 0,
        }

    def fit(self, model: Any, callbacks: Sequence[Any], **options: Any) -> Any:
        """Train a network with early stopping, keep its score, and return Keras's history."""
        import keras

        early = keras.callbacks.EarlyStopping(
            monitor=self.monitor, mode=self.mode, patience=PATIENCE, restore_best_weights=True
        )
        race = self

        class Deadline(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                if race.is_over:
                    self.model.stop_training = True

        self.began = self.now
        history = model.fit(callbacks=[*callbacks, early, Deadline()], **options)
        self.keep_scored(history.history[self.monitor], model)
        return history

    def keep_scored(self, scores: Sequence[float], model: Any) -> None:
        """Keep a trial that was trained to its end; a new best network meets the test rows."""
        state = "cut" if self.is_over else "complete"
        finite = [score for score in scores if math.isfinite(score)]
        if not finite:
            self.keep("failed")
            return
        value = max(finite) if self.classes else min(finite) * self.scale
        sign = 1 if self.classes else -1
        earlier = [sign * trial.value for trial in self.trials if trial.value is not None]
        test = None
        if sign * value > max(earlier, default=-math.inf):
            with self.uncounted():
                test = self.tested(model)
        self.keep(state, value, test)

    def keep(self, state: str, value: float | None = None, test: float | None = None) -> None:
        """Keep what came of a trial. The epoch that ran as the time was up is a present to it."""
        at = min(self.now, self.limit)
        self.trials.append(
            Trial(at=at, seconds=at - self.began, state=state, value=value, test=test)
        )  # fmt: skip

    def tested(self, model: Any) -> float:
        """Return a network's score on the test rows."""
        outputs = model.predict(self.data["x_test"], batch_size=4096, verbose=0)
        wanted = self.data["y_test"]
        if self.classes:
            return float((outputs.argmax(axis=1) == wanted).mean())
        return float(np.sqrt(np.mean((outputs[:, 0] - wanted) ** 2))) * self.scale


def by_keras_tuner(race: Race, kind: str, folder: Path, seed: int) -> None:
    """Search by a tuner of KerasTuner's, with its own settings for all but the budget."""
    import keras_tuner  # type: ignore[import-not-found,unused-ignore]

    def point(hp: Any) -> dict[str, Any]:
        rate = {"min_value": LOW_RATE, "max_value": HIGH_RATE, "sampling": "log"}
        return {
            "depth": hp.Int("depth", 1, DEEPEST),
            "width": hp.Int("width", NARROWEST, WIDEST, sampling="log"),
            "activation": hp.Choice("activation", ACTIVATIONS),
            "dropout": hp.Float("dropout", 0.0, MOST_DROPOUT),
            "learning_rate": hp.Float("learning_rate", **rate),
            "batch_size": hp.Choice("batch_size", BATCHES),
        }

    class Network(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            return race.built(point(hp))

        def fit(self, hp: Any, model: Any, **options: Any) -> Any:
            if race.is_over:
                raise TimeIsUpError
            try:
                return race.fit(model, batch_size=hp.get("batch_size"), **options)
            except Exception as error:  # Or it would be a trial that failed, and be silent.
                raise keras_tuner.errors.FatalError("A network could not be trained.") from error

    common = {
        "objective": keras_tuner.Objective(race.monitor, race.mode),
        "seed": seed,
        "directory": folder / "tuner",
        "overwrite": True,
    }
    if kind == "hyperband":
        tuner = keras_tuner.Hyperband(
            Network(), max_epochs=EPOCHS, hyperband_iterations=ENDLESS, **common
        )
    else:
        tuner = keras_tuner.BayesianOptimization(Network(), max_trials=ENDLESS, **common)
    try:
        tuner.search(**race.given())
    except TimeIsUpError:
        return


def by_optuna(race: Race, seed: int) -> None:
    """Search by Optuna: TPE, and its median pruner asked after every epoch, with its defaults."""
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    class Pruning(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, trial: optuna.Trial) -> None:
            super().__init__()
            self.trial = trial

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.trial.report(float(logs[race.monitor]), epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()  # As Optuna's own examples do.
        point = {
            "depth": trial.suggest_int("depth", 1, DEEPEST),
            "width": trial.suggest_int("width", NARROWEST, WIDEST, log=True),
            "activation": trial.suggest_categorical("activation", ACTIVATIONS),
            "dropout": trial.suggest_float("dropout", 0.0, MOST_DROPOUT),
            "learning_rate": trial.suggest_float("learning_rate", LOW_RATE, HIGH_RATE, log=True),
        }
        batch = trial.suggest_categorical("batch_size", BATCHES)
        pruning = [Pruning(trial)]
        try:
            history = race.fit(race.built(point), pruning, batch_size=batch, **race.given())
        except optuna.TrialPruned:
            race.keep("pruned")
            raise
        best: Callable[[Any], float] = max if race.classes else min
        return float(best(history.history[race.monitor]))

    def stop_in_time(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if race.is_over:
            study.stop()

    study = optuna.create_study(
        direction="maximize" if race.classes else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, callbacks=[stop_in_time])


def main() -> None:
    kind, place, seed, started, seconds = sys.argv[1:]
    folder = Path(place)
    race = Race(folder, float(started), float(seconds))
    import keras

    keras.utils.set_random_seed(int(seed))
    if kind == "optuna":
        by_optuna(race, int(seed))
    elif kind in ("hyperband", "bayesian"):
        by_keras_tuner(race, kind, folder, int(seed))
    else:
        raise SystemExit(f"Expected a side. Received: {kind}.")
    text = json.dumps([asdict(trial) for trial in race.trials])
    (folder / "trials.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
