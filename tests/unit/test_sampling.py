"""Sampling: draws that repeat wherever they are made."""

import importlib.util
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.trial import FrozenTrial, TrialState, create_trial

from objectives.defaults import TableFacts
from objectives.named_spaces import named_space
from objectives.parameters import Choice, Range, Value
from objectives.space import Space
from topo_search.sampling import (
    MODELLED,
    RANDOM,
    Drawn,
    Modelled,
    Sampler,
    _JointTPE,
    _Mirror,
    derive,
    patch_truncnorm,
)

FACTS = TableFacts(
    task="multiclass", rows=2_000, numeric=4, categorical=2, inputs=9, classes=3, metric="accuracy"
)
MLP = named_space("mlp", limits={}, facts=FACTS, epochs=100)
OWN = Space(
    name="own",
    parameters={
        "x": Range(low=1e-3, high=1.0, log=True),
        "units": Range(low=1, high=64),
        "kind": Choice(choices=("a", "b", "c", True)),
    },
)
Kind = Literal["tpe", "random"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


def trial(
    number: int,
    parameters: dict[str, Value],
    *,
    space: Space = MLP,
    state: TrialState = TrialState.COMPLETE,
    value: float | None = None,
    reports: dict[int, float] | None = None,
) -> FrozenTrial:
    made = create_trial(
        state=state,
        params=parameters,
        distributions=space.distributions(),
        value=value,
        intermediate_values=reports or {},
    )
    made.number = number
    return made


def score(parameters: dict[str, Value]) -> float:
    """Best, 0, at a learning rate of 0.003, depth 4, width 64 and silu; 1 is far from it."""
    rate, depth, width = (float(parameters[n]) for n in ("learning_rate", "depth", "width"))
    return -(
        math.log10(rate / 3e-3) ** 2
        + ((depth - 4) / 3) ** 2
        + (math.log2(width / 64) / 2) ** 2
        + (parameters["activation"] != "silu") / 2
    )


def search(
    units: int, *, kind: Kind = "tpe", seed: int = 0, direction: Literal["minimize", "maximize"]
) -> list[FrozenTrial]:
    sampler, trials = Sampler(MLP, direction, kind, seed), list[FrozenTrial]()
    sign = 1 if direction == "maximize" else -1
    for unit in range(units):
        drawn = sampler.draw(trials, unit)
        assert drawn is not None
        trials.append(trial(unit, drawn.parameters, value=sign * score(drawn.parameters)))
    return trials


def test_the_portfolio_comes_first_then_points_of_the_space() -> None:
    sampler = Sampler(MLP, "maximize", "tpe", 0)
    for unit, point in enumerate(MLP.portfolio):
        drawn = sampler.draw([], unit)
        assert drawn is not None
        assert drawn.parameters == point
    for unit in range(len(MLP.portfolio), 30):
        drawn = sampler.draw([], unit)
        assert drawn is not None
        assert MLP.contains(drawn.parameters)
        assert drawn.parameters == MLP.nearest(drawn.parameters)  # Widths of the grid only.


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_tpe_concentrates_where_scores_are_good_and_random_does_not(
    direction: Literal["minimize", "maximize"],
) -> None:
    late = slice(40, 60)
    regret = {
        kind: median(
            -score(t.params)
            for seed in range(2)
            for t in search(60, kind=kind, seed=seed, direction=direction)[late]
        )
        for kind in ("tpe", "random")
    }
    assert regret["tpe"] < 0.5 * regret["random"]


def test_one_seed_gives_the_same_study_twice_and_another_seed_another() -> None:
    first, again = (search(25, seed=7, direction="maximize") for _ in range(2))
    other = search(25, seed=8, direction="maximize")
    assert [t.params for t in first] == [t.params for t in again]
    late = len(MLP.portfolio)
    assert all(a.params != b.params for a, b in zip(first[late:], other[late:], strict=True))


def test_a_draw_is_the_same_after_a_restart() -> None:
    trials = search(25, direction="maximize")
    fresh = Sampler(MLP, "maximize", "tpe", 0)
    for unit in (24, 12, 20):  # Out of order, and each from what was there at its time.
        drawn = Sampler(MLP, "maximize", "tpe", 0).draw(trials[:unit], unit)
        assert drawn is not None
        assert drawn.parameters == trials[unit].params
    assert fresh.draw(trials, 25) == fresh.draw(trials, 25)


def test_a_draw_is_the_same_in_another_process() -> None:
    code = (
        "from objectives.defaults import TableFacts\n"
        "from objectives.named_spaces import named_space\n"
        "from topo_search.sampling import Sampler\n"
        f"space = named_space('mlp', limits={{}}, facts={FACTS!r}, epochs=100)\n"
        "print(Sampler(space, 'maximize', 'tpe', 3).draw([], 8))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(Sampler(MLP, "maximize", "tpe", 3).draw([], 8))


ENDS = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(ENDS, st.integers(0, 4)), min_size=RANDOM, max_size=25))
def test_a_mirror_that_watched_trials_run_draws_as_one_that_did_not(
    lives: Sequence[tuple[TrialState, int]],
) -> None:
    """Trial n starts at time n and ends some draws later; the watcher draws all the time."""
    dice = random.Random(0)
    given_points = [
        OWN.nearest({"x": dice.random(), "units": dice.randint(1, 64), "kind": dice.choice("abc")})
        for _ in lives
    ]

    def at(time: int) -> list[FrozenTrial]:
        seen = []
        for number, (end, duration) in enumerate(lives[:time]):
            state = end if number + duration < time else TrialState.RUNNING
            done = state is TrialState.COMPLETE
            seen.append(
                trial(
                    number,
                    given_points[number],
                    space=OWN,
                    state=state,
                    value=float(number % 7) if done else None,
                    reports={1: 0.5, 3: float(number % 5)},
                )
            )
        return seen

    watcher = Sampler(OWN, "minimize", "tpe", 1)
    for time in range(len(lives) + 6):
        drawn = watcher.draw(at(time), time)
    assert drawn == Sampler(OWN, "minimize", "tpe", 1).draw(at(len(lives) + 5), len(lives) + 5)


