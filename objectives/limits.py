"""Limits on a space as a user writes them: `1:6`, `relu,gelu`, `0.001`, `true`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from objectives import topology
from objectives.parameters import Choice, Parameter, Range, Value


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The numbers a parameter may be limited to."""

    low: int | float
    high: int | float


# What a user may ask for; what is tried unasked is narrower.
BOUNDS: dict[str, Bounds | tuple[Value, ...]] = {
    "depth": Bounds(low=1, high=topology.DEEPEST),
    "width": Bounds(low=1, high=topology.WIDEST),
    "activation": topology.ACTIVATIONS,
    "normalisation": topology.NORMALISATIONS,
    "residual": (False, True),
    "dropout": Bounds(low=0.0, high=0.95),
    "embedding": topology.EMBEDDINGS,
    "label_smoothing": Bounds(low=0.0, high=0.5),
    "learning_rate": Bounds(low=1e-7, high=1.0),
    "weight_decay": Bounds(low=0.0, high=1.0),
    "batch_size": Bounds(low=1, high=65_536),
    "scaling": topology.SCALINGS,
    "rare_levels": topology.RARE_LEVELS,
    "class_weights": topology.CLASS_WEIGHTS,
}
LOGARITHMIC = {"width", "learning_rate", "weight_decay", "batch_size"}
DEEP = 50  # Depths that reach further than this are drawn evenly in the logarithm.
# Two sizes to a doubling: networks of one shape share a compiled epoch, so few shapes pay.
WIDTHS = tuple(sorted(n << k for k in range(16) for n in (2, 3) if n << k <= topology.WIDEST))
BATCH_SIZES = tuple(1 << k for k in range(17))
SHARES = tuple(k / 20 for k in range(20))  # Nothing among them, which a range alone never gives.
GRIDS: dict[str, tuple[int | float, ...]] = {
    "width": WIDTHS,
    "batch_size": BATCH_SIZES,
    "dropout": SHARES,
    "label_smoothing": SHARES,
}
WORDS = {"true": True, "yes": True, "false": False, "no": False}


def parse(name: str, text: str) -> Parameter | Value:
    """Return what `text` limits the parameter `name` to: a range, a choice, or one value.

    Raises:
        ValueError: Where `text` cannot be read so, or leaves the parameter's bounds.
    """
    bounds = BOUNDS[name]
    if isinstance(bounds, tuple):
        return _choice([_word(name, part, bounds) for part in text.split(",")])
    low, colon, high = text.partition(":")
    if not colon:
        return _choice([_number(name, part, bounds) for part in text.split(",")])
    first, last = _number(name, low, bounds), _number(name, high, bounds)
    if first > last:
        raise ValueError(f"Expected {name} as low:high. Received: {text}. Write {high}:{low}.")
    return first if first == last else span(name, first, last)


def span(name: str, low: int | float, high: int | float) -> Range:
    """Return the parameter `name` as a range, on its usual scale and grid."""
    log = low > 0 and (name in LOGARITHMIC or (name == "depth" and high > DEEP))
    plain = Range(low=low, high=high, log=log)
    grid = GRIDS.get(name)
    if grid is None:
        return plain
    inner = {number for number in grid if low < number < high}
    return replace(plain, grid=tuple(sorted(inner | {low, high})))


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean …?" with the nearest of `names`, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _choice(values: list[Value]) -> Choice | Value:
    return values[0] if len(values) == 1 else Choice(choices=tuple(dict.fromkeys(values)))


def _word(name: str, text: str, choices: tuple[Value, ...]) -> Value:
    text = text.strip().lower()
    value = WORDS.get(text, text) if choices == (False, True) else text
    if value in choices:
        return value
    known = ["false", "true"] if choices == (False, True) else [str(c) for c in choices]
    raise ValueError(
        f"Expected {name} from {', '.join(known)}. Received: {text!r}.{suggestion(text, known)}"
    )


def _number(name: str, text: str, bounds: Bounds) -> int | float:
    kind = int if isinstance(bounds.low, int) else float
    try:
        number = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(
            f"Expected {name} as {what}, as low:high, or as a list a,b,c. Received: {text!r}."
        ) from None
    if not bounds.low <= number <= bounds.high:
        raise ValueError(
            f"Expected {name} from {bounds.low:g} to {bounds.high:g}. Received: {text.strip()}."
        )
    return number
