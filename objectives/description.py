"""How a table was read, as `inspect` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from objectives.checks import target_warnings
from objectives.split_checks import split_warnings

if TYPE_CHECKING:
    from objectives.table import Table
    from objectives.target import Target


def describe(table: Table, target: Target | None = None) -> dict[str, Any]:
    """Return what `inspect --json` prints: how the table was read, and warnings.

    With a target the warnings include those about it.
    """
    reading = table.reading
    about_target: list[str] = []
    if target is not None:
        about_target = [*target_warnings(table, target), *split_warnings(table, target)]
    return {
        "encoding": reading.encoding,
        "separator": reading.separator,
        "quote": reading.quote,
        "skip": reading.skip,
        "decimal": reading.decimal,
        "header": reading.header,
        "rows": len(table.labels),
        "columns": [
            {
                "name": column.name,
                "kind": column.kind,
                "missing": column.missing,
                "distinct": column.distinct,
                "examples": list(column.examples),
            }
            for column in table.columns
        ],
        "dropped": [{"line": row.line, "reason": row.reason} for row in table.dropped],
        "warnings": [*table.warnings, *about_target],
    }
