"""`topo-search` as it is, started with accounts of where its time goes, or without TensorFlow.

    python benchmarks/service_worker.py TOLD ARGUMENTS...

TOLD is JSON: `light`, whether slots do without TensorFlow, which an objective that trains nothing
does not need (200 slots with it would not fit into memory); `accounts`, a file for what was
counted; `first` and `last`, the numbers of ended trials between which it counts. Times are
exclusive: what calls another is charged without it.
"""

from __future__ import annotations

import json
import multiprocessing.connection
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from storage import claiming, optuna_rows
from storage.trial_reader import TrialReader
from topo_search import cli, forking
from topo_search.retries import Retries
from topo_search.runner import TrialRunner
from topo_search.sampling import Sampler
from topo_search.scheduler import Scheduler
from topo_search.serving import ServedStudy

REST = "the worker itself"
Timed = tuple[float, float]  # When, on the machine's monotonic clock, and for how many seconds.


class Accounts:
    """Where one thread's time goes, as a stack of what it is at."""

    def __init__(self) -> None:
        self.wall, self.cpu = Counter[str](), Counter[str]()
        self.statements, self.transactions = Counter[str](), 0
        self.answers = 0.0  # Seconds in which PostgreSQL was waited for.
        self.stack = [REST]
        self.seen = time.perf_counter(), time.thread_time()
        self.counts = False

    def charge(self) -> None:
        """Charge the time since the last look to what the thread is at."""
        now = time.perf_counter(), time.thread_time()
        if self.counts:
            self.wall[self.stack[-1]] += now[0] - self.seen[0]
            self.cpu[self.stack[-1]] += now[1] - self.seen[1]
        self.seen = now

    def under(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same call, charged to `name`."""

        def charged(*given: Any, **options: Any) -> Any:
            self.charge()
            self.stack.append(name)
            try:
                return call(*given, **options)
            finally:
                self.charge()
                self.stack.pop()

        return charged

    def waiting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same call, whose time is that of waiting for PostgreSQL."""

        def timed(*given: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*given, **options)
            finally:
                if self.counts:
                    self.answers += time.perf_counter() - began

        return timed

    def count_statement(self, *_: object) -> None:
        """Count a statement that is about to be sent."""
        if self.counts:
            self.statements[self.stack[-1]] += 1

    def count_commit(self, *_: object) -> None:
        """Count a transaction."""
        self.transactions += self.counts

    def to_json(self) -> dict[str, Any]:
        """Return all that was counted."""
        return {
            "wall": dict(self.wall),
            "cpu": dict(self.cpu),
            "statements": dict(self.statements),
            "transactions": self.transactions,
            "answers": self.answers,
        }


def keep_accounts(accounts: Accounts, first: int, last: int) -> None:
    """Patch what is charged; count between the ends of two trials."""
    charged: list[tuple[Any, str, str]] = [
        (Sampler, "draw", "sampler"),
        (ServedStudy, "prunes", "judging"),
        (TrialReader, "look", "reading trials"),
        (optuna_rows, "create", "Optuna's rows"),
        (optuna_rows, "set_report", "Optuna's rows"),
        (optuna_rows, "set_attributes", "Optuna's rows"),
        (optuna_rows, "set_end", "Optuna's rows"),
        (Retries, "__call__", "our statements"),
        (Connection, "send", "pipe"),
        (Connection, "recv", "pipe"),
        (multiprocessing.connection, "wait", "idle"),
    ]
    for owner, name, kind in charged:
        setattr(owner, name, accounts.under(kind, getattr(owner, name)))
    dialect: Any = DefaultDialect
    for name in ("do_execute", "do_executemany", "do_commit", "do_ping"):
        setattr(dialect, name, accounts.waiting(getattr(dialect, name)))
    sa.event.listen(sa.Engine, "before_cursor_execute", accounts.count_statement)
    sa.event.listen(sa.Engine, "commit", accounts.count_commit)
    deliver = TrialRunner._end

    def counted(runner: TrialRunner, *given: Any) -> bool:
        stands = deliver(runner, *given)
        accounts.charge()
        accounts.counts = first <= runner.outcomes.total() < last
        return stands

    TrialRunner._end = counted  # type: ignore[method-assign]


def time_claims(taken: list[Timed], in_database: list[Timed]) -> None:
    """Keep how long every claim took that gave something, and how long that of its study."""
    following, claim = Scheduler.next, claiming.claim

    def timed(scheduler: Scheduler, **given: Any) -> Any:
        began = time.perf_counter()
        held = following(scheduler, **given)
        if held is not None:
            taken.append((time.monotonic(), time.perf_counter() - began))
        return held

    def claimed(*given: Any, **options: Any) -> Any:
        began = time.perf_counter()
        lease = claim(*given, **options)
        if lease is not None:
            in_database.append((time.monotonic(), time.perf_counter() - began))
        return lease

    Scheduler.next = timed  # type: ignore[method-assign]
    claiming.claim = claimed


def main() -> None:
    told = json.loads(sys.argv.pop(1))
    if told.get("light"):
        forking.PRELOAD = "light_preload"
    accounts, taken, in_database = Accounts(), list[Timed](), list[Timed]()
    if "last" in told:
        keep_accounts(accounts, told["first"], told["last"])
    time_claims(taken, in_database)
    try:
        cli.main()
    finally:
        if "accounts" in told:
            said = accounts.to_json() | {"claims": taken, "claims_in_database": in_database}
            said["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            Path(told["accounts"]).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
