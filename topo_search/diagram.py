"""A small picture of a network: the usual circles and lines, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from markupsafe import Markup

from objectives.topology import Topology
from topo_search.formats import format_count, listed

SHOWN = 4  # Hidden layers drawn; of more, the first two and the last.
PITCH, NODE_PITCH, RADIUS = 58, 14, 4.5  # Units of the picture.
TOP, FOOT = 26, 44  # Room for residual links above, and for labels below.
_NORMALISATIONS = {"batch": "batch normalisation", "layer": "layer normalisation"}


@dataclass(frozen=True, kw_only=True)
class _Column:
    label: str
    noun: str
    kind: str  # input, embedding, hidden, gap or output.
    nodes: int = 0


def topology_in_words(topology: Topology) -> str:
    """Return a topology as a phrase, such as `3 hidden layers of 128 units (relu)`."""
    layers = format_count(topology.depth, "hidden layer")
    if topology.uniform:
        text = f"{layers} of {format_count(topology.widths[0], 'unit')} ({topology.activations[0]})"
    elif topology.depth <= SHOWN + 2:
        each = zip(topology.widths, topology.activations, strict=True)
        text = f"{layers}: {', '.join(f'{width} {name}' for width, name in each)}"
    else:
        text = f"{layers} of {min(topology.widths)} to {max(topology.widths)} units"
    extras = []
    if topology.normalisation != "none":
        extras.append(_NORMALISATIONS[topology.normalisation])
    if topology.residual:
        extras.append("residual links")
    if topology.embedding != "none":
        extras.append(f"{topology.embedding} embedding of numbers")
    return f"{text}, with {listed(extras)}" if extras else text


def draw(topology: Topology, *, inputs: int, outputs: int) -> Markup:
    """Draw a network from its columns to its answer; deep ones are abbreviated.

    A layer is drawn with about as many circles as its width has bits. Colours come from the page's
    style sheet: classes `node`, `edge`, `link`, `box` and the text's colour.

    Args:
        topology: The network.
        inputs: Number of columns it takes.
        outputs: Number of classes; 1 for a value.
    """
    columns = _columns(topology, inputs, outputs)
    height = TOP + FOOT + NODE_PITCH * max(column.nodes for column in columns)
    middle = TOP + (height - TOP - FOOT) / 2
    places = [(column, PITCH * (0.5 + place)) for place, column in enumerate(columns)]
    parts = [_edges(before, after, middle) for before, after in pairwise(places)]
    if topology.residual:
        parts += [
            Markup('<path class="link" d="M{} {}q{} -14 {} 0"/>').format(
                start, TOP - 4, PITCH / 2, PITCH
            )
            for (before, start), (after, _) in pairwise(places)
            if before.kind == "hidden" and after.kind == "hidden"
        ]
    parts += [_nodes(column, x, middle) for column, x in places]
    parts += [_labels(column, x, height) for column, x in places]
    return Markup(
        '<svg class="network" viewBox="0 0 {} {}" width="{}" role="img" aria-label="{}">{}</svg>'
    ).format(
        PITCH * len(columns),
        height,
        PITCH * len(columns),
        f"Picture of the network: {topology_in_words(topology)}.",
        Markup("").join(parts),
    )


def _columns(topology: Topology, inputs: int, outputs: int) -> list[_Column]:
    columns = [_Column(label=f"{inputs:,}", noun="column" if inputs == 1 else "columns",
                       kind="input", nodes=max(1, min(inputs, 6)))]  # fmt: skip
    if topology.embedding != "none":
        columns.append(_Column(label="∿", noun=topology.embedding, kind="embedding", nodes=4))
    hidden = [
        _Column(label=f"{width:,}", noun=activation, kind="hidden",
                nodes=min(width, max(3, min(9, round(log2(width))))))
        for width, activation in zip(topology.widths, topology.activations, strict=True)
    ]  # fmt: skip
    if topology.depth > SHOWN:
        gap = _Column(label=f"+{topology.depth - 3:,}", noun="layers", kind="gap", nodes=1)
        hidden = [*hidden[:2], gap, hidden[-1]]
    noun = "value" if outputs == 1 else "classes"
    answer = _Column(label=f"{outputs:,}", noun=noun, kind="output", nodes=min(outputs, 6))
    return [*columns, *hidden, answer]


def _edges(before: tuple[_Column, float], after: tuple[_Column, float], middle: float) -> Markup:
    if "gap" in (before[0].kind, after[0].kind):
        return Markup("")
    starts, ends = (
        [middle] if column.kind == "embedding" else _heights(column, middle)
        for column, _ in (before, after)
    )
    reach = [16.0 if column.kind == "embedding" else RADIUS for column, _ in (before, after)]
    lines = [
        f"M{before[1] + reach[0]:g} {start:g}L{after[1] - reach[1]:g} {end:g}"
        for start in starts
        for end in ends
    ]
    return Markup('<path class="edge" d="{}"/>').format("".join(lines))


def _nodes(column: _Column, x: float, middle: float) -> Markup:
    if column.kind == "gap":
        dots = [Markup('<circle class="dot" cx="{}" cy="{}" r="2"/>').format(x + dx, middle)
                for dx in (-9, 0, 9)]  # fmt: skip
        return Markup("").join(dots)
    if column.kind == "embedding":
        wave = Markup('<rect class="box" x="{}" y="{}" width="32" height="32" rx="7"/>'
                      '<path class="wave" d="M{} {}c4 -14 7 -14 11 0s7 14 11 0"/>')  # fmt: skip
        return wave.format(x - 16, middle - 16, x - 11, middle)
    return Markup("").join(
        Markup('<circle class="node {}" cx="{}" cy="{}" r="{}"/>').format(column.kind, x, y, RADIUS)
        for y in _heights(column, middle)
    )


def _labels(column: _Column, x: float, height: float) -> Markup:
    label = "" if column.kind == "embedding" else column.label
    text = Markup('<text class="{}" x="{}" y="{}">{}</text>')
    return text.format("count", x, height - 24, label) + text.format(
        "noun", x, height - 8, column.noun
    )


def _heights(column: _Column, middle: float) -> Sequence[float]:
    first = middle - NODE_PITCH * (column.nodes - 1) / 2
    return [first + NODE_PITCH * node for node in range(column.nodes)]
