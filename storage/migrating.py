"""The version of our tables: which there is, which is needed, and the way from one to the other."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.errors import StorageError

VERSION_TABLE = "topo_alembic_version"


def needed() -> str:
    """Return the version of our tables that this topo-search needs, and has where it is open."""
    return str(ScriptDirectory.from_config(_alembic(None)).get_current_head())


def version(connection: sa.Connection) -> str | None:
    """Return the version of our tables, None where there are none."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def is_usable(connection: sa.Connection, upgrade: bool) -> bool:
    """Tell whether the tables are there; they are to be made or upgraded where not.

    Raises:
        StorageError: They are of another topo-search.
    """
    script = ScriptDirectory.from_config(_alembic(connection))
    there, head = version(connection), script.get_current_head()
    if there is None or there == head:
        return there is not None
    if there not in {step.revision for step in script.walk_revisions()}:
        raise StorageError(
            f"The database has the tables of a newer topo-search (schema {there}, this one needs "
            f"{head}). Upgrade this machine, in a newer checkout: "
            "pip install -c constraints.txt ."
        )
    if not upgrade:
        raise StorageError(
            f"The database has the tables of an older topo-search (schema {there}, this one "
            f"needs {head}). Upgrade them when no older worker runs: topo-search storage upgrade"
        )
    return False


def migrate(connection: sa.Connection) -> None:
    """Make our tables, or bring them to the version that this topo-search needs."""
    alembic_command.upgrade(_alembic(connection), "head")


def _alembic(connection: sa.Connection | None) -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
