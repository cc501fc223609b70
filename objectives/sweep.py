"""A sweep: networks of many depths, each kind of them several times, to learn what depth does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from objectives.parameters import Choice, Parameter, Range, Value
from objectives.space import Space
from objectives.topology import ACTIVATIONS, NORMALISATIONS

Kind = Literal["plain", "residual", "both"]
KINDS: dict[str, tuple[bool, ...]] = {
    "plain": (False,),
    "residual": (True,),
    "both": (False, True),
}
COARSE = 16  # Depths at which normalisations and other activations are tried.


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep is to try."""

    kind: Kind = "both"  # Networks without residual links, with them, or both.
    seeds: int = 3  # Trainings of each network, which differ by chance alone.
    points: int = 60  # Depths at most, evenly spread in the logarithm.


def swept(depths: Space, sweep: Sweep) -> Space:
    """Return the sweep over the depths of a `depth` space.

    A coarse walk over the depths comes first, with each normalisation and each activation in
    turn; then the depths between them, with the space's own activation and normalisation.

    Args:
        depths: With the depths to walk over, and all else that the networks have in common.
        sweep: What to try.
    """
    known = sorted({int(point["depth"]) for point in depths.enumerated or () if "depth" in point})
    known = known or [int(depths.fixed["depth"])]
    fine = spread(known, sweep.points)
    coarse = spread(fine, COARSE)
    between = sorted(set(fine) - set(coarse))
    own = {name: str(depths.fixed[name]) for name in ("activation", "normalisation")}
    others = {
        "activation": [a for a in ACTIVATIONS if a != own["activation"]],
        "normalisation": [n for n in NORMALISATIONS if n != own["normalisation"]],
    }

    def walk(over: Iterable[int], **changed: Iterable[str]) -> dict[str, Parameter]:
        values: dict[str, tuple[Value, ...]] = {
            "residual": KINDS[sweep.kind],
            **{name: tuple(changed.get(name, (own[name],))) for name in own},
            "depth": tuple(over),
            "repeat": tuple(range(sweep.seeds)),
        }
        return {name: Choice(choices=choices) for name, choices in values.items()}

    blocks = [walk(coarse), *(walk(coarse, **{name: rest}) for name, rest in others.items())]
    if between:
        blocks.append(walk(between))
    return replace(
        depths,
        name="sweep",
        parameters={
            "residual": Choice(choices=KINDS[sweep.kind]),
            "activation": Choice(choices=ACTIVATIONS),
            "normalisation": Choice(choices=NORMALISATIONS),
            "depth": Range(low=known[0], high=known[-1]),
            "repeat": Range(low=0, high=sweep.seeds - 1),
        },
        fixed={k: v for k, v in depths.fixed.items() if k not in (*own, "residual", "depth")},
        blocks=tuple(blocks),
    )


def spread(values: list[int], count: int) -> list[int]:
    """Return at most `count` of the sorted values, evenly spread in the logarithm."""
    if len(values) <= count:
        return values
    wanted = np.geomspace(values[0], values[-1], count)
    distances = np.abs(np.log(np.array(values)) - np.log(wanted)[:, None])
    return sorted({values[index] for index in distances.argmin(axis=1)})
