"""A sweep as a page: what depth does to networks for this table, in words, charts and numbers."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from topo_search import sections
from topo_search.charts import depths as charts
from topo_search.depths import Curve, Depths, Turn
from topo_search.formats import (
    format_count,
    format_metric,
    format_name,
    format_seconds,
    format_value,
)
from topo_search.markup import Cell, capital, section, table
from topo_search.report import page
from topo_search.results import Results

SHOWN = 24  # Depths in the table of numbers.
MCLEOD = (
    "With his Distributed Deep Learning Framework in Python, McLeod found in 2015 that scores "
    "level off near 500 to 700 layers, and that training time grows in a straight line with them."
)


def sweep_html(results: Results, found: Depths, others: Mapping[str, Depths] = {}) -> str:
    """Return the page as text.

    Args:
        results: Of the sweep's study.
        found: What the sweep found.
        others: Sweeps of other tables to put beside it, by the tables' names.
    """
    figures = {
        "score-by-depth": charts.score_by_depth(found, results.metric),
        "seconds-by-depth": charts.seconds_by_depth(found),
        "held": charts.held(found),
    }
    if others:
        figures["compared"] = charts.compared({table_of(results): found, **others})
    parts = (
        _head(results, found),
        _turns(results, found),
        sections.learned(results, figures),
        _kinds(results, found),
        _beside_mcleod(results, found),
        _numbers(results, found),
        sections.reading(results),
        sections.foot(results),
    )
    return page(f"How deep? {table_of(results)} · topo-search", parts, figures)


def answer(results: Results, found: Depths) -> list[str]:
    """Return what the sweep says, in sentences."""
    deepest = max(int(curve.depths[-1]) for curve in found.main)
    said = []
    for curve in found.main:
        what = "Networks with residual links" if curve.residual else "Plain networks"
        rise, fall = curve.rises_until(), curve.collapses_at()
        until = (
            f"and fall off at {_at(fall)}"
            if fall
            else f"and hold to {format_count(int(curve.depths[-1]), 'layer')}, the deepest tried"
        )
        said.append(
            f"{what} are as good as they get from {_at(rise)} on "
            f"({format_value(results.metric, curve.best[1])}), {until}."
        )
    line = found.line(found.main[0].residual)
    if line is not None and deepest > 10:
        straight = "a straight line" if line.r2 >= 0.99 else "not quite a straight line"
        said.append(
            f"An epoch takes {1e6 * line.slope:,.3g} µs a layer: {straight} (R² {line.r2:.3f})."
        )
    return said


def table_of(results: Results) -> str:
    """Return the name of a study's table; not escaped."""
    return format_name(results.plan.get("dataset_name") or results.name or results.study)


def _head(results: Results, found: Depths) -> Markup:
    kicker = Markup('<p class="kicker">topo-search · <bdi>{}</bdi></p>').format(table_of(results))
    title = Markup("<h1>How deep should a network for {} be?</h1>").format(
        format_name(results.plan.get("target") or "it")
    )
    lead = Markup('<p class="lead">{}</p>').format(" ".join(answer(results, found)))
    return Markup("<header>{}</header>").format(kicker + title + lead)


def _turns(results: Results, found: Depths) -> Markup:
    heads = ["Best score", "with layers", "As good from", "Falls off at"]
    rows = []
    for curve in found.main:
        fall = curve.collapses_at()
        rows.append(
            (
                Cell(capital(curve.label), "name"),
                Cell(format_value(results.metric, curve.best[1]), "number"),
                Cell(f"{curve.best[0]:,}", "number"),
                Cell(_interval(curve.rises_until()), "number"),
                Cell(_interval(fall) if fall else "nowhere tried", "number"),
            )
        )
    note = Markup('<p class="note">{}</p>').format(
        f"Scores are the {format_metric(results.metric)} on validation rows, the middle one of "
        "each depth's trainings. In brackets: where the turn lies in 90 % of cases when those "
        "trainings are drawn anew. As good: within one standard error of the best."
    )
    headings = [Cell("Networks"), *(Cell(name, "number") for name in heads)]
    return section("Where the curve turns", table("Turns", headings, rows), note)


