"""How long a trial will take: the usual time, and what a fleet has shown."""

import pytest

from storage.speed import TrialCost
from topo_search.web.estimate import seconds_per_trial

IRIS = {"rows": 96, "inputs": 4, "epochs": 100, "validation": "cv"}
ADULT = {"rows": 31_259, "inputs": 71, "epochs": 100, "validation": "holdout"}


def took(seconds: float, **size: object) -> TrialCost:
    return TrialCost(**{**IRIS, **size, "seconds": seconds})  # type: ignore[arg-type]


def test_unknown_fleets_take_about_what_the_benchmarks_took() -> None:
    assert 0.5 < seconds_per_trial([], **IRIS) < 2
    assert 5 < seconds_per_trial([], **ADULT) < 8


def test_a_few_trials_say_nothing_of_a_fleet() -> None:
    assert seconds_per_trial([took(50)] * 4, **IRIS) == seconds_per_trial([], **IRIS)


@pytest.mark.parametrize("factor", [0.25, 1, 4])
def test_a_fleet_that_was_so_much_slower_will_be_again(factor: float) -> None:
    usual = seconds_per_trial([], **IRIS)
    seen = [took(factor * usual)] * 20
    assert seconds_per_trial(seen, **IRIS) == pytest.approx(factor * usual)
    assert seconds_per_trial(seen, **ADULT) == pytest.approx(
        factor * seconds_per_trial([], **ADULT)
    )


def test_trials_of_a_like_size_count_and_one_that_hung_does_not() -> None:
    seen = [took(0.3)] * 200 + [took(40, **ADULT)] * 40 + [took(100_000, **ADULT)]
    assert seconds_per_trial(seen, **ADULT) == pytest.approx(40)
    assert seconds_per_trial(seen, **IRIS) == pytest.approx(0.3)


def test_more_rows_inputs_epochs_and_folds_take_longer() -> None:
    least = seconds_per_trial([], **ADULT)
    for more in ({"rows": 90_000}, {"inputs": 200}, {"epochs": 500}, {"validation": "cv"}):
        assert seconds_per_trial([], **{**ADULT, **more}) > least
