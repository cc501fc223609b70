"""Runs a command, and writes what it and all its descendants used as JSON.

    python benchmarks/throughput_meter.py OUT.json PID COMMAND...

PID is a process whose family's memory is sampled beside it: PostgreSQL. Descendants that outlive
their parents come to this process and are waited for here, so that no processor time is missed.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: https://man7.org/linux/man-pages/man2/prctl.2.html
EVERY = 0.5  # Seconds between two samples of memory; one costs some milliseconds.
STRAGGLERS = 30.0  # Seconds that descendants have after the command has ended.


class Peaks(threading.Thread):
    """The most proportional memory, of this process's descendants and of another's family."""

    def __init__(self, beside: int) -> None:
        super().__init__(daemon=True)
        self.own, self.other = psutil.Process(), psutil.Process(beside)
        self.peak = self.peak_beside = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(EVERY):
            self.peak = max(self.peak, proportional(self.own.children(recursive=True)))
            family = [self.other, *self.other.children(recursive=True)]
            self.peak_beside = max(self.peak_beside, proportional(family))


def proportional(processes: list[psutil.Process]) -> int:
    """Return the sum of what processes have in memory, what they share divided among them."""
    total = 0
    for process in processes:
        with suppress(OSError, IndexError, ValueError):  # It has just ended.
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += 1024 * int(text.split("\nPss:", 1)[1].split()[0])
    return total


def main() -> None:
    out, beside, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    started = time.time()
    process = subprocess.Popen(command)
    peaks = Peaks(int(beside))
    peaks.start()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == process.pid:
            break
    wall = time.time() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    deadline = time.monotonic() + STRAGGLERS
    with suppress(ChildProcessError):  # There is nobody left.
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
    left = psutil.Process().children(recursive=True)
    for straggler in left:
        with suppress(psutil.Error):
            straggler.kill()
    peaks.done.set()
    peaks.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = {
        "code": process.returncode,
        "started": started,
        "wall": wall,
        "user": used.ru_utime,
        "system": used.ru_stime,
        "peak": peaks.peak,
        "peak_beside": peaks.peak_beside,
        "stragglers": len(left),
    }
    Path(out).write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
