"""A slot's side of the pipe, without a process."""

import math
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from objectives.objective import Assignment, Diverged, Outcome, Report
from topo_search.slot import Ended, Reported, Stop, configure_tensorflow, work

Body = Callable[[Assignment, Report], Any]
Slot = Callable[[Body], Ended]


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    """The supervisor's end and the slot's."""
    supervisor, slot = multiprocessing.Pipe()
    with supervisor, slot:
        yield supervisor, slot


@pytest.fixture
def run(pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch) -> Slot:
    """Let a slot work at the trial "mine" with an objective of the test's."""

    def run(body: Body) -> Ended:
        module = ModuleType("objective_of_the_test")
        module.objective = body  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        plan = {"objective": f"{module.__name__}:objective"}
        assignment = Assignment(trial="mine", parameters={}, seed=0, plan=plan, dataset=None)
        return work(assignment, pipe[1])

    return run


def reporting(*values: float) -> Body:
    """Return an objective that reports these values, step by step, while it may go on."""

    def objective(assignment: Assignment, report: Report) -> Outcome:
        steps = 0
        for steps, value in enumerate(values, 1):
            if not report(steps, value):
                break
        return Outcome(value=values[steps - 1], attributes={"steps": steps})

    return objective


def received(connection: Connection) -> list[Reported]:
    messages = []
    while connection.poll():
        messages.append(connection.recv())
    return messages


def raising(error: BaseException) -> Body:
    def objective(assignment: Assignment, report: Report) -> Outcome:
        raise error

    return objective


def returning(result: object) -> Body:
    return lambda assignment, report: result


def test_reports_at_rungs_and_the_outcome_go_up_the_pipe(
    run: Slot, pipe: tuple[Connection, Connection]
) -> None:
    ended = run(reporting(0.5, 0.625, np.float32(0.75), *[0.875] * 6, 1.0))
    assert ended.result == Outcome(value=1.0, attributes={"steps": 10})
    sent = [(message.step, message.value) for message in received(pipe[0])]
    assert sent == [(1, 0.5), (3, 0.75), (9, 0.875)]


def test_a_report_after_a_rung_was_stepped_over_stands_for_it(
    run: Slot, pipe: tuple[Connection, Connection]
) -> None:
    def objective(assignment: Assignment, report: Report) -> Outcome:
        assert all(report(step, step / 10) for step in (5, 6, 10, 20, 30))
        return Outcome(value=1.0)

    run(objective)
    assert [message.step for message in received(pipe[0])] == [5, 10, 30]


def test_a_stop_of_its_own_answers_no_to_the_next_report(
    run: Slot, pipe: tuple[Connection, Connection]
) -> None:
    pipe[0].send(Stop(trial="mine"))
    ended = run(reporting(0.5, 0.6, 0.7))
    assert isinstance(ended.result, Outcome)
    assert ended.result.attributes == {"steps": 1}


def test_a_late_stop_of_an_earlier_trial_is_passed_over(
    run: Slot, pipe: tuple[Connection, Connection]
) -> None:
    pipe[0].send(Stop(trial="earlier"))
    ended = run(reporting(0.5, 0.6, 0.7))
    assert isinstance(ended.result, Outcome)
    assert ended.result.attributes == {"steps": 3}


def test_a_stop_behind_a_late_one_is_heard(run: Slot, pipe: tuple[Connection, Connection]) -> None:
    pipe[0].send(Stop(trial="earlier"))
    pipe[0].send(Stop(trial="mine"))
    ended = run(reporting(0.5, 0.6, 0.7))
    assert isinstance(ended.result, Outcome)
    assert ended.result.attributes == {"steps": 1}


@pytest.mark.parametrize(
    ("body", "steps"),
    [
        (raising(Diverged("The loss is nan.")), 0),
        (returning(Outcome(value=math.nan)), 0),
        (returning(Outcome(value=-math.inf)), 0),
        (reporting(0.5, 0.6, math.inf), 2),
    ],
    ids=["raised", "nan outcome", "infinite outcome", "infinite report"],
)
def test_what_is_not_finite_has_diverged(run: Slot, body: Body, steps: int) -> None:
    assert run(body) == Ended(trial="mine", diverged=True, step=steps)


@pytest.mark.parametrize(
    "error", [RuntimeError("no such layer"), EOFError("no such layer"), OSError("no such layer")]
)
def test_what_an_objective_raises_fails_its_trial_with_reason_and_traceback(
    run: Slot, error: Exception
) -> None:
    ended = run(raising(error))
    assert ended.reason == f"{type(error).__name__}: no such layer"
    assert ended.traceback is not None
    assert "in objective\n" in ended.traceback


def test_a_failure_tells_the_last_step_that_was_reported(run: Slot) -> None:
    def objective(assignment: Assignment, report: Report) -> Outcome:
        assert all(report(step, 0.5) for step in (1, 2))
        raise RuntimeError("no such layer")

    assert run(objective).step == 2


