"""The real commands, for tests that type many and train no network: started without imports.

Those that run while a test goes on are `LIGHT`; those that are waited for come from `Commands`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
IMPORT_PATH = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
LIGHT = (sys.executable, "-P", HERE / "light_command.py")  # Its slots have no TensorFlow.


class Commands:
    """A process that is forked for each command: see command_server.py."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: For what commands print.
        """
        self._printed = [folder / "out", folder / "err"]
        self._process = subprocess.Popen(
            [sys.executable, "-P", HERE / "command_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": IMPORT_PATH},
            text=True,
        )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        for path in self._printed:
            path.write_bytes(b"")
        command = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "files": [os.devnull, *map(str, self._printed)],
            "seconds": seconds,
        }
        print(json.dumps(command), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        out, err = (path.read_text() for path in self._printed)
        return subprocess.CompletedProcess(arguments, code, out, err)

    def close(self) -> None:
        """End it."""
        with self._process:
            pass
