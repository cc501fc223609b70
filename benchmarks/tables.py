"""The whole command on real tables: test score, wall time, and peak memory of all its processes.

Iris with 5 seeds, and four larger tables that lie in ../shared/data beside a checkout on the
project's own machines; where they are absent they are left out, and that is said. Prints Markdown.

    python benchmarks/tables.py [--tables iris,adult,california,phoneme,telco] [--timeout 8m]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from surroundings import environment, heading, takes_json, write_json

from topo_search.machine import usable_cores

HERE = Path(__file__).parent
IRIS = HERE.parent / "examples" / "iris.csv"
DATA = HERE.parent.parent / "shared" / "data"
ADULT_TEST_ROWS = 16_281  # UCI's adult.test, the first rows of the file.
TARGETS = {"adult": 0.857, "california": 51_000, "phoneme": 0.88, "telco": 0.79}


def command(name: str, folder: Path) -> list[str]:
    """Return the arguments of `topo-search search` for a table."""
    if name == "adult":
        header, *rows = (DATA / "adult.csv").read_bytes().splitlines(keepends=True)
        (folder / "test.csv").write_bytes(header + b"".join(rows[:ADULT_TEST_ROWS]))
        (folder / "train.csv").write_bytes(header + b"".join(rows[ADULT_TEST_ROWS:]))
        return [
            str(folder / "train.csv"), "--target", "income",
            "--test-file", str(folder / "test.csv"),
        ]  # fmt: skip
    return {
        "california": [str(DATA / "california_housing.csv"), "--target", "median_house_value"],
        "phoneme": [str(DATA / "phoneme_noheader.csv"), "--target", "-1"],
        "telco": [str(DATA / "telco_churn.csv"), "--target", "Churn"],
    }[name]


def searched(arguments: list[str], folder: Path) -> tuple[dict, float, float]:
    """Run a search; return what it printed, its wall seconds and its peak memory in GB."""
    environment = {**os.environ, "TOPO_SEARCH_HOME": str(folder / "home")}
    executable = str(Path(sys.executable).with_name("topo-search"))
    started = time.monotonic()
    process = subprocess.Popen(
        [executable, "search", *arguments, "--report", str(folder / "report.html"), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    peak = Peak(process.pid)
    try:
        output, _ = process.communicate()
    except BaseException:  # Asked to end: so is the search.
        process.terminate()
        process.wait()
        raise
    finally:
        peak.done.set()
    if process.returncode != 0:
        raise SystemExit(f"search {' '.join(arguments)} ended with {process.returncode}")
    return json.loads(output), time.monotonic() - started, peak.bytes / 1e9


class Peak(threading.Thread):
    """Sums the proportional memory of a process and all its descendants, and keeps the peak."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.bytes, self.done = psutil.Process(pid), 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.wait(2.0):
            total = 0
            try:
                family = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                return
            for process in family:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue  # It has just ended.
            self.bytes = max(self.bytes, total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="iris,adult,california,phoneme,telco")
    parser.add_argument("--timeout", default="8m")
    parser.add_argument("--seeds", type=int, default=5, help="Of Iris.")
    parser.add_argument("--trials", type=int, default=30, help="Of Iris.")
    takes_json(parser)
    arguments = parser.parse_args()
    raw: dict[str, Any] = {"about": environment(usable_cores()), "tables": {}}
    print(f"{heading(raw['about'])}\n")
    print("| table | metric | target | test score | 95 % | linear | boosting "
          "| trials | wall s | peak GB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.tables.split(","):
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            if name == "iris":
                raw["tables"][name] = iris(folder, arguments.seeds, arguments.trials)
            elif not DATA.is_dir():
                print(f"| {name} | left out: no {DATA} |")
            else:
                asked = [*command(name, folder), "--timeout", arguments.timeout]
                one = searched([*asked, "--trials", "200"], folder)
                raw["tables"][name] = [one]  # What the command said, wall seconds, peak GB.
                show(name, TARGETS[name], *one)
        write_json(arguments, raw)


def iris(folder: Path, seeds: int, trials: int) -> list[tuple[dict, float, float]]:
    """Print the median of Iris over its seeds, and return each."""
    asked = [str(IRIS), "--target", "species", "--trials", str(trials), "--seed"]
    runs = [searched([*asked, str(seed)], folder) for seed in range(seeds)]
    scores = [found["test"]["value"] for found, _, _ in runs]
    walls = sorted(wall for _, wall, _ in runs)
    middle = sorted(runs, key=lambda run: run[0]["test"]["value"])[len(runs) // 2]
    show(f"iris, median of {seeds} seeds", 0.93, *middle)
    print(f"<!-- iris scores {scores}, median {statistics.median(scores):.3f}; "
          f"wall {walls[0]:.0f} to {walls[-1]:.0f} s -->")  # fmt: skip
    return runs


def show(name: str, target: float, found: dict, wall: float, peak: float) -> None:
    digits = ".0f" if target > 10 else ".4f"
    test, baselines, trials = found["test"], found["baselines"], found["trials"]
    print(
        f"| {name} | {found['metric']} | {target:g} | {test['value']:{digits}} "
        f"| {test['low']:{digits}} to {test['high']:{digits}} "
        f"| {baselines['linear']:{digits}} | {baselines['boosting']:{digits}} "
        f"| {trials['finished']} ({trials['pruned']} pruned) | {wall:.0f} | {peak:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
