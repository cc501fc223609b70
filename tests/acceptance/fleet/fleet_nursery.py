"""A process that has imported what workers need, and forks one for each that it is asked for.

A program: each line it reads says as JSON what worker it is to be, its environment and its log. It
answers with `began PID`, and with `ended PID CODE` when one has. To import takes a worker longer
than to start; where it is another Python or another host that is to import, as with a wrong clock,
fleet_worker.py is run as it is.
"""

import json
import os
import selectors
import signal
import sys
import traceback
from typing import Any

import fleet_worker


def become(asked: dict[str, Any]) -> None:
    """Be a worker, in a session of its own."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(file, number)
        os.environ.clear()
        os.environ.update(asked["environment"])
        fleet_worker.main(asked["told"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Fork, and tell who has ended, until nobody can ask any more."""
    ends, wakes = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(ends, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting = selectors.DefaultSelector()
    for file in (0, ends):
        waiting.register(file, selectors.EVENT_READ)
    unread = b""
    while True:
        for key, _ in waiting.select():
            if key.fd == ends:
                os.read(ends, 4096)
                continue
            read = os.read(0, 65_536)
            if not read:
                return
            *lines, unread = (unread + read).split(b"\n")
            for line in lines:
                child = os.fork()
                if child == 0:
                    waiting.close()
                    become(json.loads(line))
                print(f"began {child}", flush=True)
        tell_who_ended()


def tell_who_ended() -> None:
    """Print who has, if anybody has."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            return
        print(f"ended {ended} {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
