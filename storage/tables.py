"""Our tables, which lie beside Optuna's in one database.

The migrations make them; this page is how the rest of `storage` speaks of them, and a test keeps
the two equal. Every time is the database's own.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

MAX_ATTEMPTS = 3
"""How many workers may lose one unit before it is given up."""

OF_STUDY = " of study "
"""Between the purpose of a look and the deleted study that took it, whose children inherit it."""

STUDY_STATES = ("created", "running", "paused", "finished", "cancelled")
WORKER_STATES = ("serving", "draining", "left", "lost")
LEASE_KINDS = ("trial", "finish")
LEASE_OUTCOMES = ("complete", "pruned", "failed", "done")

metadata = sa.MetaData()

# Optuna's, as far as we read them: https://github.com/optuna/optuna/blob/master/optuna/storages/_rdb/models.py
_optuna = sa.MetaData()
optuna_study = sa.Table("studies", _optuna, sa.Column("study_id", sa.Integer, primary_key=True))
optuna_trial = sa.Table(
    "trials",
    _optuna,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer),
    sa.Column("number", sa.Integer),
    sa.Column("state", sa.Text),
    sa.Column("datetime_start", sa.DateTime),
    sa.Column("datetime_complete", sa.DateTime),
)

optuna_parameter = sa.Table(
    "trial_params",
    _optuna,
    sa.Column("trial_id", sa.Integer),
    sa.Column("param_name", sa.Text),
    sa.Column("param_value", sa.Double),
    sa.Column("distribution_json", sa.Text),
)

optuna_attribute = sa.Table(
    "trial_user_attributes",
    _optuna,
    sa.Column("trial_id", sa.Integer),
    sa.Column("key", sa.Text),
    sa.Column("value_json", sa.Text),
)

# `json` and not `jsonb`: it keeps the order of keys and the text of numbers as they were given.
_JSON = postgresql.JSON(none_as_null=True)
_TIME = sa.DateTime(timezone=True)


def _one_of(column: str, values: tuple[str, ...], table: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"{table}_{column}")


def _study_column(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(
        "study",
        sa.Text,
        sa.ForeignKey("topo_study.id", ondelete="CASCADE"),
        nullable=False,
        primary_key=primary_key,
    )


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now())


dataset = sa.Table(
    "topo_dataset",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    _created_at(),
    # Since when an upload of it waits for its study; null once a study was made on it.
    sa.Column("waiting_since", _TIME),
)

study = sa.Table(
    "topo_study",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # Whoever deletes the Optuna study, from the dashboard too, deletes the whole study.
    sa.Column(
        "optuna_study_id",
        sa.Integer,
        sa.ForeignKey(optuna_study.c.study_id, ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    sa.Column("key_hash", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, unique=True),
    sa.Column("dataset", sa.Text, sa.ForeignKey(dataset.c.sha256), index=True),
    sa.Column("test_dataset", sa.Text, sa.ForeignKey(dataset.c.sha256), index=True),
    sa.Column("plan", _JSON, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="created"),
    sa.Column("reason", sa.Text),
    # Whether it is paused, or finished, because it came to nothing.
    sa.Column("failed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("trials", sa.Integer, nullable=False),
    # How many its space has in all; null: without end.
    sa.Column("units", sa.Integer),
    sa.Column("seconds", sa.Double),
    sa.Column("drawn", sa.Integer, nullable=False, server_default="0"),
    sa.Column("spent_seconds", sa.Double, nullable=False, server_default="0"),
    sa.Column("last_active_at", _TIME),
    _created_at(),
    sa.Column("started_at", _TIME),
    sa.Column("ended_at", _TIME),
    sa.Column("outcome", _JSON),
    sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
    # The study whose trials this one began with.
    sa.Column("parent", sa.Text, sa.ForeignKey("topo_study.id", ondelete="SET NULL")),
    sa.Column("resumed_at", _TIME),
    # How long after it was last worked at it is deleted; null: never.
    sa.Column("keep", sa.Interval),
    _one_of("state", STUDY_STATES, "topo_study"),
    # The budget's last line of defence: no code can draw more units than there are.
    sa.CheckConstraint("drawn BETWEEN 0 AND trials", name="topo_study_budget"),
)

lease = sa.Table(
    "topo_lease",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _study_column(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("unit", sa.Integer, nullable=False),
    sa.Column("parameters", _JSON, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("trial_number", sa.Integer),
    sa.Column("trial_id", sa.Integer),
    # Nobody's while it waits to be taken up again.
    sa.Column("owner", sa.Text),
    # A new one at every change of hands: who holds an old one holds nothing.
    sa.Column("token", sa.Uuid, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    # Why the last attempt came to nothing, or why the trial failed.
    sa.Column("reason", sa.Text),
    # When its owner took it.
    sa.Column("taken_at", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("renewed_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("ended_at", _TIME),
    sa.Column("outcome", sa.Text),
    sa.UniqueConstraint("study", "kind", "unit", name="topo_lease_once"),
    sa.Index("topo_lease_open", "study", postgresql_where=sa.text("ended_at IS NULL")),
    sa.Index("topo_lease_ended", "ended_at"),
    sa.Index(
        "topo_lease_latest", "study", "ended_at", postgresql_where=sa.text("ended_at IS NOT NULL")
    ),
    _one_of("kind", LEASE_KINDS, "topo_lease"),
    _one_of("outcome", LEASE_OUTCOMES, "topo_lease"),
    sa.CheckConstraint(f"attempt BETWEEN 0 AND {MAX_ATTEMPTS}", name="topo_lease_attempt"),
    sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="topo_lease_end"),
)

look = sa.Table(
    "topo_look",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _study_column(),
    sa.Column("at", _TIME, nullable=False, server_default=sa.func.now()),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("trial_number", sa.Integer),
    sa.Column("value", _JSON),
    sa.Index("topo_look_study", "study"),
)

artifact = sa.Table(
    "topo_artifact",
    metadata,
    _study_column(primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    _created_at(),
)

worker = sa.Table(
    "topo_worker",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="serving"),
    sa.Column("joined_at", _TIME, nullable=False, server_default=sa.func.now()),
    sa.Column("seen_at", _TIME, nullable=False, server_default=sa.func.now()),
    # What it is limited to: ids of studies, tags of which they must have one.
    sa.Column("studies", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("tags", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
    _one_of("state", WORKER_STATES, "topo_worker"),
)

event = sa.Table(
    "topo_event",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("kind", sa.Text, nullable=False),
    # Not a reference: what happened to a study stays known when it is deleted.
    sa.Column("study", sa.Text),
    sa.Column("trial", sa.Integer),
    sa.Column("worker", sa.Text),
    sa.Column("text", sa.Text, nullable=False, server_default=""),
    sa.Index("topo_event_at", "at"),
    sa.Index("topo_event_study", "study"),
)

token = sa.Table(
    "topo_token",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    _created_at(),
    sa.Column("last_used_at", _TIME),
)

session = sa.Table(
    "topo_session",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("ends_at", _TIME, nullable=False),
)

secret = sa.Table(
    "topo_secret",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
