"""The trials at the head of a study, of which all others need not be read."""

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

from storage import tables
from storage.connection import Storage
from storage.rows import StudyRow
from storage.trial_rows import value_of

_NOTHING_LATER = 2**31 - 1  # Above every id of a trial.


def best_trials(storage: Storage, row: StudyRow) -> list[FrozenTrial]:
    """Return the complete trials of a study that have the best value, by number."""
    trial, value = tables.optuna_trial, models.TrialValueModel.__table__
    query = (
        sa.select(value.c.trial_id, value.c.value, value.c.value_type)
        .join(trial, trial.c.trial_id == value.c.trial_id)
        .where(trial.c.study_id == row.optuna_study_id, trial.c.state == "COMPLETE")
    )
    with storage.transaction() as connection:
        values = {found[0]: value_of(*found[1:]) for found in connection.execute(query)}
    if not values:
        return []
    best = (max if row.plan["direction"] == "maximize" else min)(values.values())
    tied = {trial_id for trial_id, value in values.items() if value == best}
    return storage.backend._get_trials(row.optuna_study_id, None, tied, _NOTHING_LATER)
