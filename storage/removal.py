"""Removing a study's rows of Optuna's, without an object of its ORM for each of them.

Optuna reads all that a study has in order to delete it: minutes and gigabytes for 100,000 trials.
"""

import sqlalchemy as sa
from optuna.storages._rdb import models


def remove_optuna_study(connection: sa.Connection, study_id: int) -> None:
    """Do as Optuna's `delete_study`, in one statement for each of its tables."""
    trial = models.TrialModel.__table__.c
    of_study = sa.select(trial.trial_id).where(trial.study_id == study_id)
    # What refers to others goes first.
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.trial_id.in_(of_study)))
