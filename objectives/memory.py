"""How much memory a process may still take, how much it has, and what it can do without."""

from __future__ import annotations

import ctypes
import mmap
import re
from contextlib import suppress
from pathlib import Path

import psutil

from objectives.cgroups import CGROUPS, OWN, groups, number

SMAPS = Path("/proc/self/smaps")  # Absent where it is not Linux.
# A private mapping of a file that is not to be written to: its addresses; then what is known of it.
_OF_A_FILE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p .* /.*\n((?:[A-Z].*\n)*)", re.MULTILINE)
_PRIVATE = re.compile(r"^Private_Dirty: +(\d+) kB", re.MULTILINE)
_WRITTEN = re.compile(r"^(?:Anonymous|Swap): +[1-9]", re.MULTILINE)  # As when it was loaded.


def own_memory(pid: int | None = None) -> int:
    """Return the bytes that a process, by default this one, has written and shares with nobody.

    What it still shares with a fork server, a copy on write, is not its own, nor are pages of files
    as long as they can be read again. Where it is not Linux these count: the unique set size.
    """
    known = Path(f"/proc/{pid or 'self'}/smaps_rollup")
    with suppress(OSError):
        if found := _PRIVATE.search(known.read_text()):
            return int(found[1]) * 1024
    return int(psutil.Process(pid).memory_full_info().uss)


def let_go_of_files(smaps: Path = SMAPS) -> None:
    """Let go of the pages of files, such as libraries, that nothing was ever written to.

    To load TensorFlow touches 0.3 GB of its libraries, which a process that then only waits has no
    use for. What it does use comes back from the file (or its cache) by itself. Where the system
    does not tell of them, or knows no such call, they stay.
    """
    with suppress(OSError, AttributeError):
        known = smaps.read_text(errors="replace")
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for address, length in _unwritten(known):
            advise(address, length, mmap.MADV_DONTNEED)


def _unwritten(smaps: str) -> list[tuple[int, int]]:
    """Return where in memory files are to which nothing was written, and how many bytes."""
    return [
        (int(start, 16), int(end, 16) - int(start, 16))
        for start, end, known in _OF_A_FILE.findall(smaps)
        if not _WRITTEN.search(known)
    ]


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
