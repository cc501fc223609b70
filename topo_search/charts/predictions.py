"""Charts of the winner's predictions for the test rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from topo_search.charts.style import ACCENT, BEST, SOLID, blank, describe, dots, safe, thinned
from topo_search.formats import format_name, format_share, format_times, format_value
from topo_search.results import Results

NAMED_CLASSES = 40  # A confusion matrix of more says nothing by its labels.
COUNTED_CLASSES = 12  # A confusion matrix of more has no room for numbers.
UNSCORED = "No network has been scored on the test rows yet."


def confusion(results: Results) -> go.Figure:
    """Draw which class was taken for which: counts, coloured by their share of the row."""
    title = "Which class was taken for which"
    part = results.part("confusion")
    if not part:
        return blank(title, note=UNSCORED)
    counts = np.asarray(part["matrix"], dtype=float)
    names = [safe(name, 24) for name in part["classes"]]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure = blank(title)
    figure.add_heatmap(
        z=shares, zmin=0, zmax=1, xgap=2, ygap=2, showscale=False,
        colorscale=[[0, "rgba(59,130,196,0.06)"], [1, "rgba(59,130,196,0.62)"]],
        text=[[f"{count:,.0f}" for count in row] for row in counts],
        texttemplate="%{text}" if len(names) <= COUNTED_CLASSES else "",
        hovertext=[
            [
                f"{counts[i, j]:,.0f} of {totals[i, 0]:,.0f} ({format_share(shares[i, j])})"
                f"<br>true: {true}<br>predicted: {predicted}"
                for j, predicted in enumerate(names)
            ]
            for i, true in enumerate(names)
        ],
        hoverinfo="text",
    )  # fmt: skip
    ticks = {"showgrid": False, "tickvals": list(range(len(names))), "ticktext": names}
    if len(names) > NAMED_CLASSES:
        ticks = {"showgrid": False, "showticklabels": False}
    figure.update_layout(
        xaxis=ticks | {"title": {"text": "predicted"}},
        yaxis=ticks | {"title": {"text": "true"}, "autorange": "reversed"},
        height=min(620, max(280, 110 + 34 * len(names))),
    )
    return describe(figure, _confusion_text(part["classes"], counts))


def predictions(results: Results) -> go.Figure:
    """Draw predicted against true values of the test rows; on the line they agree."""
    title = "Predicted against true values"
    part = results.part("scatter")
    if not part:
        return blank(title, note=UNSCORED)
    frame = pd.DataFrame({"true": part["true"], "predicted": part["predicted"]}, dtype=float)
    low, high = frame.to_numpy().min(), frame.to_numpy().max()
    errors = (frame["predicted"] - frame["true"]).abs()
    shown = thinned(frame, frame.index[:0])
    figure = blank(title)
    hover = [f"true {t:,.4g}<br>predicted {p:,.4g}" for t, p in shown.to_numpy()]
    figure.add_trace(dots(shown, "true", "predicted", hover, name="test row",
                          marker={"color": ACCENT, "size": 6, "opacity": SOLID}))  # fmt: skip
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": BEST, "width": 1.5},
        name="perfect", hoverinfo="skip",
    )  # fmt: skip
    target = safe(results.plan.get("target") or "value", 40)
    figure.update_layout(
        xaxis={"title": {"text": f"true {target}"}},
        yaxis={"title": {"text": "predicted"}},
        height=380,
    )
    text = (
        f"Half of the {len(frame):,} test rows drawn are off by less than "
        f"{format_value('mae', float(errors.median()))}, nine of ten by less than "
        f"{format_value('mae', float(errors.quantile(0.9)))}."
    )
    return describe(figure, text)


def _confusion_text(classes: list[str], counts: np.ndarray[tuple[int, int]]) -> str:
    right, rows = np.trace(counts), counts.sum()
    text = f"{right:,.0f} of {rows:,.0f} test rows are on the diagonal: predicted as they are."
    mistakes = counts - np.diag(np.diag(counts))
    if not mistakes.any():
        return text
    true, predicted = np.unravel_index(mistakes.argmax(), mistakes.shape)
    times = mistakes[true, predicted]
    return (
        f"{text} The most frequent mistake: {format_name(classes[true], 40)} taken for "
        f"{format_name(classes[predicted], 40)}, {format_times(int(times))}."
    )
