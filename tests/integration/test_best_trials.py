"""What is asked of a study's best trials, without reading all of them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from stored_studies import begun, make_study

from storage import studies, tables, trials
from storage.best_trials import best_trials
from storage.connection import Storage
from storage.finishing import is_time_up
from storage.rows import StudyRow
from topo_search import study_status
from topo_search.cli import cli
from topo_search.study_status import status, statuses


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
    found = best_trials(storage, [row])[row.id]
    assert [trial.number for trial in found] == leaders
    assert all(trial.user_attrs["a"] == 1 for trial in found)


def test_all_studies_are_told_of_in_as_many_statements_as_a_few(storage: Storage) -> None:
    def make(direction: str, values: list[float | None]) -> StudyRow:
        plan = {"direction": direction, "metric": "accuracy"}
        row = make_study(storage, plan=plan, direction=direction, trials=len(values) + 1)
        for value in values:
            state: Any = "failed" if value is None else "complete"
            trials.end(storage, begun(storage, row), state=state, value=value)
        return studies.get(storage, row.id)

    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    def told(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
        asked.clear()
        sa.event.listen(storage.engine, "before_cursor_execute", note)
        found = statuses(storage, rows)
        sa.event.remove(storage.engine, "before_cursor_execute", note)
        return found

    rows = [make("maximize", [1.0, 3.0, 2.0])]
    told(rows)
    alone = len(asked)
    more: list[list[float | None]] = [[2.0, 1.0, 1.0], [5.0, -math.inf], [None], [], [4.0, None]]
    rows += [make("minimize", values) for values in more]
    running = begun(storage, rows[0])
    found = told(rows)
    assert len(asked) == alone < 15
    assert found == [status(storage, row) for row in rows]
    assert [one["best"] and one["best"]["value"] for one in found] == [
        *(3.0, 1.0, -math.inf),
        *(None, None, 4.0),
    ]
    assert found[0]["trials"]["running"] == 1 and running.unit == 3
    studies.delete(storage, rows[1].id)
    assert told(rows) == [found[0], *found[2:]], "deleted meanwhile"


def test_the_command_lists_studies_so(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(study_status, "status", lambda *_: pytest.fail("asked of each by itself"))
    plan = {"direction": "maximize", "metric": "accuracy", "objective": "none"}
    made = [make_study(storage, plan=plan).id for _ in range(2)]
    asked = ["studies", "--json", "--storage", storage.url]
    done = CliRunner().invoke(cli, asked, env={"TOPO_SEARCH_HOME": str(tmp_path)})
    assert done.exit_code == 0, done.output
    assert [one["study"] for one in json.loads(done.stdout)] == made


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
