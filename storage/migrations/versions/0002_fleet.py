"""Workers and events; tags, parents and the last resumption of studies."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "topo_study",
        sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
    )
    op.add_column(
        "topo_study",
        sa.Column("parent", sa.Text, sa.ForeignKey("topo_study.id", ondelete="SET NULL")),
    )
    op.add_column("topo_study", sa.Column("resumed_at", TIME))
    op.add_column(
        "topo_lease",
        sa.Column("taken_at", TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("topo_lease_ended", "topo_lease", ["ended_at"])
    op.create_table(
        "topo_worker",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="serving"),
        sa.Column("joined_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("seen_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint(
            "state IN ('serving', 'draining', 'left', 'lost')", name="topo_worker_state"
        ),
    )
    op.create_table(
        "topo_event",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", TIME, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("study", sa.Text),
        sa.Column("trial", sa.Integer),
        sa.Column("worker", sa.Text),
        sa.Column("text", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("topo_event_at", "topo_event", ["at"])
    op.create_index("topo_event_study", "topo_event", ["study"])


def downgrade() -> None:
    op.drop_table("topo_event")
    op.drop_table("topo_worker")
    op.drop_index("topo_lease_ended", "topo_lease")
    op.drop_column("topo_lease", "taken_at")
    for column in ("resumed_at", "parent", "tags"):
        op.drop_column("topo_study", column)
