"""A walk through a worker's life that breaks it at its first step, then at its second, and so on.

A program: `fleet_walk.py URL KIND LIFE`. A life is that of the real `Worker`, with slots that have
no processes, so that it takes a moment. It takes over a trial left behind by another, or gives it
up, takes over one that was lost before it was drawn, claims the third and last, and finishes the
study; fleet_lives.py has two of them. A step is a statement or a COMMIT. KIND says what breaks, and
when:

    killed-before    the process ends at once, before a statement or COMMIT of a change
    killed-after     the process ends at once, when a COMMIT has come through
    broken-before    the connection breaks before any statement or COMMIT; the worker goes on
    broken-after     the connection breaks when a COMMIT has come through, before its answer does

Before a step that the same lines of code have taken before in this life nothing breaks a second
time; after COMMITs, each of which leaves the database in another state, it does. Killed lives are
lived in a fork of this process. Whatever is left over is then worked off undisturbed. Prints, for
every step, what broke and what the study came to, as lines of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import sqlalchemy as sa
from fleet_checks import essence, exact
from fleet_harness import DEADLINE, LEASE, TREE
from fleet_lives import LIVES, InlinePool, Life, let_leases_run_out

from storage.connection import Storage, connect
from storage.rows import StudyRow
from topo_search import machine, retries, worker

PRODUCT = tuple(str(TREE / package) for package in ("storage", "topo_search"))
Lines = tuple[tuple[str, int], ...]  # Each a file and a number.
KILLED = 9  # The exit code of a life that was ended at its step.
TIMEOUTS = "SET LOCAL"  # At the beginning of each transaction: a step that changes nothing.


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something a worker asks of the database."""

    what: str
    lines: Lines  # Of the product, that led to it.
    through: tuple[str, ...]  # The functions of these lines.
    changes: bool  # Whether its transaction has changed something, or does with it.


class Steps:
    """The steps of a life, noted; at one of them something breaks."""

    def __init__(self, engine: sa.Engine, kind: str) -> None:
        self.happens, self.when = kind.split("-")
        self.taken: list[Step] = []
        self.at = sys.maxsize
        self._changes = False
        sa.event.listen(engine, "before_cursor_execute", self._statement)
        dialect: Any = engine.dialect
        self._really_commit, self._really_roll_back = dialect.do_commit, dialect.do_rollback
        dialect.do_commit, dialect.do_rollback = self._commit, self._roll_back

    def begin(self, at: int = sys.maxsize) -> None:
        """Note steps from 0 again, to break at one."""
        self.taken, self.at, self._changes = [], at, False

    def worth_breaking(self) -> list[int]:
        """Return those of the steps taken at which a life of this kind is to be broken."""
        seen: set[tuple[str, Lines]] = set()
        chosen = []
        for at, step in enumerate(self.taken):
            # What one line reads in several statements is one step.
            same = (step.what if step.changes else "", step.lines)
            again = same in seen
            seen.add(same)
            new = self.when == "after" or not again
            if new and (step.changes or self.happens == "broken"):
                chosen.append(at)
        return chosen

    def _statement(self, _: Any, cursor: Any, statement: str, *__: object) -> None:
        self._changes = self._changes or not statement.startswith(("SELECT", TIMEOUTS))
        if self.when == "before" and not statement.startswith(TIMEOUTS):
            self._step(" ".join(statement.split()), cursor.connection)

    def _commit(self, connection: Any) -> None:
        raw = getattr(connection, "dbapi_connection", connection)
        if self.when == "before":
            self._step("COMMIT", raw)
        self._really_commit(connection)
        if self.when == "after":
            self._step("COMMIT", raw)
        self._changes = False

    def _roll_back(self, connection: Any) -> None:
        self._changes = False
        self._really_roll_back(connection)

    def _step(self, what: str, connection: Any) -> None:
        lines, through = _lines()
        step = Step(what=what, lines=lines, through=through, changes=self._changes)
        self.taken.append(step)
        if len(self.taken) - 1 != self.at:
            return
        if self.happens == "killed":
            os._exit(KILLED)
        connection.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")


