"""Reading many trials: Optuna's rows of a study, without an object of its ORM for each of them.

A study of 10,000 trials has 300,000 such rows. Optuna makes an object of each, and parses the
distribution of every parameter of every trial twice.
"""

import datetime
import json
import sys
from collections import defaultdict
from collections.abc import Collection, Container, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

_Rows = Sequence[Any]  # Of tuples.
AT_ONCE = 2_000  # Trials whose rows are in memory together.


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
            found = session.execute(query.order_by(trial.trial_id)).all()
            if not found:
                models.StudyModel.find_or_raise_by_id(study_id, session)
            found = [row for row in found if states is None or row.state in states]
            return list(_in_pages(session, found))

    def trials_of(self, trial_ids: Collection[int]) -> dict[int, list[FrozenTrial]]:
        """Return some trials by the studies they are of, each study's by number."""
        trial = models.TrialModel.__table__
        query = sa.select(trial).where(trial.c.trial_id == _any(trial_ids))
        by_study = defaultdict[int, list[FrozenTrial]](list)
        with _create_scoped_session(self.scoped_session) as session:
            found = session.execute(query.order_by(trial.c.trial_id)).all()
            for row, read in zip(found, _in_pages(session, found), strict=True):
                by_study[row.study_id].append(read)
        return dict(by_study)


report_of = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
value_of = models.TrialValueModel.stored_repr_to_value


def _in_pages(session: orm.Session, found: _Rows) -> Iterator[FrozenTrial]:
    for first in range(0, len(found), AT_ONCE):
        yield from _trials(session, found[first : first + AT_ONCE])


def _trials(session: orm.Session, found: _Rows) -> Iterator[FrozenTrial]:
    """Yield the trials of some rows of Optuna's table of trials."""
    ids = [row.trial_id for row in found]
    values = _of(session, ids, models.TrialValueModel, "objective", "value", "value_type")
    parameters = _of(
        session, ids, models.TrialParamModel, "param_name", "param_value", "distribution_json"
    )
    attributes = _of(session, ids, models.TrialUserAttributeModel, "key", "value_json")
    system = _of(session, ids, models.TrialSystemAttributeModel, "key", "value_json")
    reports = _of(
        session,
        ids,
        models.TrialIntermediateValueModel,
        *("step", "intermediate_value", "intermediate_value_type"),
    )
    for row in found:
        trial_id = row.trial_id
        written = parameters[trial_id]
        distributions = distributions_of(tuple((name, kind) for _, name, _, kind in written))
        yield FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=_values(values[trial_id]),
            datetime_start=_local(row.datetime_start),
            datetime_complete=_local(row.datetime_complete),
            params={
                name: kind.to_external_repr(value)
                for (name, kind), (_, _, value, _) in zip(
                    distributions.items(), written, strict=True
                )
            },
            distributions=distributions,
            user_attrs=_attributes(attributes[trial_id]),
            system_attrs=_attributes(system[trial_id]),
            intermediate_values={
                step: report_of(value, kind) for _, step, value, kind in reports[trial_id]
            },
            trial_id=trial_id,
        )


def _of(session: orm.Session, ids: Sequence[int], model: Any, *names: str) -> dict[int, list[Any]]:
    """Return columns of trials in one of Optuna's tables, the id first, the oldest row first."""
    table = model.__table__
    (key,) = table.primary_key
    columns = [table.c.trial_id, *(table.c[name] for name in names)]
    query = sa.select(*columns).where(table.c.trial_id == _any(ids)).order_by(key)
    rows = defaultdict[int, list[Any]](list)
    for row in session.execute(query).all():
        rows[row[0]].append(row)
    return rows


@lru_cache(maxsize=10_000)
def distributions_of(written: tuple[tuple[str, str], ...]) -> dict[str, BaseDistribution]:
    """Return the distributions of a trial's parameters; trials that have the same share them."""
    return {name: _distribution(text) for name, text in written}


_distribution = lru_cache(maxsize=10_000)(json_to_distribution)


def _attributes(rows: _Rows) -> dict[str, Any]:
    # The names are the same in all trials of a study, and so is each one's text in memory.
    return {sys.intern(key): json.loads(text) for _, key, text in rows}


def _any(ids: Collection[int]) -> Any:
    """Return an operand that is equal to each of some ids, as one parameter however many."""
    return sa.any_(sa.literal(list(ids), postgresql.ARRAY(sa.Integer)))


def _values(rows: _Rows) -> list[float] | None:
    return [value_of(value, kind) for _, _, value, kind in sorted(rows, key=itemgetter(1))] or None


def _local(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Return a moment as trials have it: Optuna keeps UTC, and shows this machine's time."""
    if moment is None:
        return None
    return moment.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
