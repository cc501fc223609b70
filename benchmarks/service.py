"""Cost of the service: an objective that trains nothing, through the real worker. Prints Markdown.

Ten parameters, three reports a trial, two slots, one worker, a private PostgreSQL; for each sampler
studies of which 100, 1,000 and 10,000 trials have ended, written there in bulk with random
parameters and all rows that the real calls would have left. Each is worked at three times, each
time in a fresh worker:

- as fast as it goes, the real command undisturbed: trials a second, processor time a trial;
- the same with accounts (`service_worker.py`), which slow it down by some per cent: where the time
  of the supervisor goes, statements and transactions a trial;
- for one size, trials that sleep so that both slots together end 10 a second: for how long a slot
  is idle between two trials, by its own clock.

Counted from the end of a worker's 10th trial to that of its last, so that starting, importing
TensorFlow and reading the study are left out. Processor time is that of the supervisor, of the
slots, which do nothing but talk, and of PostgreSQL with all its processes.

    python benchmarks/service.py [--quick] [--light] [--samplers tpe,random] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from service_fleet import Used, wait_for, worker
from service_study import Ended, ended_since, fill, idle_times, make
from surroundings import (
    environment,
    heading,
    postmaster,
    remove_server,
    server_version,
    takes_json,
    write_json,
)

from storage import studies
from storage.connection import Storage
from topo_search.machine import usable_cores
from topo_search.settings import Settings, opened

SIZES = (100, 1_000, 10_000)
PACED_SIZE = 1_000
PACE = 10.0  # Trials a second of both slots together.
SLOTS = 2
SKIPPED = 10  # Trials of a worker before anything counts.
RATES = {100: "≥ 15", 1_000: "≥ 15", 10_000: "≥ 8"}
CPU, IDLE = "≤ 40", "≤ 10"  # Milliseconds.
FAST_HEAD = (
    "| sampler | trials before | trials/s | asked for | CPU outside training, ms a trial | "
    "asked for | of it supervisor | slots | PostgreSQL |\n|---|---|---|---|---|---|---|---|---|"
)
PACED_HEAD = (
    "| sampler | trials before | trials/s | slot idle between trials, median ms | asked for | "
    "95 % | worst |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all parts of a run share."""

    storage: Storage
    home: Path  # Of the private server and of the workers.
    folder: Path
    database: psutil.Process  # Its first process.
    light: bool  # Whether slots do without TensorFlow.
    trials: int  # That a worker does.


def main() -> None:
    given = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Asked to end."))
    sizes = [SIZES[0]] if given.quick else SIZES
    raw: dict[str, Any] = {"about": environment(usable_cores()), "fast": [], "paced": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="service-")))
        home = folder / "home"
        stack.callback(remove_server, home)
        storage = stack.enter_context(opened(Settings(storage=None, home=home)))
        raw["about"]["versions"]["postgresql"] = server_version(storage)
        bench = Bench(
            storage=storage, home=home, folder=folder, database=postmaster(storage),
            light=given.light, trials=given.trials or (40 if given.quick else 200),
        )  # fmt: skip
        print(f"{heading(raw['about'])}\n\n{FAST_HEAD}", flush=True)
        try:
            for sampler in given.samplers:
                for size in sizes:
                    raw["fast"].append(fast(bench, sampler, size))
            print(f"\n{accounts_table(raw['fast'])}\n\n{PACED_HEAD}", flush=True)
            for sampler in given.samplers:
                size = sizes[0] if given.quick else PACED_SIZE
                raw["paced"].append(paced(bench, sampler, size))
        finally:  # What was measured before something went wrong is kept.
            write_json(given, raw)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    samplers = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--samplers", type=samplers, default=["tpe", "random"])
    parser.add_argument("--quick", action="store_true", help="40 trials after 100.")
    parser.add_argument("--trials", type=int, help="Of each worker, instead of 200.")
    parser.add_argument("--light", action="store_true", help="Slots do without TensorFlow.")
    takes_json(parser)
    given = parser.parse_args()
    if given.trials is not None and given.trials <= SKIPPED + 1:
        parser.error(f"Expected more than {SKIPPED + 1} trials.")
    return given


