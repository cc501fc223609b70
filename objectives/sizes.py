"""How large networks are, reckoned without building them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from objectives.topology import Topology

# Periodic embeddings, PBLD of RealMLP (https://arxiv.org/abs/2407.04491): each number x becomes
# (x, W cos(c x + b)), which lets a network bend sharply along one column.
FREQUENCIES = 16
EMBEDDED = 7  # Values W gives; with x itself, 8 a column.
TERMS = 256  # Of a text, the terms in most rows.
LEVEL_VALUES = 16  # At most so many values for a level of a large categorical column.


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How wide the arrays are: all that a network needs to know of a layout."""

    numeric: int
    dense: int
    codes: tuple[int, ...]  # levels of each embedded column, with 0 for unknown and rare ones

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; the tuple becomes a list."""
        return {"numeric": self.numeric, "dense": self.dense, "codes": list(self.codes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the sizes whose `to_json` gave `data`."""
        return cls(numeric=data["numeric"], dense=data["dense"], codes=tuple(data["codes"]))


def level_values(levels: int) -> int:
    """Return how many values stand for a level of a categorical column with so many of them."""
    return min(LEVEL_VALUES, math.ceil(1.6 * math.pow(levels, 0.56)))


def count_weights(topology: Topology, sizes: Sizes, outputs: int) -> int:
    """Return how many numbers a network learns; moving statistics are not learned.

    Args:
        topology: The network's hidden layers.
        sizes: Widths of the arrays that it takes.
        outputs: Classes, or 1 for a regression.
    """
    encoder, numeric = 0, sizes.numeric
    if topology.embedding == "periodic":
        encoder += numeric * (2 * FREQUENCIES + (FREQUENCIES + 1) * EMBEDDED)
        numeric *= 1 + EMBEDDED
    levels = [(count, level_values(count)) for count in sizes.codes]
    encoder += sum(count * values for count, values in levels)
    encoded = numeric + sizes.dense + sum(values for _, values in levels)
    layers = pairwise((encoded, *topology.widths, outputs))
    each = 0 if topology.normalisation == "none" else 2
    normalisations = each * sum(topology.widths)
    return encoder + sum((before + 1) * width for before, width in layers) + normalisations
