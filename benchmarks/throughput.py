"""Trials an hour on the whole machine: KerasTuner, Optuna with `model.fit`, and topo-search.

One list of 24 networks and recipes (`throughput_world.py`), the same rows, epochs, batches and
hold-out, nothing pruned; one side after the other, each a command of its own:

- KerasTuner's own `Tuner`, whose oracle hands out the list, with its checkpoints and all;
- Optuna on PostgreSQL, the list in its queue, `model.fit` with defaults; one process, and two;
- `topo-search worker --until-idle` on all cores, a study whose portfolio is the list: once, which
  is the worst case as every network is traced afresh, and for small tables 8 times over with new
  learning rates, as a search has it.

All read the same CSV. Its training and validation rows are those of topo-search's own split, given
to the others by position; they standardise by the training rows, as topo-search does. Test rows
are 50 copies of rows, which the finish of our study needs and nothing here looks at.

Trials an hour count from the first claim to the last end, so the import of TensorFlow is left out
on all sides, and reading the table is left out on the others' but not on ours, where slots read it
in their first trial. The cold wall time is the whole command's, with all of that, and on our side
with the refit, the test and the baselines after the last trial.

topo-search stops a trial after 10 epochs without a better score, or a fifth of them where that is
more. No table has more than 10 epochs here, so that no trial can end early and all sides do equal
work; the epochs really trained stand in the report. What is not equal: topo-search's learning rate
warms up and falls, with the others' constant rate as its mean, and its weight decay is for kernels
only; the others have Keras's AdamW. The best score of 8 times as many trials is higher by that
alone; the mean difference is that of the list's 24 networks, each against KerasTuner's.

Memory is proportional (PSS), sampled, of all processes of a side; processor time is of all its
processes, too. PostgreSQL, the same private server for all sides, is counted apart. Operations are
6 a weight and training row and 2 a weight and validation row, in each epoch; the peak that they
are set against is that of products of float32 matrices in one thread, measured in this run: all
cores' from the first claim to the last end, and while a trial trains that of the cores it has,
which is one for a slot, all for one process of `model.fit`, and half of them for one of two; and of
ours once more while the epochs run, which leaves out reading, tracing and bookkeeping.

    python benchmarks/throughput.py [--tables iris,digits,adult-sized,large] [--quick] [--json FILE]

KerasTuner comes with `pip install -c constraints.txt -e ".[bench]"`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
import throughput_study as ours
from surroundings import ONE_THREAD, family_cpu, postmaster, remove_server, takes_json, write_json
from throughput_report import HEAD, Measured, environment, heading, row
from throughput_world import (
    JOBS,
    LISTED,
    Job,
    flops,
    points,
    read_trials,
    write_job,
    write_table,
)

from storage.connection import Storage
from topo_search.machine import usable_cores
from topo_search.settings import Settings, opened

HERE = Path(__file__).parent
SIDES = {
    "keras-tuner": "KerasTuner",
    "optuna": "Optuna, `model.fit`",
    "optuna-2": "Optuna, `model.fit`, 2 processes",
    "topo-search": "topo-search, the list once",
    "topo-search-rounds": "topo-search, the list {rounds} times",
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all sides of a run have in common."""

    storage: Storage
    home: Path  # Of the private server, and of topo-search's worker.
    database: psutil.Process  # Its first process.
    cores: int
    peak: float  # Operations a second of one core.
    networks: int  # Of the list.


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Asked to end."))
    raw: dict[str, Any] = {"tables": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="throughput-")))
        home = folder / "home"
        stack.callback(remove_server, home)
        storage = stack.enter_context(opened(Settings(storage=None, home=home)))
        peaks = measured_peaks(folder)
        bench = Bench(
            storage=storage,
            home=home,
            database=postmaster(storage),
            cores=usable_cores(),
            peak=max(peaks.values()),
            networks=4 if arguments.quick else len(LISTED),
        )
        raw["about"] = environment(bench.cores, peaks)
        print(heading(raw["about"]), flush=True)
        try:
            for job in jobs(arguments):
                raw["tables"].append({"job": asdict(job), "sides": {}})
                table(bench, job, arguments.sides, folder, raw["tables"][-1])
        finally:  # What was measured before something went wrong is kept.
            write_json(arguments, raw)


def listed(known: Any) -> Callable[[str], list[str]]:
    """Return what takes an option's names apart, which must be among those known."""

    def names(text: str) -> list[str]:
        if wrong := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{min(wrong)} is none of {', '.join(known)}")
        return text.split(",")

    return names


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=listed(JOBS), help="By default all; quick, iris.")
    parser.add_argument("--sides", type=listed(SIDES), default=list(SIDES), help=", ".join(SIDES))
    parser.add_argument("--quick", action="store_true", help="4 networks, 2 rounds, 3 epochs.")
    parser.add_argument("--epochs", type=int, help="Instead of each table's; up to 10 is fair.")
    takes_json(parser)
    return parser.parse_args()


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """Return the tables asked for, and what is done with each."""
    names = arguments.tables or (["iris"] if arguments.quick else list(JOBS))
    chosen = [JOBS[name] for name in names]
    if arguments.quick:
        chosen = [replace(job, epochs=min(job.epochs, 3), rounds=min(job.rounds, 2))
                  for job in chosen]  # fmt: skip
    if arguments.epochs:
        chosen = [replace(job, epochs=arguments.epochs) for job in chosen]
    return chosen


