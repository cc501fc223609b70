"""What a study may try: a `Space`; `named_spaces` has those for tables."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from objectives.parameters import Choice, Parameter, Range, Value, parameter_from_json
from objectives.topology import Recipe, Topology

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

T = TypeVar("T")

PER_LAYER = ("width", "activation", "dropout")  # What the `layers` space chooses layer by layer.


@dataclass(frozen=True, kw_only=True)
class Space:
    """The topologies and recipes a study may try; flat, so that a sampler models it jointly."""

    name: str  # mlp, layers, depth, sweep, or own: a user's, without topologies.
    parameters: Mapping[str, Parameter]  # What is searched, in the order it is shown.
    fixed: Mapping[str, Value] = field(default_factory=dict)  # What is not.
    portfolio: tuple[Mapping[str, Value], ...] = ()  # Points to try first.
    # Tries every point of each block in order, then is through; none: a sampler draws points.
    blocks: tuple[Mapping[str, Parameter], ...] = ()
    known: tuple[Mapping[str, Value], ...] = ()  # Points of the blocks that are left out.

    @property
    def enumerated(self) -> tuple[dict[str, Value], ...] | None:
        """Every point to try in order, for a space that enumerates itself; else None."""
        if not self.enumerates:
            return None
        known = {frozenset(point.items()) for point in self.known}
        points = (
            dict(zip(block, values, strict=True))
            for block in self.blocks
            for values in product(*map(_values, block.values()))
        )
        return tuple(point for point in points if frozenset(point.items()) not in known)

    @property
    def enumerates(self) -> bool:
        """Whether it tries its points in order."""
        return bool(self.blocks)

    def without(self, points: Sequence[Mapping[str, Value]]) -> Self:
        """Return the space that neither enumerates some of its points nor tries them first."""
        return replace(
            self,
            portfolio=tuple(point for point in self.portfolio if point not in points),
            known=tuple(points) if self.enumerates else (),
        )

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what is searched as Optuna distributions."""
        return {name: value.distribution() for name, value in self.parameters.items()}

    def contains(self, parameters: Mapping[str, object]) -> bool:
        """Return whether `parameters` name every searched parameter, with values it may have."""
        return parameters.keys() == self.parameters.keys() and all(
            self.parameters[name].contains(value) for name, value in parameters.items()
        )

    def nearest(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Return the point nearest to `parameters` that can be drawn; others are left out."""
        return {name: value.nearest(parameters[name]) for name, value in self.parameters.items()}

    def decode(self, parameters: Mapping[str, Value]) -> tuple[Topology, Recipe]:
        """Return what the point `parameters` means.

        Raises:
            ValueError: Where it is not a point of this space, or the space is a user's own.
        """
        self._check_decodes()
        self._check(parameters)
        values: dict[str, Any] = {**self.fixed, **parameters}
        if self.name == "layers":
            for name in PER_LAYER:
                values[name] = tuple(values[f"{name}_{k + 1}"] for k in range(values["depth"]))
        topology = {f.name: values[f.name] for f in fields(Topology)}
        return Topology(**topology), Recipe(**{f.name: values[f.name] for f in fields(Recipe)})

    def encode(self, topology: Topology, recipe: Recipe) -> dict[str, Value]:
        """Return the point that decodes to `topology` and `recipe`.

        In `layers` the parameters of layers beyond the topology's repeat its last layer's.

        Raises:
            ValueError: Where there is no such point, or the space is a user's own.
        """
        self._check_decodes()
        values: dict[str, Any] = {f.name: getattr(topology, f.name) for f in fields(Topology)}
        values |= {f.name: getattr(recipe, f.name) for f in fields(Recipe)}
        if self.name == "layers":
            layers = {
                "width": topology.widths,
                "activation": topology.activations,
                "dropout": recipe.dropouts(topology.depth),
            }
            values |= spread(layers, deepest({**self.fixed, **self.parameters}["depth"]))
        for name, value in self.fixed.items():
            if values[name] != value:
                raise ValueError(
                    f"This space has {name} fixed at {value}. Received: {values[name]}."
                )
        parameters = {name: values[name] for name in self.parameters}
        self._check(parameters)
        return parameters

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values; parameters as a list, to keep their order."""
        return {
            "name": self.name,
            "parameters": _to_json(self.parameters),
            "fixed": dict(self.fixed),
            "portfolio": [dict(point) for point in self.portfolio],
            "blocks": [_to_json(block) for block in self.blocks],
            "known": [dict(point) for point in self.known],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the space whose `to_json` gave `data`."""
        return cls(
            name=data["name"],
            parameters=_from_json(data["parameters"]),
            fixed=dict(data["fixed"]),
            portfolio=tuple(dict(point) for point in data["portfolio"]),
            blocks=tuple(_from_json(block) for block in data["blocks"]),
            known=tuple(dict(point) for point in data.get("known", ())),  # Not in older plans.
        )

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Return a user's own space from a TOML file with one table, `[parameters]`.

        Each entry is `name = {low = 1, high = 8}`, with `log = true` or `step = 2` where
        wanted, or `name = {choices = ["a", "b"]}`.

        Raises:
            ValueError: Where the file is not TOML or describes no space; says which entry.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"Expected a TOML file. {path.name} is none: {error}.") from error
        entries = data.get("parameters")
        if set(data) != {"parameters"} or not isinstance(entries, dict) or not entries:
            raise ValueError(
                f"Expected one table [parameters] with an entry for each parameter in {path.name}. "
                f"Received: {', '.join(data) or 'an empty file'}."
            )
        return cls(name="own", parameters={n: _own(path, n, entry) for n, entry in entries.items()})

    def _check_decodes(self) -> None:
        if self.name == "own":
            raise ValueError("A user's own space has no topologies. Read its parameters instead.")

    def _check(self, parameters: Mapping[str, object]) -> None:
        for name in (*self.parameters, *parameters):
            if name not in self.parameters or name not in parameters:
                lack = "lacks" if name in self.parameters else "has the unknown"
                raise ValueError(f"This point of the {self.name} space {lack} parameter {name}.")
            if not self.parameters[name].contains(parameters[name]):
                raise ValueError(
                    f"Expected {name} within {self.parameters[name]}. "
                    f"Received: {parameters[name]!r}."
                )


def _values(parameter: Parameter) -> tuple[Value, ...]:
    if isinstance(parameter, Choice):
        return parameter.choices
    return tuple(range(int(parameter.low), int(parameter.high) + 1))


def spread(by_name: Mapping[str, Sequence[T]], layers: int) -> dict[str, T]:
    """Return one entry per name and layer; the last given stands for those that follow."""
    return {
        f"{name}_{layer + 1}": given[min(layer, len(given) - 1)]
        for layer in range(layers)
        for name, given in by_name.items()
    }


def deepest(depth: Parameter | Value) -> int:
    """Return the most hidden layers that a depth, searched or fixed, allows."""
    if isinstance(depth, Range):
        return int(depth.high)
    return max(int(choice) for choice in depth.choices) if isinstance(depth, Choice) else int(depth)


def _to_json(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
    return [{"name": name, **parameter.to_json()} for name, parameter in parameters.items()]


def _from_json(data: Sequence[Mapping[str, Any]]) -> dict[str, Parameter]:
    entries = [dict(entry) for entry in data]
    return {entry.pop("name"): parameter_from_json(entry) for entry in entries}


def _own(path: Path, name: str, entry: object) -> Parameter:
    try:
        if not isinstance(entry, dict):
            raise ValueError(
                f"Expected {{low = …, high = …}} or {{choices = […]}}. Received: {entry!r}."
            )
        return parameter_from_json(entry)
    except ValueError as error:
        raise ValueError(f"Parameter {name} of {path.name}: {error}") from error
