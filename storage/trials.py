"""One trial from its first moment to its end: Optuna's rows and our lease, changed together.

Each step is one transaction over both, opened by locking the lease and looking at its token. So
there is nothing between two steps for a crash to leave behind, and nothing a worker that lost its
lease could still change, however late it wakes.
"""

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel
from optuna.trial import TrialState
from sqlalchemy.dialects import postgresql

from storage import events, tables
from storage.connection import JoinedOptuna, Storage
from storage.rows import OPEN, Lease, StudyRow

State = Literal["complete", "pruned", "failed"]

_OPTUNA_STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
OUTCOMES = {optuna_state.name: state for state, optuna_state in _OPTUNA_STATES.items()}
# Optuna keeps times as UTC without a zone: https://github.com/optuna/optuna/blob/master/optuna/storages/_rdb/models.py
_NOW_UTC = sa.func.timezone("UTC", sa.func.clock_timestamp())


class LeaseLostError(RuntimeError):
    """The lease is no longer the caller's to begin: taken over, ended, or its study is not open."""


def begin(storage: Storage, lease: Lease, distributions: Mapping[str, BaseDistribution]) -> int:
    """Return the number of the lease's trial, created RUNNING now unless it was before.

    Args:
        storage: Where the study is.
        lease: A lease of kind "trial".
        distributions: Of every parameter of the lease.

    Raises:
        LeaseLostError: The lease is no longer the caller's, or the study is paused.
        ValueError: A parameter has no distribution, or lies outside it.
    """
    with storage.transaction() as connection:
        held = _hold(connection, lease)
        if held is None or held.ended_at is not None or held.study_state not in OPEN:
            raise LeaseLostError(
                f"Expected the lease of unit {lease.unit} of study {lease.study}, open, to be this "
                "worker's. Another took it over, or it has ended, or the study is paused; release "
                "it and claim another."
            )
        if held.trial_number is None:
            return _create(connection, held, held.parameters, distributions)[1]
        again = {"worker": held.owner, "attempts": held.attempt}
        _set_attributes(connection, held.trial_id, again)
        return int(held.trial_number)


def report(storage: Storage, lease: Lease, step: int, value: float) -> bool:
    """Keep the value a trial reached at a step (a later one of the same step replaces it).

    Returns:
        Whether the lease is still the caller's and its trial still running.
    """
    with storage.transaction() as connection:
        held = _hold(connection, lease)
        if held is None or held.ended_at is not None or held.trial_state in OUTCOMES:
            return False
        if held.trial_id is None:
            raise ValueError(_not_begun(lease))
        _set_report(connection, held.trial_id, step, value)
        return True


def end(
    storage: Storage,
    lease: Lease,
    *,
    state: State,
    value: float | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> bool:
    """End a trial, once: its attributes, its state and value, its lease.

    Args:
        storage: Where the study is.
        lease: The caller's.
        state: What became of it; only "failed" of one that never began.
        value: The score of a complete trial, the last rung's of a pruned one.
        attributes: User attributes to keep with it, JSON.

    Returns:
        Whether this end stands. False where the lease was taken over or the trial had ended
        otherwise: the first end stands. The same end given again, as after an answer that was lost,
        is true again.

    Raises:
        ValueError: A complete trial without a value, a value that is not a number, or a trial that
            has not begun.
    """
    if value is None and state == "complete":
        raise ValueError("Expected the value of a complete trial. Received none.")
    if value is not None and math.isnan(value):
        raise ValueError("Expected a number as value. Received nan: end the trial as pruned.")
    try:
        with storage.transaction() as connection:
            held = _hold(connection, lease)
            if held is None:
                return False
            if held.ended_at is not None:
                return _is_repeated(connection, held, state, value)
            if held.trial_id is None and state != "failed":
                raise ValueError(_not_begun(lease))
            close(connection, held, state=state, value=value, attributes=attributes or {})
            return True
    except UpdateFinishedTrialError:
        _end_as_found(storage, lease)
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
        trial_id, number = _create(connection, held, {}, {})
        attributes = {**attributes, "parameters": held.parameters}
    _set_attributes(connection, trial_id, attributes)
    _set_end(connection, trial_id, state, value)
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
        _set_attributes(connection, held.trial_id, {"reason": reason})
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


def optuna_study(storage: Storage, row: StudyRow) -> optuna.Study:
    """Return the plain Optuna study, for every tool that knows Optuna."""
    return optuna.load_study(study_name=row.optuna_name, storage=storage.optuna)


def _hold(connection: sa.Connection, lease: Lease) -> sa.Row[Any] | None:
    """Lock the lease of a trial until the transaction's end, if its token still opens it."""
    return connection.execute(
        with_trials()
        .where(
            tables.lease.c.id == lease.id,
            tables.lease.c.token == lease.token,
            tables.lease.c.kind == "trial",
        )
        .with_for_update(of=tables.lease)
    ).one_or_none()


def _create(
    connection: sa.Connection,
    held: sa.Row[Any],
    parameters: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
) -> tuple[int, int]:
    """Create the trial of a lease and return Optuna's id of it and its number."""
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=dict(parameters),
        distributions={name: distributions[name] for name in parameters if name in distributions},
    )
    bare = optuna.trial.create_trial(state=TrialState.RUNNING)
    trial_id = JoinedOptuna(connection).create_new_trial(held.optuna_study_id, bare)
    _set_parameters(connection, trial_id, template)
    number = connection.execute(
        sa.update(tables.optuna_trial)
        .where(tables.optuna_trial.c.trial_id == trial_id)
        .values(datetime_start=_NOW_UTC)  # Optuna took this machine's clock
        .returning(tables.optuna_trial.c.number)
    ).scalar_one()
    connection.execute(
        sa.update(tables.lease)
        .where(tables.lease.c.id == held.id)
        .values(trial_id=trial_id, trial_number=number)
    )
    attributes = {
        "lease": str(held.id),
        "unit": held.unit,
        "seed": held.seed,
        "worker": held.owner,
        "attempts": held.attempt,
    }
    _set_attributes(connection, trial_id, attributes)
    return trial_id, int(number)


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


