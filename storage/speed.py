"""Speed: how long the fleet's latest trials took, and of what size they were."""

from dataclasses import dataclass

import sqlalchemy as sa

from storage import tables
from storage.connection import Storage

LATEST = 300
"""Trials that are looked at unless more or fewer are asked for."""


@dataclass(frozen=True, kw_only=True)
class TrialCost:
    """What one trial of a table took."""

    seconds: float  # Of its slot's time.
    rows: int  # A network was trained on.
    inputs: int  # Columns its first hidden layer saw.
    epochs: int  # At most, as its study's plan says.
    validation: str  # `holdout`, or `cv` for five networks at once.


def latest(storage: Storage, limit: int = LATEST) -> list[TrialCost]:
    """Return what the trials of tables took that ended last and came through, latest first.

    That a trial was claimed ahead of its turn does not count: the seconds are those that its slot
    noted.
    """
    study, lease, noted = tables.study.c, tables.lease.c, tables.optuna_attribute.c
    facts = study.plan["facts"]
    query = (
        sa.select(
            sa.cast(noted.value_json, sa.Double).label("seconds"),
            facts["rows"].as_integer().label("rows"),
            facts["inputs"].as_integer().label("inputs"),
            study.plan["epochs"].as_integer().label("epochs"),
            study.plan["validation"].as_string().label("validation"),
        )
        .select_from(tables.lease)
        .join(tables.study, study.id == lease.study)
        .join(
            tables.optuna_attribute,
            sa.and_(noted.trial_id == lease.trial_id, noted.key == "seconds"),
        )
        .where(
            lease.kind == "trial",
            lease.outcome.in_(("complete", "pruned")),
            lease.ended_at.is_not(None),
            facts["rows"].as_string().is_not(None),
        )
        .order_by(lease.ended_at.desc())
        .limit(limit)
    )
    with storage.transaction() as connection:
        return [TrialCost(**row) for row in connection.execute(query).mappings()]
