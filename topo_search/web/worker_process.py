"""The worker beside a web service: started and ended with it, and started again after a crash."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

logger = logging.getLogger(__name__)

DRAIN = 10  # Seconds that running trials have when the service ends.
PATIENCE = 20.0  # Seconds beyond them until a worker is killed.
RESTART = 5.0  # Seconds until a worker that ended by itself is started again.
LOOK = 0.5  # Seconds between looks at whether it lives.

# Becomes the worker once the kernel has promised to end it with the service, however that ends
# (PR_SET_PDEATHSIG; the service may have ended before). Set here, as code between fork and exec
# may wait for ever for what another of the service's threads had locked.
_BECOME = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv.pop(1)):
    from topo_search.cli import main
    main()
"""


class WorkerProcess:
    """Keeps a worker running.

    The kernel takes the end of the *thread* that started a process for the end of its parent: one
    thread starts the worker, and stays until it has ended.
    """

    def __init__(self, environment: Mapping[str, str], *, log_json: bool) -> None:
        """Start the worker.

        Args:
            environment: Of the worker; its storage's URL is here, where no list of processes
                shows it.
            log_json: Whether it logs one JSON object a line.
        """
        drain = ("worker", "--drain", f"{DRAIN}s", *(("--log-json",) if log_json else ()))
        # -P: files in this folder are not the worker's modules.
        self._command = [sys.executable, "-P", "-c", _BECOME, str(os.getpid()), *drain]
        self._environment = dict(environment)
        self._asked, self._hurried = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let it drain and end; asked again, it ends at once."""
        (self._hurried if self._asked.is_set() else self._asked).set()

    def close(self) -> None:
        """Wait until it has ended."""
        self._asked.set()
        self._thread.join()

    def _keep(self) -> None:
        while True:
            worker = self._start()
            if worker is not None:
                while not self._asked.wait(LOOK) and worker.poll() is None:
                    pass
                if self._asked.is_set():
                    self._finish(worker)
                    return
                logger.error(
                    "The worker ended with %d. It is started again in %g s.",
                    worker.returncode,
                    RESTART,
                )
            if self._asked.wait(RESTART):
                return

    def _start(self) -> subprocess.Popen[bytes] | None:
        """Start the worker; None where that cannot be, as while there is no memory for it."""
        try:
            # In a group of its own: Ctrl-C is for the service, which then ends it.
            return subprocess.Popen(self._command, env=self._environment, start_new_session=True)
        except OSError as error:
            logger.error("No worker can be started: %s. Trying again in %g s.", error, RESTART)
            return None

    def _finish(self, worker: subprocess.Popen[bytes]) -> None:
        worker.terminate()
        if self._ends(worker, DRAIN + PATIENCE):
            return
        worker.send_signal(signal.SIGTERM)
        if not self._ends(worker, PATIENCE):
            logger.error("The worker does not end, and is killed.")
            worker.kill()
            worker.wait()

    def _ends(self, worker: subprocess.Popen[bytes], seconds: float) -> bool:
        """Wait until it has ended, for some time at most, and not when asked to hurry."""
        hurried = self._hurried.is_set()
        for _ in range(int(seconds / LOOK)):
            try:
                worker.wait(LOOK)
                return True
            except subprocess.TimeoutExpired:
                if self._hurried.is_set() and not hurried:
                    return False
        return False


@contextmanager
def worker_process(
    environment: Mapping[str, str] | None, *, log_json: bool
) -> Iterator[WorkerProcess | None]:
    """Keep a worker running while the block runs, where there is an environment for one."""
    if environment is None:
        yield None
        return
    one = WorkerProcess(environment, log_json=log_json)
    try:
        yield one
    finally:
        one.close()
