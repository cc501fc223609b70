"""The control groups that this process is in, whose limits are its own: containers, services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def groups(
    controller: str, cgroups: Path = CGROUPS, own: Path = OWN
) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of each group that the process is in, and whether it is of version 2.

    Args:
        controller: As `memory` or `cpu`.
        cgroups: Where they are mounted.
        own: The file that says in which the process is.
    """
    yield cgroups, True
    yield cgroups / controller, False
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        for part in (group, *group.parents):
            if not controllers:
                yield cgroups / part, True
            elif controller in controllers.split(","):
                yield cgroups / controller / part, False


def number(path: Path) -> int | None:
    """Return the number in a file; None where there is none, as in "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
