"""Charts with one dot for each complete trial: what its score and its training time go with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from topo_search.charts.style import (
    BEST,
    NOTHING_COMPLETE,
    blank,
    count_axis,
    describe,
    dots,
    hover_texts,
    safe,
    score,
    score_axis,
    thinned,
    tried_axis,
)
from topo_search.formats import format_count, format_metric, format_name, format_seconds
from topo_search.results import Results


def score_by_depth(results: Results) -> go.Figure:
    """Draw score against number of hidden layers, with the best at each depth."""
    title = "Score by number of hidden layers"
    frame = _with(results, "depth")
    if frame.empty:
        return blank(title, note=NOTHING_COMPLETE)
    best = frame.groupby("depth", sort=True)["value"].agg(_best(results))
    figure = _against(results, frame, "depth", "hidden layers", title)
    _line(figure, best, "best at each depth")
    ends = [f"{score(results, best[d])} with {d:,}" for d in dict.fromkeys(_ends(best.index))]
    winner = frame.iloc[0]
    text = (
        f"The best {format_metric(results.metric)}, {score(results, winner['value'])}, came with "
        f"{format_count(winner['depth'], 'hidden layer')}. "
        f"Best with the fewest and the most layers tried: {' and '.join(ends)}."
    )
    return describe(figure, text)


def seconds_by_depth(results: Results) -> go.Figure:
    """Draw training time against number of hidden layers, with the median at each depth."""
    title = "Training time by number of hidden layers"
    frame = _with(results, "depth", "seconds")
    if frame.empty:
        return blank(title, note=NOTHING_COMPLETE)
    median = frame.groupby("depth", sort=True)["seconds"].median()
    figure = _times(results, frame, "depth", "hidden layers", title)
    _line(figure, median, "median at each depth")
    ends = [f"{format_seconds(median[d])} with {d:,}" for d in dict.fromkeys(_ends(median.index))]
    text = f"Median time of a complete trial, by hidden layers: {' and '.join(ends)}."
    return describe(figure, text)


def score_by_weights(results: Results) -> go.Figure:
    """Draw score against number of weights, with the Pareto front."""
    return _score_by_cost(
        results,
        "weights",
        title="Score by size of the network",
        axis="weights",
        less="smaller",
        best=lambda weights: f"has {format_count(weights, 'weight')}",
        least=lambda weights: f"smallest one tried has {format_count(weights)}",
    )


def score_by_seconds(results: Results) -> go.Figure:
    """Draw score against training time, with the Pareto front."""
    return _score_by_cost(
        results,
        "seconds",
        title="Score by training time",
        axis="seconds in a trial",
        less="faster",
        best=lambda seconds: f"took {format_seconds(seconds)}",
        least=lambda seconds: f"fastest one tried took {format_seconds(seconds)}",
    )


def _score_by_cost(
    results: Results,
    cost: str,
    *,
    title: str,
    axis: str,
    less: str,
    best: Callable[[Any], str],
    least: Callable[[Any], str],
) -> go.Figure:
    """Draw score against what a network costs, with the Pareto front.

    Args:
        results: The study's results.
        cost: A column of the trials.
        title: Of the chart.
        axis: What the cost is called.
        less: How networks are that cost less.
        best: Says what the best network costs.
        least: Says what the one that costs least does.
    """
    frame = _with(results, cost)
    if frame.empty:
        return blank(title, note=NOTHING_COMPLETE)
    figure, front = _with_front(results, frame, cost, axis, title, less)
    cheapest, winner = front.iloc[0], front.iloc[-1]
    text = f"The best network {best(winner[cost])} ({score(results, winner['value'])})"
    if len(front) > 1:
        text += (
            f"; the {least(cheapest[cost])} ({score(results, cheapest['value'])}). "
            f"{len(front)} networks are such that none {less} is better"
        )
    return describe(figure, f"{text}.")


def seconds_by_weights(results: Results) -> go.Figure:
    """Draw training time against number of weights."""
    title = "Training time by size of the network"
    frame = _with(results, "weights", "seconds").sort_values("weights")
    if frame.empty:
        return blank(title, note=NOTHING_COMPLETE)
    figure = _times(results, frame, "weights", "weights", title)
    third = max(1, len(frame) // 3)
    small, large = frame.head(third)["seconds"].median(), frame.tail(third)["seconds"].median()
    text = (
        f"Median time of the smallest third of the networks: {format_seconds(small)}; "
        f"of the largest third: {format_seconds(large)}."
    )
    return describe(figure, text)


def score_by_parameter(results: Results, name: str) -> go.Figure:
    """Draw score against one parameter's values.

    Args:
        results: The study's results.
        name: A parameter, as the space calls it.

    Raises:
        KeyError: Where no trial has such a parameter.
    """
    title = f"Score by {format_name(name.replace('_', ' '))}"
    column = f"param.{name}"
    frame = _with(results, column)
    if frame.empty:
        return blank(title, note=NOTHING_COMPLETE)
    values = frame[column]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        figure = _against(results, frame.assign(**{column: values.astype(float)}), column, name,
                          title)  # fmt: skip
        figure.update_xaxes(tried_axis(values))
        best = frame.iloc[0][column]
        shown = f"{best:,.4g}"
    else:
        figure, shown = _levels(results, frame, column, title), format_name(frame.iloc[0][column])
    text = (
        f"The best trial, {score(results, frame.iloc[0]['value'])}, had "
        f"{format_name(name.replace('_', ' '))} {shown}."
    )
    return describe(figure, text)


def pareto(frame: pd.DataFrame, cost: str, direction: str) -> pd.DataFrame:
    """Return the rows that no row of as low a cost, a column's, beats: the cheapest first."""
    maximize = direction == "maximize"
    ordered = frame.sort_values([cost, "value"], ascending=[True, not maximize])
    gain = ordered["value"] if maximize else -ordered["value"]
    before = gain.cummax().shift(fill_value=-np.inf)
    return ordered[gain > before]


