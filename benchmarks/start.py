"""Start and size: `--help`, a worker's first epoch, the memory of a slot, what an install takes.

    python benchmarks/start.py [--quick] [--json FILE]

- `topo-search --help`, the real command, several times.
- A worker, the real command, on a study that waits: seconds from its start to the first report of
  a trial, which is that of the first epoch. Nothing of topo-search runs before, so that the fork
  server is cold; the private PostgreSQL runs.
- What each of two slots adds in memory on Adult, where it lies in ../shared/data beside a
  checkout on the project's own machines, or else on a table of its size; --quick takes Iris.
- Bytes of the files of each package that an install brings, with what depends on what.

Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement
from surroundings import environment, heading, remove_server, takes_json, write_json
from tables import DATA
from throughput_world import JOBS, TARGET, write_table
from web_world import IRIS, command, end

from storage import studies
from storage.connection import Storage
from topo_search import study
from topo_search.machine import usable_cores
from topo_search.settings import Settings, opened
from topo_search.study import Options

COMMAND = Path(sys.executable).with_name("topo-search")
LONGEST = 300.0  # Seconds that anything is waited for.
SAMPLED = 0.5  # Seconds between two looks at memory.
LISTED = 10  # Packages that are named.
HEAD = "| what | target | measured |\n|---|---|---|"


def show(what: str, target: str, measured: str) -> None:
    print(f"| {what} | {target} | {measured} |", flush=True)


def help_seconds(times: int) -> list[float]:
    """Return the seconds that `--help` took, each time."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([COMMAND, "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return taken


def first_epoch(storage: Storage, home: Path) -> float:
    """Return the seconds from a worker's start to its first report."""
    row, _ = study.create(storage, iris()[1])
    began = time.monotonic()
    worker = command(home, "worker", "--study", row.id, "--slots", "1", stderr=subprocess.DEVNULL)
    try:
        while not reports(storage, row.optuna_study_id):
            if time.monotonic() - began > LONGEST or worker.poll() is not None:
                raise SystemExit("The worker trains nothing.")
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        end(worker)
        studies.delete(storage, row.id)


def reports(storage: Storage, optuna_study: int) -> int:
    """Return how many values the trials of a study have reported."""
    with storage.transaction() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*) FROM trial_intermediate_values v JOIN trials t USING (trial_id) "
            "WHERE t.study_id = %s",
            (optuna_study,),
        )
        return int(found.scalar_one())


def own_memory(storage: Storage, home: Path, options: Options, seconds: float) -> dict[int, Any]:
    """Return what each of two slots had of its own (USS), in MB, twice a second, by process.

    Memory that no other process has is what would not be used without the slot. A slot that is
    replaced has another number. Seconds count from the first report.
    """
    row, _ = study.create(storage, options)
    asked = ("worker", "--study", row.id, "--slots", "2")
    worker = command(home, *asked, stderr=subprocess.DEVNULL)
    root, began, until = psutil.Process(worker.pid), time.monotonic(), None
    seen: dict[int, Any] = {}
    try:
        while (until is None or time.monotonic() < until) and worker.poll() is None:
            if until is None and reports(storage, row.optuna_study_id):
                until = time.monotonic() + seconds
            if time.monotonic() > began + LONGEST:
                raise SystemExit("The worker trained nothing in its time.")
            for process in root.children(recursive=True):
                try:
                    if process.ppid() != root.pid:  # The fork server's children are slots.
                        own = process.memory_full_info().uss / 1e6
                        seen.setdefault(process.pid, []).append(own)
                except psutil.Error:
                    continue  # It has just ended.
            time.sleep(SAMPLED)
        return seen
    finally:
        end(worker)
        studies.delete(storage, row.id)


def iris() -> tuple[str, Options]:
    """Return the name of a table that is read in no time, and what is asked of it."""
    data = IRIS.read_bytes()
    return "Iris", Options(data=data, file="iris.csv", target="species", trials=1000)


def adult(folder: Path) -> tuple[str, Options]:
    """Return the name of the table and what is asked of it: Adult, or one of its size."""
    file = DATA / "adult.csv"
    if file.exists():
        data = file.read_bytes()
        return "Adult", Options(data=data, file=file.name, target="income", trials=1000)
    job = JOBS["adult-sized"]
    write_table(job, folder)
    data = (folder / "table.csv").read_bytes()
    return job.table, Options(data=data, file="table.csv", target=TARGET, trials=1000)


def installed() -> dict[str, tuple[int, str]]:
    """Return the bytes of each package that topo-search needs, and which need of ours brings it."""
    found: dict[str, tuple[int, str]] = {}

    def add(name: str, needed_by: str) -> None:
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            return
        package = metadata.distribution(name)
        files = (Path(str(package.locate_file(file))) for file in package.files or ())
        found[key] = sum(file.stat().st_size for file in files if file.is_file()), needed_by
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                add(needed.name, needed_by or needed.name)

    add("topo-search", "")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="Once each, and shorter.")
    takes_json(parser)
    given = parser.parse_args()
    times, seconds = (1, 8.0) if given.quick else (5, 120.0)
    raw: dict[str, Any] = {"environment": environment(usable_cores())}
    print(f"{heading(raw['environment'])}\n\n{HEAD}", flush=True)
    raw["help"] = help_seconds(times)
    show("`--help`, median", "≤ 0.3 s", f"{statistics.median(raw['help']):.2f} s")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = folder / "home"
        stack.callback(remove_server, home)
        storage = stack.enter_context(opened(Settings(storage=None, home=home)))
        raw["first"] = [first_epoch(storage, home) for _ in range(times)]
        measured = f"{statistics.median(raw['first']):.1f} s ({max(raw['first']):.1f} at most)"
        show("a worker's start to its first epoch, cold, median", "≤ 5 s", measured)
        name, options = iris() if given.quick else adult(folder)
        raw["own"] = own_memory(storage, home, options, seconds)
    for number, own in enumerate(raw["own"].values(), 1):
        measured = f"{statistics.median(own):,.0f} MB, {max(own):,.0f} at most"
        show(f"memory that slot process {number} adds on {name}", "≤ 250 MB", measured)
    raw["installed"] = installed()
    sizes = sorted(raw["installed"].items(), key=lambda item: -item[1][0])
    total = sum(size for size, _ in raw["installed"].values())
    show(f"an install, {len(sizes)} packages", "", f"{total / 1e6:,.0f} MB")
    for name, (size, needed_by) in sizes[:LISTED]:
        also = "" if needed_by.lower() in ("", name) else f", for {needed_by}"
        show(f"of it {name}{also}", "", f"{size / 1e6:,.0f} MB")
    write_json(given, {**raw, "load": os.getloadavg()})


if __name__ == "__main__":
    main()
