"""The web service under load: a large study, many viewers, a large upload. Prints Markdown.

Against the real command in a process of its own, with a private PostgreSQL in a temporary home.

    python benchmarks/web.py [--quick] [--parts study,viewers,upload] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from surroundings import environment, heading, takes_json, write_json
from web_viewers import Busy, watched
from web_world import IRIS, MB, Peak, Web, command, end, large_study, write_table

from objectives.space import Space
from storage import claiming, embedded, trials
from storage.connection import Storage, connect
from storage.rows import StudyRow, Taker
from topo_search import study
from topo_search.machine import usable_cores
from topo_search.sampling import Sampler
from topo_search.study import Options

LOOKS = 50
FIRST = 120.0  # Seconds in which the worker must have trained something.
SETTLED = 3.0  # Seconds after viewers have come or gone that are not counted.
kB = 1000
PAGE = "≤ 300 KB, ≤ 1 s"


SHOWN: list[dict[str, Any]] = []


def show(what: str, target: str, measured: str, **raw: Any) -> None:
    """Print a row of the table, and keep it with its raw numbers."""
    SHOWN.append({"what": what, "target": target, "measured": measured, **raw})
    print(f"| {what} | {target} | {measured} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default="study,viewers,upload")
    parser.add_argument("--quick", action="store_true", help="A small version of all.")
    parser.add_argument("--rounds", type=int, default=5, help="Without viewers, then with.")
    takes_json(parser)
    given = parser.parse_args()
    size = {"trials": 10_000, "viewers": 100, "window": 40.0, "bytes": 100 * MB}
    if given.quick:
        size = {"trials": 500, "viewers": 10, "window": 10.0, "bytes": 5 * MB}
    about = environment(usable_cores())
    print(f"{heading(about)}\n")
    print("| what | target | measured |\n|---|---|---|")
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
            home = Path(text) / "home"
            with embedded.serve(home) as url:
                storage = connect(url)
                try:
                    if part == "study":
                        of_a_large_study(storage, home, int(size["trials"]))
                    elif part == "viewers":
                        rounds = 1 if given.quick else given.rounds
                        of_viewers(storage, home, int(size["viewers"]), size["window"], rounds)
                    else:
                        of_an_upload(home, int(size["bytes"]))
                finally:
                    storage.close()
            # For root it lies elsewhere, as PostgreSQL refuses to run as root.
            shutil.rmtree((home / "server").resolve(), ignore_errors=True)
        write_json(given, {"about": about, "rows": SHOWN})


@contextmanager
def served(home: Path) -> Iterator[Web]:
    web = Web(home)
    try:
        yield web
    finally:
        web.end()


def of_a_large_study(storage: Storage, home: Path, count: int) -> None:
    row, key, _ = large_study(storage, count)
    name = f"{count:,} trials"
    with served(home) as web, Peak(web.family) as peak:
        page, took = web.get(f"/s/{key}")
        show(
            f"{name}: page, first visit",
            "≤ 300 KB, ≤ 1 s",
            f"{len(page) / kB:.0f} KB, {took:.2f} s",
        )
        began, cpu = time.perf_counter(), web.cpu
        with web.events(key) as stream:
            first = next(stream)
        took, cpu = time.perf_counter() - began, web.cpu - cpu
        show(
            f"{name}: first change, first visit",
            "",
            f"after {took:.2f} s, {len(first) / kB:.0f} KB, {cpu:.2f} s CPU",
        )
        page, took = web.get(f"/s/{key}")
        show(
            f"{name}: page, later visit",
            "≤ 300 KB, ≤ 1 s",
            f"{len(page) / kB:.0f} KB, {took:.3f} s",
        )
        began = time.perf_counter()
        with web.events(key) as stream:
            first = next(stream)
            took = time.perf_counter() - began
            show(
                f"{name}: first change, later visit",
                "",
                f"after {took:.3f} s, {len(first) / kB:.0f} KB",
            )
            of_one_more_trial(web, storage, row, key, stream)
        of_pages(web, key, name)
    memory = f"RSS {peak.rss / MB:.0f} MB, PSS {peak.pss / MB:.0f} MB"
    show(f"{name}: peak memory of the service", "", memory)


def of_one_more_trial(
    web: Web, storage: Storage, row: StudyRow, key: str, stream: Iterator[bytes]
) -> None:
    before = figures(web, key)
    finished = json.loads(web.get(f"/v1/studies/{key}")[0])["trials"]["finished"]
    cpu, sent, changes, began = web.cpu, 0, 0, time.perf_counter()
    ended_at = end_a_trial(storage, row)
    for data in stream:
        sent, changes = sent + len(data), changes + 1
        if json.loads(data[len(b"data: ") :])["state"]["trials"]["finished"] > finished:
            break
    seen_at, cpu = time.perf_counter(), web.cpu - cpu
    had = {name: json.loads(figure)["digest"] for name, figure in before.items()}
    after = figures(web, key, had)
    changed = [name for name in after if json.loads(after[name])["digest"] != had.get(name)]
    show(
        "one more trial", "as much as changed",
        f"{changes} changes of {sent / changes / kB:.0f} KB, the last {seen_at - ended_at:.1f} s "
        f"after its end, {cpu:.2f} s CPU in {seen_at - began:.1f} s",
    )  # fmt: skip
    sizes = sum(len(after[name]) for name in changed)
    packed = sum(len(gzip.compress(after[name])) for name in changed)
    page = len(web.get(f"/v1/studies/{key}/trials?size=20")[0])
    show(
        "one more trial: what a page fetches then", "as much as changed",
        f"{len(changed)} of {len(after)} charts, {sizes / kB:.0f} KB ({packed / kB:.0f} KB packed) "
        f"as they come into view; a page of trials, {page / kB:.0f} KB",
    )  # fmt: skip


def end_a_trial(storage: Storage, row: StudyRow) -> float:
    """Train a trial, as far as the database knows, and return when it had ended."""
    space = Space.from_json(row.plan["space"])
    sampler = Sampler(space, "maximize", "random", 1)
    draws = SimpleNamespace(prepare=lambda: None, draw=lambda unit: sampler.draw((), 10**6))
    lease = claiming.claim(storage, row.id, Taker(owner="host-2"), draws)
    assert lease is not None
    trials.begin(storage, lease, space.distributions())
    trials.report(storage, lease, 4, 0.5)
    topology, _ = space.decode(lease.parameters)
    described = {
        "topology": str(topology),
        "depth": topology.depth,
        "weights": 1000,
        "seconds": 1.0,
    }
    curve = {"epochs": 9, "best_epoch": 9, "curve": [0.5] * 9, "losses": [0.5] * 9}
    assert trials.end(storage, lease, state="complete", value=0.7, attributes=described | curve)
    return time.perf_counter()


def figures(web: Web, key: str, had: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """Fetch the charts as a page does that `had` others, by digest."""
    base, known = f"/v1/studies/{key}/figures", had or {}
    names = json.loads(web.get(base)[0])
    return {name: web.get(f"{base}/{name}?had={known.get(name, '')}")[0] for name in names}


def of_pages(web: Web, key: str, name: str) -> None:
    sorts = ("rank", "trial", "value", "topology", "seconds")
    cpu, taken = web.cpu, []
    for look in range(LOOKS):
        query = f"page={look % 20 + 1}&size=20&sort={sorts[look % len(sorts)]}"
        found, took = web.get(f"/v1/studies/{key}/trials?{query}")
        taken.append(took * 1000)
    show(
        f"{name}: a page of trials, {LOOKS} calls", "",
        f"{len(found) / kB:.0f} KB, median {statistics.median(taken):.0f} ms, "
        f"95 % {ninety_five(taken):.0f} ms, {(web.cpu - cpu) / LOOKS * 1000:.0f} ms CPU", ms=taken,
    )  # fmt: skip


def ninety_five(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def of_viewers(storage: Storage, home: Path, count: int, window: float, rounds: int) -> None:
    # Trials that are alike, so that windows can be compared; Iris has the shortest there are.
    options = Options(
        data=IRIS.read_bytes(), file="iris.csv", target="species", trials=100_000, sampler="random",
        pruner="none", limits={"depth": "3", "width": "64"}, epochs=100,
    )  # fmt: skip
    row, key = study.create(storage, options)
    worker = command(home, "worker", "--slots", "2", stderr=subprocess.DEVNULL)
    rates: dict[bool, list[float]] = {False: [], True: []}
    found: list[dict[str, Any]] = []
    try:
        with served(home) as web:
            wait_for_trials(storage, row.id)
            busy = Busy(web, worker, home)
            for _ in range(rounds):
                # Frozen, as it looks after a study for a minute after the last viewer has gone.
                web.process.send_signal(signal.SIGSTOP)
                rates[False].append(ended_in(storage, row.id, window, SETTLED))
                web.process.send_signal(signal.SIGCONT)
                with watched(web, key, count, found):
                    time.sleep(SETTLED)
                    with busy.measured():
                        rates[True].append(ended_in(storage, row.id, window))
    finally:
        end(worker)
    report_viewers(count, window, rates, found, busy)


def report_viewers(
    count: int, window: float, rates: dict[bool, list[float]], found: list[Any], busy: Busy
) -> None:
    taken = [ms for one in found for ms in one["ms"]]
    errors = [error for one in found for error in one["errors"]]
    show(
        f"{count} viewers: JSON reads, {len(taken):,} calls", "95 % ≤ 200 ms",
        f"95 % {ninety_five(taken):.0f} ms, median {statistics.median(taken):.0f} ms, "
        f"worst {max(taken):.0f} ms, {len(errors)} errors {errors[:1] or ''}", ms=taken,
    )  # fmt: skip
    without, within = (statistics.mean(rates[watched]) for watched in (False, True))
    listed = {watched: ", ".join(f"{rate:,.0f}" for rate in rates[watched]) for watched in rates}
    show(
        f"{count} viewers: trials an hour, {len(rates[True])} × {window:g} s each", "-5 % at most",
        f"{1 - within / without:.1%} fewer: {listed[True]} with, {listed[False]} without",
        with_viewers=rates[True], without=rates[False],
    )  # fmt: skip
    seconds = busy.seconds
    used = ", ".join(f"{name} {cpu / seconds:.2f}" for name, cpu in busy.used.items())
    client = sum(one["cpu"] for one in found) / seconds
    show(f"{count} viewers: cores used", "", f"{used}, the viewers themselves {client:.2f}")
    events, sent = (sum(one[name] for one in found) for name in ("events", "bytes"))
    rate, each = events / seconds / count, sent / max(events, 1) / kB
    show(f"{count} viewers: events", "", f"{rate:.2f} a second and viewer, {each:.1f} KB each")


def wait_for_trials(storage: Storage, study_id: str) -> None:
    until = time.monotonic() + FIRST
    while ended(storage, study_id) < 4:
        if time.monotonic() > until:
            raise SystemExit("The worker trains nothing.")
        time.sleep(0.5)


def ended_in(storage: Storage, study_id: str, seconds: float, after: float = 0.0) -> float:
    """Wait so long, and return the trials an hour that ended in that time."""
    time.sleep(after)
    before, began = ended(storage, study_id), time.monotonic()
    time.sleep(seconds)
    return (ended(storage, study_id) - before) / (time.monotonic() - began) * 3600


def ended(storage: Storage, study_id: str) -> int:
    with storage.transaction() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*) FROM topo_lease WHERE study = %s AND ended_at IS NOT NULL", (study_id,)
        )
        return int(found.scalar_one())


def of_an_upload(home: Path, size: int) -> None:
    path = home.parent / "large.csv"
    rows = write_table(path, size)
    size = path.stat().st_size
    with served(home) as web:
        idle = web.family.memory_full_info()
        with Peak(web.family) as peak, path.open("rb") as file:
            connection = http.client.HTTPConnection(web.address, timeout=600)
            headers, began = {"Content-Length": str(size)}, time.monotonic()
            connection.request("POST", "/v1/uploads?name=large.csv", file, headers)
            response = connection.getresponse()
            answer = response.read()
            took = time.monotonic() - began
    name = f"upload of {size / MB:.0f} MB, {rows:,} rows"
    show(name, "", f"{response.status} after {took:.1f} s, {len(answer) / kB:.0f} KB")
    if response.status != 201:
        print(answer[:1000])
    show(
        f"{name}: peak of the service", "< 300 MB",
        f"RSS {peak.rss / MB:.0f} MB, PSS {peak.pss / MB:.0f} MB (idle {idle.rss / MB:.0f} MB)",
    )  # fmt: skip
    show(f"{name}: peak of its children", "", f"PSS {peak.children / MB:.0f} MB")


if __name__ == "__main__":
    main()
