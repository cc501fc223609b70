"""The built-in objective: a topology and a recipe, trained and scored on a table."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from objectives import metrics, splits
from objectives.objective import Assignment, Outcome, Report
from objectives.preprocessing import Arrays, Layout, Preprocessor, TargetScaler, Variant
from objectives.program import Fold
from objectives.shared import packed, shared, unpacked
from objectives.sizes import count_weights
from objectives.space import Space
from objectives.table import Feature, Reading, Target, apply_reading, split_target
from objectives.topology import Recipe
from objectives.training import Problem, Trainer, resident


def objective(assignment: Assignment, report: Report) -> Outcome:
    """Train the assignment's network and return its best epoch's score on validation rows."""
    started = time.perf_counter()
    data = prepared(
        assignment.plan, assignment.dataset, assignment.test_dataset, shared=assignment.shared
    )
    topology, recipe = Space.from_json(assignment.plan["space"]).decode(assignment.parameters)
    folds = data.folds(recipe)
    training = trainer().train(
        topology,
        recipe,
        data.problem([fold for fold, _ in folds]),
        evaluate=lambda index, outputs: data.score(*folds[index], outputs),
        maximize=data.metric.direction == "maximize",
        seed=assignment.seed,
        report=report,
    )
    best = training.best_epoch - 1
    return Outcome(
        value=training.values[best],
        metrics={"loss": training.losses[best]},
        attributes={
            "topology": str(topology),
            "depth": topology.depth,
            "weights": count_weights(topology, data.layout.sizes, data.outputs),
            "seconds": time.perf_counter() - started,
            "epoch_seconds": training.epoch_seconds,
            "epochs": len(training.values),
            "best_epoch": training.best_epoch,
            "curve": training.values,
            "losses": training.losses,
        },
    )


@lru_cache(maxsize=1)
def trainer() -> Trainer:
    """Return this process's trainer, with the compiled epochs it keeps."""
    return Trainer()


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A study's table, split: the same in every slot, for every trial."""

    target: Target
    metric: metrics.Metric
    features: tuple[Feature, ...]
    rest: pd.DataFrame  # Typed columns of the rows that are not test rows.
    rest_y: NDArray[Any]
    test: pd.DataFrame
    test_y: NDArray[Any]
    dropped: int  # Rows without a target, or that could not be read.
    layout: Layout
    validation: tuple[splits.Split, ...]
    name: str  # What it depends on, in words.
    shared: Path | None  # Folder of this machine's slots.
    cache: dict[tuple[str, str], list[dict[str, tf.Tensor]]]

    @property
    def outputs(self) -> int:
        """Outputs of a network: classes, or 1."""
        return len(self.target.classes) or 1

    def folds(self, recipe: Recipe) -> list[tuple[Fold, TargetScaler | None]]:
        """Return the training sets of a recipe's variant, preprocessed each by its own rows."""
        if recipe.variant not in self.cache:
            # One variant's arrays at a time: on large tables they fill most of a slot's memory.
            if len(self.rest) * len(self.validation) > 20_000:
                self.cache.clear()
            self.cache[recipe.variant] = [
                self._arrays(index, recipe) for index in range(len(self.validation))
            ]
        return [
            self.fold(tensors, self.rest_y, split, recipe)
            for split, tensors in zip(self.validation, self.cache[recipe.variant], strict=True)
        ]

    def problem(self, folds: Sequence[Fold]) -> Problem:
        """Return what networks learn of training sets; by absolute errors if so compared."""
        absolute = self.metric.name == "mae"
        return Problem(
            sizes=self.layout.sizes, outputs=self.outputs, folds=folds, absolute=absolute
        )

    def _arrays(self, index: int, recipe: Recipe) -> dict[str, tf.Tensor]:
        """Return all rows but the test rows, preprocessed by a fold's training rows."""

        def make() -> dict[str, NDArray[Any]]:
            rows = self.validation[index].train
            arrays = fitted(self.rest, rows, self.layout, recipe).transform(self.rest)
            return vars(arrays)

        what = f"{self.name}, fold {index}, {', '.join(recipe.variant)}"
        return resident(Arrays(**shared(self.shared, what, make)))

    def fold(
        self,
        tensors: dict[str, tf.Tensor],
        y: NDArray[Any],
        split: splits.Split,
        recipe: Recipe,
    ) -> tuple[Fold, TargetScaler | None]:
        """Return one training set, and for a regression the scale of its target."""
        scaler = None if self.target.classes else TargetScaler.fit(y[split.train])
        weights = np.ones(len(y), np.float32)
        if recipe.class_weights == "balanced" and scaler is None:
            counts = np.bincount(y[split.train], minlength=self.outputs)
            weights = (len(split.train) / np.maximum(counts, 1) / np.count_nonzero(counts))[y]
        return Fold(
            tensors=tensors,
            target=tf.constant(y.astype(np.int32) if scaler is None else scaler.scale(y)),
            sample_weights=tf.constant(weights.astype(np.float32)),
            train=split.train.astype(np.int32),
            valid=split.held_out.astype(np.int32),
        ), scaler

    def score(
        self, fold: Fold, scaler: TargetScaler | None, outputs: NDArray[np.float32]
    ) -> tuple[float, float]:
        """Return the metric and the loss of a network's outputs on a fold's validation rows."""
        y = self.rest_y[fold.valid]
        if scaler is None:
            return self.metric(y, outputs), metrics.log_loss(y, outputs)
        values = scaler.restore(outputs)
        return self.metric(y, values), metrics.rmse(y, values)


