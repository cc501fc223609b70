"""Charts of the search itself: scores in order, curves, what mattered."""

from __future__ import annotations

import plotly.graph_objects as go

from topo_search.charts.style import (
    ACCENT,
    BEST,
    MUTED,
    NOTHING_COMPLETE,
    SOLID,
    blank,
    count_axis,
    describe,
    dots,
    hover_texts,
    outside,
    safe,
    score,
    score_axis,
    thinned,
)
from topo_search.formats import format_count, format_metric, format_name, format_share, listed
from topo_search.plain import plain
from topo_search.results import Results


def history(results: Results) -> go.Figure:
    """Draw every trial's score in order, with the best so far; pruned ones are marked."""
    title = "Score of each trial, in order"
    frame = results.trials[results.trials["value"].notna()]
    complete = frame[frame["state"] == "complete"]
    if complete.empty:
        return blank(title, note=NOTHING_COMPLETE)
    so_far = complete["value"].agg("cummax" if results.direction == "maximize" else "cummin")
    improved = complete.index[so_far.diff().fillna(1) != 0]
    axis = score_axis(results.metric, frame["value"], results.direction)
    hidden = outside(axis, frame["value"])
    shown = thinned(complete, improved)
    pruned = thinned(frame[frame["state"] == "pruned"], improved[:0])
    figure = blank(title)
    figure.add_trace(
        dots(
            pruned,
            "trial",
            "value",
            hover_texts(pruned, results),
            name="pruned",
            marker={"symbol": "x-thin", "size": 7, "line": {"color": MUTED, "width": 1.5}},
        )
    )
    figure.add_trace(dots(shown, "trial", "value", hover_texts(shown, results), name="complete"))
    steps = complete.loc[improved]
    figure.add_scatter(
        x=[*steps["trial"].astype(float), float(results.trials["trial"].max())],
        y=[*so_far[improved], so_far.iloc[-1]],
        mode="lines", line={"color": BEST, "width": 2, "shape": "hv"},
        name="best so far", hoverinfo="skip",
    )  # fmt: skip
    figure.update_layout(xaxis=count_axis("trial", results.trials["trial"], log=False), yaxis=axis)
    figure.update_xaxes(tickformat=",d")
    counts = results.counts
    best = results.leaderboard.iloc[0]
    text = (
        f"{format_count(counts['complete'], 'trial')} ended complete, "
        f"{counts['pruned']:,} pruned and {counts['failed']:,} failed. The best "
        f"{format_metric(results.metric)}, {score(results, best['value'])}, "
        f"came with trial {best['trial']}."
    )
    if hidden:
        text += f" {format_count(hidden, 'very bad score')} outside the picture."
    if len(shown) < len(complete):
        text += f" {len(shown):,} of the complete trials are drawn."
    return describe(figure, text)


def learning_curves(results: Results) -> go.Figure:
    """Draw the score on validation rows after each epoch, for the best few trials."""
    title = "Learning curves of the best"
    curves = results.curves.dropna(subset=["value"])
    if curves.empty:
        return blank(title, note=NOTHING_COMPLETE)
    figure = blank(title)
    numbers = list(dict.fromkeys(curves["trial"]))
    for number in reversed(numbers):
        curve, first = curves[curves["trial"] == number], number == numbers[0]
        figure.add_scatter(
            x=curve["epoch"], y=curve["value"], mode="lines" if len(curve) > 1 else "markers",
            line={"color": BEST if first else ACCENT, "width": 2.5 if first else 1.2},
            opacity=1 if first else SOLID,
            name=f"trial {number}" if first else "next best",
            showlegend=first or number == numbers[-1],
            hovertext=[
                f"trial {number}, epoch {epoch}: {score(results, value)}"
                for epoch, value in zip(curve["epoch"], curve["value"], strict=True)
            ],
            hoverinfo="text",
        )  # fmt: skip
    figure.update_layout(
        xaxis=count_axis("epoch", curves["epoch"], log=False) | {"tickformat": ",d"},
        yaxis=score_axis(results.metric, curves["value"], results.direction),
        legend={"traceorder": "reversed"},
    )
    best = results.leaderboard.iloc[0]
    text = (
        f"Trial {best['trial']} was best, {score(results, best['value'])}, after epoch "
        f"{format_count(plain(best['best_epoch']))} of {format_count(plain(best['epochs']))}."
    )
    return describe(figure, text)


def importances(results: Results) -> go.Figure:
    """Draw how much of the difference between scores each parameter explains."""
    title = "Which choices mattered"
    shares = results.importances
    if shares.empty:
        return blank(title, note=f"Importances: {results.importances_reason}.")
    figure = blank(title)
    figure.add_bar(
        x=shares.to_numpy(), y=[safe(str(name).replace('_', ' ')) for name in shares.index],
        orientation="h", marker={"color": ACCENT}, hoverinfo="skip",
        text=[format_share(share) for share in shares], textposition="outside", cliponaxis=False,
    )  # fmt: skip
    figure.update_layout(
        xaxis={"visible": False, "range": [0, shares.max() * 1.25]},
        yaxis={
            "autorange": "reversed",
            "type": "category",
            "showgrid": False,
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
        },  # fmt: skip
        height=max(160, 60 + 26 * len(shares)),
        bargap=0.35,
    )
    first = [
        f"{format_name(str(name).replace('_', ' '))} ({format_share(share)})"
        for name, share in shares.items()
    ]
    text = (
        f"Share of what set the best tenth of the {len(results.leaderboard):,} complete trials "
        f"apart: {listed(first[:3])} most. An estimate (PED-ANOVA), rough for few trials."
    )
    return describe(figure, text)
