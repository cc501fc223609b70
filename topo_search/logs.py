"""A log on stderr: lines for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

# What moves a terminal's cursor, or ends a line; strangers' texts come into logs, too.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}
_CONTROL |= {ord(character): f"\\u{ord(character):04x}" for character in "\u2028\u2029\u202a\u202b"}
_CONTROL |= {code: f"\\u{code:04x}" for code in (*range(0x202C, 0x202F), *range(0x2066, 0x206A))}


class PlainLines(logging.Formatter):
    """Writes a record as a line with date, time and level, and a traceback indented below it."""

    def __init__(self, masked: Callable[[str], str] = str) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self.masked = masked

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line, which stays one."""
        record.message = record.message.translate(_CONTROL)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and what belongs to it."""
        told = getattr(record, "traceback", None)  # Of a slot's.
        text = super().format(record) + (f"\n{told}" if told else "")
        lines = self.masked(text.rstrip("\n")).split("\n")
        return "\n    ".join(line.translate(_CONTROL) for line in lines)


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object: time, level, message, worker, study, trial."""

    def __init__(self, worker: str | None, masked: Callable[[str], str] = str) -> None:
        super().__init__()
        self.worker, self.masked = worker, masked

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": self.masked(record.getMessage()),
            "worker": self.worker,
            "study": getattr(record, "study", None),
            "trial": getattr(record, "trial", None),
        }
        traceback = getattr(record, "traceback", None)  # Of a slot's.
        if record.exc_info:
            traceback = self.formatException(record.exc_info)
        if traceback:
            line["traceback"] = self.masked(traceback)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(worker: str | None, *, as_json: bool, masked: Callable[[str], str] = str) -> None:
    """Show what a worker, or the web service, does on stderr; called again, only name it.

    Args:
        worker: Its name; None until it has one.
        as_json: Whether machines read it.
        masked: Hides what may not be read in a log.
    """
    for lines in _json_lines():
        lines.worker = worker
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(worker, masked) if as_json else PlainLines(masked))
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(as_json)
    logging.getLogger("topo_search").setLevel(logging.INFO)


def is_for_machines() -> bool:
    """Tell whether every line on stderr has to be a JSON object."""
    return bool(_json_lines())


def _json_lines() -> list[JsonLines]:
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    return [one for one in formatters if isinstance(one, JsonLines)]
