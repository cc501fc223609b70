"""Trials read by us are those that Optuna's own code reads."""

import math
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from stored_studies import begun, make_study

from storage import trials
from storage.connection import Storage
from storage.rows import StudyRow


@pytest.fixture
def row(storage: Storage) -> StudyRow:
    """A study with a trial in every state, beside another."""
    made = make_study(storage, trials=9)
    begun(storage, make_study(storage))
    complete, endless, pruned, failed, _ = (begun(storage, made) for _ in range(5))
    described = {"topology": "2 × 64", "curve": [0.1, 0.2], "worker": "ö", "nothing": None}
    assert trials.end(storage, complete, state="complete", value=0.2, attributes=described)
    assert trials.end(storage, endless, state="complete", value=-math.inf)
    trials.report(storage, pruned, 4, 0.5)
    trials.report(storage, pruned, 11, math.nan)
    trials.report(storage, pruned, 33, math.inf)
    assert trials.end(storage, pruned, state="pruned", value=0.5)
    assert trials.end(storage, failed, state="failed", attributes={"reason": "x"})
    return made


def told(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return all that there is to some trials; NaN, which is not equal to itself, as text."""
    reports = [{step: repr(at) for step, at in t.intermediate_values.items()} for t in trials]
    return [
        vars(trial) | {"_intermediate_values": None, "intermediate_values": at}
        for trial, at in zip(trials, reports, strict=True)
    ]


def test_trials_are_those_that_optuna_reads(storage: Storage, row: StudyRow) -> None:
    study_id = row.optuna_study_id
    everything = RDBStorage._get_trials(storage.backend, study_id, None, set(), -1)
    assert {trial.state for trial in everything} == set(TrialState) - {TrialState.WAITING}
    assert told(storage.backend._get_trials(study_id, None, set(), -1)) == told(everything)
    middle, last = everything[2]._trial_id, everything[-1]._trial_id
    asked = [
        (None, {middle}, middle),
        (None, {middle, last}, last),
        (None, set(), last),
        ((TrialState.PRUNED, TrialState.RUNNING), set(), -1),
    ]
    for states, included, after in asked:
        expected = RDBStorage._get_trials(storage.backend, study_id, states, included, after)
        assert told(storage.backend._get_trials(study_id, states, included, after)) == told(
            expected
        )


def test_a_study_that_is_not_there_is_refused(storage: Storage) -> None:
    with pytest.raises(KeyError):
        storage.backend._get_trials(12345, None, set(), -1)
