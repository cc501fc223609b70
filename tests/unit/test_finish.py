"""Which trial wins."""

import math
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from topo_search.attributes import loss_of
from topo_search.finish import ranked


def trial(number: int, value: float | None, loss: float | None = None) -> FrozenTrial:
    attributes = {} if loss is None else {"losses": [9.0, loss, 9.0], "best_epoch": 2}
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    made = create_trial(state=state, value=value, user_attrs=attributes)
    made.number = number
    return made


def numbers(trials: list[FrozenTrial], direction: str) -> list[int]:
    return [one.number for one in ranked(trials, direction)]


def test_the_best_value_wins_in_either_direction() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.7)]
    assert numbers(trials, "maximize") == [1, 2, 0]
    assert numbers(trials, "minimize") == [0, 2, 1]


def test_a_tie_goes_to_the_lower_loss_and_then_to_the_earlier() -> None:
    trials = [trial(0, 0.9, 0.4), trial(1, 0.9, 0.2), trial(2, 0.9, 0.2), trial(3, 0.9)]
    assert numbers(trials, "maximize") == [1, 2, 0, 3]


def test_only_complete_trials_can_win() -> None:
    assert numbers([trial(0, None, 0.1), trial(1, 0.1)], "maximize") == [1]
    assert numbers([trial(0, None)], "maximize") == []


def test_the_loss_is_the_best_epochs() -> None:
    assert loss_of(trial(0, 0.9, 0.25)) == 0.25


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        (0.3, 1),
        ("0.3", 1),
        ({"1": 0.3}, 1),
        (["0.3"], 1),
        ([None], 1),
        ([math.nan], 1),
        ([0.3], 2),
        ([0.3], 0),
        ([0.3], -1),
        ([0.3], "1"),
        ([0.3], None),
        (None, 1),
    ],
)
def test_whatever_is_no_list_of_losses_with_that_epoch_is_no_loss(losses: Any, epoch: Any) -> None:
    said = {"losses": losses, "best_epoch": epoch}
    assert loss_of(create_trial(value=1.0, user_attrs=said)) == math.inf