def _end_as_found(storage: Storage, lease: Lease) -> None:
    """End the lease of a trial that was ended by other means, as optuna-dashboard's."""
    with storage.transaction() as connection:
        held = _hold(connection, lease)
        if held is not None and held.ended_at is None and held.trial_state in OUTCOMES:
            adopt_end(connection, held)


def _set_parameters(
    connection: sa.Connection, trial_id: int, template: optuna.trial.FrozenTrial
) -> None:
    """Do as Optuna's `set_trial_param`, for all of them in one statement.

    Optuna looks up each one's earlier distribution; a study's never change.
    """
    if not template.params:
        return
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": template.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(template.distributions[name]),
        }
        for name, value in template.params.items()
    ]
    connection.execute(sa.insert(tables.optuna_parameter).values(rows))


def _set_report(connection: sa.Connection, trial_id: int, step: int, value: float) -> None:
    """Do as Optuna's `set_trial_intermediate_value`, in one statement."""
    stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    reported = {"intermediate_value": stored, "intermediate_value_type": kind}
    upsert = postgresql.insert(TrialIntermediateValueModel.__table__).values(
        trial_id=trial_id, step=step, **reported
    )
    connection.execute(
        upsert.on_conflict_do_update(index_elements=["trial_id", "step"], set_=reported)
    )


def _set_end(connection: sa.Connection, trial_id: int, state: State, value: float | None) -> None:
    """Do as Optuna's `set_trial_state_values`, in two statements and by the database's clock.

    Raises:
        UpdateFinishedTrialError: The trial has ended.
    """
    trial = tables.optuna_trial.c
    ended = connection.execute(
        sa.update(tables.optuna_trial)
        .where(trial.trial_id == trial_id, trial.state.in_(("RUNNING", "WAITING")))
        .values(state=_OPTUNA_STATES[state].name, datetime_complete=_NOW_UTC)
    )
    if ended.rowcount == 0:
        raise UpdateFinishedTrialError(f"Trial {trial_id} has ended.")
    if value is not None:
        stored, kind = TrialValueModel.value_to_stored_repr(value)
        reached = {"value": stored, "value_type": kind}
        upsert = postgresql.insert(TrialValueModel.__table__).values(
            trial_id=trial_id, objective=0, **reached
        )
        connection.execute(
            upsert.on_conflict_do_update(index_elements=["trial_id", "objective"], set_=reached)
        )


def _set_attributes(
    connection: sa.Connection, trial_id: int, attributes: Mapping[str, Any]
) -> None:
    """Do as Optuna's `set_trial_user_attr`, for all of them in one statement."""
    if not attributes:
        return
    upsert = postgresql.insert(tables.optuna_attribute).values(
        [
            {"trial_id": trial_id, "key": name, "value_json": json.dumps(attribute)}
            for name, attribute in attributes.items()
        ]
    )
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=["trial_id", "key"], set_={"value_json": upsert.excluded.value_json}
        )
    )