def fast(bench: Bench, sampler: str, size: int) -> dict[str, Any]:
    """Measure a study as fast as it goes, print its row, and count where the time goes."""
    trials, used = served(bench, sampler, size)
    counted, since, until = trials[SKIPPED:], trials[SKIPPED - 1].ended_at, trials[-1].ended_at
    cpu = [1000 * each / len(counted) for each in used.between(since, until)]
    rate = len(counted) / (until - since)
    cells = (
        *(sampler, f"{size:,}", f"**{rate:.1f}**", RATES.get(size, "")),
        *(f"**{sum(cpu):.0f}**", CPU, *(f"{each:.0f}" for each in cpu)),
    )
    print("| " + " | ".join(cells) + " |", flush=True)
    said = bench.folder / "accounts.json"
    told = {"accounts": str(said), "first": SKIPPED, "last": bench.trials}
    served(bench, sampler, size, told=told)
    return {
        **{"sampler": sampler, "before": size, "trials": len(trials), "rate": rate},
        "cpu": dict(zip(("supervisor", "slots", "postgresql"), cpu, strict=True)),
        "accounts": json.loads(said.read_text(encoding="utf-8")),
        "counted": bench.trials - SKIPPED,
    }


def paced(bench: Bench, sampler: str, size: int) -> dict[str, Any]:
    """Measure for how long slots are idle at a given rate, and print its row."""
    trials, _ = served(bench, sampler, size, seconds=SLOTS / PACE)
    counted = trials[SKIPPED:]
    rate = len(counted) / (trials[-1].ended_at - trials[SKIPPED - 1].ended_at)
    idle = [1000 * seconds for seconds in idle_times(counted)]
    middle, many = statistics.median(idle), statistics.quantiles(idle, n=20)[-1]
    cells = (
        *(sampler, f"{size:,}", f"{rate:.1f}", f"**{middle:.1f}**", IDLE),
        *(f"{many:.1f}", f"{max(idle):.0f}"),
    )
    print("| " + " | ".join(cells) + " |", flush=True)
    return {"sampler": sampler, "before": size, "rate": rate, "idle": idle}


def served(
    bench: Bench,
    sampler: str,
    size: int,
    *,
    seconds: float = 0.0,
    told: dict[str, Any] | None = None,
) -> tuple[Sequence[Ended], Used]:
    """Let a fresh worker do its trials of a fresh study; return them and what was used."""
    row = make(bench.storage, trials=size + bench.trials, sampler=sampler, seconds=seconds)
    fill(bench.storage, row, size)
    if bench.light:
        told = {**(told or {}), "light": True}
    log = bench.folder / "log"
    arguments = ("--slots", str(SLOTS), "--study", row.id, "--until-idle")
    process = worker(bench.home, *arguments, log=log, told=told)
    with Used(process.pid, bench.database) as used:
        wait_for(process, log)
    trials = ended_since(bench.storage, row.id, size)
    studies.delete(bench.storage, row.id)
    if len(trials) != bench.trials:
        raise SystemExit(f"{len(trials)} of {bench.trials} trials ended:\n{log.read_text()}")
    return trials, used


def accounts_table(measured: Sequence[dict[str, Any]]) -> str:
    """Return where the time of a trial goes in the supervisor, and its statements."""
    kinds = (
        *("sampler", "reading trials", "judging", "Optuna's rows", "our statements"),
        *("pipe", "the worker itself", "idle"),
    )
    names = [f"{one['sampler']}, {one['before']:,}" for one in measured]
    lines = [
        "With accounts: wall ms a trial (of it the supervisor's own CPU; statements)",
        "",
        "| | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]

    def line(name: str, cells: Sequence[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for kind in kinds:
        cells = []
        for one in measured:
            accounts, count = one["accounts"], one["counted"]
            wall, cpu = (1000 * accounts[of].get(kind, 0.0) / count for of in ("wall", "cpu"))
            asked = accounts["statements"].get(kind, 0) / count
            cells.append(f"{wall:.1f} ({cpu:.1f}" + (f"; {asked:.1f})" if asked else ")"))
        line(kind, cells)
    each = [(one["accounts"], one["counted"]) for one in measured]
    waited = [f"{1000 * accounts['answers'] / count:.1f}" for accounts, count in each]
    line("of all this waiting for PostgreSQL", waited)
    asked = [f"{sum(accounts['statements'].values()) / count:.1f}" for accounts, count in each]
    line("statements a trial", asked)
    line("transactions a trial", [f"{acc['transactions'] / count:.1f}" for acc, count in each])
    return "\n".join(lines)


if __name__ == "__main__":
    main()
