"""A sweep walks over depths in blocks; where its curves turn is found, with an interval."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from objectives.defaults import TableFacts
from objectives.named_spaces import named_space
from objectives.space import Space
from objectives.sweep import Kind, Sweep, spread, swept
from objectives.topology import ACTIVATIONS, NORMALISATIONS
from topo_search.depths import Curve, Depths, depths_of
from topo_search.results import results_of
from topo_search.sweep_page import answer, sweep_html

FACTS = TableFacts(
    task="multiclass", rows=96, numeric=4, categorical=0, inputs=4, classes=3, metric="accuracy"
)
PLAIN = {"residual": False, "normalisation": "none", "activation": "relu"}


def space(depth: str = "1:1000", kind: Kind = "both", seeds: int = 2, points: int = 40) -> Space:
    depths = named_space("depth", limits={"depth": depth}, facts=FACTS, epochs=30)
    return swept(depths, Sweep(kind=kind, seeds=seeds, points=points))


def curve(levels: list[float], *, noise: float, maximize: bool = True, seeds: int = 3) -> Curve:
    random = np.random.default_rng(0)
    scores = tuple(level + noise * random.normal(size=seeds) for level in levels)
    depths = np.arange(1, len(levels) + 1)
    return Curve(**PLAIN, depths=depths, scores=scores, maximize=maximize)  # type: ignore[arg-type]


def study(space: Space, score: Any, direction: str = "maximize") -> optuna.Study:
    """A study of the whole sweep, scored by a function of the parameters; NaN diverges."""
    made = optuna.create_study(direction=direction)
    for point in space.enumerated or ():
        value, pruned = score(point), np.isnan(score(point))
        made.add_trial(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=None if pruned else value,
                params=point,
                distributions=space.distributions(),
                user_attrs={"reason": "diverged"}
                if pruned
                else {"epoch_seconds": 0.001 + 1e-5 * int(point["depth"])},
            )
        )
    return made


def test_every_point_is_a_network_and_is_tried_once() -> None:
    swept_ = space(depth="1:60", points=20)
    points = swept_.enumerated
    assert points is not None
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    for point in points:
        topology, _ = swept_.decode(point)
        assert (topology.depth, topology.residual) == (point["depth"], point["residual"])
    assert Space.from_json(swept_.to_json()) == swept_


def test_other_kinds_are_tried_at_some_depths_and_the_own_at_all() -> None:
    points = space().enumerated or ()
    own = {p["depth"] for p in points if (p["activation"], p["normalisation"]) == ("relu", "none")}
    gelu = {p["depth"] for p in points if p["activation"] == "gelu"}
    assert gelu < own and {1, 1000} <= gelu and 12 <= len(gelu) <= 16 < len(own) <= 40
    assert {p["activation"] for p in points} == set(ACTIVATIONS)
    assert {p["normalisation"] for p in points} == set(NORMALISATIONS)
    assert {p["repeat"] for p in points} == {0, 1}
    assert [p["depth"] for p in points[:4]] == [1, 1, 2, 2]  # The own kind, coarsely, at first.


@pytest.mark.parametrize(("kind", "links"), [("plain", {False}), ("residual", {True})])
def test_one_kind_alone(kind: Kind, links: set[bool]) -> None:
    assert {point["residual"] for point in space(kind=kind).enumerated or ()} == links


def test_depths_are_spread_evenly_in_the_logarithm() -> None:
    assert spread([1, 2, 3], 5) == [1, 2, 3]
    found = spread(list(range(1, 1001)), 30)
    assert (found[0], found[-1]) == (1, 1000) and len(found) <= 30
    ratios = [b / a for a, b in zip(found[10:], found[11:], strict=False)]
    assert max(ratios) / min(ratios) < 1.2


@pytest.mark.parametrize("maximize", [True, False])
def test_where_a_curve_rises_and_falls_is_found(maximize: bool) -> None:
    levels = [0.3, 0.5, 0.7, *[0.9] * 20, *[0.35] * 15]
    if not maximize:
        levels = [1 - level for level in levels]
    found = curve(levels, noise=0.02, maximize=maximize)
    assert found.rises_until().depth in range(4, 24)
    fall = found.collapses_at()
    assert fall is not None and fall.depth == 24
    assert fall.low <= 24 <= fall.high and fall.high - fall.low <= 3
    assert found.survives_to(0.6 if maximize else 0.4) == 23


def test_a_noisier_curve_has_a_wider_interval() -> None:
    levels = [*[0.9] * 15, *np.linspace(0.9, 0.4, 8), *[0.4] * 15]
    widths = []
    for noise in (0.01, 0.2):
        fall = curve(list(levels), noise=noise).collapses_at()
        assert fall is not None
        widths.append(fall.high - fall.low)
    assert widths[0] < widths[1]


def test_what_does_not_fall_has_no_collapse() -> None:
    assert curve([0.5, *[0.9] * 30], noise=0.03).collapses_at() is None
    assert curve([0.9] * 30, noise=0.03).collapses_at() is None


def sweep_found(score: Any, direction: str = "maximize") -> tuple[Any, Depths]:
    swept_ = space(depth="1:300", points=24)
    made = study(swept_, score, direction)
    plan = {
        "space": swept_.to_json(), "metric": "accuracy", "target": "<b>y</b>", "epochs": 30,
        "dataset_name": "<script>t.csv", "objective": "tabular", "seed": 0, "direction": direction,
    }  # fmt: skip
    results = results_of(study=made, plan=plan, identity={"id": "abcdefgh"}, outcome=None)
    return results, depths_of(made, swept_)


def fades(point: dict[str, Any]) -> float:
    """Plain networks fall at 30 layers, gelu ones diverge there; with links all is well."""
    if point["residual"]:
        return 0.9 + 0.01 * int(point["repeat"])
    if int(point["depth"]) > 30 and point["activation"] == "gelu":
        return float("nan")
    return (0.9 if int(point["depth"]) <= 30 else 0.3) + 0.01 * int(point["repeat"])


def test_a_sweep_answers_in_words_and_its_page_escapes_names() -> None:
    results, found = sweep_found(fades)
    plain, residual, time = answer(results, found)
    fall = found.main[0].collapses_at()
    assert fall is not None and 30 < fall.depth <= 40
    assert f"fall off at {fall.depth} layers" in plain
    assert "hold to 300 layers" in residual
    assert "10 µs a layer: a straight line (R² 1.000)" in time
    assert found.diverged == sum(
        1 for p in space("1:300", points=24).enumerated or () if np.isnan(fades(p))
    )
    html = sweep_html(results, found, {"other.csv": found})
    assert "<script>t.csv" not in html and "<b>y</b>" not in html
    for title in ("Where the curve turns", "Beside McLeod", "The numbers", "Several tables"):
        assert title in html


def test_what_is_no_sweep_or_has_nothing_yet_is_said() -> None:
    depths = named_space("depth", limits={}, facts=FACTS, epochs=30)
    with pytest.raises(ValueError, match="Expected a sweep"):
        depths_of(optuna.create_study(), depths)
    with pytest.raises(ValueError, match="No training"):
        depths_of(optuna.create_study(), space())
