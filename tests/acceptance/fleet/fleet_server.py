"""A PostgreSQL server of the tests' own, reached over TCP, that may be treated badly.

Its programs come from the wheel, as topo-search's private server's do; as root it runs under the
same system account.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg2

from storage.connection import connect
from storage.postgres_binaries import installations, reachable
from storage.system_account import as_account, system_account

Mode = Literal["smart", "fast", "immediate"]

TEMPLATE = "fleet_template"
SETTINGS = {
    "max_connections": 250,
    "shared_buffers": "64MB",
    # What a stopped server wrote is in the kernel's hands: only a power cut could lose it.
    "fsync": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": 0,
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
}
# Notes every change of hands and every end, so that a second one cannot hide behind the first.
AUDIT = """
CREATE TABLE fleet_audit (
    id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT clock_timestamp(),
    kind text, lease uuid, trial int, attempt int, owner text, taken_at timestamptz);
CREATE FUNCTION fleet_trial_ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fleet_audit (kind, trial) VALUES ('trial ended', NEW.trial_id); RETURN NULL;
END $$;
CREATE FUNCTION fleet_lease_ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fleet_audit (kind, lease, attempt, owner)
    VALUES ('lease ended', NEW.id, NEW.attempt, NEW.owner); RETURN NULL;
END $$;
CREATE FUNCTION fleet_lease_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO fleet_audit (kind, lease, attempt, owner, taken_at)
    VALUES ('lease taken', NEW.id, NEW.attempt, NEW.owner, NEW.taken_at); RETURN NULL;
END $$;
CREATE TRIGGER fleet_trial_ends AFTER UPDATE ON trials FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION fleet_trial_ends();
CREATE TRIGGER fleet_value_changes AFTER UPDATE ON trial_values FOR EACH ROW
    EXECUTE FUNCTION fleet_trial_ends();
CREATE TRIGGER fleet_lease_ends AFTER UPDATE ON topo_lease FOR EACH ROW
    WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at) EXECUTE FUNCTION fleet_lease_ends();
CREATE TRIGGER fleet_lease_taken AFTER UPDATE ON topo_lease FOR EACH ROW
    WHEN (OLD.token <> NEW.token) EXECUTE FUNCTION fleet_lease_taken();
"""


class Server:
    """One server in a folder of its own."""

    def __init__(self, settings: Mapping[str, object] = SETTINGS) -> None:
        """Make its data; it does not run yet."""
        self.settings = settings
        self.account = system_account() if os.geteuid() == 0 else None
        found = installations()
        installation = found[max(found)]
        if self.account is not None:
            installation = reachable(installation, self.account)
        self.programs = installation.prefix / "bin"
        # Not below pytest's folder, into which a system account cannot look.
        self.place = Path(tempfile.mkdtemp(prefix="topo-fleet-"))
        self.data, self.password, self.port = self.place / "data", secrets.token_hex(8), free_port()
        (self.place / "password").write_text(self.password)
        if self.account is not None:
            for path in (self.place, self.place / "password"):
                os.chown(path, self.account.pw_uid, self.account.pw_gid)
        self._run(
            *("initdb", "-D", self.data, "-U", "fleet", "--auth=scram-sha-256"),
            *(f"--pwfile={self.place / 'password'}", "--no-sync", "--no-locale", "-E", "UTF8"),
        )
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet scram-sha-256\n")

    def start(self, *addresses: str) -> None:
        """Start it, on more addresses than the loopback's where given."""
        settings = {
            **self.settings,
            "port": self.port,
            "listen_addresses": ",".join(("127.0.0.1", *addresses)),
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = self.place / "log"
        self._run("pg_ctl", "start", "-w", "-s", "-D", self.data, "-l", log, "-o", options)

    def stop(self, mode: Mode = "immediate") -> None:
        """Stop it; `immediate` is a crash, from which it recovers at the next start."""
        self._run("pg_ctl", "stop", "-w", "-s", "-D", self.data, "-m", mode)

    def restart(self, mode: Mode = "immediate", *addresses: str) -> None:
        """Stop and start it."""
        self.stop(mode)
        self.start(*addresses)

    def url(self, database: str, host: str = "127.0.0.1", port: int | None = None) -> str:
        """Return the URL of a database, as seen from another host or through another port."""
        return f"postgresql://fleet:{self.password}@{host}:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement outside a transaction and return its rows."""
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def make_database(self, name: str, *, empty: bool = False) -> None:
        """Make a database: with all tables and the audit, or an empty one."""
        if empty:
            self.execute(f"CREATE DATABASE {name}")
            return
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
            self.execute(f"CREATE DATABASE {TEMPLATE}")
            connect(self.url(TEMPLATE)).close()  # A database in use cannot be cloned.
            self.execute(AUDIT, TEMPLATE)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")

    def cut_connections(self, database: str) -> int:
        """End every connection to a database, and tell how many there were."""
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
            )
        )

    def remove(self) -> None:
        """Stop it if it runs, and remove all it has."""
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.place, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> None:
        kept = ("PATH", "LD_LIBRARY_PATH")
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            cwd=self.place,
            env={name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            # Not a pipe, which the server would keep open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=120,
            **(as_account(self.account) if self.account else {}),
        )
        if done.returncode != 0:
            log = self.place / "log"
            raise RuntimeError(
                f"Expected {program} {arguments[0]} to succeed. It ended with {done.returncode}:\n"
                + (log.read_text()[-2000:] if log.exists() else "")
            )


@contextmanager
def running_server(settings: Mapping[str, object] = SETTINGS) -> Iterator[Server]:
    """Yield a server that runs, and remove it afterwards."""
    server = Server(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def free_port() -> int:
    """Return a TCP port of the loopback on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
