"""Objectives of a fleet: trials that last as long as they are told, and score the same anywhere."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from objectives.objective import Assignment, Outcome, Report

LONGEST = 400.0  # Seconds that a gate is waited for.
STEPS = 9


SPOILT = "The dataset is not what its name says."


def check(dataset: Path | None) -> None:
    """Make sure that a dataset, if there is one, is the one that its name tells.

    Raises:
        ValueError: It is not.
    """
    if dataset is not None and hashlib.sha256(dataset.read_bytes()).hexdigest() != dataset.name:
        raise ValueError(SPOILT)


def score(parameters: Mapping[str, Any], seed: int) -> float:
    """Return what a trial scores: by its parameters, and a little by its seed."""
    noise = random.Random(seed).uniform(-0.01, 0.01)
    return 1 - (float(parameters["x"]) - 0.3) ** 2 - 0.1 * (int(parameters["n"]) - 4) ** 2 + noise


def timed(assignment: Assignment, report: Report) -> Outcome:
    """Take the plan's `seconds`, in steps, and score."""
    check(assignment.dataset)
    value = score(assignment.parameters, assignment.seed)
    for step in range(1, STEPS + 1):
        threading.Event().wait(assignment.plan["seconds"] / STEPS)
        if not report(step, value - 1 / step):
            break
    return Outcome(value=value, metrics={"loss": 1 - value}, attributes={"pid": os.getpid()})


def untimed(assignment: Assignment, report: Report) -> Outcome:
    """Score at once."""
    value = score(assignment.parameters, assignment.seed)
    report(1, value)
    return Outcome(value=value)


def hungry(assignment: Assignment, report: Report) -> Outcome:
    """Take 1 GB for good at every fourth point, and score."""
    check(assignment.dataset)
    held = [os.urandom(2**20) * 1024] if assignment.parameters["n"] % 4 == 0 else []
    while held and report(1, 0.0):
        threading.Event().wait(0.05)
    return untimed(assignment, report)


def gated(assignment: Assignment, report: Report) -> Outcome:
    """Tell that it began, wait for the file `go` or `go-WORKER`, and score as this worker does."""
    folder, label = Path(assignment.plan["folder"]), os.environ["FLEET_LABEL"]
    report(1, 0.0)
    (folder / f"began-{assignment.plan['title']}-{label}").touch()
    deadline = time.monotonic() + LONGEST
    while not any((folder / name).exists() for name in ("go", f"go-{label}")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Expected a file go or go-{label} within {LONGEST:g} s.")
        threading.Event().wait(0.01)
    return Outcome(value=mark(label))


def mark(label: str) -> float:
    """Return what the trials of a worker with this label score in `gated`."""
    return float(sum(label.encode()))
