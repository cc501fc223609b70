"""The fleet as an operator sees it: workers, what they train, and what happened."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from storage import events, listing, workers
from storage.connection import Storage
from storage.errors import StorageError
from storage.events import Event
from storage.workers import Known, Trained, Worker
from topo_search.formats import NOTHING, format_count, format_name, format_seconds
from topo_search.signals import asked_to_end

REFRESH = 2.0  # Seconds between two looks.
PROMPT = 0.1  # Seconds after which it hears that it is to end.
STYLES = {"serving": "green", "draining": "yellow", "left": "dim", "lost": "bold red"}
START = "topo-search worker"
NAMED = 5  # Studies that nobody serves, by their ids; of more their number is told.
BAD = ("worker lost", "trial failed", "study paused", "study failed", "trial taken over")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One look at the fleet."""

    workers: Sequence[Known]
    events: Sequence[Event]  # The latest, oldest first.
    open_studies: int
    waiting: int  # Units of open studies still to be run.
    unserved: Sequence[str]  # Open studies that none of those who are here may serve.

    @property
    def here(self) -> list[Known]:
        """The workers that serve or drain."""
        return [known for known in self.workers if known.state in workers.HERE]

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "workers": [_worker_json(known) for known in self.workers],
            "studies": {
                "open": self.open_studies,
                "waiting": self.waiting,
                "unserved": list(self.unserved),
            },
            "events": [
                {
                    "at": event.at.isoformat(),
                    **{
                        name: getattr(event, name)
                        for name in ("kind", "study", "trial", "worker", "text")
                    },
                }
                for event in self.events
            ],
        }


def look(storage: Storage, count: int) -> Fleet:
    """Look at the fleet and its last `count` events."""
    totals, known = listing.totals(storage), workers.known(storage)
    return Fleet(
        workers=known,
        events=events.latest(storage, count=count) if count else (),
        open_studies=totals.open,
        waiting=totals.waiting,
        unserved=_unserved_by(storage, known),
    )


def unserved(storage: Storage) -> list[str]:
    """Return the open studies that none of the workers who are here may serve, oldest first."""
    return _unserved_by(storage, workers.known(storage))


def _unserved_by(storage: Storage, known: Sequence[Known]) -> list[str]:
    here = [one.worker for one in known if one.state in workers.HERE]
    refused = workers.refusals(storage)
    tags = listing.open_tags(storage)
    return [
        study
        for study in tags
        if not any(
            one.may_serve(study, tags[study]) and one.name not in refused.get(study, {})
            for one in here
        )
    ]


def watch(console: Console, storage: Storage, count: int) -> None:
    """Show the fleet until Ctrl-C; while the database is away, say so."""
    live = Live(console=console, auto_refresh=False, screen=False)
    with asked_to_end() as asked, live:
        while not asked:
            try:
                live.update(fitted(console, look(storage, count)), refresh=True)
            except StorageError as error:
                live.update(Text(str(error), style="red"), refresh=True)
            until = time.monotonic() + REFRESH
            while not asked and time.monotonic() < until:
                time.sleep(PROMPT)


def shown(fleet: Fleet) -> RenderableType:
    """Return the fleet for a terminal."""
    return _laid_out(fleet, fleet.workers, fleet.events)