def table(bench: Bench, job: Job, sides: list[str], folder: Path, raw: dict[str, Any]) -> None:
    """Measure all sides on one table, print its report and add the raw numbers."""
    place = folder / job.table
    place.mkdir()
    write_table(job, place)
    began = time.monotonic()
    prepared = ours.prepare(job, place)
    raw |= {"train": prepared.train, "valid": prepared.valid}
    raw["reading_twice"] = time.monotonic() - began
    print(
        f"\n## {job.table}: {prepared.train:,} + {prepared.valid:,} rows, {job.columns} columns, "
        f"{job.epochs} epochs, batches of {job.batch}\n\n{HEAD}",
        flush=True,
    )
    first: Measured | None = None
    for side in sides:
        if side == "topo-search-rounds" and job.rounds == 1:
            continue
        if side == "keras-tuner" and importlib.util.find_spec("keras_tuner") is None:
            print('<!-- KerasTuner is not installed: pip install -e ".[bench]" -->', flush=True)
            continue
        measured, more = one_side(bench, job, prepared, side, place)
        first = measured if side == "keras-tuner" else first
        print(row(measured, first, bench.peak, bench.cores), flush=True)
        raw["sides"][side] = {**asdict(measured), "an_hour": measured.an_hour, **more}
    shutil.rmtree(place)


def one_side(
    bench: Bench, job: Job, prepared: ours.Prepared, side: str, place: Path
) -> tuple[Measured, dict[str, Any]]:
    """Run one side's command over the list, and return what it did and what else is known."""
    rounds = job.rounds if side == "topo-search-rounds" else 1
    listed = points(job, bench.networks, rounds)
    write_job(job, listed, place)
    cores = float(bench.cores)
    environment = dict(os.environ)
    script = [sys.executable, str(HERE / "throughput_sides.py")]
    study = None
    if side == "keras-tuner":
        command = [*script, "keras-tuner", str(place)]
    elif side.startswith("optuna"):
        processes = 2 if side == "optuna-2" else 1
        url = new_database(bench.storage, f"{job.table}_{side}".replace("-", "_"))
        command = [*script, "optuna", str(place), url, str(processes)]
        cores = max(1.0, bench.cores / processes)
    else:
        space = ours.space_of(job, ours.with_our_rates(listed))
        study = ours.create(bench.storage, prepared, space)
        command, environment = ours.worker(study, bench.home)
        cores = 1.0
    used = metered(bench, command, environment, place)
    more: dict[str, Any] = {"meter": used}
    if study is None:
        trials = read_trials(place)
    else:
        trials, more["finishing"] = ours.results(bench.storage, study)
    if len(trials) != len(listed):
        raise SystemExit(f"{side} has {len(trials)} of {len(listed)} trials.")
    return Measured(
        side=SIDES[side].format(rounds=rounds),
        trials=trials,
        wall=used["wall"],
        cpu=used["user"] + used["system"],
        database_cpu=used["database_cpu"],
        peak=used["peak"],
        database_peak=used["peak_beside"],
        flops=sum(flops(job, point, prepared.train, prepared.valid) for point in listed),
        cores=cores,
    ), more


def metered(
    bench: Bench, command: list[str], environment: dict[str, str], place: Path
) -> dict[str, Any]:
    """Run a command and return what it used."""
    out, log = place / "used.json", place / "log"
    meter = [sys.executable, str(HERE / "throughput_meter.py"), str(out), str(bench.database.pid)]
    before = family_cpu(bench.database)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*meter, *command], env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            process.wait()
        except BaseException:  # Asked to end: nothing of the side stays behind.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    used: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if used["code"] != 0:
        raise SystemExit(f"{' '.join(command[1:4])} failed:\n{log.read_text()[-5_000:]}")
    return {**used, "database_cpu": family_cpu(bench.database) - before}


def new_database(storage: Storage, name: str) -> str:
    """Make a database on the private server and return its URL."""
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    return sa.make_url(storage.url).set(database=name).render_as_string(hide_password=False)


def measured_peaks(folder: Path) -> dict[str, float]:
    """Return the operations a second of one core, by library and size of the matrices."""
    command = [sys.executable, str(HERE / "throughput_sides.py"), "peak", str(folder)]
    subprocess.run(command, env={**os.environ, **ONE_THREAD}, stderr=subprocess.DEVNULL, check=True)
    peaks: dict[str, float] = json.loads((folder / "peak.json").read_text(encoding="utf-8"))
    return peaks


if __name__ == "__main__":
    main()
