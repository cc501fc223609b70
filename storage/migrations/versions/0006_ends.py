"""How a study ends: that it came to nothing, and that its space has no more than so many units."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    failed = sa.Column("failed", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("topo_study", failed)
    op.add_column("topo_study", sa.Column("units", sa.Integer))


def downgrade() -> None:
    op.drop_column("topo_study", "units")
    op.drop_column("topo_study", "failed")
