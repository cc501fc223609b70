"""A process that has imported what commands need, and forks for each one that it is asked for.

A program: each line it reads is a command as JSON, to which it answers with its exit code. A
command is a process as ever, with an environment, a folder and output files of its own; but it need
not import anything, which takes most commands ten times as long as what they do, and its slots
have no TensorFlow.
"""

import json
import os
import signal
import sys
from typing import Any

import alembic.command  # noqa: F401
import optuna  # noqa: F401
import pandas  # noqa: F401

from storage import check, connection, embedded, events, progress, studies, workers  # noqa: F401
from topo_search import cli, delivery, fleet, forking, own_worker, results, study, worker  # noqa: F401


def asked_for() -> dict[str, Any]:
    """Return a command in the process that is to become it; the first process returns never."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            return command
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
    sys.exit()


def become(command: dict[str, Any]) -> None:
    """Be the command, but for its main function."""
    signal.alarm(int(command["seconds"]))  # Ends it.
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        file = os.open(command["files"][number], mode)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["topo-search", *command["arguments"]]


become(asked_for())
forking.PRELOAD = "light_preload"
cli.main()
