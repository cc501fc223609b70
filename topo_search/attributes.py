"""What objectives say of their trials, as far as it is what its name promises.

The built-in objective keeps to it; a user's own may call anything it likes `losses` or `depth`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial

WHOLE = ("depth", "weights", "epochs", "best_epoch", "attempts")
REAL = ("seconds",)
TEXT = ("topology", "worker", "reason")
_EXACT = 2**53  # Below it every whole number is a float, too.


def described(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that describe a trial in tables, those of another kind left out."""
    names = [name for name in (*WHOLE, *REAL, *TEXT) if name in attributes]
    return {name: attributes[name] for name in names if _fits(name, attributes[name])}


def loss_of(trial: FrozenTrial) -> float:
    """Return a trial's validation loss at its best epoch; infinite where it has none."""
    losses, epoch = numbers(trial.user_attrs.get("losses")), trial.user_attrs.get("best_epoch")
    if not isinstance(epoch, int) or not 1 <= epoch <= len(losses):
        return math.inf
    loss = losses[epoch - 1]
    return math.inf if math.isnan(loss) else loss


def numbers(value: Any) -> list[float]:
    """Return a list of numbers as it is, and an empty one for anything else."""
    listed = isinstance(value, list) and all(isinstance(item, int | float) for item in value)
    return value if listed else []


def _fits(name: str, value: Any) -> bool:
    if name in TEXT:
        return isinstance(value, str)
    if not isinstance(value, int | float) or not abs(value) < _EXACT:
        return False
    return name not in WHOLE or value == int(value)