def test_an_error_without_words_or_with_many_makes_one_line(run: Slot) -> None:
    assert run(raising(ValueError())).reason == "ValueError"
    assert run(raising(ValueError("first\nsecond"))).reason == "ValueError: first"


def test_what_is_said_of_a_failure_can_be_kept(run: Slot) -> None:
    ended = run(raising(ValueError("no\0 \udc80 layer")))
    assert ended.reason == r"ValueError: no\x00 \udc80 layer"
    assert ended.traceback is not None
    assert ended.traceback.endswith(f"{ended.reason}\n")


@pytest.mark.parametrize("step", [0, -1, 2**31, math.nan])
def test_a_step_that_cannot_be_kept_fails_its_trial(
    run: Slot, pipe: tuple[Connection, Connection], step: Any
) -> None:
    def objective(assignment: Assignment, report: Report) -> Outcome:
        assert report(1, 0.5)
        report(step, 0.5)
        return Outcome(value=1.0)

    said = f"ValueError: Expected a step from 1 to 2147483647. Received {step}: report 1 after the"
    assert str(run(objective).reason).startswith(said)
    assert [message.step for message in received(pipe[0])] == [1]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "Expected an Outcome from the objective. Received: None."),
        (0.5, "Expected an Outcome from the objective. Received: 0.5."),
        (Outcome(value="high"), "could not convert string to float"),  # type: ignore[arg-type]
        (Outcome(value=1.0, attributes={"model": object()}), "not JSON serializable"),
        (Outcome(value=1.0, metrics={"worker": 1.0}), "Received 'worker': give it another name."),
        (Outcome(value=1.0, attributes={"seed": 1}), "other than lease, unit, seed, worker"),
        (Outcome(value=1.0, metrics={"m" * 513: 1.0}), "at most 512 characters. Received one of"),
        (Outcome(value=1.0, metrics={"m\0": 1.0}), r"Received 'm\x00'; leave these out."),
        (Outcome(value=1.0, attributes={"a": [{"b\udc80": 1}]}), r"Received 'b\udc80'; leave"),
        (Outcome(value=1.0, attributes={"a": [{"b": "c\0"}]}), r"Received 'c\x00'; leave"),
        (Outcome(value=1.0, weights="text"), "Expected bytes as weights. Received: str."),  # type: ignore[arg-type]
    ],
)
def test_an_outcome_that_cannot_be_kept_fails_its_trial(
    run: Slot, result: object, said: str
) -> None:
    ended = run(returning(result))
    assert ended.result is None
    assert said in str(ended.reason)


def test_numbers_of_numpy_become_plain_ones(run: Slot) -> None:
    outcome = Outcome(
        value=np.float32(0.5),  # type: ignore[arg-type]
        metrics={"loss": np.float64(0.25)},
        attributes={"sizes": (1, 2)},
    )
    result = run(returning(outcome)).result
    assert result == Outcome(value=0.5, metrics={"loss": 0.25}, attributes={"sizes": [1, 2]})
    assert isinstance(result, Outcome)
    assert [type(result.value), type(result.metrics["loss"])] == [float, float]


def test_an_objective_that_is_not_installed_is_missing_here_and_it_is_said_what_to_do(
    pipe: tuple[Connection, Connection],
) -> None:
    plan = {"objective": "no_such_package:objective"}
    assignment = Assignment(trial="mine", parameters={}, seed=0, plan=plan, dataset=None)
    ended = work(assignment, pipe[1])
    assert ended.missing and ended.reason is not None and ended.traceback is None
    assert "no_such_package:objective" in ended.reason
    assert "Install the package on this machine" in ended.reason


def test_what_is_printed_on_a_full_disk_is_no_trials_fault() -> None:
    script = "import sys; from pathlib import Path; from topo_search.slot import print_to\n"
    script += "print_to(Path('/dev/full')); print('x' * 9999); print('y', file=sys.stderr)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=300)
    assert done.returncode == 0


def test_an_objective_that_reports_to_nobody_ends_the_slot(
    run: Slot, pipe: tuple[Connection, Connection]
) -> None:
    pipe[0].close()
    with pytest.raises(SystemExit):
        run(reporting(0.5))


def test_a_slot_takes_of_a_gpu_what_memory_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    grows: list[tuple[str, bool]] = []
    for name in ("intra", "inter"):  # Which TensorFlow only takes before it has begun.
        monkeypatch.setattr(
            tf.config.threading, f"set_{name}_op_parallelism_threads", lambda number: None
        )
    # What would change the last digits of all that is trained after it in this process.
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", lambda options: None)
    found = lambda kind: [f"{kind} {number}" for number in (0, 1)]  # noqa: E731
    monkeypatch.setattr(tf.config, "list_physical_devices", found)
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *given: grows.append(given)
    )
    configure_tensorflow()
    assert grows == [("GPU 0", True), ("GPU 1", True)]
