"""The spaces that have names: `mlp`, `layers` and `depth`, for the table at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from objectives.defaults import USUAL, TableFacts, without_effect
from objectives.limits import BOUNDS, parse, suggestion
from objectives.parameters import Choice, Parameter, Range, Value
from objectives.portfolio import portfolio
from objectives.space import PER_LAYER, Space, deepest, spread

MOST_LAYERS = 20  # In `layers`: three parameters a layer, and no sampler finds its way in more.

T = TypeVar("T")


def named_space(
    name: str, *, limits: Mapping[str, str], facts: TableFacts, epochs: int = 100
) -> Space:
    """Return a named space for a table.

    `mlp` searches one width, activation and dropout for all hidden layers; `layers` one of each
    for every layer; `depth` tries plain networks of each depth in order. Depth goes from 1 to 6
    (`layers`: 4, `depth`: 10), width from 16 to 128 below 1,000 rows, 256 below 10,000, else
    512. What cannot matter for the table is left out. Several values or a range of them limit
    a parameter, one value fixes it; in `depth`, one depth is the last of those tried.

    Args:
        name: `mlp`, `layers` or `depth`.
        limits: As a user writes them, by parameter: `1:6`, `relu,gelu`, `0.001`, `true`.
        facts: Of the table.
        epochs: At most, for every trial.

    Raises:
        ValueError: Where a name is unknown or a limit cannot be met; says which and why.
    """
    if name not in USUAL:
        raise ValueError(
            f"There is no space {name}.{suggestion(name, USUAL)} "
            f"Expected one of {', '.join(USUAL)}."
        )
    asked = {key.replace("-", "_"): text for key, text in limits.items()}
    if name == "depth" and asked.get("depth", "").isdigit():
        asked["depth"] = f"1:{asked['depth']}"
    usual = USUAL[name](facts)
    without = without_effect(facts)
    for key in asked:
        _check_known(name, key, usual)
        if key in without:
            raise ValueError(f"{key} has no effect on this table: {without[key][1]}. Leave it out.")
    chosen = {key: parse(key, asked[key]) if key in asked else usual[key] for key in usual}
    chosen |= {key: value for key, (value, _) in without.items()}
    if name == "depth":
        _check_only_depth_varies(chosen)
    if name == "layers":
        chosen = _by_layer(chosen)
    chosen |= {"residual": chosen.get("residual", False), "epochs": epochs}
    space = Space(
        name=name,
        parameters={k: v for k, v in chosen.items() if isinstance(v, Range | Choice)},
        fixed={k: v for k, v in chosen.items() if not isinstance(v, Range | Choice)},
    )
    if name == "depth":
        return replace(space, blocks=(space.parameters,))
    return replace(space, portfolio=_first(space, facts))


def _first(space: Space, facts: TableFacts) -> tuple[dict[str, Value], ...]:
    """Return the portfolio brought into the space; what falls together there is kept once."""
    points: list[dict[str, Value]] = []
    for entry in portfolio(facts):
        layers = spread({name: (entry[name],) for name in PER_LAYER}, MOST_LAYERS)
        point = space.nearest({**entry, **layers})
        if point not in points:
            points.append(point)
    return tuple(points)


def _check_known(name: str, key: str, usual: Mapping[str, object]) -> None:
    if key in usual:
        return
    if key in BOUNDS:
        others = [other for other in USUAL if other != name]
        raise ValueError(
            f"The {name} space has no parameter {key}: residual links need equal widths. "
            f"The spaces {' and '.join(others)} have it."
        )
    raise ValueError(
        f"The {name} space has no parameter {key}.{suggestion(key, usual)} "
        f"It has {', '.join(usual)}."
    )


def _check_only_depth_varies(chosen: Mapping[str, Parameter | Value]) -> None:
    for key, value in chosen.items():
        if key != "depth" and isinstance(value, Range | Choice):
            raise ValueError(
                f"The depth space varies the depth only. Give one {key}, or use the mlp space."
            )


def _by_layer(chosen: Mapping[str, Parameter | Value]) -> dict[str, Parameter | Value]:
    """Return the parameters with width, activation and dropout repeated for every layer.

    All layers' parameters are part of every point, those beyond its depth without effect. Made
    conditional on the depth they would fall out of the joint model of Optuna's TPE.
    """
    layers = deepest(chosen["depth"])
    if layers > MOST_LAYERS:
        raise ValueError(
            f"The layers space goes to depth {MOST_LAYERS}: it has three parameters a layer. "
            f"Received: {layers}. Give a smaller depth, or use the mlp space."
        )
    by_layer = spread({name: (chosen[name],) for name in PER_LAYER}, layers)
    return {"depth": chosen["depth"], **by_layer} | {
        name: value for name, value in chosen.items() if name not in PER_LAYER
    }
