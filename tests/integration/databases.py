"""What tests do to a server, to its databases and to the folder it lives in."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import make_url

from storage.connection import connect

TEMPLATE = "topo_template"
# Empties what was filled since, and starts every sequence anew: a tenth of the work of making a
# database and removing it again. Rows that every new database has stay: `AS_NEW` looks at them.
EMPTY = """
DO $$
DECLARE one record; filled boolean;
BEGIN
    SET LOCAL session_replication_role = replica;  -- References need not be checked in an order.
    FOR one IN SELECT oid::regclass AS name FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL ({kept})
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one.name) INTO filled;
        IF filled THEN EXECUTE format('DELETE FROM %s', one.name); END IF;
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
        FROM pg_sequences WHERE last_value IS NOT NULL;
END $$"""
# All that a test could have changed of a database but rows: tables, columns, rights, functions.
SHAPE = """
SELECT array_agg(line ORDER BY line) FROM (
    SELECT concat_ws(' ', 'class', c.oid, c.relname, c.relkind, c.relacl::text, c.relowner) AS line
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attname, atttypid, attnotnull)
        FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0
    UNION ALL SELECT concat_ws(' ', 'constraint', oid, conname) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'function', oid, proname)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspacl::text) FROM pg_namespace
        WHERE nspname NOT LIKE 'pg_%'
    UNION ALL SELECT concat_ws(' ', 'database', d.datallowconn, d.datacl::text, s.setconfig::text)
        FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid
        WHERE d.datname = current_database()
) AS shape"""


GROWN = 250_000  # Bytes above those of a new one.


class Databases:
    """Empty, migrated databases of a server's; one that was given back is given out again.

    It gets a new name each time, so that nobody who knew it before comes back to it. What rows a
    test left there may have made the planner expect goes with databases that have grown.
    """

    def __init__(self, server_url: str) -> None:
        """Make the first of them, of which all others are copies."""
        self.server_url = server_url
        self._numbers = itertools.count()
        self._free: list[str] = []
        # What autovacuum does at moments of its own is seen in sessions counted and in snapshots.
        execute(server_url, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        execute(server_url, f"CREATE DATABASE {TEMPLATE}")
        connect(self._url(TEMPLATE)).close()  # A database in use cannot be cloned.
        self._kept = self._filled()
        self._as_new, self._size = self._look(TEMPLATE)

    def take(self) -> str:
        """Return the URL of an empty database."""
        name = f"topo_test_{next(self._numbers)}"
        if self._free:
            self._rename(self._free.pop(), name)
        else:
            execute(self.server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self._url(name)

    def give_back(self, url: str) -> None:
        """Empty a database for the next; one that is not what it was is removed."""
        name = f"topo_free_{next(self._numbers)}"
        self._rename(str(make_url(url).database), name)
        try:
            kept = ", ".join(f"'{table}'" for table in self._kept)
            execute(self._url(name), EMPTY.format(kept=f"ARRAY[{kept}]"))
            look, size = self._look(name)
            as_new = look == self._as_new and size < self._size + GROWN
        except psycopg2.Error:  # Its tables are gone, or nobody may connect to it.
            as_new = False
        if as_new:
            self._free.append(name)
        else:
            execute(self.server_url, f"DROP DATABASE {name} WITH (FORCE)")

    def _rename(self, name: str, new: str) -> None:
        """Rename a database, which nobody may use then."""
        others = f"FROM pg_stat_activity WHERE datname = '{name}'"
        execute(
            self.server_url,
            f"SELECT pg_terminate_backend(pid, 5000) {others}",
            f"ALTER DATABASE {name} RENAME TO {new}",
        )

    def _url(self, database: str) -> str:
        return make_url(self.server_url).set(database=database).render_as_string(False)

    def _filled(self) -> list[str]:
        """Return the tables in which every new database has rows: the versions of its tables."""
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        found = [str(name) for (name,) in execute(self._url(TEMPLATE), tables)]
        exists = "SELECT EXISTS (SELECT FROM {})"
        return [name for name in found if execute(self._url(TEMPLATE), exists.format(name))[0][0]]

    def _look(self, database: str) -> tuple[Any, int]:
        """Return what every new database has alike, and the bytes of this one."""
        rows = ", ".join(f"(SELECT array_agg(t::text) FROM {name} t)" for name in self._kept)
        size = "pg_database_size(current_database())"
        ((*look, size),) = execute(self._url(database), f"SELECT ({SHAPE}), {rows}, {size}")
        return look, int(size)


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements outside a transaction, as creating a database must; return the last's rows."""
    connection = psycopg2.connect(
        make_url(url).set(drivername="postgresql").render_as_string(False)
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def remove_home(home: Path) -> None:
    """Remove a home and, for root, what lies for it below /var/lib/topo-search."""
    shutil.rmtree((home / "server").resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
