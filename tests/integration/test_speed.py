"""What the fleet's latest trials took."""

from typing import Any

from stored_studies import begun, claimed, make_study

from storage import speed, trials
from storage.connection import Storage
from storage.rows import StudyRow
from storage.speed import TrialCost


def study_of_a_table(storage: Storage, rows: int = 96) -> StudyRow:
    plan = {"facts": {"rows": rows, "inputs": 4}, "epochs": 50, "validation": "cv"}
    return make_study(storage, plan=plan, trials=10)


def ended(storage: Storage, study: StudyRow, state: Any, seconds: float) -> None:
    value = None if state == "failed" else 0.5
    lease = begun(storage, study)
    assert trials.end(storage, lease, state=state, value=value, attributes={"seconds": seconds})


def test_complete_and_pruned_trials_of_tables_count_latest_first(storage: Storage) -> None:
    assert speed.latest(storage) == []
    small, large = study_of_a_table(storage), study_of_a_table(storage, rows=9000)
    own = make_study(storage, plan={"objective": "mine:objective", "epochs": 5})
    ended(storage, small, "complete", 1.5)
    ended(storage, own, "complete", 99.0)
    ended(storage, small, "failed", 77.0)
    ended(storage, large, "pruned", 2.25)
    claimed(storage, small)
    same = {"inputs": 4, "epochs": 50, "validation": "cv"}
    expected = [TrialCost(seconds=2.25, rows=9000, **same), TrialCost(seconds=1.5, rows=96, **same)]
    assert speed.latest(storage) == expected
    assert speed.latest(storage, limit=1) == expected[:1]
