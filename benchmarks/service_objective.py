"""An objective that trains nothing: ten parameters, three reports, and the time it is told."""

from __future__ import annotations

import os
import time

from objectives.objective import Assignment, Outcome, Report

STEPS = (1, 3, 9)  # Rungs, at which a value is kept and judged.


def score(parameters: dict[str, float | int | str]) -> float:
    """Return what a trial scores: the best is in one corner of the space."""
    numbers = [float(value) for value in parameters.values() if not isinstance(value, str)]
    return 1 - sum((number - 0.3) ** 2 for number in numbers) / len(numbers)


def null(assignment: Assignment, report: Report) -> Outcome:
    """Wait the plan's `seconds`, report what prunes nobody, and say when that was, and where."""
    began = time.monotonic()  # One clock for all processes of a machine.
    each = assignment.plan["seconds"] / len(STEPS)
    for step in STEPS:
        if each:
            time.sleep(each)
        report(step, 0.5)
    told = {"began": began, "ended": time.monotonic(), "slot": os.getpid()}
    return Outcome(value=score(dict(assignment.parameters)), attributes=told)
