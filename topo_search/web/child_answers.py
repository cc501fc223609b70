"""What a child process answers, as JSON: what a function returned, or an error to raise again."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What may be raised again in the caller; anything else is an error of ours, told as RuntimeError.
FAMILIES = (ValueError, LookupError, OSError, MemoryError)
OURS = ("builtins", "objectives", "storage", "topo_search")


def returned(value: Any) -> bytes:
    """Return what a child sends whose function returned.

    Raises:
        TypeError, ValueError: It returned what JSON does not know.
    """
    return json.dumps({"value": value}).encode()


def failed(error: Exception) -> bytes:
    """Return what a child sends whose function raised."""
    return json.dumps({"failed": vars(Failed.of(error))}, default=str).encode()


def read(data: bytes) -> Any:
    """Return what a child's function returned, or raise what it raised."""
    told = json.loads(data)
    if "failed" in told:
        raise Failed(**told["failed"]).error()
    return told["value"]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """From a child: the function raised."""

    kinds: Sequence[tuple[str, str]]  # Module and name of its type and bases, nearest first.
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
                for attribute, value in self.attributes.items():  # JSON has lists only.
                    setattr(error, attribute, tuple(value) if isinstance(value, list) else value)
                return error
        broken = RuntimeError(f"{self.kinds[0][1]}: {self.message}")
        broken.add_note(self.traceback)
        return broken


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS
