"""A slot: a training process, forked with TensorFlow loaded; one trial at a time, no database.

It talks with its supervisor over one pipe, in the messages below. It ends when the pipe is closed,
when it is told to, and at once when its supervisor is gone.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.objective import (
    Assignment,
    Diverged,
    Final,
    Finish,
    Outcome,
    objective_named,
)
from objectives.rungs import next_rung
from topo_search.forking import ignore_signals
from topo_search.outcomes import checked, in_a_line, storable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LAST_STEP = 2**31 - 1  # What PostgreSQL keeps as an integer.
NICENESS = 10  # Of 19; a ninth of the share of a core that others have who want it.


@dataclass(frozen=True, kw_only=True)
class Reported:
    """From the slot: a trial's value after a step."""

    trial: str
    step: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """From the slot: a trial or a finish is through; one of the next three says how."""

    trial: str
    result: Outcome | Final | None = None
    diverged: bool = False
    missing: bool = False  # Its objective, on this machine.
    reason: str | None = None  # Why it failed, in one line.
    traceback: str | None = None
    step: int = 0  # The last one that was reported, also where it was no rung.


@dataclass(frozen=True, kw_only=True)
class Stop:
    """To the slot: the trial was pruned or is out of time; its next report answers no."""

    trial: str


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a slot may use of its machine."""

    log: Path | None = None  # File for what libraries print.
    gpu: str | None = None  # The only one it sees, as CUDA_VISIBLE_DEVICES names it.
    shared: Path | None = None  # Folder of this machine's slots.


def main(connection: Connection, surroundings: Surroundings) -> None:
    """Work for the supervisor at the other end of `connection` until it is closed."""
    ignore_signals()
    # Training takes whatever nobody else needs: people at this machine, pages, the supervisor.
    os.nice(NICENESS)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if surroundings.log is not None:
        print_to(surroundings.log)
    if surroundings.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = surroundings.gpu
    configure_tensorflow()
    while True:
        try:
            message = connection.recv()
            if isinstance(message, Assignment | Finish):
                message = replace(message, shared=surroundings.shared)
                connection.send(work(message, connection))
        except (EOFError, OSError):  # The supervisor closed the pipe.
            return


def work(message: Assignment | Finish, connection: Connection) -> Ended:
    """Train a trial, or finish a study, and say how it ended."""
    trial = message.trial
    reports = Reports(trial, connection)
    try:
        if isinstance(message, Finish):
            from objectives.finishing import finish

            return Ended(trial=trial, result=finish(message))
        try:
            objective = objective_named(str(message.plan["objective"]))
        except LookupError as error:
            return Ended(trial=trial, missing=True, reason=in_a_line(error))
        outcome = checked(objective(message, reports))
        if not math.isfinite(outcome.value):
            return Ended(trial=trial, diverged=True, step=reports.step)
        return Ended(trial=trial, result=outcome, step=reports.step)
    except Diverged:
        return Ended(trial=trial, diverged=True, step=reports.step)
    except Exception as error:  # Whatever an objective raises is that trial's failure.
        told = storable(traceback.format_exc()[-20_000:])
        return Ended(trial=trial, reason=in_a_line(error), traceback=told, step=reports.step)


class Reports:
    """What an objective reports to: sends values at rungs, and hears that its trial is pruned."""

    def __init__(self, trial: str, connection: Connection) -> None:
        self.trial, self.connection, self.rung = trial, connection, 1
        self.step = 0  # The last one reported.

    def __call__(self, step: int, value: float) -> bool:
        """Return whether to go on after a step.

        Raises:
            ValueError: No such step can be kept.
            Diverged: Where the value is not finite.
        """
        if not 1 <= step <= LAST_STEP:
            raise ValueError(
                f"Expected a step from 1 to {LAST_STEP}. Received {step}: report 1 after the first."
            )
        if not math.isfinite(value):
            raise Diverged(f"The value at step {step} is {value}.")
        self.step = int(step)
        try:
            if step >= self.rung:  # Only rungs are judged; every report costs the database a visit.
                self.connection.send(Reported(trial=self.trial, step=int(step), value=float(value)))
                self.rung = next_rung(step)
            while self.connection.poll():
                # A late verdict on an earlier trial may come here too; its tag tells.
                if self.connection.recv() == Stop(trial=self.trial):
                    return False
        except (EOFError, OSError):  # The supervisor closed the pipe.
            raise SystemExit from None
        return True


def end_with_parent() -> None:
    """Wait until the process that started this one is gone, and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # Even inside a long TensorFlow call, which no exception would end.


def print_to(log: Path) -> None:
    """Let this process print to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(_Paper(number, "w", closefd=False)), line_buffering=True)
        for number in (1, 2)
    )


class _Paper(io.FileIO):
    """A file for what is printed, which is no trial's fault where there is no room for it."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what there is room for, and take the rest as written."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def configure_tensorflow() -> None:
    """Load TensorFlow and let it have one core, and of a GPU's memory what it needs."""
    import tensorflow as tf

    # One core a slot: trials side by side gain more, and sums do not depend on the machine.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # Rewriting a graph takes a quarter of the first epoch, and makes none of ours faster.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
