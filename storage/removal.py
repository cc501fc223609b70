"""Removing a study: its workers are shut out, then its rows go, Optuna's and ours.

Optuna reads all that a study has in order to delete it: minutes and gigabytes for 100,000 trials.
"""

import uuid

import sqlalchemy as sa
from optuna.storages._rdb import models

from storage import datasets, events, tables
from storage.connection import Storage
from storage.rows import StudyRow, change, lock
from storage.trials import OUTCOMES, adopt_end, close, end_lease, with_trials


def delete(storage: Storage, study_id: str) -> None:
    """Delete a study, Optuna's and ours, and its datasets where no other study needs them.

    A crash in the midst leaves it cancelled, to be deleted again.

    Raises:
        LookupError: No such study.
    """
    with storage.transaction() as connection:
        shut(connection, lock(connection, study_id))
    delete_shut(storage, study_id)


def delete_of_optuna(storage: Storage, optuna_study_id: int) -> bool:
    """Delete the study that is this one of Optuna's; tell whether there was one of ours.

    Optuna's own deletion locks a study's rows in another order than workers do, and reads them all.
    """
    column = tables.study.c
    query = sa.select(column.id).where(column.optuna_study_id == optuna_study_id)
    with storage.transaction() as connection:
        study_id = connection.scalar(query)
    if study_id is None:
        return False
    try:
        delete(storage, study_id)
    except LookupError:  # Deleted meanwhile.
        return False
    return True


def shut(connection: sa.Connection, study: StudyRow) -> None:
    """Cancel a study that is to be deleted, whose row the caller has locked, and end its leases.

    Committed before its rows are deleted, which may take minutes: a worker renews all its leases
    at once, and would wait for these.
    """
    column = tables.study.c
    # Its expiry is not put off: a sweep that was cut short finds it again.
    ended_at = sa.func.coalesce(column.ended_at, column.last_active_at, column.created_at)
    change(connection, study.id, state="cancelled", reason="being deleted", ended_at=ended_at)
    end_leases(connection, study.id, "study deleted")


def delete_shut(storage: Storage, study_id: str, why: str | None = None) -> None:
    """Delete a study that was shut.

    Raises:
        LookupError: No such study.
    """
    with storage.transaction() as connection:
        study = lock(connection, study_id, to_delete=True)
        _leave_looks_to_children(connection, study)
        _delete_optuna_study(connection, study.optuna_study_id)
        text = ": ".join(word for word in (study.name, why) if word)
        events.record(connection, "study deleted", study=study.id, text=text)
        has = {sha256 for sha256 in (study.dataset, study.test_dataset) if sha256}
        datasets.drop_not_needed(connection, has)


def end_leases(connection: sa.Connection, study_id: str, reason: str) -> None:
    """End whatever is open as failed, and shut its owners out."""
    leases = connection.execute(
        with_trials()
        .where(tables.lease.c.study == study_id, tables.lease.c.ended_at.is_(None))
        .order_by(tables.lease.c.id)
        .with_for_update(of=tables.lease)
    ).all()
    for held in leases:
        if held.kind == "finish":
            end_lease(connection, held.id, "failed", token=uuid.uuid4())
        elif held.trial_state in OUTCOMES:
            adopt_end(connection, held)
        else:
            attributes = {"reason": reason, "attempts": held.attempt}
            close(connection, held, state="failed", attributes=attributes, token=uuid.uuid4())


def _leave_looks_to_children(connection: sa.Connection, study: StudyRow) -> None:
    """Let the studies that began with this one keep its looks at the rows that are theirs, too."""
    look, child = tables.look.c, tables.study.c
    columns = ["at", "purpose", "trial_number", "value"]
    # Its own from now on say whose they were; those that it inherited do so already.
    whose = sa.case(
        (look.purpose.contains(tables.OF_STUDY), look.purpose),
        else_=look.purpose + tables.OF_STUDY + study.id,
    )
    left = (
        sa.select(child.id, look.at, whose, look.trial_number, look.value)
        .join_from(tables.study, tables.look, look.study == child.parent)
        .where(child.parent == study.id)
    )
    connection.execute(sa.insert(tables.look).from_select(["study", *columns], left))
    connection.execute(
        sa.update(tables.study).where(child.parent == study.id).values(parent=study.parent)
    )


def _delete_optuna_study(connection: sa.Connection, study_id: int) -> None:
    """Do as Optuna's `delete_study`, in one statement for each of its tables."""
    trial = models.TrialModel.__table__.c
    of_study = sa.select(trial.trial_id).where(trial.study_id == study_id)
    # What refers to others goes first.
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.trial_id.in_(of_study)))
