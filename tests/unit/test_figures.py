"""A chart goes out whole once, and then by what is new in it."""

import json
import random
from typing import Any

import optuna
import pandas as pd
import pytest
from fake_studies import identity
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, create_trial

from topo_search.charts.style import MOST_POINTS, thinned
from topo_search.results import Results, results_of
from topo_search.web.figures import Figure, figures_of

MANY = 3000


def trial(number: int) -> FrozenTrial:
    chance = random.Random(number)
    depth = chance.randint(1, 6)
    return create_trial(
        # The first is the best and the smallest: no other changes the front.
        value=0.99 if number == 0 else chance.uniform(0.6, 0.9),
        params={"depth": depth},
        distributions={"depth": IntDistribution(1, 6)},
        user_attrs={
            "topology": f"{depth} × 32 relu",
            "depth": depth,
            "weights": 10 if number == 0 else chance.randint(100, 1000),
            "seconds": chance.uniform(0.5, 2.0),
        },
    )


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    made = optuna.create_study(direction="maximize")
    made.add_trials([trial(number) for number in range(MANY)])
    return made


def found(study: optuna.Study) -> Results:
    own = {"objective": "module:function", "metric": "accuracy", "direction": "maximize"}
    return results_of(study=study, plan=own, identity=identity(), outcome=None)


def applied(old: Figure, text: str) -> dict[str, Any]:
    """Do as study.js does with a patch."""
    value = json.loads(text)
    traces = []
    for place, change in enumerate(value.pop("patch")):
        trace, more = change.get("trace"), change.get("added", {})
        if trace is None:
            was = old.value["data"][place]
            trace = {**was, **{name: was[name] + more[name] for name in more}}
        traces.append(trace)
    return {**value, "data": traces}


def test_what_is_new_makes_the_old_chart_the_new_one(study: optuna.Study) -> None:
    before = figures_of(found(study))
    study.add_trials([trial(number) for number in range(MANY, MANY + 40)])
    after = figures_of(found(study))
    assert {"history", "score-by-depth", "score-by-weights"} <= set(after)
    for name, figure in after.items():
        assert applied(before[name], figure.since(before[name])) == json.loads(figure.json), name
    scattered = ("history", "score-by-depth", "score-by-weights", "score-by-seconds")
    for name in (*scattered, "seconds-by-weights"):
        assert before[name].digest != after[name].digest
        whole, new = len(after[name].json), len(after[name].since(before[name]))
        assert new < whole / 8, f"{name}: {new} of {whole} bytes for 40 of {MANY} trials"


def test_a_chart_that_has_another_trace_gets_it() -> None:
    one = Figure({"data": [{"x": [1], "name": "a"}], "layout": {}})
    two = Figure({"data": [{"x": [1], "name": "b"}, {"x": [2, 3]}], "layout": {"height": 3}})
    assert applied(one, two.since(one)) == json.loads(two.json)
    assert applied(two, one.since(two)) == json.loads(one.json)


def test_which_dots_are_drawn_depends_on_their_numbers_alone() -> None:
    frame = pd.DataFrame({"trial": pd.array(range(5 * MOST_POINTS), dtype="Int64")})
    none = frame.index[:0]
    fewer = set(thinned(frame.head(4 * MOST_POINTS + 1), none)["trial"])
    more = set(thinned(frame, none)["trial"])
    assert fewer <= more
    assert MOST_POINTS / 3 < len(more) <= MOST_POINTS * 1.05
    shuffled = thinned(frame.sample(frac=1, random_state=0), none)["trial"]
    assert list(shuffled) == sorted(more)
    assert 17 in set(thinned(frame, frame.index[17:18])["trial"])
