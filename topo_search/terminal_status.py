"""What the commands print of how far studies are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.rows import OPEN, StudyRow
from topo_search.fleet import nobody_serves
from topo_search.formats import NOTHING, format_metric, format_name, format_value


def show_studies(
    console: Console,
    found: list[dict[str, Any]],
    rows: Mapping[str, StudyRow],
    unserved: Sequence[str],
) -> None:
    """List studies, a line each, and say which of them nobody serves."""
    if not found:
        console.print("No studies yet. Start one: topo-search search TABLE.csv --target COLUMN")
        return
    table = plain_table()
    for name, justify in (("study", "left"), ("table", "left"), ("target", "left"),
                          ("state", "left"), ("trials", "right"), ("best", "right")):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    table.add_column("created", style="dim", no_wrap=True)
    for one in found:
        row = rows[one["study"]]
        best = one["best"]
        table.add_row(
            row.id,
            Text(format_name(row.name or row.plan.get("dataset_name") or NOTHING, 24)),
            Text(format_name(row.plan.get("target") or NOTHING, 20)),
            row.state,
            f"{one['trials']['finished']}/{row.trials}",
            format_value(row.plan["metric"], best["value"]) if best else NOTHING,
            f"{row.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    console.print(table)
    if unserved:
        console.print(nobody_serves(unserved))


def show_status(console: Console, found: Mapping[str, Any], row: StudyRow, *, served: bool) -> None:
    """Show how far a study is, and whether anybody serves it."""
    trials = found["trials"]
    reason = f": {row.reason}" if row.reason else ""
    console.print(Text(f"Study {row.id} is {format_state(row, served)}{reason}", style="bold"))
    counted = ", ".join(
        f"{trials[name]:,} {name}"
        for name in ("complete", "pruned", "failed", "running", "waiting")
        if trials[name]
    )
    console.print(f"{trials['finished']:,} of {row.trials:,} trials: {counted or 'none yet'}")
    for worker, why in found["refused"].items() if row.state in OPEN else ():
        console.print(Text(f"Worker {worker} does not serve it: {why}", style="yellow"))
    best = found["best"]
    if best is not None:
        value = format_value(row.plan["metric"], best["value"])
        metric = format_metric(row.plan["metric"])
        console.print(
            Text(f"Best: {metric} {value}, {best['topology'] or ''} (trial {best['trial']})")
        )


def format_state(row: StudyRow, served: bool) -> str:
    """Return a study's state, and whether an open one waits for somebody to serve it."""
    return row.state if served or row.state not in OPEN else f"{row.state}; nobody serves it"


def plain_table(*, expand: bool = False) -> Table:
    """Return an empty table without lines."""
    return Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", expand=expand)