def _with(results: Results, *columns: str) -> pd.DataFrame:
    return results.leaderboard.dropna(subset=list(columns))


def _against(
    results: Results,
    frame: pd.DataFrame,
    column: str,
    label: str,
    title: str,
    *,
    keep: pd.Index[int] | None = None,
) -> go.Figure:
    shown = thinned(frame, frame.index[:1] if keep is None else keep)
    figure = blank(title)
    figure.add_trace(dots(shown, column, "value", hover_texts(shown, results), name="trial"))
    figure.update_layout(
        xaxis=count_axis(label.replace("_", " "), frame[column].astype(float)),
        yaxis=score_axis(results.metric, frame["value"], results.direction),
    )
    return figure


def _with_front(
    results: Results, frame: pd.DataFrame, cost: str, label: str, title: str, cheaper: str
) -> tuple[go.Figure, pd.DataFrame]:
    """Draw scores against what they cost, and return the Pareto front, too."""
    front = pareto(frame, cost, results.direction)
    figure = _against(results, frame, cost, label, title, keep=front.index)
    figure.add_scatter(
        x=front[cost].astype(float), y=front["value"], mode="lines+markers",
        line={"color": BEST, "width": 2, "shape": "hv"}, marker={"color": BEST, "size": 8},
        name=f"none {cheaper} is better", hovertext=hover_texts(front, results), hoverinfo="text",
    )  # fmt: skip
    return figure, front


def _times(results: Results, frame: pd.DataFrame, column: str, label: str, title: str) -> go.Figure:
    shown = thinned(frame, frame.index[:0])
    figure = blank(title)
    figure.add_trace(dots(shown, column, "seconds", hover_texts(shown, results), name="trial"))
    seconds = count_axis("seconds", frame["seconds"])
    if "type" not in seconds:
        seconds = {"title": {"text": "seconds"}, "rangemode": "tozero"}
    figure.update_layout(xaxis=count_axis(label, frame[column].astype(float)), yaxis=seconds)
    return figure


def _levels(results: Results, frame: pd.DataFrame, column: str, title: str) -> go.Figure:
    """Draw scores by the levels of a parameter that is no number, spread a little sideways."""
    levels = sorted({str(value) for value in frame[column]})
    position = {level: place for place, level in enumerate(levels)}
    shown = thinned(frame, frame.index[:1])
    spread = (shown["trial"].astype(float) * 0.618) % 1 * 0.4 - 0.2
    figure = blank(title)
    figure.add_trace(
        dots(
            shown.assign(place=shown[column].map(lambda value: position[str(value)]) + spread),
            "place",
            "value",
            hover_texts(shown, results),
            name="trial",
        )  # fmt: skip
    )
    names = [safe(level, 24) for level in levels]
    figure.update_layout(
        xaxis={"tickvals": list(range(len(levels))), "ticktext": names},
        yaxis=score_axis(results.metric, frame["value"], results.direction),
    )
    return figure


def _line(figure: go.Figure, values: pd.Series[float], name: str) -> None:
    figure.add_scatter(
        x=values.index.to_numpy(dtype=float), y=values.to_numpy(dtype=float), mode="lines",
        line={"color": BEST, "width": 2}, name=name, hoverinfo="skip",
    )  # fmt: skip


def _best(results: Results) -> str:
    return "max" if results.direction == "maximize" else "min"


def _ends(values: Iterable[int]) -> tuple[int, int]:
    listed = list(values)
    return listed[0], listed[-1]
