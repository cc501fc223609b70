"""What the live view says of slots that wait, and of the end of a study."""

import io
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from optuna.trial import create_trial
from rich.console import Console, RenderableType

from objectives.objective import Assignment, Finish
from storage.progress import Progress
from storage.rows import StudyRow
from topo_search.live import View, _refits, _slots
from topo_search.pool import Slot
from topo_search.worker import Worker

FINISH = Finish(trial="finish", plan={}, winner={}, looks=1, dataset=Path())


def shown(what: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def worker_of(*assignments: Assignment | Finish | None) -> Worker:
    """Return a worker whose slots have these; each has told of epoch 9 and 91.7 %."""
    slots = [
        Mock(Slot, index=at, assignment=one, step=9, value=0.917, seconds=2.0, idle=one is None)
        for at, one in enumerate(assignments)
    ]
    return Mock(Worker, pool=Mock(slots=slots), held={})


def head(finished: int, *, refits: bool = False, seconds: float | None = None) -> str:
    row = Mock(StudyRow, plan={"metric": "accuracy"}, seconds=seconds, spent_seconds=0.0)
    view = View(Console(file=io.StringIO()), row)
    view._finished_before = 0
    progress = Progress(
        units=12,
        drawn=12,
        running=0,
        waiting=0,
        finished=finished,
        complete=finished,
        pruned=0,
        failed=0,
    )
    return " ".join(shown(view._head(progress, time.monotonic() + 6, refits=refits)))


def test_a_slot_that_waits_shows_nothing_of_its_last_trial() -> None:
    *_, trains, waits = shown(_slots(worker_of(FINISH, None), "accuracy"))
    assert trains.split()[-5:-2] == ["9", "91.7", "%"]
    assert waits.split() == ["2", "waits"]


def test_the_best_so_far_is_shown_with_its_topology() -> None:
    view = View(Console(file=io.StringIO()), Mock(StudyRow, plan={"metric": "accuracy"}))
    best = create_trial(value=0.917, user_attrs={"topology": "2 × 8 relu"})
    best.number = 3
    assert shown(view._best(best)) == ["Best so far: accuracy 91.7\xa0%  2 × 8 relu  (trial 3)"]


@pytest.mark.parametrize("seconds", [None, 900.0])
def test_no_time_is_left_when_all_trials_have_ended(seconds: float | None) -> None:
    assert "left" in head(6, seconds=seconds)
    said = head(12, seconds=seconds)
    assert "12/12 trials" in said and "left" not in said


def test_the_head_says_that_the_winner_is_refitted() -> None:
    assert _refits(worker_of(None, FINISH)) and not _refits(worker_of(None, None))
    assert head(12, refits=True).endswith(", refitting the winner")
    assert "left" not in head(6, refits=True, seconds=900.0)
