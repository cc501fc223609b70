"""A user's machine: a home of its own, a folder to work in, and the real command."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from light_commands import IMPORT_PATH, LIGHT, Commands

COMMAND = Path(sys.executable).with_name("topo-search")
IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"
DEADLINE = 400.0  # Seconds for any one command; on an idle machine the longest takes 20.
COLUMNS = 80
# Most of the time of a small search goes into compiling each shape of network that comes up.
ONE_SHAPE = (
    *("--depth", "1:1", "--width", 32, "--activation", "relu", "--embedding", "none"),
    *("--normalisation", "none", "--residual", "no"),
)
# Becomes the command after making the terminal on its stdin its own, so that Ctrl-C reaches it.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where one user types commands."""

    home: Path
    folder: Path  # The working directory.
    command: tuple[str | Path, ...] = (COMMAND,)
    commands: Commands | None = None  # What those that are waited for come from, if forked.

    def light(self, folder: Path, commands: Commands) -> "Machine":
        """Return the same machine for who trains no network, in a folder of their own."""
        return Machine(home=self.home, folder=folder, command=LIGHT, commands=commands)

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see."""
        kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}
        return kept | {
            "TOPO_SEARCH_HOME": str(self.home),
            "COLUMNS": str(COLUMNS),
            "PYTHONPATH": IMPORT_PATH,
            "TOY_FOLDER": str(self.folder),
        }

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must be with this exit code."""
        words = [str(argument) for argument in arguments]
        if self.commands is not None:
            done = self.commands.run(words, self.folder, self.environment, DEADLINE)
        else:
            done = subprocess.run(
                [*self.command, *words],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
            )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr}"
        return done

    def json(self, *arguments: object) -> Any:
        """Return what a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    @contextmanager
    def started(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Let a command run while the block does; its process is killed at the end."""
        with subprocess.Popen(
            [*self.command, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def terminal(self, *arguments: object) -> Iterator["Terminal"]:
        """Let a command run in a terminal of 80 columns while the block does."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        command = [sys.executable, "-c", TAKE_TERMINAL, *self.command]
        command += map(str, arguments)
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            terminal = Terminal(process, ours)
            try:
                yield terminal
            finally:
                process.kill()
                terminal.close()


class Terminal:
    """What a user sees of a command, and the keys there are to press."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process, self._end = process, end
        self._shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def press_ctrl_c(self) -> None:
        """Interrupt the command and all that it started in this terminal."""
        os.write(self._end, b"\x03")

    def wait(self) -> int:
        """Return the exit code."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    @property
    def shown(self) -> str:
        """All that has been on the screen so far, control sequences among it."""
        return self._shown.decode(errors="replace")

    def close(self) -> None:
        """Take the terminal away."""
        self._reader.join(DEADLINE)
        os.close(self._end)

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._end, 65_536)
            except OSError:  # Nobody has the other end any more.
                return


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search that went through, and the machine it went through on."""

    machine: Machine
    printed: dict[str, Any]
    report: Path

    @property
    def study(self) -> str:
        """The study's id."""
        return str(self.printed["study"])

    @property
    def network(self) -> Path:
        """The folder with the network."""
        return self.report.with_name(self.report.stem.replace("-report", "-network"))


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true; what never is fails by this name."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        threading.Event().wait(0.02)
