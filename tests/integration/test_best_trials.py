"""What is asked of a study's best trials, without reading all of them."""

import math

import pytest
import sqlalchemy as sa
from stored_studies import begun, make_study

from storage import studies, tables, trials
from storage.best_trials import best_trials
from storage.connection import Storage
from storage.finishing import is_time_up


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("values", "leaders"), [([1, 3, 3, 2, None], [1, 2]), ([1, math.inf, 3, 2], [1]), ([None], [])]
)
def test_the_trials_with_the_best_value_lead(
    storage: Storage, direction: str, values: list[float | None], leaders: list[int]
) -> None:
    sign = 1 if direction == "maximize" else -1
    plan = {"direction": direction}
    row = make_study(storage, plan=plan, direction=direction, trials=len(values))
    trials.end(storage, begun(storage, make_study(storage)), state="complete", value=99.0 * sign)
    for value in values:
        lease = begun(storage, row)
        if value is None:
            trials.end(storage, lease, state="pruned", value=9.0 * sign)
        else:
            trials.end(storage, lease, state="complete", value=sign * value, attributes={"a": 1})
    found = best_trials(storage, row)
    assert [trial.number for trial in found] == leaders
    assert all(trial.user_attrs["a"] == 1 for trial in found)


def test_time_is_up_once_it_is_spent_and_a_trial_is_complete(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.backend, "_get_trials", lambda *_: pytest.fail("read trials"))
    study = make_study(storage, seconds=60.0)
    trials.end(storage, begun(storage, study), state="pruned", value=1.0)
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=61.0))
    assert not is_time_up(storage, study.id)
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=0.0))
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    assert not is_time_up(storage, study.id)
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.study).values(spent_seconds=61.0))
    assert is_time_up(storage, study.id)
    studies.delete(storage, study.id)
    assert is_time_up(storage, study.id)