def test_running_trials_push_draws_away_but_what_they_reported_does_not_matter() -> None:
    done = search(30, direction="maximize")

    def after(*running: FrozenTrial) -> list[Drawn | None]:
        sampler = Sampler(MLP, "maximize", "tpe", 0)
        return [sampler.draw([*done, *running], unit) for unit in range(40, 60)]

    best = max(done, key=lambda t: t.value or -9.0).params
    crowd = [trial(30 + k, best, state=TrialState.RUNNING) for k in range(5)]
    reported = [
        trial(30 + k, best, state=TrialState.RUNNING, reports={1: float(k)}) for k in range(5)
    ]
    assert after(*crowd) != after()
    assert after(*crowd) == after(*reported)


def test_pruned_trials_count_by_what_they_reported() -> None:
    def drawn(sign: int) -> list[float]:
        dice, trials = random.Random(1), list[FrozenTrial]()
        for number in range(40):
            units = dice.randint(1, 64)
            point = OWN.nearest({"x": dice.random(), "units": units, "kind": "a"})
            reports = {9: sign * float(units)}
            trials.append(trial(number, point, space=OWN, state=TrialState.PRUNED, reports=reports))
        sampler = Sampler(OWN, "maximize", "tpe", 0)
        found = [sampler.draw(trials, unit) for unit in range(40, 60)]
        return [float(d.parameters["units"]) for d in found if d is not None]

    assert median(drawn(1)) > 45
    assert median(drawn(-1)) < 20


def test_trials_of_another_space_are_passed_over() -> None:
    trials = search(20, direction="maximize")
    foreign = create_trial(
        params={"y": 1.0},
        distributions={"y": optuna.distributions.FloatDistribution(0, 1)},
        value=5.0,
    )
    foreign.number = 20
    sampler = Sampler(MLP, "maximize", "tpe", 0)
    assert sampler.draw([*trials, foreign], 21) == sampler.draw(trials, 21)


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_space_that_enumerates_is_drawn_in_order(kind: Kind) -> None:
    space = named_space("depth", limits={"depth": "1:3"}, facts=FACTS, epochs=9)
    sampler = Sampler(space, "maximize", kind, 0)
    drawn = [sampler.draw([], unit).parameters for unit in range(3)]
    assert drawn == [{"depth": 1}, {"depth": 2}, {"depth": 3}]


def test_random_draws_cover_the_space_whatever_the_trials_said() -> None:
    sampler = Sampler(OWN, "minimize", "random", 0)
    point = OWN.nearest({"x": 1.0, "units": 64, "kind": "a"})
    trials = [trial(k, point, space=OWN, value=0.0) for k in range(30)]
    drawn = [sampler.draw(trials, unit) for unit in range(60)]
    points = [d.parameters for d in drawn if d is not None]
    assert {point["kind"] for point in points} == {"a", "b", "c", True}
    assert min(float(p["units"]) for p in points) < 10 < 54 < max(float(p["units"]) for p in points)
    assert drawn == [Sampler(OWN, "minimize", "random", 0).draw([], unit) for unit in range(60)]


def test_a_space_with_everything_fixed_draws_its_one_point_with_new_seeds() -> None:
    sampler = Sampler(Space(name="mlp", parameters={}), "minimize", "tpe", 0)
    drawn = [sampler.draw([], unit) for unit in range(3)]
    assert all(d is not None and d.parameters == {} for d in drawn)
    assert len({d.seed for d in drawn if d is not None}) == 3


def test_seeds_differ_by_unit_and_study_and_stay_below_two_to_the_31() -> None:
    seeds = []
    for study in range(3):
        sampler = Sampler(OWN, "minimize", "random", study)
        for unit in range(50):
            drawn = sampler.draw([], unit)
            assert drawn is not None
            seeds.append(drawn.seed)
    assert len(set(seeds)) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive(0, "training", 0) == 14188902772851061741  # Written down: it must never change.


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(ValueError, match="tpe or random. Received: 'grid'"):
        Sampler(OWN, "minimize", "grid", 0)  # type: ignore[arg-type]


