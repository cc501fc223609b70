"""A worker of the tests as a program; its one argument says in JSON what worker it is to be.

Its short leases shorten all that the product measures in parts of a lease.
"""

import fleet_clock  # noqa: F401  # isort: skip  (before anything that could read the clock)
import itertools
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storage import clock, connection
from storage.connection import Storage, connect
from storage.errors import StorageError
from topo_search import forking, machine, retries, worker

USUAL_PAUSE = retries.LONGEST_PAUSE
HALF_A_LEASE = clock.LEASE / 2

OBJECTIVES = [f"fleet_objectives:{name}" for name in ("timed", "untimed", "gated", "hungry")]


def shorten(lease: float) -> None:
    """Bring what is half a lease, or a small part of one, to that part of a shorter lease."""
    share = lease / clock.LEASE
    milliseconds = int(1000 * HALF_A_LEASE * share)
    retries.LONGEST_PAUSE = USUAL_PAUSE * share
    connection._CONNECT_ARGS["tcp_user_timeout"] = milliseconds
    connection._TIMEOUTS = connection._TIMEOUTS.replace("'30s'", f"'{milliseconds}ms'")


def opened(url: str) -> Storage:
    """Open the storage when it answers, as a service manager's new starts would."""
    while True:
        try:
            return connect(url)
        except StorageError as error:
            logging.warning("%s", error)
            threading.Event().wait(0.1)


def die_at(step: int, counts: Callable[[], bool]) -> None:
    """End this process before its statement of that number, of those that count."""
    taken = itertools.count(1)

    def count(*_: object) -> None:
        if counts() and next(taken) == step:
            os._exit(9)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)


def main(told: dict[str, Any]) -> None:
    """Serve as told."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    home, lease = Path(told["home"]), float(told["lease"])
    shorten(lease)
    if not told["tensorflow"]:
        forking.PRELOAD = "fleet_preload"
    if told["memory"]:
        worker.memory_for_each = lambda count: told["memory"]  # type: ignore[assignment]
    last: list[dict[str, Any]] = []
    if told["dies_at"]:
        ended = lambda: last[0]["ended"] if last else 0  # noqa: E731
        die_at(told["dies_at"], lambda: ended() >= told["dies_after"])

    def tell(one: worker.Worker) -> None:
        """Keep a file that says what the worker holds."""
        said = {"name": one.name, "held": len(one.held), "ended": one.delivered}
        said["slots"] = [slot.process.pid for slot in one.pool.slots]
        if last != [said]:
            last[:] = [said]
            unfinished = home / f".status-{os.getpid()}"
            unfinished.write_text(json.dumps(said))
            unfinished.rename(home / "status.json")

    worker.Worker(
        opened(told["url"]),
        Path(told["cache"]),
        machine.Serving(slots=told["slots"], objectives=OBJECTIVES),
        only=told["only"],
        until_idle=told["until_idle"],
        lease=lease,
        on_tick=tell,
    ).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
