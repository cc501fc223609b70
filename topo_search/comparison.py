"""The network's test score beside those of simple models, drawn."""

from __future__ import annotations

from markupsafe import Markup

from topo_search.formats import NBSP, format_count, format_metric, format_value
from topo_search.markup import EMPTY, capital
from topo_search.results import Results
from topo_search.summary import GUESSES, baseline_name


def comparison(results: Results) -> Markup:
    """Return the test score beside those of simple models, best first; empty without one."""
    test = results.part("test")
    if not test:
        return EMPTY
    baselines = {n: value for n, value in results.part("baselines").items() if value is not None}
    span = [end for end in (test.get("low"), test.get("high")) if end is not None]
    # Guessing is often so far off that it would press the others into one point.
    models = [value for name, value in baselines.items() if name not in GUESSES]
    scale = [test["value"], *span, *(models or baselines.values())]
    scores = {"network": test["value"]} | baselines
    ranked = sorted(scores, key=lambda name: scores[name], reverse=results.direction == "maximize")
    rows = [
        Markup(
            '<tr{}><th scope="row">{}</th><td class="track"><svg width="100%" height="20" '
            'aria-hidden="true"><line x1="0" x2="100%" y1="10" y2="10"/>{}</svg></td>'
            '<td class="number">{}</td></tr>'
        ).format(
            Markup(' class="first"') if name == "network" else EMPTY,
            "the network" if name == "network" else baseline_name(name),
            _mark(scores[name], span if name == "network" else [], min(scale), max(scale)),
            format_value(results.metric, scores[name]),
        )
        for name in ranked
    ]
    band = f" The band is the 95{NBSP}% interval." if span else ""
    caption = (
        f"{capital(format_metric(results.metric))} on the {format_count(test.get('rows'))} test "
        f"rows, best first.{band}"
    )
    return Markup(
        '<figure class="card"><h3>Beside simple models</h3><table class="comparison"><tbody>{}'
        "</tbody></table><figcaption>{}</figcaption></figure>"
    ).format(EMPTY.join(rows), caption)


def _mark(score: float, span: list[float], low: float, high: float) -> Markup:
    """Return a dot at the score with its interval; an arrow where it is off the scale."""
    if not low <= score <= high:
        arrow = Markup('<text x="{}" y="15" text-anchor="{}">{}</text>')
        return arrow.format(*(("0", "start", "◂") if score < low else ("100%", "end", "▸")))
    places = [f"{6 + 88 * (at - low) / ((high - low) or 1):.2f}%" for at in (score, *span)]
    dot = Markup('<circle cx="{}" cy="10" r="5"/>').format(places[0])
    if len(span) < 2:
        return dot
    band = Markup('<line class="interval" x1="{}" x2="{}" y1="10" y2="10"/>')
    return band.format(*places[1:]) + dot
