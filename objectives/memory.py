"""How much memory a process may still take, and how much it has."""

from __future__ import annotations

from pathlib import Path

import psutil

from objectives.cgroups import CGROUPS, OWN, groups, number


def own_memory(pid: int | None = None) -> int:
    """Return the bytes that would be free without a process, by default this one.

    What it still shares with a fork server, a copy on write, is not its own: the unique set size.
    """
    return int(psutil.Process(pid).memory_full_info().uss)


def available_memory(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the bytes that can be taken without swapping, within the container's limits."""
    available = int(psutil.virtual_memory().available)
    for folder, unified in groups("memory", cgroups, own):
        limit = "memory.max" if unified else "memory.limit_in_bytes"
        usage = "memory.current" if unified else "memory.usage_in_bytes"
        if (most := number(folder / limit)) is None or (used := number(folder / usage)) is None:
            continue
        available = min(available, max(0, most - used + _cached_files(folder / "memory.stat")))
    return available


def _cached_files(path: Path) -> int:
    """Return the bytes of the group's file cache, which the kernel gives up when asked."""
    try:
        stat = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
