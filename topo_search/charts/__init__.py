"""A study's charts: plain plotly figures, each with a sentence that says what it shows.

`text_of(figure)` is that sentence, to stand beside the chart; `title_of(figure)` its title.
"""

from __future__ import annotations

import plotly.graph_objects as go

from topo_search.charts.predictions import confusion, predictions
from topo_search.charts.search import history, importances, learning_curves
from topo_search.charts.style import text_of, title_of
from topo_search.charts.trials import (
    pareto,
    score_by_depth,
    score_by_parameter,
    score_by_seconds,
    score_by_weights,
    seconds_by_depth,
    seconds_by_weights,
)
from topo_search.results import Results

__all__ = [
    "charts_of", "confusion", "history", "importances", "learning_curves", "pareto",
    "predictions", "score_by_depth", "score_by_parameter", "score_by_seconds",
    "score_by_weights", "seconds_by_depth", "seconds_by_weights", "text_of", "title_of",
]  # fmt: skip

SLICES = 3  # Most important parameters that `charts_of` draws against the score.


def charts_of(results: Results) -> dict[str, go.Figure]:
    """Return the charts that say something about this study, by name, in order of reading."""
    charts = {}
    if results.trials["value"].count() > 1:
        charts["history"] = history(results)
    if results.part("confusion"):
        charts["confusion"] = confusion(results)
    if results.part("scatter"):
        charts["predictions"] = predictions(results)
    if not results.curves.empty:
        charts["learning-curves"] = learning_curves(results)
    if len(results.leaderboard) < 2:
        return charts
    if results.leaderboard["depth"].nunique() > 1:
        charts["score-by-depth"] = score_by_depth(results)
        charts["seconds-by-depth"] = seconds_by_depth(results)
    if results.leaderboard["weights"].nunique() > 1:
        charts["score-by-weights"] = score_by_weights(results)
        charts["seconds-by-weights"] = seconds_by_weights(results)
    if results.leaderboard["seconds"].nunique() > 1:
        charts["score-by-seconds"] = score_by_seconds(results)
    if not results.importances.empty:
        charts["importances"] = importances(results)
    others = [str(name) for name in results.importances.index if name != "depth"]
    for position, name in enumerate(others[:SLICES], start=1):
        charts[f"slice-{position}"] = score_by_parameter(results, name)
    return charts
