"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

JSON = postgresql.JSON
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "topo_dataset",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("bytes", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "topo_study",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column(
            "optuna_study_id",
            sa.Integer,
            sa.ForeignKey("studies.study_id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        sa.Column("key_hash", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, unique=True),
        sa.Column("dataset", sa.Text, sa.ForeignKey("topo_dataset.sha256"), index=True),
        sa.Column("test_dataset", sa.Text, sa.ForeignKey("topo_dataset.sha256"), index=True),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="created"),
        sa.Column("reason", sa.Text),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double),
        sa.Column("drawn", sa.Integer, nullable=False, server_default="0"),
        sa.Column("spent_seconds", sa.Double, nullable=False, server_default="0"),
        sa.Column("last_active_at", TIME),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", JSON),
        sa.CheckConstraint(
            "state IN ('created', 'running', 'paused', 'finished', 'cancelled')",
            name="topo_study_state",
        ),
        sa.CheckConstraint("drawn BETWEEN 0 AND trials", name="topo_study_budget"),
    )
    op.create_table(
        "topo_lease",
        sa.Column("id", sa.Uuid, primary_key=True),
        _study(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("unit", sa.Integer, nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("trial_number", sa.Integer),
        sa.Column("trial_id", sa.Integer),
        sa.Column("owner", sa.Text),
        sa.Column("token", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("renewed_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("outcome", sa.Text),
        sa.UniqueConstraint("study", "kind", "unit", name="topo_lease_once"),
        sa.Index("topo_lease_open", "study", postgresql_where=sa.text("ended_at IS NULL")),
        sa.CheckConstraint("kind IN ('trial', 'finish')", name="topo_lease_kind"),
        sa.CheckConstraint(
            "outcome IN ('complete', 'pruned', 'failed', 'done')", name="topo_lease_outcome"
        ),
        sa.CheckConstraint("attempt BETWEEN 0 AND 3", name="topo_lease_attempt"),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="topo_lease_end"),
    )
    op.create_table(
        "topo_look",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _study(),
        sa.Column("at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("trial_number", sa.Integer),
        sa.Column("value", JSON),
        sa.Index("topo_look_study", "study"),
    )
    op.create_table(
        "topo_artifact",
        _study(primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("bytes", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
    )


def _study(primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(
        "study",
        sa.Text,
        sa.ForeignKey("topo_study.id", ondelete="CASCADE"),
        nullable=False,
        primary_key=primary_key,
    )


def downgrade() -> None:
    for table in ("topo_artifact", "topo_look", "topo_lease", "topo_study", "topo_dataset"):
        op.drop_table(table)
