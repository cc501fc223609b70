"""A trial by `model.fit` as people call it, and by our trainer, side by side in one run.

The same 12 topologies, equal data, batches, epochs and hold-out, on Iris, digits and a table of
Adult's size; each round has other rows held out (of Adult's size, another table) and other initial
weights, and ours begins it with nothing compiled. Each side has a process of its own and works
while the others wait; ours has one thread, as a slot has, `model.fit` has the machine. Then, of a
core's peak in products of float32 matrices, measured in the same process, the share that our epochs
reach at three widths on the Adult-sized table: operations are 6 a weight and training row and 2 a
weight and validation row.
Prints Markdown.

    python benchmarks/training.py [--tables iris,digits,adult-sized] [--topologies 12] [--rounds 2]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from surroundings import ONE_THREAD, environment, heading, takes_json, write_json

from topo_search.machine import usable_cores
from topo_search.slot import configure_tensorflow

TOPOLOGIES = [  # depth, width
    (1, 128), (2, 16), (3, 64), (4, 32), (5, 128), (6, 16),
    (1, 32), (2, 128), (3, 16), (4, 64), (5, 48), (6, 96),
]  # fmt: skip
DEPTH, WIDTHS = 3, (64, 128, 256)  # Whose share of the peak is told.
SIDES = ("model.fit", "model.fit, steps_per_execution=16", "topo-search, one slot")


@dataclass(frozen=True, kw_only=True)
class Table:
    x: np.ndarray
    y: np.ndarray
    classes: int
    batch: int
    epochs: int
    train: np.ndarray
    valid: np.ndarray


def table_named(name: str, seed: int = 0) -> Table:
    random = np.random.default_rng(seed)
    if name == "adult-sized":
        x = random.normal(size=(40_000, 108)).astype(np.float32)
        hidden = np.tanh(x @ random.normal(size=(108, 8)) / 4)
        y = (hidden.sum(axis=1) + random.normal(size=40_000) > 0).astype(np.int32)
        batch, epochs = 128, 5
    else:
        from sklearn.datasets import load_digits, load_iris

        x, y = (load_iris if name == "iris" else load_digits)(return_X_y=True)
        x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)).astype(np.float32)
        y, batch, epochs = y.astype(np.int32), 32, 30
    order = random.permutation(len(y)).astype(np.int32)
    cut = len(y) // 5
    return Table(
        x=x, y=y, classes=int(y.max()) + 1, batch=batch, epochs=epochs,
        train=order[cut:], valid=order[:cut],
    )  # fmt: skip


def by_fit(table: Table, depth: int, width: int, steps_per_execution: int) -> float:
    import keras

    layers = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
    model = keras.Sequential(
        [keras.Input((table.x.shape[1],)), *layers, keras.layers.Dense(table.classes)]
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    history = model.fit(
        table.x[table.train], table.y[table.train], batch_size=table.batch, epochs=table.epochs,
        validation_data=(table.x[table.valid], table.y[table.valid]), verbose=0,
    )  # fmt: skip
    score = max(history.history["val_accuracy"])
    keras.backend.clear_session()
    return float(score)


def by_trainer(table: Table, depth: int, width: int, *, seed: int) -> Any:
    """Train as a slot does, and return the `Training`."""
    import tensorflow as tf

    from objectives import metrics, tabular
    from objectives.preprocessing import Arrays, Sizes
    from objectives.program import Fold
    from objectives.topology import Recipe, Topology
    from objectives.training import Problem, resident

    rows = len(table.y)
    arrays = Arrays(
        numeric=table.x,
        dense=np.zeros((rows, 0), np.float32),
        codes=np.zeros((rows, 0), np.int32),
    )
    fold = Fold(
        tensors=resident(arrays), target=tf.constant(table.y), sample_weights=tf.ones(rows),
        train=table.train, valid=table.valid,
    )  # fmt: skip

    def evaluate(index: int, outputs: np.ndarray) -> tuple[float, float]:
        y = table.y[table.valid]
        return metrics.accuracy(y, outputs), metrics.log_loss(y, outputs)

    sizes = Sizes(numeric=table.x.shape[1], dense=0, codes=())
    return tabular.trainer().train(
        Topology(depth=depth, width=width, activation="relu"),
        # Ours rises, and falls along half a cosine. On the mean it is half as much, still more than
        # `model.fit`'s constant 1e-3: the last steps are too small to count in a short training.
        Recipe(
            learning_rate=3e-3, weight_decay=1e-4, dropout=0.0, batch_size=table.batch,
            epochs=table.epochs,
        ),
        Problem(sizes=sizes, outputs=table.classes, folds=[fold]),
        evaluate=evaluate,
        maximize=True,
        seed=seed,
        patience=table.epochs,
    )  # fmt: skip


def serve(side: str, name: str, connection: Connection) -> None:
    """Train what is asked for, on one table, and answer with seconds and score."""
    os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
    import keras
    import tensorflow as tf

    if side == SIDES[2]:
        configure_tensorflow()
    from objectives import tabular

    tables: dict[int, Table] = {}
    tf.constant(0.0)  # TensorFlow's own start belongs to no trial.
    connection.send("ready")
    while (asked := connection.recv()) is not None:
        number, depth, width = asked
        if number not in tables:
            tables = {number: table_named(name, number)}
            tabular.trainer.cache_clear()
        # Each side has weights of its own, so that `model.fit` can be told from itself.
        seed = SIDES.index(side) * 1_000_000 + number * 10_000 + depth * 1_000 + width
        table = tables[number]
        started = time.perf_counter()
        if side == SIDES[2]:
            score = max(by_trainer(table, depth, width, seed=seed).values)
        else:
            keras.utils.set_random_seed(seed)
            score = by_fit(table, depth, width, 16 if side == SIDES[1] else 1)
        connection.send((time.perf_counter() - started, score))


def measured(
    name: str, topologies: list[tuple[int, int]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return seconds and score of each round's networks, by side."""
    context = multiprocessing.get_context("spawn")
    ends = {}
    for side in SIDES:
        ends[side], other = context.Pipe()
        context.Process(target=serve, args=(side, name, other), daemon=True).start()
        other.close()
        ends[side].recv()
    results: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for number, (depth, width) in itertools.product(range(rounds), topologies):
        for side, end in ends.items():
            end.send((number, depth, width))
            results[side].append(end.recv())
    for end in ends.values():
        end.send(None)
    return results


