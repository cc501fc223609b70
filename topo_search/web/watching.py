"""Watching studies: one look at the database serves all who watch."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from storage import changes, keys, studies
from storage.connection import Storage
from storage.errors import StorageError
from storage.rows import StudyRow
from topo_search.web.client_limit import ClientLimit
from topo_search.web.study_state import StudyState
from topo_search.web.views import View, view_of

logger = logging.getLogger(__name__)

LOOK = 1.0  # Seconds between looks at the studies that are watched.
SHARE = 0.02  # Of one core, at most, for gathering one study's results again and again.
ASKS = 0.005  # Seconds of a core that each viewer takes for what is new: events, trials, charts.
THEIRS = 0.05  # Of one core, at most, for that: the more watch, the longer it takes to the next.
FORGOTTEN = 60.0  # Seconds after its last viewer until a study is watched no more.
STREAMS = 256  # Open at a time; each has a thread of the server.
EACH = 216  # Of them for one address: 200 people may be behind it, and some have just hung up.
HUNG_UP = 5.0  # Seconds until a stream without news sees that its viewer has gone.
HEARTBEAT = 15.0  # Seconds of silence until a stream says that it is alive.


ViewOrNone = TypeVar("ViewOrNone", View, None)


class Watch:
    """One study as those who watch it see it."""

    def __init__(self, storage: Storage, study: str, closed: threading.Event) -> None:
        self.storage, self.study, self.closed = storage.with_own_cache(), study, closed
        self.changed = threading.Condition()
        self.view: View | None = None
        self.asked_at = time.monotonic()
        self.viewers = 0
        self._gathering = threading.Lock()
        self._not_before = self._told_not_before = 0.0

    def current(self) -> View:
        """Return the study as it is now, or was a moment ago.

        Raises:
            LookupError: It was deleted.
        """
        self.asked_at = time.monotonic()
        return self.view if self.view is not None else self.look()

    def soon(self, seconds: float) -> View | None:
        """Return the study as `current` does, if it can be gathered so quickly; else go on at it.

        Raises:
            LookupError: It was deleted.
        """
        self.asked_at = time.monotonic()
        if self.view is not None:
            return self.view
        gathering = threading.Thread(target=self._try, name=f"gather {self.study}", daemon=True)
        gathering.start()
        gathering.join(seconds)
        return self.view

    def look(self, *, now: bool = False) -> View:
        """Look whether something has changed, and tell it; gather anew what was found, if so.

        How far a study is, is told at once, and so is what it found at its end. What it has found
        meanwhile takes long to gather: it waits where it was gathered lately.

        Args:
            now: Whether nothing may wait, as when a user has just changed the study.

        Raises:
            LookupError: It was deleted.
        """
        with self._gathering:
            mark = changes.mark(self.storage, self.study)
            if mark is None:
                self._tell(None)
                raise LookupError(f"Study {self.study} was deleted.")
            known = self.view
            if known is not None and known.mark == known.found.mark == mark:
                return known
            row = studies.get(self.storage, self.study)
            if known is None or now or self._may_gather(known, row):
                return self._tell(self._gathered(row, mark))
            so_far = f"{mark}-so-far"  # Another mark: what was found is still to be told.
            if known.mark == so_far or time.monotonic() < self._told_not_before:
                return known
            self._told_not_before = time.monotonic() + self._time_of_viewers
            standing = StudyState.of(self.storage, row)
            return self._tell(replace(known, mark=so_far, standing=standing))

    def _may_gather(self, known: View, row: StudyRow) -> bool:
        """Tell whether what a study found is gathered again, which was not asked for."""
        before = known.standing.row
        has_ended = (before.state, before.outcome) != (row.state, row.outcome)
        return has_ended or time.monotonic() >= self._not_before

    def _gathered(self, row: StudyRow, mark: str) -> View:
        """Gather what a study has found, and see when that may be done again."""
        known, loaded = self.view, len(sys.modules)
        began = time.thread_time()  # Waiting for a core that others have costs nobody anything.
        view = view_of(self.storage, row, mark, known)
        view.since(None)  # Whoever watches will want all of it.
        # The first time all trials are read, and now and then modules are loaded; never again.
        once = known is None or len(sys.modules) != loaded
        took = 0.0 if once else time.thread_time() - began
        self._told_not_before = time.monotonic() + self._time_of_viewers
        self._not_before = self._told_not_before + took / SHARE
        return view

    @property
    def _time_of_viewers(self) -> float:
        """The seconds until those who watch may be told of something again."""
        return self.viewers * ASKS / THEIRS

    def _tell(self, view: ViewOrNone) -> ViewOrNone:
        """Let those who watch have another view; None where the study was deleted."""
        with self.changed:
            self.view = view
            self.changed.notify_all()
        return view

    def after(self, mark: str | None, seconds: float) -> View | None:
        """Wait until the study is other than at `mark`, for some time at most; None if it is not.

        Raises:
            LookupError: It was deleted.
        """

        def is_over() -> bool:
            return self.view is None or self.view.mark != mark or self.closed.is_set()

        self.asked_at = time.monotonic()
        with self.changed:
            self.changed.wait_for(is_over, seconds)
            view = self.view
        if view is None:
            raise LookupError(f"Study {self.study} was deleted.")
        return view if view.mark != mark else None

    @contextmanager
    def viewed(self) -> Iterator[None]:
        """Count a viewer while the block runs."""
        with self.changed:
            self.viewers += 1
        try:
            yield
        finally:
            with self.changed:
                self.viewers -= 1

    def _try(self) -> None:
        """Gather it where nobody waits for an error: who asks next meets it again."""
        try:
            self.look()
        except (LookupError, StorageError) as error:
            logger.debug("%s", error)
        except Exception:
            logger.exception("Study %s cannot be gathered.", self.study)


class ManyWatchError(RuntimeError):
    """So many watch already that one more cannot be served."""


class Watches:
    """All studies that somebody watches."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._free, self._limit = threading.Semaphore(STREAMS), ClientLimit(EACH)
        self._watches: dict[str, Watch] = {}
        self._opened: dict[str, str] = {}  # Hashes of keys to the studies that they open.
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._go_round, name="watches", daemon=True)
        self._thread.start()

    def of(self, study: str) -> Watch:
        """Return the watch of a study."""
        with self._lock:
            watch = self._watches.get(study)
            if watch is None:
                watch = self._watches[study] = Watch(self.storage, study, self._closed)
            watch.asked_at = time.monotonic()
            return watch

    def opened_by(self, key: str) -> Watch | None:
        """Return the watch of the study that a key opens, where that is known without asking."""
        with self._lock:
            watch = self._watches.get(self._opened.get(keys.hash_of(key), ""))
        return None if watch is None or watch.view is None else watch

    def opens(self, key: str, study: str) -> Watch:
        """Return the watch of a study, and remember which key opens it while it is watched."""
        watch = self.of(study)
        with self._lock:
            self._opened[keys.hash_of(key)] = study
        return watch

    def enter(self, asker: str = "") -> Callable[[], None]:
        """Take one of the places for streams; return what gives it back.

        Raises:
            ManyWatchError: There is none, or none that one asker may have besides all he has.
        """
        if not self._limit.take(asker):
            raise ManyWatchError("Very many are watching from where you are. Try it again later.")
        if not self._free.acquire(blocking=False):
            self._limit.give_back(asker)
            raise ManyWatchError("Very many are watching just now. Try again in a moment.")

        def leave() -> None:
            self._free.release()
            self._limit.give_back(asker)

        return leave

    def end(self) -> None:
        """Let all streams end."""
        self._closed.set()
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            with watch.changed:
                watch.changed.notify_all()

    def close(self) -> None:
        """Watch no more; whoever waits is let go."""
        self.end()
        self._thread.join()

    @property
    def closed(self) -> bool:
        """Whether there is no more watching."""
        return self._closed.is_set()

    def _go_round(self) -> None:
        while not self._closed.wait(LOOK):
            with self._lock:
                old = time.monotonic() - FORGOTTEN
                for study in [s for s, watch in self._watches.items() if watch.asked_at < old]:
                    del self._watches[study]
                self._opened = {k: s for k, s in self._opened.items() if s in self._watches}
                watches = list(self._watches.values())
            for watch in watches:
                if watch.view is None:
                    continue
                try:
                    watch.look()
                except LookupError:
                    with self._lock:
                        self._watches.pop(watch.study, None)
                except StorageError as error:  # What is shown stays as it was.
                    logger.warning("%s", error)
                except Exception:  # One study's trouble is not to end the watching of others.
                    logger.exception("Study %s cannot be gathered.", watch.study)


