"""Operators' tokens, shared secrets, how long studies are kept, the last end of each study."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "topo_token",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("last_used_at", TIME),
    )
    op.create_table(
        "topo_secret",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.add_column("topo_study", sa.Column("keep", sa.Interval))
    op.add_column("topo_dataset", sa.Column("waiting_since", TIME))
    op.create_index(
        "topo_lease_latest",
        "topo_lease",
        ["study", "ended_at"],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("topo_lease_latest", "topo_lease")
    op.drop_column("topo_dataset", "waiting_since")
    op.drop_column("topo_study", "keep")
    op.drop_table("topo_secret")
    op.drop_table("topo_token")
