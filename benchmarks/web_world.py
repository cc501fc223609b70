"""The real web service in a process of its own, and a study of any size."""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import sqlalchemy as sa
from optuna.distributions import distribution_to_json

from objectives.space import Space
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import study
from topo_search.sampling import Sampler
from topo_search.study import Options

IRIS = Path(__file__).parents[1] / "examples" / "iris.csv"
SAMPLED = 0.3  # Seconds between two looks at a process's memory; they cost it time, too.
STARTED = 60.0  # Seconds in which the service must listen.
RUNGS = (4, 11, 33)  # Epochs at which a trial reports.
MB = 2**20


class Web:
    """`topo-search web`, running."""

    def __init__(self, home: Path) -> None:
        self.process = command(home, "web", "--port", "0", stderr=subprocess.PIPE)
        self.log: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(STARTED):
            raise SystemExit(f"The service does not listen: {''.join(self.log)}")
        self.family = psutil.Process(self.process.pid)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode()
            self.log.append(text)
            if text.startswith("Open http"):
                self.address = urlsplit(text.split()[1]).netloc
                self._listening.set()

    def get(self, path: str) -> tuple[bytes, float]:
        """Return what the service answers, and the seconds until all of it was there."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(self.address, timeout=600)
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200:
            raise SystemExit(f"GET {path.rpartition('/')[2]}: {response.status} {body[:500]!r}")
        return body, time.perf_counter() - began

    @contextmanager
    def events(self, key: str, seen: str = "") -> Iterator[Iterator[bytes]]:
        """Yield the data of a stream's `change` events as they come."""
        connection = http.client.HTTPConnection(self.address, timeout=600)
        connection.request("GET", f"/v1/studies/{key}/events?seen={seen}")
        response = connection.getresponse()
        yield (line for line in response if line.startswith(b"data: "))
        connection.close()

    @property
    def cpu(self) -> float:
        """Seconds of a core that it has used."""
        times = self.family.cpu_times()
        return times.user + times.system

    def end(self) -> None:
        end(self.process)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Peak(threading.Thread):
    """The most memory that a process has while the block runs, and that its children have."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.done = process, threading.Event()
        self.rss = self.pss = self.children = 0

    def __enter__(self) -> Peak:
        # The kernel counts the most from here on: https://docs.kernel.org/filesystems/proc.html
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.join()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        self.rss = int(line.split()[1]) * 1024

    def run(self) -> None:
        while not self.done.wait(SAMPLED):
            self.pss = max(self.pss, self.process.memory_full_info().pss)
            children = 0
            for child in self.process.children(recursive=True):
                with suppress(psutil.Error):  # It has just ended.
                    children += child.memory_full_info().pss
            self.children = max(self.children, children)


def command(home: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command of topo-search's."""
    environment = {**os.environ, "TOPO_SEARCH_HOME": str(home)}
    for name in ("TOPO_SEARCH_STORAGE", "TOPO_SEARCH_STORAGE_FILE"):
        environment.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-m", "topo_search.cli", *arguments],
        env=environment, stdout=subprocess.DEVNULL, **options,
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command as a service manager does."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def large_study(storage: Storage, trials: int, seed: int = 0) -> tuple[StudyRow, str, float]:
    """Make a study of Iris of which so many trials have ended; return the seconds it took, too.

    Two thirds are pruned; every trial has the rows that the real calls would have left.
    """
    began = time.perf_counter()
    options = Options(data=IRIS.read_bytes(), file="iris.csv", target="species", seed=seed)
    row, key = study.create(storage, Options(**{**vars(options), "trials": trials + 1_000}))
    space = Space.from_json(row.plan["space"])
    distributions = space.distributions()
    written = {name: distribution_to_json(kind) for name, kind in distributions.items()}
    sampler, chance = Sampler(space, "maximize", "random", seed), random.Random(seed)
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    start = time.time() - trials
    for number in range(trials):
        trial_id, drawn = number + 1, sampler.draw((), number)
        assert drawn is not None
        pruned = chance.random() < 2 / 3
        epochs = RUNGS[chance.randrange(2)] if pruned else chance.randrange(RUNGS[-1], 101)
        best = 1 - chance.random() ** 2 * 0.6
        curve = [round(best * (1 - 0.6 * 0.9**epoch), 4) for epoch in range(1, epochs + 1)]
        topology, _ = space.decode(drawn.parameters)
        lease, state = (
            str(uuid.UUID(int=chance.getrandbits(128))),
            "PRUNED" if pruned else "COMPLETE",
        )
        moment = (
            f"{time.strftime('%F %T', time.gmtime(start + number))}.{chance.randrange(10**6):06d}"
        )
        attributes = {
            **{"lease": lease, "unit": number, "seed": drawn.seed, "worker": "host-1"},
            **{"attempts": 1, "topology": str(topology), "depth": topology.depth},
            **{"seconds": chance.uniform(0.2, 2.0), "epochs": epochs},
        }
        if pruned:
            attributes["reason"] = f"not among the best at step {epochs}"
        else:
            losses = [round(1.2 - value, 4) for value in curve]
            attributes |= {"weights": 20 * topology.depth * drawn.parameters["width"]}
            attributes |= {"best_epoch": epochs, "curve": curve, "losses": losses}
        rows["trials"].append((trial_id, number, row.optuna_study_id, state, moment, moment))
        rows["trial_values"].append((trial_id, 0, curve[-1], "FINITE"))
        rows["trial_params"] += [
            (trial_id, name, distributions[name].to_internal_repr(value), written[name])
            for name, value in drawn.parameters.items()
        ]
        rows["trial_user_attributes"] += [
            (trial_id, name, json.dumps(value)) for name, value in attributes.items()
        ]
        rows["trial_intermediate_values"] += [
            (trial_id, step, curve[step - 1], "FINITE") for step in RUNGS if step <= epochs
        ]
        given = json.dumps(drawn.parameters)
        whose = (number, trial_id, "host-1", lease, 1)
        times = (f"{moment}+00",) * 4
        outcome = state.lower()
        rows["topo_lease"].append(
            (lease, row.id, "trial", number, given, drawn.seed, *whose, *times, outcome)
        )
    copy_rows(storage, rows)
    with storage.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE topo_study SET state = 'running', drawn = %s, spent_seconds = %s, "
            "started_at = now(), last_active_at = now() WHERE id = %s",
            (trials, trials / 2, row.id),
        )
        connection.execute(sa.text("SELECT setval('trials_trial_id_seq', :last)"), {"last": trials})
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    return row, key, time.perf_counter() - began


