"""How a study ends: that it came to nothing, and that its space has no more than so many units."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# How a study's reason read until then that came to nothing.
FAILURE = (
    r"^(the last \d+ trials all failed: |\d+ of the last \d+ trials failed, "
    r"|finishing (failed|gave up)|.*, none complete$)"
)


def upgrade() -> None:
    failed = sa.Column("failed", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("topo_study", failed)
    op.add_column("topo_study", sa.Column("units", sa.Integer))
    study = sa.table("topo_study", *map(sa.column, ("state", "reason", "failed")))
    came_to_nothing = study.c.state.in_(("paused", "finished")), study.c.reason.op("~")(FAILURE)
    op.execute(sa.update(study).where(*came_to_nothing).values(failed=True))


def downgrade() -> None:
    op.drop_column("topo_study", "units")
    op.drop_column("topo_study", "failed")
