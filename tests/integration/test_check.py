import pytest
import sqlalchemy as sa
from stored_studies import begun, claimed, make_study, run_to_the_end

from storage import finishing, trials
from storage.check import RULES, violations
from storage.connection import Storage
from storage.finishing import Look

# For each rule what breaks it, in a database that keeps all of them.
BREAKS = {
    "as many units as were drawn, numbered from 0": (
        "UPDATE topo_study SET drawn = drawn - 1 WHERE name = 'open'"
    ),
    "no more units than the budget": (
        "ALTER TABLE topo_study DROP CONSTRAINT topo_study_budget; "
        "UPDATE topo_study SET trials = drawn - 1 WHERE name = 'open'"
    ),
    "one trial for each unit that began": ("DELETE FROM trial_user_attributes WHERE key = 'lease'"),
    "no trial without a unit, but those a study began with": (
        "INSERT INTO trials (trial_id, number, study_id, state) "
        "SELECT 1000, max(number) + 1, study_id, 'RUNNING' FROM trials GROUP BY study_id LIMIT 1"
    ),
    "trials numbered without a gap": "UPDATE trials SET number = number + 1 WHERE number = 1",
    "a unit and its trial end alike": "UPDATE trials SET state = 'PRUNED' WHERE state = 'FAIL'",
    "a complete trial has its value, once": "DELETE FROM trial_values",
    "a failed trial says why": "DELETE FROM trial_user_attributes WHERE key = 'reason'",
    "a trial is given up after all its attempts": (
        "UPDATE topo_lease SET reason = 'gave up after 3 attempts: odd' WHERE outcome = 'failed'"
    ),
    "an ended study has no open lease": (
        "UPDATE topo_study SET state = 'cancelled' WHERE name = 'open'"
    ),
    "a finished study has used its budget, or says why not": (
        "UPDATE topo_study SET trials = trials + 1 WHERE state = 'finished'"
    ),
    "one look for each finishing that scored": (
        "INSERT INTO topo_look (study, purpose) SELECT id, 'peep' FROM topo_study LIMIT 1"
    ),
    "a look for what was scored on the test rows": (
        """UPDATE topo_study SET outcome = '{"test": {"value": 0.5}}' WHERE state = 'finished'; """
        "DELETE FROM topo_look"
    ),
}


@pytest.fixture
def busy(storage: Storage) -> Storage:
    """A finished study, and an open one with a trial of every fate."""
    done = make_study(storage, name="done", trials=2)
    lease = run_to_the_end(storage, done)
    assert lease is not None and finishing.finish(storage, lease, {}, look=Look(purpose="score"))
    study = make_study(storage, name="open", trials=9)
    trials.end(storage, begun(storage, study), state="complete", value=1.0)
    trials.end(storage, begun(storage, study), state="pruned", value=1.0)
    trials.end(storage, begun(storage, study), state="failed", attributes={"reason": "odd"})
    begun(storage, study)
    claimed(storage, study)
    return storage


def test_what_keeps_the_promises_passes(busy: Storage) -> None:
    assert violations(busy) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_sees_what_breaks_it(busy: Storage, rule: str) -> None:
    with busy.transaction() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(sa.text(BREAKS[rule]))
    found = violations(busy)
    assert rule in {wrong.rule for wrong in found}
    assert all(wrong.study and wrong.what for wrong in found)
