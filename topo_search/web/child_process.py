"""Inside a child: what it does for as long as it lives, before and beside what it was asked for."""

from __future__ import annotations

import logging
import math
import os
import resource
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from topo_search import slot
from topo_search.forking import ignore_signals
from topo_search.web import child_answers

LESS_URGENT = 2  # Added to a child's niceness: pages come first, but someone waits for it, too.

logger = logging.getLogger(__name__)


def settle(log: Path | None) -> None:
    """Make this process a child: quiet, in the background, gone when its parent is.

    Args:
        log: File to print to; None to drop what is printed.
    """
    ignore_signals()
    threading.Thread(target=slot.end_with_parent, daemon=True).start()
    os.nice(LESS_URGENT)
    slot.print_to(log or Path(os.devnull))


def limit_memory(memory: int) -> None:
    """Let this process take so many bytes beyond what it has mapped now."""
    _limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + memory)


def limit_time(seconds: float) -> None:
    """Have this process killed some time after its parent should have, were it still there.

    A regular expression that never ends keeps the thread waiting that looks after the parent.
    """
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + 2 * seconds + 1))


def answer(connection: Connection, function: Callable[..., Any], *args: Any) -> bool:
    """Send what a function returns or raises; return whether this process had memory enough."""
    enough = True
    try:
        data = child_answers.returned(function(*args))
    except MemoryError:
        enough = False  # What took it is freed when this block ends.
    except Exception as error:  # Whatever it is, the caller is to raise it.
        data = child_answers.failed(error)
    if not enough:
        _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)  # So that saying so does not fail.
        data = child_answers.failed(MemoryError())
    try:
        connection.send_bytes(data)
    except OSError:
        logger.debug("Nobody waits for the answer.")
    return enough


def _limit(kind: int, wanted: int) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        wanted = most if wanted == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (wanted, most))
