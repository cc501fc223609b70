"""What a terminal shows while a study runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from objectives.objective import Finish
from storage.progress import Progress, progress_of
from storage.rows import StudyRow
from storage.trial_reader import TrialReader
from topo_search.finish import ranked
from topo_search.formats import (
    NOTHING,
    format_left,
    format_metric,
    format_parameters,
    format_seconds,
    format_value,
)
from topo_search.outcomes import OUTDONE
from topo_search.pool import Slot
from topo_search.worker import Worker

REFRESH = 0.5  # Seconds between looks at the database for the view.


class View:
    """Shows a study while a worker serves it: live on a terminal, else a line a trial."""

    def __init__(self, console: Console, row: StudyRow) -> None:
        self.console, self.row = console, row
        self.metric = str(row.plan["metric"])
        self._live: Live | None = None
        self._next = 0.0
        self._told: set[int] | None = None
        self._started = time.monotonic()
        self._finished_before: int | None = None
        self._seen: tuple[Worker, TrialReader] | None = None

    @contextmanager
    def shown(self) -> Iterator[View]:
        """Show the view while the block runs; a terminal is left as it was before."""
        if not self.console.is_terminal:
            yield self
            if self._seen is not None:  # What ended since the last look is told, too.
                worker, trials = self._seen
                self._tell(trials.look(), worker, progress_of(worker.storage, self.row.id))
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as self._live:
            self._live.update(Text("Starting: loading TensorFlow …", style="dim"))
            yield self

    def tick(self, worker: Worker) -> None:
        """Look at the study again, if it is time, and show what has changed."""
        now = time.monotonic()
        if now < self._next or not (self._seen or self.row.id in worker.scheduler.serving):
            return
        _, trials = self._seen = self._seen or (worker, self._reader(worker))
        # A page at a tick: while more are read, the worker could not renew its leases.
        behind = trials.read_page()
        self._next = now if behind else now + REFRESH
        progress = progress_of(worker.storage, self.row.id)
        if self._live is None:
            if not behind:
                self._tell(trials.trials, worker, progress)
            return
        if self._finished_before is None:
            self._finished_before = progress.finished
        best = next(iter(ranked(trials.trials, self.row.plan["direction"])), None)
        self._live.update(
            Group(
                self._head(progress, now, refits=_refits(worker)),
                self._best(best),
                _slots(worker, self.metric),
                _hint(worker, progress),
            )
        )

    def _reader(self, worker: Worker) -> TrialReader:
        return TrialReader(worker.storage, self.row.optuna_study_id, described=True)

    def _tell(self, found: list[FrozenTrial], worker: Worker, progress: Progress) -> None:
        ended = [trial for trial in found if trial.state.is_finished()]
        if self._told is None:
            # Those of a study that is resumed were told before; what one began with is another's.
            known = [one for one in ended if self.row.drawn or "known_from" in one.user_attrs]
            self._told = {trial.number for trial in known}
            if elsewhere := _elsewhere(worker, progress):
                self.console.print(elsewhere)
        for trial in ended:
            if trial.number not in self._told:
                self._told.add(trial.number)
                line = _line(trial, self.metric)
                self.console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)

    def _head(self, progress: Progress, now: float, *, refits: bool = False) -> Table:
        seconds = now - self._started
        done_here = progress.finished - (self._finished_before or 0)
        left = None
        if done_here > 0:
            left = seconds / done_here * (progress.units - progress.finished)
        if self.row.seconds is not None:
            remaining = max(0.0, self.row.seconds - self.row.spent_seconds - seconds)
            left = remaining if left is None else min(left, remaining)
        then = "" if left is None else f", {format_left(left)} left"
        if refits:
            then = ", refitting the winner"
        elif progress.finished == progress.units:
            then = ""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_row(
            ProgressBar(total=progress.units, completed=progress.finished),
            Text.assemble(
                (f"{progress.finished}/{progress.units}", "bold"),
                f" trials, {progress.pruned} pruned",
                f", {progress.failed} failed" if progress.failed else "",
                (f"  {format_seconds(seconds)}{then}", "dim"),
            ),
        )
        return grid

    def _best(self, best: FrozenTrial | None) -> Text:
        if best is None:
            return Text("No trial is complete yet.", style="dim")
        return Text.assemble(
            "Best so far: ",
            (f"{format_metric(self.metric)} {format_value(self.metric, best.value)}", "bold green"),
            f"  {_what(best)}",
            (f"  (trial {best.number})", "dim"),
        )


def _slots(worker: Worker, metric: str) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim", expand=True)
    table.add_column("slot", justify="right", width=4)
    table.add_column("trial", justify="right", width=5)
    table.add_column("trains", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("epoch", justify="right", width=5)
    table.add_column(format_metric(metric), justify="right", min_width=8, no_wrap=True)
    table.add_column("for", justify="right", width=11, no_wrap=True)
    for slot in worker.pool.slots:
        number, what = _assigned(worker, slot)
        step = slot.step if slot.assignment is not None else 0  # Else its last trial's.
        table.add_row(
            str(slot.index + 1),
            number,
            what,
            str(step) if step else "",
            format_value(metric, slot.value) if step else "",
            "" if slot.idle else format_seconds(slot.seconds),
        )
    return table


def _refits(worker: Worker) -> bool:
    """Tell whether a slot trains the winner once more, after which the study has ended."""
    return any(isinstance(slot.assignment, Finish) for slot in worker.pool.slots)


def _assigned(worker: Worker, slot: Slot) -> tuple[str, str]:
    """Return the number of the trial a slot has, and what it is in words."""
    if slot.assignment is None:
        return "", "waits"
    if isinstance(slot.assignment, Finish):
        return "", "trains the winner once more and scores it on the test rows"
    held = worker.held.get(slot.assignment.trial)
    if held is None:
        return "", "ends a pruned trial"
    described = held.served.described(held.lease.parameters)
    return str(held.number), described.get("topology") or format_parameters(held.lease.parameters)


def _elsewhere(worker: Worker, progress: Progress) -> str:
    """Say what is waited for where other workers have all that is left."""
    if worker.held or worker.ahead or not progress.running:
        return ""
    trials = "a trial" if progress.running == 1 else f"{progress.running} trials"
    return (
        f"Another worker has {trials}. If it is gone, this one takes over "
        f"within {format_seconds(worker.lease_seconds)}."
    )


def _hint(worker: Worker, progress: Progress) -> Text:
    if worker.draining:
        text = "Ending: running trials go on to their end. Press Ctrl-C again to stop at once."
        return Text(text, style="yellow")
    if elsewhere := _elsewhere(worker, progress):
        return Text(elsewhere, style="yellow")
    return Text("Ctrl-C ends it after the running trials; nothing is lost.", style="dim")


def _line(trial: FrozenTrial, metric: str) -> Text:
    reason = str(trial.user_attrs.get("reason") or "")
    state = "failed" if trial.state.name == "FAIL" else trial.state.name.lower()
    if state == "pruned" and reason.startswith(OUTDONE):
        state, reason = f"pruned{reason.removeprefix(OUTDONE)}", ""
    value = format_value(metric, trial.value) if trial.value is not None else NOTHING
    what = f"{reason}: {_what(trial)}" if reason else _what(trial)
    return Text(f"trial {trial.number:>3}  {state:<17}  {value:>8}  {what}")


def _what(trial: FrozenTrial) -> str:
    topology = trial.user_attrs.get("topology")
    if topology:
        return str(topology)
    return format_parameters(trial.params)
