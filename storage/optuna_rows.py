"""Optuna's rows of one trial, written as Optuna writes them, in fewer statements.

By its models: https://github.com/optuna/optuna/blob/master/optuna/storages/_rdb/models.py
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy.dialects import postgresql

from storage import tables

State = Literal["complete", "pruned", "failed"]

STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
# Optuna keeps times as UTC without a zone.
_NOW = sa.func.timezone("UTC", sa.func.clock_timestamp())
_ATTRIBUTE = postgresql.insert(tables.optuna_attribute)
_SET_ATTRIBUTES = _ATTRIBUTE.on_conflict_do_update(
    index_elements=["trial_id", "key"], set_={"value_json": _ATTRIBUTE.excluded.value_json}
)
_REPORT = postgresql.insert(TrialIntermediateValueModel.__table__)
_SET_REPORT = _REPORT.on_conflict_do_update(
    index_elements=["trial_id", "step"],
    set_={
        name: _REPORT.excluded[name] for name in ("intermediate_value", "intermediate_value_type")
    },
)
_VALUE = postgresql.insert(TrialValueModel.__table__)
_SET_VALUE = _VALUE.on_conflict_do_update(
    index_elements=["trial_id", "objective"],
    set_={name: _VALUE.excluded[name] for name in ("value", "value_type")},
)
_SET_PARAMETERS = sa.insert(tables.optuna_parameter)
_TRIAL = TrialModel.__table__
_END = (
    sa.update(_TRIAL)
    .where(
        _TRIAL.c.trial_id == sa.bindparam("ended_id", type_=sa.Integer),
        _TRIAL.c.state.in_((TrialState.RUNNING, TrialState.WAITING)),
    )
    .values(state=sa.bindparam("ended_as", type_=_TRIAL.c.state.type), datetime_complete=_NOW)
)
_OF_STUDY = sa.bindparam("of_study", type_=sa.Integer)
_LOCK_STUDY = (
    sa.select(tables.optuna_study).where(tables.optuna_study.c.study_id == _OF_STUDY)
).with_for_update()
_EARLIER = sa.select(sa.func.count()).where(_TRIAL.c.study_id == _OF_STUDY).scalar_subquery()
_CREATE = (
    sa.insert(_TRIAL)
    .values(study_id=_OF_STUDY, number=_EARLIER, state=TrialState.RUNNING, datetime_start=_NOW)
    .returning(_TRIAL.c.trial_id, _TRIAL.c.number)
)


def create(
    connection: sa.Connection,
    study_id: int,
    parameters: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
) -> tuple[int, int]:
    """Create a trial that runs from now on, and return Optuna's id of it and its number.

    Raises:
        LookupError: The study has been deleted.
        ValueError: A parameter has no distribution, or lies outside it.
    """
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=dict(parameters),
        distributions={name: distributions[name] for name in parameters if name in distributions},
    )
    whose = {"of_study": study_id}
    # As Optuna's own: whoever numbers a trial holds the study's row. By itself, as a statement sees
    # what was committed before it began, and not what it waited for.
    if connection.scalar(_LOCK_STUDY, whose) is None:
        raise LookupError(f"Expected Optuna's study {study_id}, which has been deleted.")
    trial_id, number = connection.execute(_CREATE, whose).one()
    _set_parameters(connection, trial_id, template)
    return int(trial_id), int(number)


def set_report(connection: sa.Connection, trial_id: int, step: int, value: float) -> None:
    """Do as Optuna's `set_trial_intermediate_value`, in one statement."""
    stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    reported = {"intermediate_value": stored, "intermediate_value_type": kind}
    connection.execute(_SET_REPORT, {"trial_id": trial_id, "step": step, **reported})


def set_end(connection: sa.Connection, trial_id: int, state: State, value: float | None) -> None:
    """Do as Optuna's `set_trial_state_values`, in two statements and by the database's clock.

    Raises:
        UpdateFinishedTrialError: The trial has ended.
    """
    ended = connection.execute(_END, {"ended_id": trial_id, "ended_as": STATES[state]})
    if ended.rowcount == 0:
        raise UpdateFinishedTrialError(f"Trial {trial_id} has ended.")
    if value is not None:
        stored, kind = TrialValueModel.value_to_stored_repr(value)
        reached = {"trial_id": trial_id, "objective": 0, "value": stored, "value_type": kind}
        connection.execute(_SET_VALUE, reached)


def set_attributes(connection: sa.Connection, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Do as Optuna's `set_trial_user_attr`, for all of them in one statement."""
    if not attributes:
        return
    rows = [
        {"trial_id": trial_id, "key": name, "value_json": json.dumps(attribute)}
        for name, attribute in attributes.items()
    ]
    connection.execute(_SET_ATTRIBUTES, rows)


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
    connection.execute(_SET_PARAMETERS, rows)
