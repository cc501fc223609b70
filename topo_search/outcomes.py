"""Outcomes: what an objective returned, made into what the database can keep."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from objectives.objective import Outcome

LONGEST_NAME = 512  # Characters of an attribute's name: Optuna's column.
OUTDONE = "not among the best"  # Why a trial is pruned that others beat at a rung.
# What we note of every trial.
OURS = ("lease", "unit", "seed", "worker", "attempts", "known_from", "known_epochs")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL has neither NUL nor half a character.


def storable(text: str) -> str:
    """Return a text with what PostgreSQL cannot keep written as escapes."""
    return _UNSTORABLE.sub(lambda found: ascii(found.group())[1:-1], text)


def in_a_line(error: BaseException) -> str:
    """Return what an error says, in one line that PostgreSQL can keep."""
    return storable(f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")[:500])


def checked(outcome: object) -> Outcome:
    """Return what an objective returned as plain numbers, JSON and bytes, which can be kept.

    Raises:
        TypeError, ValueError: Where it is no outcome, or cannot be kept.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"Expected an Outcome from the objective. Received: {outcome!r}.")
    if not isinstance(outcome.weights, bytes | None):
        received = type(outcome.weights).__name__
        raise TypeError(f"Expected bytes as weights. Received: {received}.")
    metrics = {str(name): float(value) for name, value in outcome.metrics.items()}
    attributes = json.loads(json.dumps(dict(outcome.attributes)))
    for name in (*metrics, *attributes):
        _check_name(name)
    for text in _texts([*metrics, attributes]):
        if _UNSTORABLE.search(text):
            raise ValueError(
                "Expected metrics and attributes of text without NUL and lone surrogates, which "
                f"PostgreSQL cannot keep. Received {ascii(text[:100])}; leave these out."
            )
    return Outcome(
        value=float(outcome.value),
        metrics=metrics,
        weights=outcome.weights,
        attributes=attributes,
    )


def _check_name(name: str) -> None:
    if name in OURS:
        raise ValueError(
            f"Expected names of metrics and attributes other than {', '.join(OURS)}, which every "
            f"trial has from topo-search. Received {name!r}: give it another name."
        )
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"Expected names of metrics and attributes of at most {LONGEST_NAME} characters. "
            f"Received one of {len(name)}, {ascii(name[:40])}…: give it a shorter name."
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, names among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
