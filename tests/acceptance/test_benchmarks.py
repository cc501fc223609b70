"""Each benchmark at the smallest size there is, so that none of them rots."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SCRIPTS = {
    path.name
    for path in (ROOT / "benchmarks").glob("*.py")
    if "ArgumentParser(" in path.read_text(encoding="utf-8")
}
LONG = {"quality.py"}  # Takes hours, and goes on where it was ended: by hand.
SMALLEST = {  # What each prints then; the others have tests of their own.
    "throughput.py --quick --sides topo-search --epochs 1": r"\| topo-search\b.*\| +[1-9]",
    "training.py --tables iris --topologies 1 --rounds 1": r"\| iris \| topo-search",
    "depth.py --deepest 10 --tables iris": r"10 networks in \d+ s",
    "start.py --quick": r"first epoch",
    "tables.py --tables iris --seeds 1 --trials 2": r"\| iris, median of 1 seeds \| accuracy",
    "faults.py --minutes 0.05 --workers 2": r"0\.05 minutes, seed 0",
    "web.py --quick --parts study": r"\| 500 trials: page, first visit \|",
}


def test_make_knows_every_benchmark_and_a_small_version_of_it() -> None:
    for target in ("bench", "bench-quick"):
        _, _, recipe = MAKEFILE.partition(f"\n{target}: ")
        commands = re.findall(r"benchmarks/(\w+\.py)(.*)", recipe.partition("\n\n")[0])
        left_out = LONG if target == "bench" else set()
        assert {script for script, _ in commands} == SCRIPTS - left_out
        if target == "bench-quick":
            assert all(options for _, options in commands)


@pytest.mark.benchmark
@pytest.mark.parametrize("command", SMALLEST)
def test_at_its_smallest_it_prints_its_figures(command: str) -> None:
    script, *options = command.split()
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(SMALLEST[command], done.stdout), done.stdout
