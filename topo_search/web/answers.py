"""What a child process answers: what a function returned, or an error to be raised again."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What may be raised again in the caller; anything else is an error of ours, told as RuntimeError.
FAMILIES = (ValueError, LookupError, OSError, MemoryError)
OURS = ("builtins", "objectives", "storage", "topo_search")


@dataclass(frozen=True, kw_only=True)
class Returned:
    """From a child: the function returned."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Failed:
    """From a child: the function raised."""

    kinds: tuple[tuple[str, str], ...]  # Module and name of its type and bases, nearest first.
    message: str
    attributes: Mapping[str, Any] = field(default_factory=dict)  # Of an error of the project's.
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """Describe an error in plain values; its class need not be importable elsewhere."""
        kinds = tuple((kind.__module__, kind.__qualname__) for kind in type(error).__mro__)
        only = error.args[0] if len(error.args) == 1 else None
        return cls(
            kinds=kinds,
            message=only if isinstance(only, str) else str(error),
            attributes=dict(vars(error)) if _is_ours(kinds[0][0]) else {},
            traceback="".join(traceback.format_exception(error))[-20_000:],
        )

    def error(self) -> Exception:
        """Return the error, of its type where the caller knows that, else of the nearest base.

        A type from a module that is not loaded here cannot be caught by its name here either; to
        load it could cost the caller as much memory as the child was to spare it.
        """
        for module, name in self.kinds:
            kind = getattr(sys.modules.get(module), name, None) if _is_ours(module) else None
            # Those about Unicode are not made of a message.
            if not isinstance(kind, type) or issubclass(kind, UnicodeError):
                continue
            if issubclass(kind, FAMILIES):
                error: Exception = kind.__new__(kind, self.message)
                error.args = (self.message,)
                error.__dict__.update(self.attributes)
                return error
        broken = RuntimeError(f"{self.kinds[0][1]}: {self.message}")
        broken.add_note(self.traceback)
        return broken


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS
