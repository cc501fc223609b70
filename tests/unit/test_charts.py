from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
import pytest
from fake_studies import HOSTILE, identity, outcome, plan, results, study
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from topo_search import charts
from topo_search.charts.style import MOST_POINTS, count_axis, safe, score_axis, tried_axis
from topo_search.formats import format_seconds
from topo_search.results import Results, results_of

ALL = [
    charts.history,
    charts.learning_curves,
    charts.importances,
    charts.score_by_depth,
    charts.seconds_by_depth,
    charts.score_by_weights,
    charts.score_by_seconds,
    charts.seconds_by_weights,
    charts.confusion,
    charts.predictions,
]


def with_outcome(made: optuna.Study, own: dict[str, Any], **changes: Any) -> Results:
    before = results_of(study=made, plan=own, identity=identity(), outcome=None)
    told = outcome(before, **changes)
    return results_of(study=made, plan=own, identity=identity(), outcome=told)


def regression() -> Results:
    own = plan(task="regression", classes=[], metric="rmse", direction="minimize", target="price")
    points = {"true": [1.0, 2.0, 3.0, 4.0], "predicted": [1.5, 2.0, 3.0, 2.0]}
    return with_outcome(study(50, direction="minimize"), own, confusion=None, scatter=points)


@pytest.mark.parametrize("chart", ALL)
@pytest.mark.parametrize("trials", [0, 1, 2, 50])
@pytest.mark.parametrize("finished", [True, False])
def test_every_chart_has_a_title_and_a_sentence_in_every_state(
    chart: Any, trials: int, finished: bool
) -> None:
    figure = chart(results(trials, finished=finished))
    assert isinstance(figure, go.Figure)
    assert charts.title_of(figure)
    assert charts.text_of(figure).endswith(".")
    assert "nan" not in charts.text_of(figure).lower()


def test_charts_are_those_that_say_something() -> None:
    assert list(charts.charts_of(results(0))) == []
    assert list(charts.charts_of(results(1, finished=False))) == ["learning-curves"]
    assert {"history", "confusion", "score-by-depth", "seconds-by-depth", "score-by-weights",
            "score-by-seconds", "seconds-by-weights", "importances",
            "slice-1"} <= set(charts.charts_of(results(50)))  # fmt: skip
    assert "confusion" not in charts.charts_of(results(50, finished=False))
    assert "predictions" in charts.charts_of(regression())


def test_no_chart_needs_webgl_and_all_are_strict_json() -> None:
    for found in (results(50), regression()):
        for figure in charts.charts_of(found).values():
            value = json.loads(figure.to_json())
            json.dumps(value, allow_nan=False)
            assert {trace["type"] for trace in value["data"]} <= {"scatter", "bar", "heatmap"}
            assert value["layout"]["template"]["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"


@pytest.mark.parametrize(("trials", "dtick"), [(2, 1), (13, 1), (14, None), (50, None)])
def test_trials_are_numbered_once_each_on_the_axis(trials: int, dtick: int | None) -> None:
    assert charts.history(results(trials)).layout.xaxis.dtick == dtick


@pytest.mark.parametrize("ground", ["#ffffff", "#1b1f25"])
def test_every_dot_and_line_stands_out_from_the_page(ground: str) -> None:
    figures = [*charts.charts_of(results(50)).values(), charts.predictions(regression())]
    for figure in figures:
        for trace in json.loads(figure.to_json())["data"]:
            for part in filter(None, (trace.get("marker"), trace.get("line"))):
                opacity = part.get("opacity", 1) * trace.get("opacity", 1)
                colour = part.get("color") or part.get("line", {}).get("color")
                if isinstance(colour, str):
                    contrast = contrast_of(colour, opacity, ground)
                    assert contrast >= 3, (charts.title_of(figure), trace["name"], contrast)


def contrast_of(colour: str, opacity: float, ground: str) -> float:
    """Return the contrast of a colour on a ground, as the WCAG define it."""

    def channels(text: str) -> Any:
        return np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)]) / 255

    def luminance(shares: Any) -> float:
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    mixed = opacity * channels(colour) + (1 - opacity) * channels(ground)
    low, high = sorted([luminance(mixed), luminance(channels(ground))])
    return (high + 0.05) / (low + 0.05)


def test_history_marks_pruned_trials_and_draws_the_best_so_far() -> None:
    found = results(50)
    pruned, complete, best = charts.history(found).data
    assert len(pruned.x) == found.counts["pruned"]
    assert pruned.marker.symbol == "x-thin"
    assert len(complete.x) == found.counts["complete"]
    assert list(best.y) == sorted(best.y)
    assert best.y[-1] == found.leaderboard["value"].iloc[0]
    assert "35 trials ended complete, 14 pruned and 1 failed" in charts.text_of(
        charts.history(found)
    )


@pytest.mark.parametrize("chart", [charts.history, charts.learning_curves])
def test_whole_numbers_so_few_have_no_tick_twice(chart: Any) -> None:
    found = results(3)
    few = replace(found, curves=found.curves[found.curves["epoch"] <= 4])
    assert chart(few).layout.xaxis.dtick == 1


def test_the_best_so_far_falls_where_less_is_better() -> None:
    best = charts.history(regression()).data[-1]
    assert list(best.y) == sorted(best.y, reverse=True)


def test_score_by_depth_draws_the_best_at_each_depth() -> None:
    found = results(50)
    best = charts.score_by_depth(found).data[1]
    assert dict(zip(best.x, best.y, strict=True)) == pytest.approx(
        found.leaderboard.groupby("depth")["value"].max().to_dict()
    )


def test_seconds_by_depth_draws_the_median_at_each_depth() -> None:
    found = results(50)
    median = charts.seconds_by_depth(found).data[1]
    assert dict(zip(median.x, median.y, strict=True)) == pytest.approx(
        found.leaderboard.groupby("depth")["seconds"].median().to_dict()
    )


@pytest.mark.parametrize(("direction", "front"), [("maximize", [3, 1, 4]), ("minimize", [3, 0])])
def test_the_front_holds_what_nothing_smaller_beats(direction: str, front: list[int]) -> None:
    frame = pd.DataFrame(
        {"weights": [20, 20, 30, 10, 40, 50], "value": [0.4, 0.6, 0.6, 0.5, 0.7, 0.7]}
    )
    assert list(charts.pareto(frame, "weights", direction).index) == front


def test_score_by_seconds_draws_every_complete_trial_and_what_nothing_faster_beats() -> None:
    found = results(50)
    figure = charts.score_by_seconds(found)
    shown, front = figure.data
    board = found.leaderboard
    assert sorted(shown.x) == pytest.approx(sorted(board["seconds"]))
    assert (front.x[0], front.y[-1]) == (board["seconds"].min(), board["value"].max())
    assert list(front.x) == sorted(front.x) and list(front.y) == sorted(front.y)
    assert figure.layout.xaxis.title.text == "seconds in a trial"
    slowest = format_seconds(board["seconds"][board["value"].idxmax()])
    assert f"The best network took {slowest} " in charts.text_of(figure)
    assert f"{len(front.x)} networks are such that none faster" in charts.text_of(figure)


def test_the_winner_stands_out_among_the_curves() -> None:
    found = results(50)
    figure = charts.learning_curves(found)
    winner = figure.data[-1]
    assert winner.name == f"trial {found.leaderboard['trial'].iloc[0]}"
    assert winner.line.width > figure.data[0].line.width
    assert len(figure.data) == 8


def test_confusion_counts_are_drawn_with_their_share_of_the_row() -> None:
    found = with_outcome(
        study(20), plan(), confusion={"classes": ["a", "b"], "matrix": [[3, 1], [0, 0]]}
    )
    figure = charts.confusion(found)
    assert np.array_equal(figure.data[0].z, [[0.75, 0.25], [0, 0]])
    assert [list(row) for row in figure.data[0].text] == [["3", "1"], ["0", "0"]]
    assert "3 of 4 test rows" in charts.text_of(figure)
    assert "a taken for b, once" in charts.text_of(figure)


def test_predictions_say_how_far_off_they_are() -> None:
    text = charts.text_of(charts.predictions(regression()))
    assert "Half of the 4 test rows drawn are off by less than 0.250" in text


def test_numbers_and_levels_both_have_their_chart() -> None:
    found = results(50)
    levels = charts.score_by_parameter(found, "activation")
    assert list(levels.layout.xaxis.ticktext) == ["gelu", "relu", "silu", "tanh"]
    assert charts.score_by_parameter(found, "learning_rate").layout.xaxis.type == "log"
    assert charts.score_by_parameter(found, "residual").layout.xaxis.ticktext == ("False", "True")
    with pytest.raises(KeyError):
        charts.score_by_parameter(found, "nothing")


def test_few_values_that_were_tried_have_a_tick_each() -> None:
    batches = tried_axis(pd.Series([16, 64, 32, 16, 64]))
    assert batches["type"] == "log"
    assert (batches["tickvals"], batches["ticktext"]) == ([16, 32, 64], ["16", "32", "64"])
    assert tried_axis(pd.Series([0.0, 0.1, 0.1]))["type"] == "linear"
    assert tried_axis(pd.Series(range(9))) == tried_axis(pd.Series([3, 3])) == {}
    assert tried_axis(pd.Series([0.00123, 0.00131])) == {}  # Drawn, not chosen.
    found = results(50)
    drawn = charts.score_by_parameter(found, "depth").layout.xaxis
    assert list(drawn.tickvals) == sorted(set(found.leaderboard["param.depth"]))


def test_a_thousand_depths_are_drawn_on_a_logarithmic_axis() -> None:
    axis = count_axis("hidden layers", pd.Series([1.0, 10.0, 1000.0]))
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["1", "3", "10", "30", "100", "300", "1k"]
    assert "type" not in count_axis("hidden layers", pd.Series([1.0, 6.0]))
    small = count_axis("weight decay", pd.Series([1e-5, 0.1]))
    assert small["ticktext"] == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]


@pytest.mark.parametrize("span", [30, 49, 60, 99, 101, 999, 2000, 1e5])
@pytest.mark.parametrize("low", [1, 1.6, 2.1, 4, 9])
def test_ticks_of_a_logarithmic_axis_stand_beside_each_other_on_a_phone(
    low: float, span: float
) -> None:
    axis = count_axis("weights", pd.Series([low * 1000, low * 1000 * span]))
    ticks = np.log10(axis["tickvals"])
    drawn = 1.1 * np.log10(span)  # With some room at both ends.
    assert np.diff(ticks).min() > 0.14 * drawn  # 33 of 240 pixels: "100k" has 28.
    assert len(ticks) >= 3


@pytest.mark.parametrize(
    ("direction", "bad", "inside"), [("minimize", 1e9, 1.5), ("maximize", -1e9, 0.5)]
)
def test_a_very_bad_score_does_not_flatten_the_others(
    direction: str, bad: float, inside: float
) -> None:
    values = pd.Series([1.0, 1.1, 1.2, 1.3, 1.4, bad, inside])
    low, high = score_axis("rmse", values, direction)["range"]
    assert low < inside < high
    assert high - low < 10
    assert not low < bad < high


def test_many_trials_are_thinned_without_losing_the_front() -> None:
    made = optuna.create_study(direction="maximize")
    made.add_trials(
        [
            create_trial(
                value=(n * 7919 % 5003) / 5003,
                params={"depth": n % 6 + 1},
                distributions={"depth": IntDistribution(1, 6)},
                user_attrs={"depth": n % 6 + 1, "weights": 1 + n * 31 % 997, "seconds": 0.5},
            )
            for n in range(3000)
        ]
    )
    own = {"objective": "module:function", "metric": "accuracy", "direction": "maximize"}
    found = results_of(study=made, plan=own, identity=identity(), outcome=None)
    shown, front = charts.score_by_weights(found).data
    assert len(shown.x) <= MOST_POINTS + len(front.x)
    drawn = set(zip(shown.x, shown.y, strict=True))
    assert set(zip(front.x, front.y, strict=True)) <= drawn
    assert "of the complete trials are drawn" in charts.text_of(charts.history(found))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for name in value.keys() - {"bdata"} for text in strings(value[name])]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_hostile_names_are_text_to_plotly() -> None:
    made = optuna.create_study(direction="maximize")
    for name in HOSTILE:
        made.add_trials(
            [
                create_trial(
                    value=0.1 * k,
                    params={"choice": name},
                    distributions={"choice": CategoricalDistribution(HOSTILE)},
                    user_attrs={"topology": name, "depth": k, "weights": k, "seconds": 1.0},
                )
                for k in (1, 2)
            ]
        )
    own = {"objective": "module:function", "metric": HOSTILE[1], "target": HOSTILE[7]}
    before = results_of(study=made, plan=own, identity=identity(), outcome=None)
    matrix = np.eye(len(HOSTILE), dtype=int).tolist()
    told = outcome(
        before,
        confusion={"classes": HOSTILE, "matrix": matrix},
        scatter={"true": [1.0, 2.0], "predicted": [1.0, 3.0]},
    )
    found = results_of(study=made, plan=own, identity=identity(), outcome=told)
    drawn = charts.charts_of(found) | {"choice": charts.score_by_parameter(found, "choice")}
    for figure in drawn.values():
        value = json.loads(figure.to_json())
        value["layout"].pop("meta")  # Plain text for pages, which escape it.
        for text in strings(value):
            assert "<" not in text.replace("<br>", "")
            assert "\u202e" not in text and "\x1b" not in text
            assert len(text) < 300


def test_shares_on_an_axis_have_at_most_one_digit() -> None:
    assert score_axis("accuracy", pd.Series([0.808, 0.81]), "maximize")["tickformat"] == ".1~%"


def test_safe_text_reads_as_before_in_plotly() -> None:
    assert safe("a < b & c") == "a &lt; b &amp; c"


def test_pruned_trials_alone_are_no_history() -> None:
    made = optuna.create_study()
    made.add_trials(
        [create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.1}) for _ in range(3)]
    )
    found = results_of(study=made, plan={}, identity={}, outcome=None)
    assert "No trial is complete yet" in charts.text_of(charts.history(found))
