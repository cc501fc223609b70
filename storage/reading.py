"""Reading many trials: Optuna's rows of a study, without an object of its ORM for each of them.

A study of 10,000 trials has 300,000 such rows. Optuna makes an object of each, and parses the
distribution of every parameter of every trial twice.
"""

import datetime
import json
from collections import defaultdict
from collections.abc import Collection, Container, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

_Rows = Sequence[sa.Row[Any]]


class QuickRDBStorage(RDBStorage):
    """Optuna's storage over PostgreSQL, but for how it reads all trials of a study.

    A trial's distributions are shared with those of other trials.
    """

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        trial = models.TrialModel.__table__.c
        wanted = trial.trial_id > trial_id_greater_than
        if included_trial_ids:
            wanted |= trial.trial_id == _any(included_trial_ids)
        query = sa.select(models.TrialModel.__table__).where(trial.study_id == study_id, wanted)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            found = session.execute(query.order_by(trial.trial_id)).all()
            found = [row for row in found if states is None or row.state in states]
            ids = [row.trial_id for row in found]
            values = _of(session, ids, models.TrialValueModel)
            parameters = _of(session, ids, models.TrialParamModel)
            attributes = _of(session, ids, models.TrialUserAttributeModel)
            system = _of(session, ids, models.TrialSystemAttributeModel)
            reports = _of(session, ids, models.TrialIntermediateValueModel)
        rows = (values, parameters, attributes, system, reports)
        return [_trial(row, *(of[row.trial_id] for of in rows)) for row in found]


_distribution = lru_cache(maxsize=10_000)(json_to_distribution)
_report = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value


def _trial(
    row: sa.Row[Any],
    values: _Rows,
    parameters: _Rows,
    attributes: _Rows,
    system: _Rows,
    reports: _Rows,
) -> FrozenTrial:
    distributions = {one.param_name: _distribution(one.distribution_json) for one in parameters}
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=_values(values),
        datetime_start=_local(row.datetime_start),
        datetime_complete=_local(row.datetime_complete),
        params={
            one.param_name: distributions[one.param_name].to_external_repr(one.param_value)
            for one in parameters
        },
        distributions=distributions,
        user_attrs={one.key: json.loads(one.value_json) for one in attributes},
        system_attrs={one.key: json.loads(one.value_json) for one in system},
        intermediate_values={
            one.step: _report(one.intermediate_value, one.intermediate_value_type)
            for one in reports
        },
        trial_id=row.trial_id,
    )


def _of(session: orm.Session, ids: Sequence[int], model: Any) -> dict[int, list[sa.Row[Any]]]:
    """Return the rows that some trials have in one of Optuna's tables, oldest first."""
    table = model.__table__
    rows = defaultdict[int, list[sa.Row[Any]]](list)
    if ids:
        (key,) = table.primary_key
        query = sa.select(table).where(table.c.trial_id == _any(ids)).order_by(key)
        for row in session.execute(query):
            rows[row.trial_id].append(row)
    return rows


def _any(ids: Collection[int]) -> Any:
    """Return an operand that is equal to each of some ids, as one parameter however many."""
    return sa.any_(sa.literal(list(ids), postgresql.ARRAY(sa.Integer)))


def _values(rows: _Rows) -> list[float] | None:
    stored = models.TrialValueModel.stored_repr_to_value
    ordered = sorted(rows, key=lambda row: row.objective)
    return [stored(row.value, row.value_type) for row in ordered] or None


def _local(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Return a moment as trials have it: Optuna keeps UTC, and shows this machine's time."""
    if moment is None:
        return None
    return moment.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
