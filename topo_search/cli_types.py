"""What options of the command line are made of: times, numbers of slots, how many more."""

from __future__ import annotations

import re
from typing import Any

import click


class Duration(click.ParamType[float]):
    """Seconds, from text such as 90s, 10m, 1.5h or 600."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        match = re.fullmatch(r"\+?(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
        if match is None:
            self.fail(f"Expected a time such as 90s, 10m or 1.5h. Received: {value!r}.", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


class Slots(click.ParamType["int | None"]):
    """A number of slots, or auto."""

    name = "slots"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the number; None for auto."""
        if value in (None, "auto"):
            return None
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"Expected auto or a number from 1. Received: {value!r}.", param, ctx)
        return int(value)


class More(click.ParamType[int]):
    """How many more, with or without a plus."""

    name = "more"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if re.fullmatch(r"\+?\d+", str(value)) is None:
            self.fail(f"Expected a number such as +20. Received: {value!r}.", param, ctx)
        return int(value)
