"""What the operator's overview says of events, gathered from the storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from storage import events
from storage.connection import Storage
from storage.events import Event
from topo_search.formats import NBSP


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What failed in one study for one reason, once or often."""

    study: str | None
    trials: Sequence[int]  # Numbers of the trials, the latest first.
    paused: bool  # Whether the study was paused for it.
    reason: str
    count: int
    at: datetime  # The last time.


def latest(storage: Storage, count: int) -> list[Event]:
    """Return the last events, newest first."""
    return events.latest(storage, count=count)[::-1]


def failures(storage: Storage, count: int) -> list[Failure]:
    """Return what the last events say of failures, newest first, each reason of a study once.

    What a user wished for is none: a pause, or trials that ended with their study's cancelling.
    """
    found: dict[tuple[str | None, str, str], list[Event]] = {}
    kinds: Sequence[events.Kind] = ("trial failed", "study failed", "study cancelled")
    last = events.latest(storage, kinds=kinds, count=count)[::-1]
    wished = cancelled(last)
    for event in last:
        failed = event.kind == "trial failed" and event.id not in wished
        if failed or event.kind == "study failed":
            found.setdefault((event.study, event.kind, event.text), []).append(event)
    return [
        Failure(
            study=study,
            trials=[event.trial for event in same if event.trial is not None],
            paused=kind == "study failed",
            reason=text,
            count=len(same),
            at=same[0].at,
        )
        for (study, kind, text), same in found.items()
    ]


def cancelled(found: Sequence[Event]) -> set[int]:
    """Return the ids of the events of trials that ended as somebody cancelled their study."""
    whys = {(event.study, event.text) for event in found if event.kind == "study cancelled"}
    return {
        event.id
        for event in found
        if event.kind == "trial failed" and (event.study, event.text) in whys
    }


def age(seconds: float) -> str:
    """Return a duration in whole units of one size, which do not change all the time: `3 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:,.0f}{NBSP}{unit}"
    return f"{max(0.0, seconds) // 10 * 10:.0f}{NBSP}s"


def moment(at: datetime | float) -> Markup:
    """Return a moment for a page, which shows it in the reader's zone where it can.

    Args:
        at: The moment; a number is seconds since 1970.
    """
    known = datetime.fromtimestamp(at, UTC) if isinstance(at, float) else at.astimezone(UTC)
    return Markup('<time datetime="{}">{:%d %b %Y %H:%M} UTC</time>').format(
        known.isoformat(timespec="seconds"), known
    )
