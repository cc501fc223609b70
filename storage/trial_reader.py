"""The trials of a study as draws, verdicts and views go by them: read where they may have changed.

Without times, and what is new in one statement a page; `trial_rows` reads the rest.
"""

import json
from collections.abc import Callable
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
_ATTRIBUTE = models.TrialUserAttributeModel.__table__
_KINDS: Any = models.TrialIntermediateValueModel.TrialIntermediateValueType


def _rows_of(table: sa.Table, *names: str) -> sa.Label[Any]:
    """Return what a trial has in one of Optuna's tables as JSON, the oldest row first."""
    (key,) = table.primary_key
    row = sa.func.json_build_array(*(table.c[name] for name in names))
    rows = sa.func.json_agg(postgresql.aggregate_order_by(row, key), type_=sa.JSON)
    return (
        sa.select(rows).where(table.c.trial_id == _TRIAL.c.trial_id).scalar_subquery().label(None)
    )


def _read(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(
            _TRIAL.c.trial_id,
            _TRIAL.c.number,
            _TRIAL.c.state,
            _VALUE.c.value,
            _VALUE.c.value_type,
            _rows_of(_PARAMETER, "param_name", "param_value", "distribution_json"),
            _rows_of(_REPORT, "step", "intermediate_value", "intermediate_value_type"),
            *more,
        )
        .outerjoin(_VALUE, sa.and_(_VALUE.c.trial_id == _TRIAL.c.trial_id, _VALUE.c.objective == 0))
        .where(
            _TRIAL.c.study_id == sa.bindparam("study", type_=sa.Integer),
            sa.or_(
                _TRIAL.c.trial_id > sa.bindparam("last", type_=sa.Integer),
                _TRIAL.c.trial_id
                == sa.any_(sa.bindparam("open", type_=postgresql.ARRAY(sa.Integer))),
            ),
        )
        .order_by(_TRIAL.c.trial_id)
        .limit(sa.bindparam("at_once", type_=sa.Integer))
    )


# Built once: building one takes longer than asking it.
_READ = _read()
_READ_DESCRIBED = _read(_rows_of(_ATTRIBUTE, "key", "value_json"))
_STUDY = sa.select(models.StudyModel.__table__.c.study_id).where(
    models.StudyModel.__table__.c.study_id == sa.bindparam("study", type_=sa.Integer)
)


class TrialReader:
    """The trials of one study as they were at the last look."""

    def __init__(
        self,
        storage: Storage,
        study_id: int,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        described: bool = False,
    ) -> None:
        """Look at nothing yet of the Optuna study of this id.

        Args:
            storage: Where it is.
            study_id: Optuna's.
            meanwhile: Called after each page of `AT_ONCE` trials, between transactions: to read
                all of a large study takes long.
            described: Whether trials have their user attributes, which draws and verdicts ignore.
        """
        self._storage, self._study_id, self._meanwhile = storage, study_id, meanwhile
        self._query = _READ_DESCRIBED if described else _READ
        self._by_number: dict[int, FrozenTrial] = {}
        self._open: set[int] = set()  # Ids of trials that had not ended.
        self._last = -1  # The highest id.
        self._asked: list[int] | None = None  # Of the open ones still to be read in this look.

    def look(self) -> list[FrozenTrial]:
        """Return all trials, by number; what has ended is read once.

        Raises:
            LookupError: The study has been deleted.
        """
        self._asked = None
        while self.read_page():
            self._meanwhile()
        return self.trials

    def read_page(self) -> bool:
        """Read the next `AT_ONCE` trials of a look; tell whether it may have more.

        Raises:
            LookupError: The study has been deleted.
        """
        asked = sorted(self._open) if self._asked is None else self._asked
        which = {"study": self._study_id, "last": self._last, "open": asked, "at_once": AT_ONCE}
        with self._storage.transaction() as connection:
            rows = connection.execute(self._query, which).all()
            if not rows and connection.scalar(_STUDY, which) is None:
                raise LookupError(f"Optuna's study {self._study_id} has been deleted.")
        for row in rows:
            self._note(row)
        more = len(rows) == AT_ONCE
        self._asked = [one for one in asked if one > rows[-1].trial_id] if more else None
        return more

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials that were read, by number."""
        return list(self._by_number.values())

    def _note(self, row: Any) -> None:
        trial_id, number, state, value, kind, parameters, reports, *described = row
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
            user_attrs={key: json.loads(text) for rows in described for key, text in rows or []},
            system_attrs={},
            intermediate_values={
                step: report_of(at, _KINDS[kind]) for step, at, kind in reports or []
            },
            trial_id=trial_id,
        )
        self._last = max(self._last, trial_id)
        (self._open.discard if state.is_finished() else self._open.add)(trial_id)
