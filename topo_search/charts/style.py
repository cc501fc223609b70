"""The look that all charts share: light on ink, one accent, at home on white and on black.

Backgrounds are transparent and text is a grey that reads on both; a page may colour text and grid
by style sheet (templates/report.css does). Traces are SVG only: WebGL ones need `unsafe-eval`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from topo_search.formats import (
    PERCENT,
    format_count,
    format_metric,
    format_name,
    format_seconds,
    format_value,
)
from topo_search.results import Results

ACCENT = "#3b82c4"  # Trials. Contrast of 3 and more on white and on near black, like the two below.
BEST = "#d9730d"  # What stands out; also told from the accent by those who see no red or green.
SOLID = 0.85  # Opacity of what may overlap; with less, one dot alone has no contrast of 3.
MUTED = "#8b929c"
INK = "#737a85"
GRID = "rgba(128,134,144,0.22)"
FONT = "system-ui, sans-serif"
HEIGHT = 320  # Pixels.
NOTHING_COMPLETE = "No trial is complete yet."
FEW = 8  # Values that have a tick each.
MOST_POINTS = 1_000  # Drawn in a chart; more make a page slow and say no more.

_AXIS = {
    "automargin": True,
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": GRID,
    "separatethousands": True,
    "title": {"standoff": 10, "font": {"size": 12}},
    "tickfont": {"size": 12},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "colorway": [ACCENT, BEST, MUTED],
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
        "title": {"automargin": True, "yref": "container", "x": 0, "font": {"size": 15}},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 12}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title_text": ""},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


def blank(title: str, text: str = "", *, note: str = "") -> go.Figure:
    """Return a figure without traces.

    Args:
        title: What it shows, in a few words.
        text: The same in a sentence, with the numbers: the chart's text alternative.
        note: Written into the empty middle.
    """
    figure = go.Figure(
        layout={
            "template": TEMPLATE,
            "title": {"text": safe(title)},
            "height": HEIGHT,
            "meta": {"title": title},
        }
    )
    if note:
        figure.add_annotation(
            text=safe(note),
            showarrow=False,
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
            font={"size": 14},
        )
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    return describe(figure, text or note)


def describe(figure: go.Figure, text: str) -> go.Figure:
    """Give the figure its text alternative and return it."""
    return figure.update_layout(meta={"title": title_of(figure), "text": text})


def title_of(figure: go.Figure) -> str:
    """Return what the figure shows in a few words; not escaped."""
    return str(figure.layout.meta["title"])


def text_of(figure: go.Figure) -> str:
    """Return the figure's text alternative; not escaped."""
    return str(figure.layout.meta["text"])


def safe(text: object, limit: int = 60) -> str:
    """Return someone else's text as plotly shows it unchanged: it takes `<` and `&` for markup."""
    line = format_name(text, limit)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def dots(frame: pd.DataFrame, x: str, y: str, hover: Sequence[str], **options: Any) -> go.Scatter:
    """Return one dot for each row of `frame`."""
    return go.Scatter(
        # Lists, not arrays: those become base64, in which nothing can be added.
        x=frame[x].to_numpy(dtype=float).tolist(),
        y=frame[y].to_numpy(dtype=float).tolist(),
        mode="markers",
        hovertext=list(hover),
        hoverinfo="text",
        **({"marker": {"color": ACCENT, "size": 8, "opacity": SOLID}} | options),
    )


def score_axis(metric: str, values: pd.Series[float], direction: str) -> dict[str, Any]:
    """Return the y axis of a score; a few very bad scores may lie outside it.

    What lies 3 interquartile ranges beyond the middle half on the bad side would press everything
    else into a line.
    """
    axis: dict[str, Any] = {"title": {"text": safe(format_metric(metric))}}
    if metric in PERCENT:
        axis["tickformat"] = ".1~%"
    if len(values) < 5:
        return axis
    low, middle_low, middle_high, high = values.quantile([0, 0.25, 0.75, 1])
    reach = 3 * (middle_high - middle_low)
    if not reach:
        return axis
    if direction == "maximize":
        low = max(low, middle_low - reach)
    else:
        high = min(high, middle_high + reach)
    margin = (high - low) * 0.06
    return axis | {"range": [low - margin, high + margin]}


def outside(axis: dict[str, Any], values: pd.Series[float]) -> int:
    """Return how many of `values` lie outside the axis."""
    low, high = axis.get("range", (-math.inf, math.inf))
    return int(((values < low) | (values > high)).sum())


def count_axis(title: str, values: pd.Series[float], *, log: bool | None = None) -> dict[str, Any]:
    """Return the axis of positive numbers, logarithmic where they span a factor of 30 or more."""
    axis: dict[str, Any] = {"title": {"text": safe(title)}}
    if values.empty:
        return axis
    low, high = float(values.min()), float(values.max())
    if log is None:
        log = low > 0 and high / low >= 30
    if log and low > 0:
        ticks = _log_ticks(low, high)
        return axis | {"type": "log", "tickvals": ticks, "ticktext": [_short(t) for t in ticks]}
    whole = bool((values == values.round()).all())
    return axis | ({"dtick": 1} if whole and high - low <= 12 else {})


def tried_axis(values: pd.Series[float]) -> dict[str, Any]:
    """Return an axis with ticks at the values themselves where they are few and recur, else {}.

    It is logarithmic from a factor of 4 on: what is tried of a width or a batch doubles.
    """
    distinct = sorted({float(value) for value in values})
    if not 1 < len(distinct) <= FEW or len(distinct) == len(values):
        return {}
    log = distinct[0] > 0 and distinct[-1] / distinct[0] >= 4
    ticks = {"tickvals": distinct, "ticktext": [f"{value:,.12g}" for value in distinct]}
    return ticks | {"type": "log" if log else "linear"}


def thinned(frame: pd.DataFrame, keep: pd.Index[Any]) -> pd.DataFrame:
    """Return at most `MOST_POINTS` rows and those labelled `keep`, in the order of trials.

    Which they are depends on their numbers alone, until twice as many would be too many: a new
    trial adds a dot, and moves none.
    """
    numbers = (frame["trial"] if "trial" in frame else frame.index.to_series()).astype("int64")
    if len(frame) > MOST_POINTS:
        halvings = math.ceil(math.log2(len(frame) / MOST_POINTS))
        # Knuth's multiplicative hash: neighbours fall far from each other.
        spread = (numbers * 2_654_435_761) % 2**32
        frame = frame[(spread < 2**32 >> halvings) | frame.index.isin(keep)]
    return frame.loc[numbers[frame.index].sort_values(kind="stable").index]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return few enough ticks to stand beside each other, upright, on a phone."""
    digits = (1, 2, 5) if high / low < 50 else (1, 3) if high / low <= 1_000 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
    return [tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}".replace("e-0", "e-")


def hover_texts(frame: pd.DataFrame, results: Results) -> list[str]:
    """Return what each row's dot says when pointed at."""
    return [
        f"trial {trial}: {score(results, value)}<br>{safe(topology)}"
        f"<br>{format_count(weights, 'weight')}, {format_seconds(seconds)}"
        for trial, value, topology, weights, seconds in zip(
            frame["trial"],
            frame["value"],
            frame["topology"],
            frame["weights"].astype(float),
            frame["seconds"],
            strict=True,
        )
    ]


def score(results: Results, value: float) -> str:
    """Return a score of this study for reading."""
    return format_value(results.metric, float(value))
