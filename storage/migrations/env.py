"""Where Alembic starts: it speaks through the connection it is given, inside its transaction."""

from alembic import context

from storage import migrating, tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    # Optuna's own history is in `alembic_version`.
    version_table=migrating.VERSION_TABLE,
)
context.run_migrations()
