"""Trials read by us are those that Optuna's own code reads."""

import math
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from stored_studies import begun, make_study, open_leases

from storage import studies, trial_reader, trials
from storage.connection import Storage
from storage.rows import StudyRow
from storage.trial_reader import TrialReader


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


def bare(found: list[FrozenTrial]) -> list[dict[str, Any]]:
    """Return of some trials what draws and verdicts go by."""
    none = {"_datetime_start": None, "datetime_complete": None, "_user_attrs": {}}
    return [one | none | {"_system_attrs": {}} for one in told(found)]


@pytest.mark.parametrize("at_once", [1, 2, 2_000])
def test_what_draws_go_by_is_as_optuna_reads_it(
    storage: Storage, row: StudyRow, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(trial_reader, "AT_ONCE", at_once)

    def expected() -> list[dict[str, Any]]:
        return bare(RDBStorage._get_trials(storage.backend, row.optuna_study_id, None, set(), -1))

    looks = TrialReader(storage, row.optuna_study_id)
    assert bare(looks.look()) == expected() and len(expected()) == 5
    described = TrialReader(storage, row.optuna_study_id, described=True).look()
    known = RDBStorage._get_trials(storage.backend, row.optuna_study_id, None, set(), -1)
    assert [trial.user_attrs for trial in described] == [trial.user_attrs for trial in known]
    running, later = open_leases(storage, row.id)[-1], begun(storage, row)
    trials.report(storage, running, 4, 0.25)
    assert bare(looks.look()) == expected() and len(expected()) == 6
    assert trials.end(storage, running, state="complete", value=0.1 + 0.2)
    assert bare(looks.look()) == expected()
    before = looks.look()
    assert trials.end(storage, later, state="pruned")
    after = looks.look()
    assert bare(after) == expected()
    assert [now is then for now, then in zip(after, before, strict=True)] == [True] * 5 + [False]


def test_of_a_study_without_trials_none_are_seen(storage: Storage) -> None:
    looks = TrialReader(storage, make_study(storage).optuna_study_id)
    assert looks.look() == [] == looks.look()


def test_a_study_that_is_deleted_is_seen_no_more(storage: Storage, row: StudyRow) -> None:
    looks = TrialReader(storage, row.optuna_study_id)
    looks.look()
    studies.delete(storage, row.id)
    with pytest.raises(LookupError, match="has been deleted"):
        looks.look()


def test_leases_can_be_renewed_between_the_pages_of_a_look(
    storage: Storage, row: StudyRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_reader, "AT_ONCE", 1)
    between: list[tuple[int, int]] = []

    def renew() -> None:
        between.append((len(looks.trials), storage.engine.pool.checkedout()))  # type: ignore[attr-defined]

    looks = TrialReader(storage, row.optuna_study_id, meanwhile=renew)
    assert len(looks.look()) == 5
    assert between == [(read, 0) for read in (1, 2, 3, 4, 5)]
