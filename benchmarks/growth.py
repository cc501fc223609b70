"""Growth: a fleet of 200 slots, many studies at once, a study of 100,000 trials. Prints Markdown.

Fleet: 20 workers with 10 slots each, over one PostgreSQL on TCP with the settings of
docker-compose.yml, all on this machine. Trials sleep 20 s. First there is one study, with TPE and
successive halving, then 50 are open at once. The workers are the real command with two changes:
their slots do without TensorFlow (`tests/acceptance/light_preload.py`), with which 200 would
need some 30 GB, and every claim is timed (`service_worker.py`).

Study: a study of 100,000 ended trials, written in bulk, beside one of 10,000; a fresh worker, the
real command with the same two changes, takes it up and goes on; then the web service shows it.

    python benchmarks/growth.py [--quick] [--parts fleet,study] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import growth_fleet as fleet
import growth_study
from growth_fleet import Size, ninety_nine
from surroundings import environment, heading, remove_server, takes_json, write_json

from topo_search.machine import usable_cores
from topo_search.settings import Settings, opened

FULL = Size(workers=20, slots=10, seconds=20.0, window=60.0, studies=50)
QUICK = Size(workers=2, slots=3, seconds=2.0, window=6.0, studies=5)
SIZES = {False: (10_000, 100_000), True: (200, 1_000)}
TRIALS = {False: 60, True: 15}  # That the worker does of each.


def main() -> None:
    given = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Asked to end."))
    raw: dict[str, Any] = {"about": environment(usable_cores())}
    print(heading(raw["about"]), flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            if "fleet" in given.parts:
                size = QUICK if given.quick else FULL
                raw["fleet"] = fleet.measured(size, Path(folder))
                print(f"\n{fleet_table(size, raw['fleet'])}", flush=True)
            if "study" in given.parts:
                raw["studies"] = of_studies(Path(folder), given)
                print(f"\n{study_table(raw['studies'])}", flush=True)
    finally:
        write_json(given, raw)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--parts", type=parts, default=["fleet", "study"])
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe", help="Of the study.")
    parser.add_argument("--quick", action="store_true", help="A small version of all.")
    takes_json(parser)
    return parser.parse_args()


def of_studies(folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure studies of two sizes, each on a private server of its own."""
    found = []
    for size in SIZES[given.quick]:
        with ExitStack() as stack:
            home = folder / f"of-{size}" / "home"
            home.parent.mkdir()
            stack.callback(remove_server, home)
            storage = stack.enter_context(opened(Settings(storage=None, home=home)))
            trials, sampler = TRIALS[given.quick], given.sampler
            found.append(growth_study.measured(storage, home, size, trials=trials, sampler=sampler))
    return found


def fleet_table(size: Size, seen: dict[str, Any]) -> str:
    """Return what was seen of a fleet."""
    one, many = seen["one"], seen["many"]

    def both(written: Any) -> tuple[str, str]:
        return written(one), written(many)

    def claims(kind: str) -> Any:
        def written(part: dict[str, Any]) -> str:
            took = [1000 * seconds for seconds in part[kind]]
            if not took:
                return "none"
            return f"{ninety_nine(took):.0f} (median {statistics.median(took):.0f}, {len(took)})"

        return written

    name = f"{size.workers} workers × {size.slots} slots, trials of {size.seconds:g} s"
    rows = (
        ("slots at work", "≥ 95 %", *both(lambda part: f"**{part['busy']:.1%}**")),
        ("trials ended a second", "", *both(lambda p: f"{p['ended'] / size.window:.1f}")),
        ("connections, at most", "≤ 60", *both(lambda part: f"**{part['connections']}**")),
        ("a claim, 99 % within, ms", "", *both(claims("claims"))),
        ("of it taking the lease, ms", "", *both(claims("claims_in_database"))),
        ("cores used by supervisors", "", *both(lambda part: f"{part['supervisors']:.2f}")),
        ("cores used by PostgreSQL", "", *both(lambda part: f"{part['postgresql']:.2f}")),
    )
    lines = [
        f"{name}; {seen['memory'] / 2**30:.1f} GiB without TensorFlow; all slots at work "
        f"{seen['starting']:.0f} s after the first start; load {os.getloadavg()[0]:.1f}",
        "",
        f"| | asked for | 1 study | {size.studies} studies |\n|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def study_table(seen: Sequence[dict[str, Any]]) -> str:
    """Return what was seen of studies of several sizes."""

    def row(name: str, target: str, written: Any) -> str:
        return "| " + " | ".join((name, target, *(written(one) for one in seen))) + " |"

    def page(kind: str) -> Any:
        def written(one: dict[str, Any]) -> str:
            cost = one["web"][kind]
            return (
                f"{cost['bytes'] / 1000:.0f} KB, {1000 * cost['seconds']:.0f} ms, "
                f"{1000 * cost['cpu']:.0f} ms CPU"
            )

        return written

    first = lambda one: one["web"]["first_visit"]  # noqa: E731
    change = lambda one: one["web"]["first_change"]  # noqa: E731
    return "\n".join(
        [
            "| | asked for | " + " | ".join(f"{one['size']:,} trials" for one in seen) + " |",
            "|---|---|" + "---|" * len(seen),
            row("a worker's first claim after its start, s", "≤ 20",
                lambda one: f"**{one['worker']['opened']:.1f}** (the claim "
                            f"{one['worker']['first_claim']:.1f})"),
            row("its memory at most, MB", "≤ 800",
                lambda one: f"**{one['worker']['peak'] / 1e6:.0f}**"),
            row("trials/s then", "≥ 3", lambda one: f"**{one['worker']['rate']:.1f}**"),
            row("page, first visit", "", lambda one: f"{first(one)['bytes'] / 1000:.0f} KB, "
                                                     f"{first(one)['seconds']:.2f} s"),
            row("its first change", "", lambda one: f"{change(one)['bytes'] / 1000:.0f} KB, after "
                f"{change(one)['seconds']:.1f} s, {change(one)['cpu']:.1f} s CPU"),
            row("page, later visit", "as 10,000", page("page")),
            row("a page of trials", "as 10,000", page("trials")),
            row("memory of the service at most, MB", "",
                lambda one: f"{one['web']['peak'] / 1e6:.0f}"),
            row("deleting it, s", "", lambda one: f"{one['deleted']:.1f}"),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
