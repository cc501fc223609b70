"""The trials of a study as draws and verdicts go by them: read again where they may have changed.

Without attributes and times, and what is new in one statement; `trial_rows` reads the rest.
"""

from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import postgresql

from storage.connection import Storage
from storage.trial_rows import AT_ONCE, distributions_of, report_of, value_of

_TRIAL = models.TrialModel.__table__
_VALUE = models.TrialValueModel.__table__
_PARAMETER = models.TrialParamModel.__table__
_REPORT = models.TrialIntermediateValueModel.__table__
_KINDS: Any = models.TrialIntermediateValueModel.TrialIntermediateValueType


def _rows_of(table: sa.Table, *names: str) -> sa.Label[Any]:
    """Return what a trial has in one of Optuna's tables as JSON, the oldest row first."""
    (key,) = table.primary_key
    row = sa.func.json_build_array(*(table.c[name] for name in names))
    rows = sa.func.json_agg(postgresql.aggregate_order_by(row, key), type_=sa.JSON)
    return (
        sa.select(rows).where(table.c.trial_id == _TRIAL.c.trial_id).scalar_subquery().label(None)
    )


_READ = (
    sa.select(
        _TRIAL.c.trial_id,
        _TRIAL.c.number,
        _TRIAL.c.state,
        _VALUE.c.value,
        _VALUE.c.value_type,
        _rows_of(_PARAMETER, "param_name", "param_value", "distribution_json"),
        _rows_of(_REPORT, "step", "intermediate_value", "intermediate_value_type"),
    )
    .outerjoin(_VALUE, sa.and_(_VALUE.c.trial_id == _TRIAL.c.trial_id, _VALUE.c.objective == 0))
    .where(
        _TRIAL.c.study_id == sa.bindparam("study", type_=sa.Integer),
        sa.or_(
            _TRIAL.c.trial_id > sa.bindparam("last", type_=sa.Integer),
            _TRIAL.c.trial_id == sa.any_(sa.bindparam("open", type_=postgresql.ARRAY(sa.Integer))),
        ),
    )
    .order_by(_TRIAL.c.trial_id)
    .limit(AT_ONCE)
)
_STUDY = sa.select(models.StudyModel.__table__.c.study_id).where(
    models.StudyModel.__table__.c.study_id == sa.bindparam("study", type_=sa.Integer)
)


class TrialReader:
    """The trials of one study as they were at the last look."""

    def __init__(self, storage: Storage, study_id: int) -> None:
        """Look at nothing yet of the Optuna study of this id."""
        self._storage, self._study_id = storage, study_id
        self._by_number: dict[int, FrozenTrial] = {}
        self._open: set[int] = set()  # Ids of trials that had not ended.
        self._last = -1  # The highest id.

    def look(self) -> list[FrozenTrial]:
        """Return all trials, by number; what has ended is read once.

        Raises:
            LookupError: The study has been deleted.
        """
        asked, rows = sorted(self._open), list[sa.Row[Any]]()
        while not rows or len(rows) == AT_ONCE:
            which = {"study": self._study_id, "last": self._last, "open": asked}
            with self._storage.transaction() as connection:
                rows = list(connection.execute(_READ, which))
                if not rows and connection.scalar(_STUDY, which) is None:
                    raise LookupError(f"Optuna's study {self._study_id} has been deleted.")
            if not rows:
                break
            for row in rows:
                self._note(row)
            asked = [trial_id for trial_id in asked if trial_id > rows[-1].trial_id]
        return list(self._by_number.values())

    def _note(self, row: Any) -> None:
        trial_id, number, state, value, kind, parameters, reports = row
        parameters = parameters or []
        kinds = distributions_of(tuple((name, written) for name, _, written in parameters))
        self._by_number[number] = FrozenTrial(
            number=number,
            state=state,
            value=None if kind is None else value_of(value, kind),
            datetime_start=None,
            datetime_complete=None,
            params={name: kinds[name].to_external_repr(inside) for name, inside, _ in parameters},
            distributions=kinds,
            user_attrs={},
            system_attrs={},
            intermediate_values={
                step: report_of(at, _KINDS[kind]) for step, at, kind in reports or []
            },
            trial_id=trial_id,
        )
        self._last = max(self._last, trial_id)
        (self._open.discard if state.is_finished() else self._open.add)(trial_id)
