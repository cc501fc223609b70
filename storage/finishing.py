"""The end of a study: its outcome, and every look at its test rows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage import events, tables
from storage.artifacts import insert_artifacts
from storage.connection import Storage
from storage.failures import pause_failed
from storage.rows import Lease, Standing, change, peek, tick
from storage.trials import end_lease


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the test rows."""

    purpose: str
    trial_number: int | None = None
    value: Any = None  # JSON
    at: datetime | None = None  # None until it is kept


def looks(storage: Storage, study_id: str) -> list[Look]:
    """Return every look at the test rows of a study, oldest first.

    Those of all its kin are among them, which set the same rows aside: of the study with which
    their line began, and of all that began with its trials, or with theirs.
    """
    columns = [tables.look.c[column.name] for column in fields(Look)]
    study = tables.study.c
    up = sa.select(study.id, study.parent).where(study.id == study_id).cte("up", recursive=True)
    up = up.union_all(sa.select(study.id, study.parent).join(up, study.id == up.c.parent))
    kin = sa.select(up.c.id).where(up.c.parent.is_(None)).cte("kin", recursive=True)
    kin = kin.union_all(sa.select(study.id).join(kin, study.parent == kin.c.id))
    with storage.transaction() as connection:
        rows = connection.execute(
            sa.select(*columns)
            .where(tables.look.c.study.in_(sa.select(kin.c.id)))
            .order_by(tables.look.c.at, tables.look.c.id)
        )
        found = [Look(**row._mapping) for row in rows]
    # Each child of a study that was deleted has its looks.
    once = {(look.at, look.purpose.partition(tables.OF_STUDY)[0]): look for look in found[::-1]}
    return [*once.values()][::-1]


def finish(
    storage: Storage,
    lease: Lease,
    outcome: dict[str, Any] | None,
    *,
    look: Look | None = None,
    files: Mapping[str, bytes] | None = None,
    reason: str | None = None,
) -> bool:
    """End a lease of kind "finish": keep the look and the outcome, and close the study.

    A study that was extended meanwhile goes on, with this outcome until the next.

    Args:
        storage: Where the study is.
        lease: The caller's, of kind "finish".
        outcome: What the study came to, JSON; None where finishing failed, which pauses the study.
        look: The look at the test rows it took.
        files: Artifacts that belong to this outcome, by name; in place of the last outcome's.
        reason: Why the study ended, or why finishing failed; says which budget ended it by default.

    Returns:
        Whether this end stands. False where the lease is no longer the caller's.

    Raises:
        ValueError: More bytes of files than the database takes.
    """
    with storage.transaction() as connection:
        # First: nobody should have to wait for the study while they are on their way.
        insert_artifacts(connection, lease.study, files or {})
        study = tick(connection, lease.study)  # Its last moments count, too.
        held = connection.execute(
            sa.select(tables.lease)
            .where(
                tables.lease.c.id == lease.id,
                tables.lease.c.token == lease.token,
                tables.lease.c.kind == "finish",
            )
            .with_for_update()
        ).one_or_none()
        done = "done" if outcome is not None else "failed"
        if study is None or held is None or held.ended_at is not None:
            connection.rollback()  # The first end stands, with its files.
            return held is not None and bool(held.outcome == done)
        end_lease(connection, held.id, done)
        if look is not None:
            _insert_look(connection, study.id, look)
        if outcome is None:
            reason = reason or "finishing failed"
            pause_failed(connection, study.id, reason)
            return True
        changes: dict[str, Any] = {"outcome": outcome}
        if not study.budget_left and not _has_open_lease(connection, study.id):
            reason = reason or study.why_through
            changes.update(state="finished", reason=reason, ended_at=sa.func.now())
            events.record(connection, "study finished", study=study.id, text=reason)
        change(connection, study.id, **changes)
        return True


def is_time_up(storage: Storage, study_id: str) -> bool:
    """Tell whether a study's time is spent and a trial of it is complete, or it was deleted."""
    with storage.transaction() as connection:
        study = peek(connection, study_id)
        # Deleted: there is nothing left to train for.
        return study is None or (study.time_is_spent and has_complete(connection, study))


def has_complete(connection: sa.Connection, study: Standing) -> bool:
    """Tell whether a trial is complete: of the study's own, or of those that it began with."""
    trial = tables.optuna_trial.c
    complete = sa.exists().where(trial.study_id == study.optuna_study_id, trial.state == "COMPLETE")
    return bool(connection.scalar(sa.select(complete)))


def _has_open_lease(connection: sa.Connection, study_id: str) -> bool:
    is_open = sa.exists().where(tables.lease.c.study == study_id, tables.lease.c.ended_at.is_(None))
    return bool(connection.scalar(sa.select(is_open)))


def _insert_look(connection: sa.Connection, study_id: str, look: Look) -> None:
    connection.execute(
        sa.insert(tables.look).values(
            study=study_id,
            purpose=look.purpose,
            trial_number=look.trial_number,
            value=look.value,
        )
    )