def stream(
    watches: Watches,
    study: str,
    seen: str | None,
    gone: Callable[[], bool] = lambda: False,
) -> Iterator[str]:
    """Yield a study's changes as server-sent events until it is deleted or the service ends.

    Args:
        watches: Of the service.
        study: The public id.
        seen: The mark of the state that the viewer has; the first event holds what is new since.
        gone: Tells whether the viewer has hung up, or may see no more.
    """
    watch = watches.of(study)
    with watch.viewed():
        yield from _changes(watches, watch, seen, gone)


def _changes(
    watches: Watches, watch: Watch, seen: str | None, gone: Callable[[], bool]
) -> Iterator[str]:
    before = None
    yield "retry: 3000\n\n"
    view: View | None = watch.current()
    if view is not None and view.mark == seen:
        before, view = view, None
    quiet = time.monotonic()
    while not (watches.closed or gone()):
        if view is not None:
            yield _event("change", view.mark, view.told_since(before))
            before, quiet = view, time.monotonic()
        elif time.monotonic() - quiet > HEARTBEAT:
            yield ": still here\n\n"
            quiet = time.monotonic()
        try:
            view = watch.after(before.mark if before else None, HUNG_UP)
        except LookupError:
            yield _event("gone", "gone", "{}")
            return


def _event(name: str, mark: str, text: str) -> str:
    return f"event: {name}\nid: {mark}\ndata: {text}\n\n"
