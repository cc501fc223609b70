"""The version of our tables: which there is, which is needed, and the way from one to the other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import _rdb as rdb

from storage.errors import StorageError

VERSION_TABLE = "topo_alembic_version"
MIGRATIONS = Path(__file__).parent / "migrations"


def needed() -> str:
    """Return the version of our tables that this topo-search needs, and has where it is open."""
    return str(_steps(MIGRATIONS).get_current_head())


def needed_of_optuna() -> str:
    """Return the version of Optuna's tables that this Optuna needs."""
    return str(_steps(Path(rdb.__file__).parent / "alembic").get_current_head())


def version(connection: sa.Connection) -> str | None:
    """Return the version of our tables, None where there are none."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def is_usable(connection: sa.Connection, upgrade: bool) -> bool:
    """Tell whether the tables are there; they are to be made or upgraded where not.

    Raises:
        StorageError: They are of another topo-search.
    """
    there, head = version(connection), needed()
    if there is None or there == head:
        return there is not None
    if there not in {step.revision for step in _steps(MIGRATIONS).walk_revisions()}:
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


@cache  # To read them takes longer than to open a database.
def _steps(folder: Path) -> ScriptDirectory:
    return ScriptDirectory(str(folder))


def _alembic(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
