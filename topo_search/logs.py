"""A worker's log: lines for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object: time, level, message, worker, study, trial."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self.worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "worker": self.worker,
            "study": getattr(record, "study", None),
            "trial": getattr(record, "trial", None),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(worker: str, *, as_json: bool) -> None:
    """Show what a worker does on stderr."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(JsonLines(worker) if as_json else plain)
    logging.basicConfig(handlers=[handler])
    logging.captureWarnings(as_json)
    logging.getLogger("topo_search").setLevel(logging.INFO)
