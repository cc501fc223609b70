"""Stories of a worker: studies of toy objectives, and the steps in which a story goes on.

A test tells its story in steps that the worker takes between two of its own: each is tried until
it comes true, then the next. So nothing sleeps, and what never comes true fails with its name.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from databases import execute
from optuna.trial import FrozenTrial
from stored_studies import ended_leases, optuna_trials

from objectives.parameters import Range
from objectives.space import Space
from storage import studies
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.worker import Worker

TOYS = Path(__file__).parents[1] / "acceptance"
IMPORT_PATH = os.pathsep.join(filter(None, [str(TOYS), os.environ.get("PYTHONPATH")]))
OBJECTIVE = "toy_objectives:objective"
DEADLINE = 300.0  # Seconds that a worker of these tests may take; on an idle machine 1 to 5 do.

Step = Callable[[Worker], bool]
Serve = Callable[..., Worker]


def make_study(storage: Storage, folder: Path, *, trials: int, **changes: Any) -> StudyRow:
    """Make a study of the toy objectives, whose unit N has the parameter x = N."""
    budget = {name: changes.pop(name) for name in ("seconds", "tags") if name in changes}
    x = {"x": Range(low=0, high=999)}
    space = Space(name="own", parameters=x, blocks=(x,))
    plan = {
        "objective": OBJECTIVE,
        "space": space.to_json(),
        "epochs": 9,
        "seed": 0,
        "pruner": "none",
        "sampler": "random",
        "metric": "value",
        "direction": "maximize",
        "folder": str(folder),
        **changes,
    }
    return studies.create(
        storage, plan=plan, direction="maximize", dataset=None, trials=trials, **budget
    )[0]


def number(trial: FrozenTrial) -> int:
    return trial.number


def fates(storage: Storage, study: StudyRow) -> list[str]:
    """Return how each trial ended, by number; each must have ended exactly once."""
    found = sorted(optuna_trials(storage, study), key=number)
    assert [trial.number for trial in found] == list(range(len(found)))
    assert sorted(unit for unit, _ in ended_leases(storage, study)) == list(range(len(found)))
    return [trial.state.name for trial in found]


def appears(path: Path) -> Step:
    def it_appears(_: Worker) -> bool:
        return path.exists()

    return it_appears


def go(folder: Path, only: int | None = None) -> Step:
    def gates_open(_: Worker) -> bool:
        (folder / ("go" if only is None else f"go-{only}")).touch()
        return True

    return gates_open


def sends(number: int) -> Step:
    def a_signal_comes(_: Worker) -> bool:
        os.kill(os.getpid(), number)
        return True

    return a_signal_comes


def pid_in(trace: Path) -> int:
    return int(trace.read_text().split()[0])


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.02)


class Outage:
    def __init__(self, server_url: str, database: str) -> None:
        self.server_url, self.database, self.tries = server_url, database, 0

    def begin(self) -> None:
        execute(
            self.server_url,
            f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self.database}'",
        )

    def begins(self, _: Worker) -> bool:
        self.begin()
        return True

    def is_waited_out(self, _: Worker) -> bool:
        self.tries += 1  # The worker shows its state before every new try.
        return self.tries > 3

    def end(self) -> None:
        execute(self.server_url, f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS true")

    def ends(self, _: Worker) -> bool:
        self.end()
        return True