def long_study(direction: Literal["minimize", "maximize"]) -> list[FrozenTrial]:
    """Return more trials than are modelled, of which the 15th is the best and the 20th runs."""
    dice, sign = random.Random(0), 1 if direction == "maximize" else -1
    trials = []
    for number in range(3 * MODELLED):
        point = OWN.nearest({"x": dice.random(), "units": dice.randint(1, 64), "kind": "a"})
        running, value = number == 20, sign * (2.0 if number == 15 else dice.random())
        state = TrialState.RUNNING if running else TrialState.COMPLETE
        made = trial(number, point, space=OWN, state=state, value=None if running else value)
        trials.append(made)
    return trials


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_of_very_many_trials_the_best_the_latest_and_some_of_the_rest_are_modelled(
    direction: Literal["minimize", "maximize"],
) -> None:
    trials = long_study(direction)
    chosen = [one.number for one in Modelled(direction).of(trials)]
    assert chosen == sorted(set(chosen))
    assert MODELLED * 0.9 <= len(chosen) <= MODELLED + 2
    assert {15, 20} <= set(chosen)
    assert chosen[-MODELLED // 2 :] == list(range(3 * MODELLED - MODELLED // 2, 3 * MODELLED))
    older = chosen[: -MODELLED // 2]
    assert max(after - before for before, after in pairwise(older)) < 10
    few = trials[:MODELLED]
    assert Modelled(direction).of(few) == few


def test_who_watched_very_many_trials_end_models_the_same_as_who_did_not() -> None:
    ended = mixed_study(3 * MODELLED, TrialState.COMPLETE)
    dice = random.Random(1)
    running = [trial(t.number, t.params, space=OWN, state=TrialState.RUNNING) for t in ended]
    until = [number + dice.choice((1, 1, 40)) for number in range(len(ended))]
    watcher = Modelled("minimize")
    for time in range(0, len(ended), 37):
        now = [(ended if until[k] <= time else running)[k] for k in range(time)]
        assert watcher.of(now) == Modelled("minimize").of(now)


def mixed_study(count: int, fourth: TrialState = TrialState.RUNNING) -> list[FrozenTrial]:
    """Return trials that are complete, pruned, failed, and every fourth what is given."""
    dice = random.Random(2)
    ends = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, fourth)
    trials = []
    for number in range(count):
        units, kind = dice.randint(1, 64), dice.choice(OWN.parameters["kind"].choices)
        point = OWN.nearest({"x": dice.random(), "units": units, "kind": kind})
        end = ends[number % 4]
        value = dice.random() if end is TrialState.COMPLETE else None
        reports = {1: dice.random()}
        made = trial(number, point, space=OWN, state=end, value=value, reports=reports)
        trials.append(made)
    return trials


def test_draws_are_those_of_plain_optuna_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, trials = _Mirror(OWN, "maximize"), mixed_study(80)
    ours = [mirror.draw(_JointTPE(seed=k, n_startup_trials=RANDOM), trials) for k in range(10)]
    monkeypatch.setattr(_truncnorm, "_log_ndtr", plain_truncnorm()._log_ndtr)
    for seed, drawn in enumerate(ours):
        plain = mirror.draw(TPESampler(seed=seed, n_startup_trials=RANDOM), trials)
        assert drawn.pop("kind") == plain.pop("kind")
        assert drawn == pytest.approx(plain, rel=1e-9)


def plain_truncnorm() -> Any:
    """Return Optuna's module of the truncated normal as it was before anybody changed it."""
    spec = importlib.util.find_spec(_truncnorm.__name__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_optunas_truncated_normal_takes_arrays_and_gives_the_same_numbers() -> None:
    """Should Optuna call another function, or vectorise its own, `patch_truncnorm` can go."""
    patch_truncnorm()
    plain, at = plain_truncnorm(), np.concatenate([np.linspace(-40, 8, 5_001), [-1e3, -1e8]])
    assert isinstance(_truncnorm._log_ndtr, np.ufunc)
    np.testing.assert_allclose(
        _truncnorm._log_ndtr(at), plain._log_ndtr(at), rtol=1e-12, atol=1e-15
    )


def test_a_draw_asks_the_truncated_normal_that_takes_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def count(at: np.ndarray) -> np.ndarray:
        asked.append(len(at))
        return np.asarray(plain._log_ndtr(at))

    plain = plain_truncnorm()
    sampler = _JointTPE(seed=0, n_startup_trials=RANDOM)
    monkeypatch.setattr(_truncnorm, "_log_ndtr", count)
    _Mirror(OWN, "maximize").draw(sampler, mixed_study(80))
    assert sum(asked) > 100


def test_a_draw_from_very_many_trials_is_the_same_after_a_restart() -> None:
    trials = long_study("maximize")
    watcher = Sampler(OWN, "maximize", "tpe", 0)
    for count in (MODELLED - 1, MODELLED + 1, 2 * MODELLED):
        watcher.draw(trials[:count], count)
    unit = len(trials)
    assert watcher.draw(trials, unit) == Sampler(OWN, "maximize", "tpe", 0).draw(trials, unit)
