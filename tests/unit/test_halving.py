"""Successive halving: pruning that leaves the best."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.rungs import REDUCTION, first_judged
from topo_search.halving import STARTUP, Halving


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


class Fleet:
    """A study whose trials report the values that `curve` gives at the rungs, one by one."""

    def __init__(self, direction: Literal["minimize", "maximize"], epochs: int = 27) -> None:
        self.halving, self.epochs, self.started = Halving("asha", direction, epochs), epochs, 0

    def start(self) -> int:
        self.started += 1
        return self.started - 1

    def report(self, number: int, step: int, value: float) -> bool:
        return self.halving.prunes(number, step, value)

    def run(self, curve: Callable[[int], float]) -> int | None:
        """Return the rung at which a trial is pruned, or None."""
        number = self.start()
        for step in (1, 3, 9, 27):
            if step <= self.epochs and self.report(number, step, curve(step)):
                return step
        return None


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_bad_trials_are_pruned_at_the_first_judged_rung_and_good_ones_go_on(
    direction: Literal["minimize", "maximize"], sign: int
) -> None:
    fleet = Fleet(direction)  # Of 27 epochs: first judged at 3.
    for _ in range(STARTUP + 2):
        fleet.run(lambda step: sign * 0.5)
    assert fleet.run(lambda step: sign * 0.1) == 3
    assert fleet.run(lambda step: sign * 0.9) is None
    assert fleet.run(lambda step: sign * (0.95 if step < 9 else 0.2)) == 9


def test_the_first_trials_are_never_pruned_but_set_the_mark() -> None:
    fleet = Fleet("maximize")
    ends = [fleet.run(lambda step, k=k: 1.0 - k / 10) for k in range(STARTUP + 1)]  # type: ignore[misc]
    assert ends == [None] * STARTUP + [3]


def test_without_a_pruner_nothing_is_pruned() -> None:
    for kind in ("asha", "none"):
        halving = Halving(kind, "maximize", 9)  # type: ignore[arg-type]
        for number in range(9):
            halving.note(number, {9: 1.0})
            halving.settle(number)
        assert halving.prunes(9, 9, 0.0) == (kind == "asha")


def test_an_unknown_pruner_is_refused() -> None:
    with pytest.raises(ValueError, match="asha or none. Received: 'median'"):
        Halving("median", "maximize", 9)  # type: ignore[arg-type]


def test_what_is_noted_again_counts_once_and_a_new_value_takes_the_place_of_the_old() -> None:
    halving = Halving("asha", "maximize", 9)
    for number in range(6):
        for _ in range(3):
            halving.note(number, {1: 0.5})
    halving.note(5, {1: 0.9})
    assert halving.prunes(6, 1, 0.6) is False  # One of six is better; two of seven may be.
    halving.note(4, {1: 0.8})
    assert halving.prunes(7, 1, 0.7) is True


def test_a_trial_taken_over_passes_again_where_it_had_passed() -> None:
    fleet = Fleet("maximize")
    for _ in range(STARTUP):
        fleet.run(lambda step: 0.5)
    number = fleet.start()
    assert not fleet.report(number, 3, 0.6)
    assert not fleet.report(number, 9, 0.6)
    for _ in range(3):
        fleet.run(lambda step: 0.9)
    assert not fleet.report(number, 3, 0.6)
    assert fleet.report(number, 9, 0.6)  # It died before the next rung.


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["maximize", "minimize"]),
    st.sampled_from([(1, 3, 9, 27), (2, 4, 10, 30)]),
    st.sampled_from([9, 27, 60, 100]),
)
def test_verdicts_are_those_of_optunas_pruner(
    seed: int, direction: Literal["minimize", "maximize"], steps: Sequence[int], epochs: int
) -> None:
    dice = random.Random(seed)
    fleet = Fleet(direction, epochs)
    study = optuna.create_study(
        direction=direction,
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=first_judged(epochs), reduction_factor=REDUCTION
        ),
    )
    running = {fleet.start(): (study.ask(), list(steps)) for _ in range(12)}
    while running:  # In any order, as slots of many workers report.
        number = dice.choice(sorted(running))
        asked, left = running[number]
        step, value = left.pop(0), dice.choice([0.1, 0.2, 0.3, dice.random()])
        asked.report(value, step)
        expected = asked.should_prune() and number >= STARTUP
        assert fleet.report(number, step, value) == expected
        if expected or not left:
            del running[number]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(9, 60))
def test_the_best_of_all_trials_is_never_pruned(seed: int, trials: int) -> None:
    dice = random.Random(seed)
    levels = [dice.random() for _ in range(trials)]
    fleet = Fleet("maximize")
    ends = [fleet.run(lambda step, level=level: level) for level in levels]  # type: ignore[misc]
    assert ends[levels.index(max(levels))] is None
    assert all(end in (None, 3, 9, 27) for end in ends)
    assert sum(end is not None for end in ends) >= (trials - STARTUP) // 3
