"""What a worker is limited to, so that a study which nobody may serve is known as one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("studies", "tags"):
        op.add_column(
            "topo_worker",
            sa.Column(name, postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        )


def downgrade() -> None:
    for name in ("studies", "tags"):
        op.drop_column("topo_worker", name)