def _kinds(results: Results, found: Depths) -> Markup:
    rows = [
        (
            Cell(capital(curve.label), "name"),
            Cell(format_value(results.metric, curve.best[1]), "number"),
            Cell(f"{curve.best[0]:,}", "number"),
            Cell(f"{curve.survives_to(found.floor):,}", "number"),
        )
        for curve in sorted(found.curves, key=lambda one: -one.survives_to(found.floor))
    ]
    note = Markup('<p class="note">{}</p>').format(
        "A kind of network holds as long as its middle score is better than halfway from the worst "
        f"to the best, {format_value(results.metric, found.floor)}."
        + (
            f" {format_count(found.diverged, 'training')} diverged and count as the worst."
            if found.diverged
            else ""
        )
    )
    heads = ["Best score", "with layers", "Holds to"]
    headings = [Cell("Networks"), *(Cell(name, "number") for name in heads)]
    title = "What links, normalisation and activations change"
    return section(title, table(title, headings, rows), note)


def _beside_mcleod(results: Results, found: Depths) -> Markup:
    fixed = results.plan["space"]["fixed"]
    ours = " ".join(answer(results, found))
    reasons = (
        "Where they differ, these are reasons to look at: here the weights start at a scale that "
        "fits the activation and the depth (that of He et al. 2015 where they are many), and a "
        "residual layer's at the depth's share of it; "
        f"AdamW with a rate of {fixed['learning_rate']:g} that warms up and falls to 0; "
        f"{fixed['width']} units a layer, {results.plan['epochs']} epochs at most and batches of "
        f"{fixed['batch_size']}; scores are of validation rows that no weight has seen; and times "
        "are of epochs that are compiled already."
    )
    texts = (MCLEOD, f"Here: {ours}", reasons)
    return section("Beside McLeod's finding", *(Markup("<p>{}</p>").format(text) for text in texts))


def _numbers(results: Results, found: Depths) -> Markup:
    """Return the numbers behind the curves, at some depths."""
    curves = found.main
    depths = sorted({int(depth) for curve in curves for depth in curve.depths})
    step = max(1, -(-len(depths) // SHOWN))
    rows = []
    for depth in sorted({*depths[::step], depths[-1]}):
        seconds = found.trainings.loc[found.trainings["depth"] == depth, "seconds"].median()
        cells = [Cell(_range(results, curve, depth), "number") for curve in curves]
        rows.append((Cell(f"{depth:,}", "number"), *cells, Cell(format_seconds(seconds), "number")))
    headings = [
        Cell("Layers", "number"),
        *(Cell(capital(curve.label), "number") for curve in curves),
        Cell("An epoch", "number"),
    ]
    listed = table("Scores by depth", headings, rows)
    note = Markup('<p class="note">{}</p>').format("The middle score, and the worst to the best.")
    return section("The numbers", listed, note)


def _range(results: Results, curve: Curve, depth: int) -> str:
    scores = next((s for d, s in zip(curve.depths, curve.scores, strict=True) if d == depth), None)
    if scores is None:
        return "–"
    middle, *ends = (
        format_value(results.metric, float(value))
        for value in (sorted(scores)[len(scores) // 2], scores.min(), scores.max())
    )
    return f"{middle} ({ends[0]} to {ends[1]})" if len(scores) > 1 else middle


def _at(turn: Turn) -> str:
    layers = format_count(turn.depth, "layer")
    return layers if turn.low == turn.high else f"{layers} ({turn.low:,} to {turn.high:,})"


def _interval(turn: Turn) -> str:
    if turn.low == turn.high:
        return f"{turn.depth:,}"
    return f"{turn.depth:,} ({turn.low:,} to {turn.high:,})"