def fitted(frame: pd.DataFrame, rows: NDArray[Any], layout: Layout, recipe: Recipe) -> Preprocessor:
    """Return a recipe's preprocessor, fitted on some rows of a frame."""
    variant = Variant(scaling=recipe.scaling, rare_levels=recipe.rare_levels)  # type: ignore[arg-type]
    return Preprocessor.fit(frame.iloc[rows], layout, variant)


def prepared(
    plan: Mapping[str, Any],
    dataset: Path | None,
    test: Path | None,
    *,
    shared: Path | None = None,
) -> Prepared:
    """Read and split a study's table, once for all its trials in this process.

    Args:
        plan: The study's.
        dataset: File with the table.
        test: File with the test rows, where they came apart.
        shared: Folder of this machine's slots: one of them reads the table for all.
    """
    if dataset is None:
        raise ValueError("Expected a dataset for the tabular objective. Received none.")
    return _prepared(json.dumps(plan, sort_keys=True), dataset, test, shared)


@lru_cache(maxsize=2)
def _prepared(
    plan_text: str, dataset: Path, test_dataset: Path | None, folder: Path | None
) -> Prepared:
    plan = json.loads(plan_text)
    name = f"{plan_text} of {dataset.name} and {test_dataset and test_dataset.name}"
    target = Target(column=plan["target"], task=plan["task"], classes=tuple(plan["classes"]))
    found = shared(folder, name, lambda: _read(plan, target, dataset, test_dataset))
    rest, test = (unpacked(_part(found, part)) for part in ("rest", "test"))
    said = json.loads(found["said"].tobytes())
    features = tuple(Feature(**feature) for feature in said["features"])
    rest_y = found["rest_y"]
    return Prepared(
        target=target,
        metric=metrics.metric_for(plan["metric"], target.task),
        features=features,
        rest=rest,
        rest_y=rest_y,
        test=test,
        test_y=found["test_y"],
        dropped=said["dropped"],
        layout=Layout.of(rest, features),
        validation=splits.validation(rest_y, target.task, plan["validation"], plan["seed"]),
        name=name,
        shared=folder,
        cache={},
    )


def _read(
    plan: Mapping[str, Any], target: Target, dataset: Path, test_dataset: Path | None
) -> dict[str, NDArray[Any]]:
    """Read and split a study's table, and return what is kept of it as arrays."""
    reading = Reading.from_json(plan["reading"])
    drop = tuple(plan["drop"])
    table = apply_reading(dataset.read_bytes(), reading, optional=drop)
    examples = split_target(table, target, drop)
    frame, y = examples.frame, examples.y
    dropped = len(table.dropped) + examples.rows_dropped
    if test_dataset is None:
        split = splits.test_split(y, target.task, plan["test_share"], plan["seed"])
        rest, rest_y = frame.iloc[split.train].reset_index(drop=True), y[split.train]
        test, test_y = frame.iloc[split.held_out].reset_index(drop=True), y[split.held_out]
    else:
        other_table = apply_reading(test_dataset.read_bytes(), reading, optional=drop)
        other = split_target(other_table, target, drop)
        rest, rest_y, test, test_y = frame, y, other.frame, other.y
        dropped += len(other_table.dropped) + other.rows_dropped
    said = {"features": [asdict(feature) for feature in examples.features], "dropped": dropped}
    return {
        "said": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "rest_y": rest_y,
        "test_y": test_y,
        **{f"rest {name}": array for name, array in packed(rest).items()},
        **{f"test {name}": array for name, array in packed(test).items()},
    }


def _part(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one part of the rows, by the names that they have without it."""
    named = {name.partition(" ")[::2]: array for name, array in arrays.items()}
    return {name: array for (of, name), array in named.items() if of == part}
