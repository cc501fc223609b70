"""Workers forked from a nursery, handled like processes that were started."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any


class Forked:
    """One process; what `subprocess.Popen` knows of its own."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        """Handle a process of a nursery's."""
        self.pid, self._nursery = pid, nursery

    @property
    def returncode(self) -> int | None:
        """Its exit code, or less than 0 by the signal that ended it; None while it runs."""
        return self._nursery.ended.get(self.pid)

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Return its exit code when it has ended."""
        with self._nursery.changed:
            if not self._nursery.changed.wait_for(lambda: self.poll() is not None, timeout):
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # It was just reaped; word of it is on its way.
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The process that they are forked from: see fleet_nursery.py."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it."""
        self.ended: dict[int, int] = {}
        self.changed = threading.Condition()
        self._began: list[int] = []
        self._asking = threading.Lock()
        program = Path(__file__).with_name("fleet_nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self.close)

    def fork(self, told: Mapping[str, Any], environment: Mapping[str, str], log: Path) -> Forked:
        """Return a new process that is this worker."""
        asked = {"told": told, "environment": environment, "log": str(log)}
        assert self._process.stdin is not None
        with self._asking, self.changed:
            print(json.dumps(asked), file=self._process.stdin, flush=True)
            self.changed.wait_for(lambda: self._began)
            return Forked(self, self._began.pop())

    def close(self) -> None:
        """End it, when nobody asks for workers any more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                what, pid, *code = line.split()
                with self.changed:
                    if what == "began":
                        self.ended.pop(int(pid), None)  # Numbers are used again.
                        self._began.append(int(pid))
                    else:
                        self.ended[int(pid)] = int(code[0])
                    self.changed.notify_all()


@cache
def nursery() -> Nursery:
    """Return the one of this process."""
    from fleet_harness import environment

    return Nursery(environment())
