"""Charts of a sweep: scores and times by depth, and how deep each kind of network holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from topo_search.charts.style import ACCENT, BEST, MUTED, blank, count_axis, describe, score_axis
from topo_search.depths import Curve, Depths
from topo_search.formats import format_count, format_seconds, format_value
from topo_search.markup import capital

COLOURS = (ACCENT, BEST, MUTED, "#4c9a6a", "#9467bd", "#b0568c")
LAYERS = "hidden layers"


def score_by_depth(found: Depths, metric: str) -> go.Figure:
    """Draw the middle score at each depth, between the worst and the best training there."""
    figure = blank("Score by number of hidden layers")
    scores = pd.Series(np.concatenate([s for curve in found.main for s in curve.scores]))
    for curve, colour in zip(found.main, COLOURS, strict=False):
        lows, highs = ([f(s) for s in curve.scores] for f in (min, max))
        depths = curve.depths.tolist()
        figure.add_scatter(
            x=depths + depths[::-1], y=highs + lows[::-1], fill="toself", fillcolor=colour,
            opacity=0.2, line={"width": 0}, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        figure.add_scatter(
            x=depths, y=curve.medians.tolist(), mode="lines+markers", name=curve.label,
            line={"color": colour, "width": 2}, marker={"size": 5},
        )  # fmt: skip
    direction = "maximize" if found.maximize else "minimize"
    figure.update_layout(
        xaxis=count_axis(LAYERS, pd.Series(_all_depths(found.main), dtype=float)),
        yaxis=score_axis(metric, scores, direction),
        legend={"y": 1.02},
    )
    text = " ".join(
        f"{capital(curve.label)}: best {format_value(metric, curve.best[1])} with "
        f"{format_count(curve.best[0], 'layer')}, {format_value(metric, curve.medians[-1])} with "
        f"{curve.depths[-1]:,}."
        for curve in found.main
    )
    return describe(figure, f"{text} The band is from the worst training to the best.")


def seconds_by_depth(found: Depths) -> go.Figure:
    """Draw the time of an epoch at each depth, with the straight line that fits."""
    figure = blank("Time of an epoch by number of hidden layers")
    told = []
    for curve, colour in zip(found.main, COLOURS, strict=False):
        line = found.line(curve.residual)
        seconds = found.seconds(curve.residual)
        figure.add_scatter(
            x=seconds.index.tolist(), y=(1000 * seconds).tolist(), mode="markers",
            name=curve.label, marker={"color": colour, "size": 7, "opacity": 0.8},
        )  # fmt: skip
        if line is None:
            continue
        ends = np.array([seconds.index.min(), seconds.index.max()], float)
        figure.add_scatter(
            x=ends.tolist(), y=(1000 * (line.base + line.slope * ends)).tolist(), mode="lines",
            line={"color": colour, "width": 1.5, "dash": "dot"}, hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
        told.append(
            f"{capital(curve.label)}: {format_seconds(max(line.base, 0))} and "
            f"{1e6 * line.slope:,.3g} µs a layer, R² {line.r2:.3f}."
        )
    figure.update_layout(
        xaxis=count_axis(LAYERS, pd.Series(dtype=float)),
        yaxis={"title": {"text": "milliseconds"}, "rangemode": "tozero"},
    )
    return describe(figure, " ".join(told) or "Too few depths for a line.")


def held(found: Depths) -> go.Figure:
    """Draw how deep each kind of network is better than halfway from the worst to the best."""
    figure = blank("How deep each kind of network holds")
    curves = sorted(found.curves, key=lambda curve: curve.survives_to(found.floor))
    depths = [curve.survives_to(found.floor) for curve in curves]
    figure.add_bar(
        x=depths, y=[curve.label for curve in curves], orientation="h",
        marker={"color": [BEST if curve.residual else ACCENT for curve in curves]},
        text=[f"{depth:,}" for depth in depths], textposition="auto",
    )  # fmt: skip
    axis = count_axis(LAYERS, pd.Series([1.0, *map(float, depths)]))
    figure.update_layout(xaxis=axis, height=60 + 28 * len(curves), showlegend=False)
    best = curves[-1]
    return describe(
        figure,
        f"Longest: {best.label}, to {format_count(depths[-1], 'layer')}; shortest: "
        f"{curves[0].label}, to {depths[0]:,}.",
    )


def compared(sweeps: Mapping[str, Depths]) -> go.Figure:
    """Draw the plain and residual curves of several tables, each from its worst to its best."""
    figure = blank("Several tables, each from its worst score to its best")
    for (name, found), colour in zip(sweeps.items(), itertools.cycle(COLOURS), strict=False):
        middle = np.concatenate([curve.medians for curve in found.main])
        worst, best = (middle.min(), middle.max())[:: 1 if found.maximize else -1]
        for curve in found.main:
            share = (curve.medians - worst) / ((best - worst) or 1.0)
            figure.add_scatter(
                x=curve.depths.tolist(), y=share.tolist(), mode="lines",
                name=f"{name}, {'residual' if curve.residual else 'plain'}",
                line={"color": colour, "dash": "dot" if curve.residual else "solid"},
            )  # fmt: skip
    curves = [curve for found in sweeps.values() for curve in found.main]
    figure.update_layout(
        xaxis=count_axis(LAYERS, pd.Series(_all_depths(curves), dtype=float)),
        yaxis={"tickformat": ".0%", "title": {"text": "share of the way"}},
        height=420,
    )
    return describe(figure, f"{len(sweeps)} tables; solid lines are plain networks.")


def _all_depths(curves: tuple[Curve, ...] | list[Curve]) -> list[int]:
    return sorted({int(depth) for curve in curves for depth in curve.depths})
