"""Objectives of the tests' own: quick ones, slow ones, deadly ones.

What a trial is to do follows from its parameter `x` and the plan's `fates`; traces of what happened
and the files that are waited for lie in the plan's `folder`, or in that of TOY_FOLDER.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from objectives.objective import Assignment, Diverged, Outcome, Report
from objectives.rungs import rungs

LONGEST = 400.0  # Seconds that anything is waited for.
CHUNK = 16 * 2**20  # Bytes.


def objective(assignment: Assignment, report: Report) -> Outcome:
    """Do what the plan has for this trial; without a word of it, score `x` at once."""
    fates = assignment.plan.get("fates", {})
    x = str(assignment.parameters["x"])
    return FATES[fates.get(x, fates.get("rest", "quick"))](assignment, report)


def of_a_table(assignment: Assignment, report: Report) -> Outcome:
    """Do what the plan of a table's study has for the trial's depth."""
    x = {"x": assignment.parameters["depth"]}
    return objective(replace(assignment, parameters=x), report)


def quick(assignment: Assignment, report: Report) -> Outcome:
    """Report `x` at the first step and return it."""
    x = float(assignment.parameters["x"])
    report(1, x)
    loaded = sorted({name.split(".")[0] for name in sys.modules})
    attributes = {"pid": os.getpid(), "loaded": loaded, "best_epoch": 1, "losses": [1 / (1 + x)]}
    attributes["gpu"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    if (tensorflow := sys.modules.get("tensorflow")) is not None:
        config = tensorflow.config.threading
        attributes["threads"] = [
            config.get_intra_op_parallelism_threads(),
            config.get_inter_op_parallelism_threads(),
        ]
    return Outcome(value=x, metrics={"loss": 1 / (1 + x)}, attributes=attributes)


def in_the_way(assignment: Assignment, report: Report) -> Outcome:
    """Make a folder where the report was to be written, `page.html`, and score `x`."""
    (folder(assignment) / "page.html").mkdir(exist_ok=True)
    return Outcome(value=float(assignment.parameters["x"]))


def weighs(assignment: Assignment, report: Report) -> Outcome:
    """Score `x`, and give weights that say it."""
    x = str(assignment.parameters["x"])
    return Outcome(value=float(x), weights=x.encode())


def gated(assignment: Assignment, report: Report) -> Outcome:
    """Report a quarter at the first step, then wait for the file `go` or `go-x`, and score x."""
    report(1, 0.25)
    _leave_trace("began", assignment)
    _wait_for(folder(assignment), "go", f"go-{assignment.parameters['x']}")
    return Outcome(value=float(assignment.parameters["x"]))


def gated_twice(assignment: Assignment, report: Report) -> Outcome:
    """Do as `gated`, and report once more when the gate is open."""
    outcome = gated(assignment, report)
    report(3, outcome.value)
    return outcome


def bad_first(assignment: Assignment, report: Report) -> Outcome:
    """Report badly at the first rung and brilliantly ever after, without waiting for verdicts."""
    for step in rungs(assignment.plan["epochs"]):
        report(step, -1.0 if step == 1 else 1000.0 + step)
    return Outcome(value=2000.0)


def dies_twice(assignment: Assignment, report: Report) -> Outcome:
    """Be killed at the first two attempts."""
    return quick(assignment, report) if _leave_trace("tried", assignment) > 2 else _die()


def dies(assignment: Assignment, report: Report) -> Outcome:
    """Be killed at every attempt."""
    _leave_trace("tried", assignment)
    return _die()


def crashes(assignment: Assignment, report: Report) -> Outcome:
    """Touch memory that is not its own, at every attempt."""
    _leave_trace("tried", assignment)
    return _die(signal.SIGSEGV)


def raises(assignment: Assignment, report: Report) -> Outcome:
    """Fail by its own fault."""
    _leave_trace("tried", assignment)
    raise RuntimeError("no such layer")


def diverges(assignment: Assignment, report: Report) -> Outcome:
    """Say that its loss is not finite."""
    raise Diverged("The loss is nan.")


def diverges_later(assignment: Assignment, report: Report) -> Outcome:
    """Report brilliantly for two steps, then say so."""
    report(1, 1000.0)
    report(2, 1000.0)
    raise Diverged("The loss is nan.")


def is_not_a_number(assignment: Assignment, report: Report) -> Outcome:
    """Return what is no score."""
    return Outcome(value=float("nan"))


def greedy(assignment: Assignment, report: Report) -> Outcome:
    """Take more and more memory."""
    _leave_trace("tried", assignment)
    held = []
    while len(held) < 128:
        held.append(b"x" * CHUNK)
        threading.Event().wait(0.02)
    _wait_for(folder(assignment), "go")
    return Outcome(value=float(len(held)))


def folder(assignment: Assignment) -> Path:
    """Return where traces go and awaited files come."""
    return Path(assignment.plan.get("folder") or os.environ["TOY_FOLDER"])


FATES: dict[str, Callable[[Assignment, Report], Outcome]] = {
    function.__name__: function
    for function in (
        *(
            quick,
            weighs,
            gated,
            gated_twice,
            bad_first,
            dies_twice,
            dies,
            crashes,
            raises,
            diverges,
            diverges_later,
            is_not_a_number,
            greedy,
        ),
    )
}


def _leave_trace(what: str, assignment: Assignment) -> int:
    """Leave a file with who does what, and return how many such files the trial now has."""
    where, trial = folder(assignment), f"{what}-{assignment.parameters['x']}"
    words = f"{os.getpid()} {os.getppid()} {assignment.seed} {dict(assignment.parameters)}"
    number = len(list(where.glob(f"{trial}-*"))) + 1
    unfinished = where / f".{trial}-{number}"
    unfinished.write_text(words)
    unfinished.rename(where / f"{trial}-{number}")
    return number


def _wait_for(where: Path, *names: str) -> None:
    """Wait for one of these files."""
    deadline = time.monotonic() + LONGEST
    while not any((where / name).exists() for name in names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Expected {' or '.join(names)} in {where} within {LONGEST:g} s.")
        threading.Event().wait(0.01)


def _die(by: signal.Signals = signal.SIGKILL) -> Outcome:
    os.kill(os.getpid(), by)
    raise AssertionError("This is never reached.")
