"""How much memory a process may still take."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available_memory(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return the bytes that can be taken without swapping, within the container's limits."""
    available = int(psutil.virtual_memory().available)
    for folder, limit, usage in _cgroup_files(cgroups, own):
        if (most := _number(folder / limit)) is None or (used := _number(folder / usage)) is None:
            continue
        available = min(available, max(0, most - used + _cached_files(folder / "memory.stat")))
    return available


def _cgroup_files(cgroups: Path, own: Path) -> list[tuple[Path, str, str]]:
    """Return folder, limit file and usage file of every group that the process is in."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    files = [
        (cgroups, "memory.max", "memory.current"),
        (cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for part in (group, *group.parents):
            if not controllers:
                files.append((cgroups / part, "memory.max", "memory.current"))
            elif "memory" in controllers.split(","):
                folder = cgroups / "memory" / part
                files.append((folder, "memory.limit_in_bytes", "memory.usage_in_bytes"))
    return files


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _cached_files(path: Path) -> int:
    """Return the bytes of the group's file cache, which the kernel gives up when asked."""
    try:
        stat = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
