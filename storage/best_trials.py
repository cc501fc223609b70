"""The trials at the head of studies, of which all others need not be read."""

import math
from collections.abc import Sequence

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

from storage import tables
from storage.connection import Storage
from storage.rows import StudyRow

_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}


def best_trials(storage: Storage, rows: Sequence[StudyRow]) -> dict[str, list[FrozenTrial]]:
    """Return the complete trials of studies that have the best value, by study and number.

    However many studies: in as many statements as for one.
    """
    with storage.transaction() as connection:
        ids = connection.scalars(_leading(rows)).all()
    found = storage.backend.trials_of(ids) if ids else {}
    return {row.id: found.get(row.optuna_study_id, []) for row in rows}


def _leading(rows: Sequence[StudyRow]) -> sa.Select[int]:
    """Select the ids of the trials that no other of their study is better than."""
    trial, value = tables.optuna_trial, models.TrialValueModel.__table__
    maximized = [row.optuna_study_id for row in rows if row.plan["direction"] == "maximize"]
    sign = sa.case((trial.c.study_id.in_(maximized), -1.0), else_=1.0)
    kept = sa.case(_INFINITE, value=sa.cast(value.c.value_type, sa.Text), else_=value.c.value)
    place = sa.func.rank().over(partition_by=trial.c.study_id, order_by=sign * kept)
    placed = (
        sa.select(trial.c.trial_id, place.label("place"))
        .join(value, value.c.trial_id == trial.c.trial_id)
        .where(
            trial.c.study_id.in_([row.optuna_study_id for row in rows]),
            trial.c.state == "COMPLETE",
        )
        .subquery()
    )
    return sa.select(placed.c.trial_id).where(placed.c.place == 1)
