"""Depth: time to the first epoch, time of an epoch and memory by depth, and 1,000 depths in a row.

Each depth in a fresh process that has TensorFlow loaded, with one thread, as a slot has. The whole
sweep is the real command. Beside ours, `Sequential` and `model.fit` as people write them. Prints
Markdown.

    python benchmarks/depth.py [--deepest 1000] [--tables iris,digits]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from surroundings import environment, heading, takes_json, write_json
from training import Table, table_named

from topo_search.machine import usable_cores

ROOT = Path(__file__).parents[1]
DEPTHS = {"iris": (10, 30, 100, 200, 300, 500, 700, 850, 1000), "digits": (10, 100, 300, 1000)}
WIDTHS = {"iris": 4, "digits": 64}
EPOCHS = {"iris": 12, "digits": 3}
PLAIN = 100  # Layers; at 200 `Sequential` takes half a minute, at 1,000 many.


def in_a_fresh_slot(
    sender: Connection, table: Table, depth: int, width: int, epochs: int, residual: bool
) -> None:
    """Send the seconds from the assignment to the end of each epoch, and the memory of its own."""
    from topo_search.slot import configure_tensorflow

    configure_tensorflow()
    import tensorflow as tf

    from objectives.memory import own_memory
    from objectives.preprocessing import Arrays, Sizes
    from objectives.program import Fold
    from objectives.topology import Recipe, Topology
    from objectives.training import Problem, Trainer, resident

    began, times = time.perf_counter(), []

    def report(epoch: int, value: float) -> bool:
        times.append(time.perf_counter() - began)
        return True

    rows = len(table.y)
    nothing = np.zeros((rows, 0))
    arrays = Arrays(
        numeric=table.x, dense=nothing.astype(np.float32), codes=nothing.astype(np.int32)
    )
    fold = Fold(
        tensors=resident(arrays), target=tf.constant(table.y), sample_weights=tf.ones(rows),
        train=table.train, valid=table.valid,
    )  # fmt: skip
    sizes = Sizes(numeric=table.x.shape[1], dense=0, codes=())
    Trainer().train(
        Topology(depth=depth, width=width, activation="relu", residual=residual),
        Recipe(learning_rate=1e-3, weight_decay=0.0, dropout=0.0, batch_size=32, epochs=epochs),
        Problem(sizes=sizes, outputs=table.classes, folds=[fold]),
        evaluate=lambda index, outputs: (0.0, 0.0),
        maximize=True,
        seed=0,
        report=report,
        patience=epochs,
    )  # fmt: skip
    sender.send((times, own_memory()))


def sequential(sender: Connection, table: Table, depth: int, width: int) -> None:
    """Send the seconds to the end of the first epoch of the same depth in plain Keras."""
    import keras

    keras.utils.set_random_seed(0)
    began = time.perf_counter()
    hidden = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
    model = keras.Sequential([*hidden, keras.layers.Dense(table.classes, activation="softmax")])
    model.compile("adamw", "sparse_categorical_crossentropy")
    rows = table.train
    model.fit(table.x[rows], table.y[rows], batch_size=32, epochs=1, verbose=0)
    sender.send(time.perf_counter() - began)


def in_a_process(method: str, target: Callable[..., None], *given: Any) -> Any:
    """Return what a function sends from a fresh process."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sender, *given))
    process.start()
    sender.close()
    received = receiver.recv()
    process.join()
    return received


def by_depth(name: str, depths: Sequence[int]) -> list[dict[str, float]]:
    """Print what each depth costs on a table."""
    multiprocessing.set_forkserver_preload(["topo_search.preload"])
    table = table_named(name)
    print(f"\n## {name}: {WIDTHS[name]} units, residual relu, batches of 32, one thread\n")
    print(
        "| layers | to the end of the first epoch, s | `Sequential`, s "
        "| an epoch after that, ms | own memory, MB |\n|---|---|---|---|---|"
    )
    found = []
    fixed = WIDTHS[name], EPOCHS[name], True
    in_a_process("forkserver", in_a_fresh_slot, table, 1, *fixed)  # Also imports TensorFlow.
    for depth in depths:
        times, memory = in_a_process("forkserver", in_a_fresh_slot, table, depth, *fixed)
        asked = table, depth, WIDTHS[name]
        plain = in_a_process("spawn", sequential, *asked) if depth <= PLAIN else None
        found.append((depth, times[0], float(np.median(np.diff(times))), memory, plain))
    for depth, first, epoch, memory, plain in found:
        print(
            f"| {depth:,} | {first:.2f} | {'' if plain is None else f'{plain:.1f}'} "
            f"| {1000 * epoch:.1f} | {memory / 2**20:.0f} |"
        )
    if len(depths) > 4:
        layers, seconds = (np.array([row[k] for row in found]) for k in (0, 2))
        slope, base = np.polyfit(layers, seconds, 1)
        rest = ((seconds - base - slope * layers) ** 2).sum()
        r2 = 1 - rest / ((seconds - seconds.mean()) ** 2).sum()
        print(f"\n{1e6 * slope:.1f} µs a layer and epoch, R² {r2:.4f}.")
    names = ("layers", "first_epoch", "epoch", "own_bytes", "sequential_first_epoch")
    return [dict(zip(names, row, strict=True)) for row in found]


def whole_sweep(deepest: int) -> dict[str, Any]:
    """Print how long the real command takes for every depth in a row."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            Path(sys.executable).with_name("topo-search"), "search", ROOT / "examples/iris.csv",
            "--target", "species", "--space", "depth", "--depth", f"1:{deepest}",
            "--trials", str(deepest), "--epochs", "30", "--validation", "holdout",
            "--pruner", "none", "--json", "--report", Path(folder) / "report.html",
        ]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run(
            command,
            env=os.environ | {"TOPO_SEARCH_HOME": f"{folder}/home"},
            capture_output=True,
            text=True,
            check=True,
        )
        wall = time.perf_counter() - began
    said = json.loads(done.stdout)
    print(f"\n## Every depth from 1 to {deepest:,} on iris, plain, 30 epochs at most, hold-out\n")
    print(f"{said['trials']['complete']:,} networks in {said['seconds']:.0f} s; ", end="")
    print(f"the whole command, refit and report with it, {wall:.0f} s.")
    return {"trials": said["trials"], "seconds": said["seconds"], "wall": wall}


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deepest", type=int, default=1000, help="Layers, 10 or more.")
    parser.add_argument("--tables", default=",".join(DEPTHS))
    takes_json(parser)
    given = parser.parse_args()
    raw: dict[str, Any] = {"about": environment(usable_cores())}
    print(heading(raw["about"]))
    for name in given.tables.split(","):
        depths = [depth for depth in DEPTHS[name] if depth <= given.deepest]
        raw[name] = by_depth(name, depths)
    raw["sweep"] = whole_sweep(given.deepest)
    raw["load"] = os.getloadavg()
    write_json(given, raw)
    print(f"\nload {raw['load'][0]:.1f}")


if __name__ == "__main__":
    main()