def _lines() -> tuple[Lines, tuple[str, ...]]:
    """Return the lines of the product that are being run, and the functions they belong to."""
    frame, lines, through = sys._getframe(1), [], []
    while frame.f_back is not None:
        code = frame.f_code
        if code.co_filename.startswith(PRODUCT):
            lines.append((code.co_filename, frame.f_lineno))
            through.append(f"{Path(code.co_filename).stem}.{code.co_name}")
        frame = frame.f_back
    return tuple(lines), tuple(through)


def live(storage: Storage, study: StudyRow, home: Path) -> None:
    """Live a worker's life, to the end of the study."""
    one = worker.Worker(
        storage,
        home,
        machine.Serving(slots=1, objectives=["fleet_objectives:timed"]),
        only=[study.id],
        until_idle=True,
        lease=20 * LEASE,  # No second renewal: how many steps there are does not depend on time.
    )
    one.run()


@dataclass(frozen=True, kw_only=True)
class Broken:
    """What came of a life that broke at a step."""

    step: int | None  # None: it went through undisturbed.
    what: str
    through: list[str]  # Functions of the product that led to the step.
    broke: bool
    attempts: list[int]
    values_as_drawn: bool
    trials: list[tuple[Any, ...]]  # What two lives from one seed have in common.
    wrong: str | None  # What of the promises does not hold.


def walk(url: str, kind: str, life: Life, home: Path) -> Iterator[Broken]:
    """Break a life at every one of its steps."""
    storage = connect(url)
    steps = Steps(storage.engine, kind)
    live(storage, life.prepare(storage), home)  # The first fetches what later ones have.
    study = life.prepare(storage)
    steps.begin()
    live(storage, study, home)
    whole, chosen = steps.taken, steps.worth_breaking()
    yield _outcome(storage, study, life, None, None, True)
    for at in chosen:
        study = life.prepare(storage)
        if steps.happens == "killed":
            broke = not _in_a_fork(storage, partial(steps.begin, at), study, home)
            steps.begin()
            let_leases_run_out(storage, study)
            live(storage, study, home)
        else:
            steps.begin(at)
            live(storage, study, home)
            broke = len(steps.taken) > at
            steps.begin()
        yield _outcome(storage, study, life, at, whole[at], broke)


def _in_a_fork(storage: Storage, begin: Callable[[], None], study: StudyRow, home: Path) -> bool:
    """Live in a process of its own, and tell whether the life went through."""
    storage.close()  # A connection must not be shared.
    child = os.fork()
    if child == 0:
        try:
            begin()
            live(storage, study, home)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise AssertionError(f"A life ended with {code}.")
    return code == 0


def _outcome(
    storage: Storage, study: StudyRow, life: Life, at: int | None, step: Step | None, broke: bool
) -> Broken:
    wrong, attempts, as_drawn = None, [], False
    common: list[tuple[Any, ...]] = []
    try:
        seen = exact(storage, study.id)
        attempts, common = [trial.attempts for trial in seen], essence(seen)
        complete = [trial for trial in seen if trial.state == "COMPLETE"]
        as_drawn = all(one.value == life.score(one.parameters, one.seed) for one in complete)
        wrong = life.wrong(storage, study, seen)
    except AssertionError as error:
        wrong = f"{error}\n{traceback.format_exc()}"
    return Broken(
        step=at,
        what="" if step is None else step.what[:100],
        through=[] if step is None else list(step.through),
        broke=broke,
        attempts=attempts,
        values_as_drawn=as_drawn,
        trials=common,
        wrong=wrong,
    )


def main(url: str, kind: str, life: str) -> None:
    """Walk, and print."""
    pool_of_a_worker: Any = worker
    pool_of_a_worker.Pool = InlinePool
    worker.POLL, worker.TICK = 0.005, 0.0
    retries.LOOK = DEADLINE  # What is sent ends before: else it would renew leases meanwhile.
    without_pauses: Any = retries
    without_pauses.random = SimpleNamespace(uniform=lambda low, high: 0.0)
    with tempfile.TemporaryDirectory() as home:
        for broken in walk(url, kind, LIVES[life], Path(home)):
            print(json.dumps(asdict(broken)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