COLUMNS = {
    "trials": "trial_id, number, study_id, state, datetime_start, datetime_complete",
    "trial_values": "trial_id, objective, value, value_type",
    "trial_params": "trial_id, param_name, param_value, distribution_json",
    "trial_user_attributes": "trial_id, key, value_json",
    "trial_intermediate_values": "trial_id, step, intermediate_value, intermediate_value_type",
    "topo_lease": "id, study, kind, unit, parameters, seed, trial_number, trial_id, owner, token, "
    "attempt, taken_at, renewed_at, expires_at, ended_at, outcome",
}


def copy_rows(storage: Storage, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    connection = storage.engine.raw_connection()
    try:
        with connection.cursor() as cursor:
            for table, columns in COLUMNS.items():
                text = io.StringIO()
                csv.writer(text).writerows(rows[table])
                text.seek(0)
                cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN WITH CSV", text)  # type: ignore[attr-defined]
        connection.commit()
    finally:
        connection.close()


def write_table(path: Path, size: int, seed: int = 0) -> int:
    """Write a CSV of so many bytes at least, and return its rows."""
    chance, rows = np.random.default_rng(seed), 0
    with path.open("w", encoding="utf-8") as file:
        file.write("age,income,hours,ratio,score,city,job,member,region,bought\n")
        while file.tell() < size:
            count = 50_000
            numbers = (chance.integers(18, 90, count), chance.lognormal(10, 1, count).round(2))
            numbers += (chance.integers(0, 80, count), chance.random(count).round(9))
            numbers += (chance.normal(size=count).round(9),)
            words = [
                [f"{kind}-number-{level}" for level in chance.integers(0, levels, count)]
                for kind, levels in (("city", 500), ("job", 40), ("member", 2), ("region", 12))
            ]
            cells = zip(*numbers, *words, chance.choice(["yes", "no"], count), strict=True)
            csv.writer(file, lineterminator="\n").writerows(cells)
            rows += count
    return rows
