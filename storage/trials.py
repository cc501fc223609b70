"""One trial from its first moment to its end: Optuna's rows and our lease, changed together.

Each step is one transaction over both, opened by locking the lease and looking at its token. So
there is nothing between two steps for a crash to leave behind, and nothing a worker that lost its
lease could still change, however late it wakes.
"""

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError

from storage import events, optuna_rows, tables
from storage.artifacts import insert_artifacts
from storage.connection import JoinedOptuna, Storage
from storage.optuna_rows import State
from storage.rows import OPEN, Lease, StudyRow

OUTCOMES = {optuna_state.name: state for state, optuna_state in optuna_rows.STATES.items()}


class LeaseLostError(RuntimeError):
    """The lease is no longer the caller's to begin: taken over, ended, or its study is not open."""


def begin(
    storage: Storage,
    lease: Lease,
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any] | None = None,
) -> int:
    """Return the number of the lease's trial, created RUNNING now unless it was before.

    Args:
        storage: Where the study is.
        lease: A lease of kind "trial".
        distributions: Of every parameter of the lease.
        attributes: User attributes that are known before it ends, JSON.

    Raises:
        LeaseLostError: The lease is no longer the caller's, or the study is paused.
        ValueError: A parameter has no distribution, or lies outside it.
    """
    with storage.transaction() as connection:
        held = _hold_open(connection, lease)
        if held is not None and held.study_state in OPEN:
            if held.trial_number is None:
                given = held.parameters, distributions, attributes or {}
                return _create(connection, held, *given)[1]
            again = {"worker": held.owner, "attempts": held.attempt}
            optuna_rows.set_attributes(connection, held.trial_id, again)
            return int(held.trial_number)
    raise LeaseLostError(
        f"Expected the lease of unit {lease.unit} of study {lease.study}, open, to be this "
        "worker's. Another took it over, or it has ended, or the study is paused; release "
        "it and claim another."
    )


def report(storage: Storage, lease: Lease, step: int, value: float) -> bool:
    """Keep the value a trial reached at a step (a later one of the same step replaces it).

    Returns:
        Whether the lease is still the caller's and its trial still running.
    """
    with storage.transaction() as connection:
        held = _hold_open(connection, lease)
        if held is None:
            return False
        if held.trial_id is None:
            raise ValueError(_not_begun(lease))
        optuna_rows.set_report(connection, held.trial_id, step, value)
        return True


