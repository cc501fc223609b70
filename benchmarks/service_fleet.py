"""The real worker on the null objective, as a process, and what it and PostgreSQL use meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from service_study import OBJECTIVE
from surroundings import family_cpu, own_cpu

HERE = Path(__file__).parent
LIGHT = HERE.parent / "tests" / "acceptance"  # Has light_preload.py.
SAMPLED = 0.1  # Seconds between two looks at processor times.
LAST = 900.0  # Seconds that a worker may take, whatever others do to the machine.


def worker(
    home: Path,
    *arguments: str,
    log: Path,
    storage: str | None = None,
    told: dict[str, Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a worker that may run the null objective.

    Args:
        home: Of the worker.
        arguments: More of the command's.
        log: File for what it prints.
        storage: URL of the database; by default the private server of the home.
        told: For `service_worker.py`; by default the real command runs as it is.
    """
    kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}
    path = [HERE.parent, HERE, LIGHT, *filter(None, [os.environ.get("PYTHONPATH")])]
    few = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    environment = kept | few | {"TOPO_SEARCH_HOME": str(home)}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    if storage is not None:
        environment["TOPO_SEARCH_STORAGE"] = storage
    program = ["-m", "topo_search.cli"]
    if told is not None:
        program = [str(HERE / "service_worker.py"), json.dumps(told)]
    command = [sys.executable, *program, "worker", "--allow-objective", OBJECTIVE, *arguments]
    with log.open("wb") as file:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip


def wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a worker has ended, which must be well; whatever happens, nothing stays behind."""
    try:
        code = process.wait(LAST)
    except BaseException:  # Asked to end, or it takes too long.
        kill(process)
        raise
    if code != 0:
        raise SystemExit(f"The worker ended with {code}:\n{log.read_text()[-5_000:]}")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker with its slots."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Used(threading.Thread):
    """Processor time over time: of the supervisor, of its other processes, and of PostgreSQL."""

    def __init__(self, supervisor: int, database: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.supervisor, self.database = psutil.Process(supervisor), database
        self.samples: list[tuple[float, float, float, float]] = []
        self.done = threading.Event()

    def __enter__(self) -> Used:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()

    def run(self) -> None:
        slots: list[psutil.Process] = []
        while not self.done.wait(SAMPLED):
            try:
                if len(self.samples) % 10 == 0:
                    slots = self.supervisor.children(recursive=True)
                own, database = own_cpu(self.supervisor), family_cpu(self.database)
            except psutil.Error:  # The worker has ended.
                return
            others = 0.0
            for slot in slots:
                with suppress(psutil.Error):
                    others += own_cpu(slot)
            self.samples.append((time.time(), own, others, database))

    def between(self, since: float, until: float) -> tuple[float, float, float]:
        """Return the seconds of a core that each used in a span of time, by the wall clock."""
        times = [sample[0] for sample in self.samples]
        first = self.samples[min(bisect_left(times, since), len(times) - 1)]
        last = self.samples[min(bisect_left(times, until), len(times) - 1)]
        span = max(last[0] - first[0], 1e-9)
        # The samples lie beside the span's ends: the rate between them is that of the span.
        own, others, database = (
            (last[at] - first[at]) / span * (until - since) for at in (1, 2, 3)
        )
        return own, others, database
