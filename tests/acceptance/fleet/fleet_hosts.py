"""Hosts that can be cut off: packets are dropped, not refused, until they are let in again.

A host is a network namespace behind a veth pair where the system allows it; everywhere else a relay
can stand for the way to the server and stop passing things on, without closing anything.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Host:
    """Another machine, in a network namespace."""

    name: str
    link: str  # Our end of its cable.
    ours: str  # Our address on it.

    @property
    def prefix(self) -> Sequence[str]:
        """The command that runs another there."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        """Put it in again."""
        _ip("link", "set", self.link, "up")


@contextmanager
def host() -> Iterator[Host]:
    """Yield another machine.

    Raises:
        OSError: This system has no namespaces for us.
    """
    number = os.getpid() % 65_536
    network = f"10.{201 + number // 16_384}.{number // 64 % 256}"
    first = 4 * (number % 64)
    made = Host(name=f"fleet-{number}", link=f"fleet-{number}", ours=f"{network}.{first + 1}")
    if shutil.which("ip") is None or os.geteuid() != 0:
        raise OSError("network namespaces need root and iproute2")
    theirs = f"there-{number}"
    _ip("netns", "add", made.name)
    try:
        _ip("link", "add", made.link, "type", "veth", "peer", "name", theirs)
        _ip("link", "set", theirs, "netns", made.name)
        _ip("addr", "add", f"{made.ours}/30", "dev", made.link)
        _ip("link", "set", made.link, "up")
        _ip("-n", made.name, "addr", "add", f"{network}.{first + 2}/30", "dev", theirs)
        for device in (theirs, "lo"):
            _ip("-n", made.name, "link", "set", device, "up")
        yield made
    finally:
        subprocess.run(["ip", "link", "del", made.link], capture_output=True)
        subprocess.run(["ip", "netns", "del", made.name], capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass(kw_only=True)
class Relay:
    """A way to a server of this machine that can be cut without closing it."""

    target: int  # A port of the loopback.
    port: int = 0
    _open: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def cut(self) -> None:
        """Pass nothing on, and keep everything open."""
        self._open.clear()

    def heal(self) -> None:
        """Pass on what has come meanwhile, and all that comes."""
        self._open.set()

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """Listen while the block runs."""
        self.heal()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._pass_on, args=(listener,))
            thread.start()
            try:
                yield self
            finally:
                self._ended.set()
                thread.join()

    def _pass_on(self, listener: socket.socket) -> None:
        others: dict[socket.socket, socket.socket] = {}
        while not self._ended.is_set():
            if not self._open.wait(0.1):
                continue
            ready, _, _ = select.select([listener, *others], [], [], 0.05)
            for one in ready:
                if one is listener:
                    _connect(others, listener, self.target)
                elif one in others:  # Else its other end has just closed.
                    _forward(others, one)
        for one in others:
            one.close()


def _connect(
    others: dict[socket.socket, socket.socket], listener: socket.socket, target: int
) -> None:
    near, _ = listener.accept()
    try:
        far = socket.create_connection(("127.0.0.1", target))
    except OSError:
        near.close()
        return
    others[near], others[far] = far, near


def _forward(others: dict[socket.socket, socket.socket], one: socket.socket) -> None:
    try:
        if data := one.recv(CHUNK):
            others[one].sendall(data)
            return
    except OSError:
        pass
    other = others.pop(one)
    del others[other]
    one.close()
    other.close()