def end(
    storage: Storage,
    lease: Lease,
    *,
    state: State,
    value: float | None = None,
    attributes: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> bool:
    """End a trial, once: its attributes, its state and value, its files, its lease.

    Args:
        storage: Where the study is.
        lease: The caller's.
        state: What became of it; only "failed" of one that never began.
        value: The score of a complete trial, the last rung's of a pruned one.
        attributes: User attributes to keep with it, JSON.
        files: Artifacts that belong to it, by name; kept if this end stands.

    Returns:
        Whether this end stands. False where the lease was taken over or the trial had ended
        otherwise: the first end stands. The same end given again, as after an answer that was lost,
        is true again.

    Raises:
        ValueError: A complete trial without a value, a value that is not a number, a trial that
            has not begun, or more bytes than the database takes.
    """
    if value is None and state == "complete":
        raise ValueError("Expected the value of a complete trial. Received none.")
    if value is not None and math.isnan(value):
        raise ValueError("Expected a number as value. Received nan: end the trial as pruned.")
    try:
        with storage.transaction() as connection:
            # First: nobody should have to wait for the lease while they are on their way.
            insert_artifacts(connection, lease.study, files or {})
            held = _hold(connection, lease)
            if held is None or held.ended_at is not None:
                stands = held is not None and _is_repeated(connection, held, state, value)
                connection.rollback()  # The first end stands, with its files.
                return stands
            if held.trial_id is None and state != "failed":
                raise ValueError(_not_begun(lease))
            close(connection, held, state=state, value=value, attributes=attributes or {})
            return True
    except UpdateFinishedTrialError:
        with storage.transaction() as connection:
            _hold_open(connection, lease)
        return False


def close(
    connection: sa.Connection,
    held: sa.Row[Any],
    *,
    state: State,
    value: float | None = None,
    attributes: Mapping[str, Any],
    token: uuid.UUID | None = None,
) -> None:
    """End a lease the caller has locked, and its trial; a unit never begun gets one to end.

    Raises:
        UpdateFinishedTrialError: The trial has ended; the transaction is then undone.
    """
    trial_id, number = held.trial_id, held.trial_number
    if trial_id is None:
        trial_id, number = _create(connection, held, {}, {}, {})
        attributes = {**attributes, "parameters": held.parameters}
    optuna_rows.set_attributes(connection, trial_id, attributes)
    optuna_rows.set_end(connection, trial_id, state, value)
    reason = attributes.get("reason") if state == "failed" else None
    if state == "failed":
        failed = {"study": held.study, "worker": held.owner, "text": str(reason or "")}
        events.record(connection, "trial failed", trial=number, **failed)
    end_lease(connection, held.id, state, token=token, reason=reason)


def adopt_end(connection: sa.Connection, held: sa.Row[Any]) -> None:
    """End a lease the caller has locked as its trial was ended by other means."""
    outcome = OUTCOMES[held.trial_state]
    reason = "ended outside topo-search" if outcome == "failed" else None
    if reason is not None:
        optuna_rows.set_attributes(connection, held.trial_id, {"reason": reason})
    end_lease(connection, held.id, outcome, token=uuid.uuid4(), reason=reason)


def end_lease(
    connection: sa.Connection,
    lease_id: uuid.UUID,
    outcome: str,
    *,
    token: uuid.UUID | None = None,
    reason: str | None = None,
) -> None:
    """End a lease whose row the caller has locked; a new `token` shuts its owner out."""
    connection.execute(
        sa.update(tables.lease)
        .where(tables.lease.c.id == lease_id)
        .values(
            ended_at=sa.func.clock_timestamp(),
            outcome=outcome,
            reason=reason,
            **({} if token is None else {"token": token}),
        )
    )


def with_trials() -> sa.Select[Any]:
    """Select leases, each with its study's state and that of its trial, if it has begun."""
    trial = tables.optuna_trial.c
    return (
        sa.select(
            tables.lease,
            tables.study.c.optuna_study_id,
            tables.study.c.state.label("study_state"),
            trial.state.label("trial_state"),
        )
        .join(tables.study, tables.study.c.id == tables.lease.c.study)
        .outerjoin(tables.optuna_trial, trial.trial_id == tables.lease.c.trial_id)
    )


def has_begun(owner: str) -> sa.ColumnElement[bool]:
    """Whether its owner began what a lease is of in this attempt: `begin` notes who, and which."""
    lease, attribute = tables.lease.c, tables.optuna_attribute.c

    def noted(key: str, text: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return sa.exists().where(
            attribute.trial_id == lease.trial_id,
            attribute.key == key,
            attribute.value_json == text,
        )

    return sa.or_(
        lease.kind == "finish",  # It begins with the lease.
        sa.and_(
            noted("worker", sa.literal(json.dumps(owner))),
            noted("attempts", sa.cast(lease.attempt, sa.Text)),
        ),
    )


def optuna_study(storage: Storage, row: StudyRow) -> optuna.Study:
    """Return the plain Optuna study, for every tool that knows Optuna."""
    return optuna.load_study(study_name=row.optuna_name, storage=storage.optuna)


# Built once: a trial is held for every report of it, and building this takes longer than asking it.
_HOLD = (
    with_trials()
    .where(
        tables.lease.c.id == sa.bindparam("held_id", type_=sa.Uuid),
        tables.lease.c.token == sa.bindparam("held_token", type_=sa.Uuid),
        tables.lease.c.kind == "trial",
    )
    .with_for_update(of=tables.lease)
)


def _hold(connection: sa.Connection, lease: Lease) -> sa.Row[Any] | None:
    """Lock the lease of a trial until the transaction's end, if its token still opens it."""
    return connection.execute(_HOLD, {"held_id": lease.id, "held_token": lease.token}).one_or_none()


def _hold_open(connection: sa.Connection, lease: Lease) -> sa.Row[Any] | None:
    """Do as `_hold` while neither has ended; the end of a trial by other means is adopted."""
    held = _hold(connection, lease)
    if held is None or held.ended_at is not None:
        return None
    if held.trial_state in OUTCOMES:  # As by optuna-dashboard.
        adopt_end(connection, held)
        return None
    return held


def _create(
    connection: sa.Connection,
    held: sa.Row[Any],
    parameters: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
) -> tuple[int, int]:
    """Create the trial of a lease and return Optuna's id of it and its number."""
    trial_id, number = optuna_rows.create(
        connection, held.optuna_study_id, parameters, distributions
    )
    connection.execute(
        sa.update(tables.lease)
        .where(tables.lease.c.id == held.id)
        .values(trial_id=trial_id, trial_number=number)
    )
    ours = {
        "lease": str(held.id),
        "unit": held.unit,
        "seed": held.seed,
        "worker": held.owner,
        "attempts": held.attempt,
    }
    optuna_rows.set_attributes(connection, trial_id, {**attributes, **ours})
    return trial_id, number


def _is_repeated(
    connection: sa.Connection, held: sa.Row[Any], state: State, value: float | None
) -> bool:
    if held.outcome != state:
        return False
    kept = JoinedOptuna(connection).get_trial(held.trial_id).values
    return bool(kept == (None if value is None else [value]))


def _not_begun(lease: Lease) -> str:
    return (
        f"Expected a trial that has begun. Received that of unit {lease.unit} of study "
        f"{lease.study}, which has not: begin it first."
    )
