"""Time to quality: KerasTuner, plain Optuna and topo-search, the same minutes on the same tables.

Each side is a command of its own, one after the other:

- KerasTuner's Hyperband and BayesianOptimization, with its own settings and checkpoints;
- Optuna in memory: TPE, and the median pruner asked after every epoch of `model.fit`;
- `topo-search search` with its defaults and `--timeout`, on all cores; also with `--pruner none`,
  and on tables so small that it would cross-validate, with `--validation holdout`.

The others share one space, as broad as topo-search's: depth 1 to 6, width 16 to 512, activation,
dropout, learning rate, batch size; AdamW, 100 epochs at most, early stopping with the best weights
restored. Numbers come to them standardised and categories one-hot, ready in memory: no clock counts
that, where topo-search reads and prepares its CSV while the clock runs.

The machine should be a quiet one. topo-search's slots train at a low priority, and so do the others
here: what else there is takes as much from each side, but more than its share. How many cores it
took just before each run stands in the report.

All have the same test rows, and the same rows to train and validate with. Of these the others hold
a fifth out, by the seed, with topo-search's own split; where topo-search holds rows out, they are
the same rows. It does from 5,000 on. Digits and phoneme have fewer: there its score is the mean of
5 folds, five trainings a trial, and steadier than the score of a few hundred rows, of which the
best of many trials flatters itself more. So a peer's best is harder for it to reach than it looks;
the side with `--validation holdout` is scored on the peers' own rows.

Time runs from the start of a side's command, with all imports. Its score over time is the best
validation score so far, as trials end; a peer's trial that is cut by the end of its time counts
with the best epoch it had, ours that are do not count. The test score beside it is that of the
network which was best by validation: the others predict the test rows with each new best, in time
that is not counted; topo-search tells it at the end alone, when the winner is trained once more on
all but the test rows. That comes after `--timeout`, and so do trials that ended while the clock
had run out and `--timeout`, which begins with the first trial, had not: they are not on the curve,
and where the winner is one of them its test score is left out.

"Time to reach another's final score" is by validation score. Scores of different splits, and of
few rows, are noisy: look at the test scores, too. Where it is never reached there is no ratio; the
median over seeds counts that as longer than anything.

Pruning is compared at equal numbers of trials, with the seed's run without pruning: neither knows
its budget, so the first N trials are what a search of N trials is. Noise is the standard deviation,
over seeds, of the final score without pruning.

Results are added to FILE as each run ends, and what it has is not run again: a long benchmark can
be stopped and continued. The others do not know how long they have either: for 3 minutes they are
read off the curve of 10. `--report` prints a file's tables, and runs nothing.

    python benchmarks/quality.py --json FILE [--tables digits,adult] [--sides …] [--seeds 0,1,2]
    python benchmarks/quality.py --quick | --report FILE

KerasTuner comes with `pip install -c constraints.txt -e ".[bench]"`. All but digits lie in
../shared/data beside a checkout on the project's own machines; where absent they are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import quality_ours as ours
from quality_curves import Run, Trial, final, final_test, read_runs, write_runs
from quality_report import PEERS, SIDES, report
from quality_world import SOURCES, Prepared, absent, prepare
from throughput import listed
from throughput_report import environment

from topo_search.machine import usable_cores
from topo_search.slot import NICENESS

HERE = Path(__file__).parent
LOOK = 2.0  # Seconds of looking at what else the machine does.
CROSS_VALIDATED = ("digits", "phoneme")  # By topo-search's defaults.
Key = tuple[str, str, int, float]  # Of a run: table, side, seed, minutes.


def main() -> None:
    arguments = parsed()
    if arguments.report:
        print(report(read_runs(arguments.report)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Asked to end."))
    for name in ("TOPO_SEARCH_STORAGE", "TOPO_SEARCH_STORAGE_FILE"):
        os.environ.pop(name, None)  # Every search has a private server of its own.
    runs = read_runs(arguments.json) if arguments.json else []
    tables, sides = available(arguments.tables, arguments.sides)
    todo = [*missing(runs, tables, sides, arguments.seeds, arguments.minutes)]
    for place, key in enumerate(todo, start=1):
        print(f"{place} of {len(todo)}: {named(key)}", end="", flush=True)
        runs.append(one_run(*key))
        print(told(runs[-1]), flush=True)
        if arguments.json:
            write_runs(runs, arguments.json)
    print("\n" + report(runs))


def parsed() -> argparse.Namespace:
    def numbers(kind: type) -> Callable[[str], list[Any]]:
        return lambda text: [kind(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=listed(SOURCES), default=list(SOURCES))
    parser.add_argument("--sides", type=listed(SIDES), default=list(SIDES), help=", ".join(SIDES))
    parser.add_argument("--seeds", type=numbers(int), default=[0, 1, 2], help="As 0,1,2.")
    parser.add_argument("--minutes", type=numbers(float), default=[3.0, 10.0], help="As 3,10.")
    parser.add_argument("--quick", action="store_true", help="Digits, 20 s a side, one seed.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Add the runs to it.")
    parser.add_argument("--report", type=Path, metavar="FILE", help="Only print its tables.")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.tables, arguments.seeds, arguments.minutes = ["digits"], [0], [20 / 60]
    return arguments


def available(tables: list[str], sides: list[str]) -> tuple[list[str], list[str]]:
    """Return the tables and sides that can run here, and say which cannot."""
    for table in filter(absent, tables):
        print(f"{table} is left out: there is no {SOURCES[table].file} in ../shared/data.")
    tuners = [side for side in sides if side in ("hyperband", "bayesian")]
    if tuners and importlib.util.find_spec("keras_tuner") is None:
        print('KerasTuner is left out: pip install -c constraints.txt -e ".[bench]"')
        sides = [side for side in sides if side not in tuners]
    return [table for table in tables if not absent(table)], sides


def missing(
    runs: Sequence[Run],
    tables: Sequence[str],
    sides: Sequence[str],
    seeds: Sequence[int],
    minutes: Sequence[float],
) -> Iterator[Key]:
    """Yield the runs that are still to be done, all of one seed before those of the next.

    A peer's longest run has its shorter ones in it.
    """
    there = {run.key for run in runs}
    for seed in seeds:
        for table in tables:
            for side in sides:
                if side == "holdout" and table not in CROSS_VALIDATED:
                    continue  # As by default.
                for length in [max(minutes)] if side in PEERS else minutes:
                    longest = max((key[3] for key in there if key[:3] == (table, side, seed)),
                                  default=0.0)  # fmt: skip
                    done = longest >= length if side in PEERS else False
                    if not done and (table, side, seed, length) not in there:
                        yield table, side, seed, length


def one_run(table: str, side: str, seed: int, minutes: float) -> Run:
    """Let one side search."""
    others = psutil.cpu_percent(interval=LOOK) * psutil.cpu_count() / 100
    about = {**environment(usable_cores(), {}), "others": others}
    with tempfile.TemporaryDirectory(prefix="quality-") as text:
        folder = Path(text)
        prepared = prepare(table, seed, folder)
        if side in PEERS:
            trials, test, wall = peer(side, seed, 60 * minutes, folder)
        else:
            target = SOURCES[table].target
            trials, test, wall = ours.search(side, target, seed, 60 * minutes, folder)
    return Run(
        table=table, side=side, seed=seed, minutes=minutes, trials=trials, test=test, wall=wall,
        about=about, **described(prepared),
    )  # fmt: skip


def described(prepared: Prepared) -> dict[str, Any]:
    return {"metric": prepared.metric, "direction": prepared.direction, "rows": prepared.rows}


def peer(side: str, seed: int, seconds: float, folder: Path) -> tuple[list[Trial], None, float]:
    """Run another side's command; return what its trials gave, and its wall seconds."""
    log, started = folder / "log", time.time()
    script = [sys.executable, str(HERE / "quality_peers.py"), side, str(folder)]
    command = ["nice", "-n", str(NICENESS), *script, str(seed), str(started), str(seconds)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            process.wait()
        except BaseException:  # Asked to end: so is the side.
            process.kill()
            process.wait()
            raise
    wall = time.time() - started
    if process.returncode != 0:
        raise SystemExit(f"{side} failed:\n{log.read_text(errors='replace')[-5_000:]}")
    data = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    return [Trial(**trial) for trial in data], None, wall


def named(key: Key) -> str:
    table, side, seed, minutes = key
    return f"{table}, {SIDES[side]}, seed {seed}, {minutes:.3g} min"


def told(run: Run) -> str:
    """Return a few words on what a run gave."""
    best, test = final(run), final_test(run)
    scores = ", ".join("–" if score is None else f"{score:.5g}" for score in (best, test))
    return f": {len(run.ended)} trials, validation and test {run.metric} {scores}; {run.wall:.0f} s"


if __name__ == "__main__":
    main()