def fitted(console: Console, fleet: Fleet) -> RenderableType:
    """Return as much of the fleet as fits a terminal's height, who left in one line."""
    stayed = [known for known in fleet.workers if known.state != "left"]
    # Of more than there are lines no more need be laid out.
    rows = [_height(console, _workers([known])) - 1 for known in stayed[: console.height]]
    latest = fleet.events[::-1][: console.height]
    lines = [_height(console, _events([event])) for event in latest]
    # Besides: the workers' heading, two empty lines, and two that say what else there is.
    room = console.height - _height(console, _laid_out(fleet, (), ())) - 5
    workers_fit = _how_many_fit(rows, room - min(sum(lines), room // 2))
    events_fit = _how_many_fit(lines, room - sum(rows[:workers_fit]))
    more, left = len(stayed) - workers_fit, len(fleet.workers) - len(stayed)
    besides = [
        *([f"{format_count(more, 'more worker')}"] if more else []),
        *([f"{format_count(left, 'worker')} left in the last hour"] if left else []),
    ]
    earlier = len(fleet.events) - events_fit
    return _laid_out(
        fleet,
        stayed[:workers_fit],
        fleet.events[earlier:],
        besides=", ".join(besides),
        before=format_count(earlier, "earlier event") if earlier else "",
    )


def _how_many_fit(heights: Iterable[int], room: int) -> int:
    return sum(total <= room for total in accumulate(heights))


def _height(console: Console, part: RenderableType) -> int:
    return len(console.render_lines(part))


def _laid_out(
    fleet: Fleet,
    known: Sequence[Known],
    happened: Sequence[Event],
    *,
    besides: str = "",
    before: str = "",
) -> RenderableType:
    """Return a fleet with these workers and events, and lines on what else there is of both."""
    slots = sum(known.worker.slots for known in fleet.here)
    rate = sum(known.trials_last_hour for known in fleet.workers)
    head = Text.assemble(
        (format_count(len(fleet.here), "worker"), "bold"),
        f", {format_count(slots, 'slot')}, {format_count(rate, 'trial')} in the last hour, "
        f"{format_count(fleet.open_studies, 'open study', 'open studies')}, "
        f"{format_count(fleet.waiting, 'trial')} waiting",
    )
    parts: list[RenderableType] = [head]
    if known:
        parts += [Text(), _workers(known)]
    if besides:
        parts.append(Text(f" {besides}", style="dim"))
    if fleet.unserved:
        parts.append(nobody_serves(fleet.unserved if fleet.here else None))
    if happened or before:
        parts.append(Text())
    if before:
        parts.append(Text(f" {before}", style="dim"))
    if happened:
        parts.append(_events(happened))
    return Group(*parts)


def nobody_serves(unserved: Sequence[str] | None) -> Text:
    """Return that nobody serves some studies; None are those just spoken of."""
    named = "them"
    if unserved is not None:
        more = len(unserved) - NAMED
        named = ", ".join(unserved[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
    return Text(f"Nobody serves {named}: start a worker with: {START}")


def limits(worker: Worker) -> str:
    """Return what a worker is limited to, as "tag night, study 3nuqe2g1"; "" where to nothing."""
    tags = [f"tag {format_name(tag, 40)}" for tag in worker.tags]
    return ", ".join([*tags, *(f"study {study}" for study in worker.studies)])


def _workers(known: Sequence[Known]) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim", expand=True)
    table.add_column("worker", overflow="fold", ratio=2)
    table.add_column("state", width=8)
    table.add_column("slots", width=12, overflow="fold")
    table.add_column("trains", ratio=3, overflow="fold")
    table.add_column("trials/h", justify="right", width=8)
    table.add_column("seen", justify="right", width=11, no_wrap=True)
    for one in known:
        table.add_row(
            "\n".join(filter(None, (format_name(one.worker.name), limits(one.worker)))),
            Text(one.state, style=STYLES[one.state]),
            f"{one.worker.slots} on {one.worker.device}",
            "\n".join(_training(trained) for trained in one.trains) or NOTHING,
            str(one.trials_last_hour),
            "now" if one.silence < 1 else f"{format_seconds(one.silence)}",
        )
    return table


def _training(trained: Trained) -> str:
    if trained.kind == "finish":
        what = f"{trained.study}: the winner"
    elif trained.trial is None:
        what = f"{trained.study}: next"
    else:
        what = f"{trained.study}: trial {trained.trial}"
    return what + (f" (attempt {trained.attempt})" if trained.attempt > 1 else "")


def _events(found: Sequence[Event]) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, show_header=False, expand=True)
    table.add_column(style="dim", width=11, no_wrap=True)
    table.add_column(width=16, no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for event in found:
        about = [event.study or event.worker or ""]
        if event.trial is not None:
            about.append(f"trial {event.trial}")
        words = " ".join(filter(None, about))
        text = Text(": ".join(filter(None, (words, event.text))))
        style = "red" if event.kind in BAD else ""
        table.add_row(_when(event.at), Text(event.kind, style=style), text)
    return table


def _when(at: datetime) -> str:
    """Return a moment in this machine's time zone, the day only where it is another."""
    local, now = at.astimezone(), datetime.now().astimezone()
    return local.strftime("%H:%M:%S" if local.date() == now.date() else "%d %b %H:%M")


def _worker_json(known: Known) -> dict[str, Any]:
    worker = known.worker
    return {
        "worker": worker.name,
        "host": worker.host,
        "version": worker.version,
        "device": worker.device,
        "slots": worker.slots,
        "limited_to": {"studies": list(worker.studies), "tags": list(worker.tags)},
        "state": known.state,
        "joined_at": known.joined_at.isoformat(),
        "seen_at": known.seen_at.isoformat(),
        "silence": round(known.silence, 3),
        "trials_last_hour": known.trials_last_hour,
        "trains": [
            {
                "study": trained.study,
                "kind": trained.kind,
                "trial": trained.trial,
                "attempt": trained.attempt,
                "seconds": round(trained.seconds, 3),
            }
            for trained in known.trains
        ],
    }
