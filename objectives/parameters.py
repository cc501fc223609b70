"""What one parameter of a space may be: a `Range` of numbers or a `Choice` of values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole numbers where both are.

    Raises:
        ValueError: On construction, where the fields disagree.
    """

    low: int | float
    high: int | float
    log: bool = False  # Drawn evenly in the logarithm.
    step: int | float | None = None  # Distance of the values; none: 1 or continuous.
    grid: tuple[
        int | float, ...
    ] = ()  # Drawn numbers move to the nearest of these; none: they stay.

    def __post_init__(self) -> None:
        for name, number in (("low", self.low), ("high", self.high), ("step", self.step)):
            if number is not None and (not _is_number(number) or not math.isfinite(number)):
                raise ValueError(f"Expected {name} to be a number. Received: {number!r}.")
        if not isinstance(self.log, bool):
            raise ValueError(f"Expected log to be true or false. Received: {self.log!r}.")
        if self.low > self.high:
            raise ValueError(f"Expected low ≤ high. Received: low={self.low}, high={self.high}.")
        if self.log and self.low <= 0:
            raise ValueError(f"A logarithmic range needs low above 0. Received: {self.low}.")
        if self.step is not None:
            self._check_step(self.step)
        if any(not self.contains(point) for point in self.grid):
            raise ValueError(f"Expected a grid inside the range. Received: {self.grid}.")

    @property
    def integer(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def contains(self, value: object) -> bool:
        """Return whether `value` may be given to this parameter, drawn or not."""
        if not _is_number(value) or (self.integer and not isinstance(value, int)):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or _divides(self.step, value - self.low)

    def nearest(self, value: object) -> int | float:
        """Return the number nearest to `value` that can be drawn.

        Raises:
            ValueError: Where `value` is not a number.
        """
        if not _is_number(value):
            raise ValueError(f"Expected a number. Received: {value!r}.")
        clipped = min(max(value, self.low), self.high)
        if self.grid:
            distance = math.log if self.log else float
            return min(self.grid, key=lambda point: abs(distance(point) - distance(clipped)))
        if self.step is not None:
            clipped = self.low + round((clipped - self.low) / self.step) * self.step
        return round(clipped) if self.integer else float(clipped)

    def distribution(self) -> BaseDistribution:
        """Return this range as an Optuna distribution; the grid is not part of it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.integer:
            return IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def __str__(self) -> str:
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{step}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "low": self.low,
            "high": self.high,
            "log": self.log,
            "step": self.step,
            "grid": list(self.grid),
        }

    def _check_step(self, step: int | float) -> None:
        if step <= 0:
            raise ValueError(f"Expected step above 0. Received: {step}.")
        if self.log:
            raise ValueError("A logarithmic range takes no step. Leave out step, or log.")
        if self.integer and not isinstance(step, int):
            raise ValueError(f"Expected a whole step between whole numbers. Received: {step}.")
        if not _divides(step, self.high - self.low):
            raise ValueError(
                "Expected whole steps from low to high. "
                f"Received: low={self.low}, high={self.high}, step={step}."
            )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a few values without an order between them.

    Raises:
        ValueError: On construction, where there are none or one is named twice.
    """

    choices: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("Expected at least one choice. Received none.")
        for place, choice in enumerate(self.choices):
            if not isinstance(choice, bool | int | float | str):
                raise ValueError(f"Expected texts, numbers or booleans. Received: {choice!r}.")
            if choice in self.choices[:place]:
                raise ValueError(f"Expected each choice once. Received {choice!r} twice.")

    def contains(self, value: object) -> bool:
        """Return whether `value` is one of the choices."""
        # 1 == True in Python; here they are two things.
        return any(choice == value and type(choice) is type(value) for choice in self.choices)

    def nearest(self, value: object) -> Value:
        """Return `value` where it is a choice, else the nearest number or the first choice."""
        if self.contains(value):
            return next(choice for choice in self.choices if choice == value)
        if _is_number(value) and all(_is_number(choice) for choice in self.choices):
            return min(self.choices, key=lambda choice: abs(float(choice) - value))
        return self.choices[0]

    def distribution(self) -> BaseDistribution:
        """Return the choices as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def __str__(self) -> str:
        return ", ".join(str(choice) for choice in self.choices)

    def to_json(self) -> dict[str, Any]:
        """Return the field as a JSON value."""
        return {"choices": list(self.choices)}


Parameter = Range | Choice


def parameter_from_json(data: Mapping[str, Any]) -> Parameter:
    """Return the parameter whose `to_json` gave `data`, or that a user's file describes.

    Raises:
        ValueError: Where the fields are those of neither a range nor a choice.
    """
    if set(data) == {"choices"} and isinstance(data["choices"], list | tuple):
        return Choice(choices=tuple(data["choices"]))
    optional = {"log", "step", "grid"}
    if {"low", "high"} <= set(data) <= {"low", "high"} | optional:
        return Range(**{**data, "grid": tuple(data.get("grid", ()))})
    raise ValueError(
        "Expected {low = …, high = …} with log or step, or {choices = […]}. "
        f"Received: {dict(data)}."
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _divides(step: int | float, distance: int | float) -> bool:
    return math.isclose(round(distance / step) * step, distance, abs_tol=abs(step) * 1e-9)