def shares(connection: Connection) -> None:
    """Send the peak of this core, and by width the operations a second of our epochs."""
    os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
    configure_tensorflow()
    from throughput_sides import peaks

    table, found = table_named("adult-sized"), {}
    best = max(peaks().values())
    for width in WIDTHS:
        sides = [table.x.shape[1], *[width] * DEPTH, table.classes]
        weights = sum(here * there for here, there in zip(sides, sides[1:], strict=False))
        operations = weights * (6 * len(table.train) + 2 * len(table.valid))
        found[width] = operations / by_trainer(table, DEPTH, width, seed=0).epoch_seconds
    connection.send((max(best, *peaks().values()), found))


def share_of_peak() -> dict[str, Any]:
    """Print how near our epochs come to the most that a core can."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    os.environ |= ONE_THREAD
    context.Process(target=shares, args=(sender,), daemon=True).start()
    peak, by_width = receiver.recv()
    print(f"\nAdult-sized, {DEPTH} layers, batches of 128, one thread; a core's peak is ", end="")
    print(f"{peak / 1e9:.0f} GFLOP/s:\n\n| width | GFLOP/s | of the peak |\n|---|---|---|")
    for width, reached in by_width.items():
        print(f"| {width} | {reached / 1e9:.0f} | {reached / peak:.0%} |")
    return {"peak": peak, "by_width": by_width}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="iris,digits,adult-sized")
    parser.add_argument("--topologies", type=int, default=len(TOPOLOGIES))
    parser.add_argument("--rounds", type=int, default=2)
    takes_json(parser)
    arguments = parser.parse_args()
    raw: dict[str, Any] = {"about": environment(usable_cores()), "tables": {}}
    print(f"{heading(raw['about'])}\n")
    print("| table | how | seconds a trial, median | all | times faster | best | mean difference |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.tables.split(","):
        results = measured(name, TOPOLOGIES[: arguments.topologies], arguments.rounds)
        raw["tables"][name] = results
        write_json(arguments, raw)
        whole = sum(seconds for seconds, _ in results[SIDES[0]])
        for side in SIDES:
            seconds = [one for one, _ in results[side]]
            best = max(score for _, score in results[side])
            beside = difference(results[side], results[SIDES[0]])
            print(
                f"| {name} | {side} | {statistics.median(seconds):.2f} | {sum(seconds):.1f} "
                f"| {whole / sum(seconds):.1f} | {best:.3f} | {beside} |",
                flush=True,
            )
    if "adult-sized" in arguments.tables:
        raw["share_of_peak"] = share_of_peak()
        write_json(arguments, raw)


def difference(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> str:
    """Return by how much scores of the same networks differ, with its standard error."""
    pairs = [mine - other for (_, mine), (_, other) in zip(ours, theirs, strict=True)]
    if ours is theirs or len(pairs) < 2:
        return ""
    error = statistics.stdev(pairs) / len(pairs) ** 0.5
    return f"{statistics.mean(pairs):+.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
