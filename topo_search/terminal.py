"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from storage.rows import StudyRow
from topo_search.formats import (
    format_count,
    format_metric,
    format_name,
    format_parameters,
    format_range,
    format_seconds,
    format_share,
    format_value,
)
from topo_search.results import Results
from topo_search.summary import answer, failure, reasons, verdict
from topo_search.terminal_status import format_state, plain_table

GO_ON = ("resume", "create", "search")  # One of which every study has.
SHOWN_TRIALS = 10
SHOWN_IMPORTANCES = SHOWN_REASONS = 5
SHOWN_COLUMNS = 20
BASELINES = {
    "majority": "most common class",
    "mean": "mean of the target",
    "median": "median of the target",
    "linear": "linear model",
    "boosting": "gradient boosting",
}


def show_table(console: Console, name: str, description: Mapping[str, Any]) -> None:
    """Show how a table was read."""
    separators = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe", " ": "space"}
    separator = separators.get(description["separator"], repr(description["separator"]))
    facts = [
        f"{description['encoding']}, separator {separator}",
        f"decimal sign {description['decimal']}",
        "with a header" if description["header"] else "no header",
        *([f"cells quoted with {quote}"] if (quote := description["quote"]) != '"' else []),
        *([f"begins on line {skip + 1}"] if (skip := description["skip"]) else []),
    ]
    rows = format_count(description["rows"], "row")
    columns = format_count(len(description["columns"]), "column")
    console.print(Text(f"{format_name(name)}: {rows}, {columns}", style="bold"))
    console.print(Text(", ".join(facts)))
    longest = max((len(column["name"]) for column in description["columns"]), default=0)
    table = plain_table(expand=True)
    table.add_column("column", overflow="fold", width=max(6, min(28, longest)))
    table.add_column("kind", width=11)
    table.add_column("missing", justify="right", width=7)
    table.add_column("distinct", justify="right", width=8)
    table.add_column("examples", style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
    for column in description["columns"]:
        missing = format_share(column["missing"]) if column["missing"] else ""
        table.add_row(
            Text(format_name(column["name"])),
            column["kind"],
            missing,
            format_count(column["distinct"]),
            Text(format_name(" · ".join(column["examples"]))),
        )
    console.print(table)
    for warning in description["warnings"]:
        console.print(Text(f"! {format_name(warning, 400)}", style="yellow"))
    dropped = description.get("dropped") or []
    for row in dropped[:10]:
        console.print(Text(f"! line {row['line']} is left out: {row['reason']}", style="yellow"))
    if len(dropped) > 10:
        console.print(Text(f"! and {len(dropped) - 10} more lines", style="yellow"))


def show_start(console: Console, row: StudyRow) -> None:
    """Say what is about to be searched."""
    plan = row.plan
    budget = format_count(row.trials, "trial")
    if row.seconds is not None:
        budget += f" or {format_seconds(row.seconds)}"
    parts = [f"Study {row.id}"]
    if plan.get("task"):
        file = format_name(plan["dataset_name"])
        parts.append(f"{format_name(plan['target'])} of {file} ({plan['task']})")
    parts.append(f"{budget}, by {format_metric(plan['metric'])}")
    console.print(Text(": ".join([parts[0], ", ".join(parts[1:])]), style="bold"))
    for warning in plan.get("warnings") or ():
        console.print(Text(f"! {format_name(warning, 400)}", style="yellow"))


def show_end(
    console: Console,
    results: Results,
    row: StudyRow,
    report: Path | None,
    network: Path | None,
    commands: Mapping[str, str],
    *,
    served: bool,
) -> None:
    """Say what a search came to and where it lies, and if it goes on whether anybody serves it."""
    show_results(console, results)
    lines = Table.grid(padding=(0, 2))
    if report is not None:
        lines.add_row("Report", _path(report))
    if network is not None:
        lines.add_row("Network", _path(network))
        lines.add_row("Predict", Text(f"topo-search predict {network} NEW.csv -o OUT.csv"))
    lines.add_row("Go on", Text(next(commands[name] for name in GO_ON if name in commands)))
    if "storage" in commands:
        lines.add_row("", Text("with TOPO_SEARCH_STORAGE set to the same URL"))
    if row.state != "finished":
        state = format_state(row, served)
        console.print(Text(f"The study is {state}. {row.reason or ''}".rstrip()))
    elif row.exhausted or row.time_is_spent:
        console.print(Text(f"The study is finished: {row.why_through}."))
    console.print(lines)


def show_results(console: Console, results: Results) -> None:
    """Show the answer, the scores beside the baselines', and the best trials."""
    console.print()
    console.print(Text(answer(results)))
    worth = verdict(results)
    if worth is not None:
        style = {"wins": "green", "close": "yellow", "loses": "yellow"}[worth.result]
        console.print(Text(worth.text, style=style))
    test = results.part("test")
    if test:
        console.print(Padding(_scores(results, test), (1, 0, 0, 0)))
    if len(results.leaderboard):
        console.print(Padding(_leaderboard(results), (1, 0)))


def show_findings(console: Console, results: Results, commands: Mapping[str, str]) -> None:
    """Show what the search learned, what it left out, and how to go on."""
    failed = failure(results)
    if failed is not None:
        console.print(Text(f"{failed.text} {failed.remedy}", style="yellow"))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True, style="dim")
    shares = [
        f"{format_name(str(name))} {format_share(share)}"
        for name, share in results.importances.head(SHOWN_IMPORTANCES).items()
    ]
    lines.add_row("mattered most", ", ".join(shares) or Text(results.importances_reason))
    for state, reason, count in reasons(results)[:SHOWN_REASONS]:
        lines.add_row(state, Text(f"{format_count(count, 'trial')}: {format_name(reason, 200)}"))
    for _, column in results.left_out.head(SHOWN_COLUMNS).iterrows():
        lines.add_row("left out", Text(f"{format_name(column['column'])}: {column['why']}"))
    if (more := len(results.left_out) - SHOWN_COLUMNS) > 0:
        lines.add_row("", f"and {format_count(more, 'more column')}")
    for warning in results.warnings:
        lines.add_row(Text("!", style="yellow"), Text(format_name(warning, 400), style="yellow"))
    for name, command in commands.items():
        lines.add_row(name, Text(command))
    console.print(lines)


def _scores(results: Results, test: Mapping[str, Any]) -> Table:
    table = plain_table()
    table.add_column(f"on {format_count(test['rows'], 'test row')}")
    table.add_column(format_metric(results.metric), justify="right")
    table.add_column("95 % interval", style="dim")
    value = Text(format_value(results.metric, test["value"]), style="bold green")
    interval = format_range(results.metric, test["low"], test["high"])
    table.add_row(Text("this network", style="bold"), value, interval)
    for name, score in results.part("baselines").items():
        table.add_row(BASELINES.get(name, name), format_value(results.metric, score), "")
    return table


def _leaderboard(results: Results) -> Table:
    table = plain_table()
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("validation", justify="right", no_wrap=True)
    table.add_column("topology", max_width=42, no_wrap=True, overflow="ellipsis")
    table.add_column("weights", justify="right", no_wrap=True)
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for _, trial in results.leaderboard.head(SHOWN_TRIALS).iterrows():
        parameters = {
            str(name).removeprefix("param."): value
            for name, value in trial.items()
            if str(name).startswith("param.")
        }
        shown = trial["topology"] or format_parameters(parameters)
        table.add_row(
            str(trial["trial"]),
            format_value(results.metric, trial["value"]),
            Text(format_name(shown)),
            *(
                format_count(None if _missing(trial[n]) else trial[n])
                for n in ("weights", "epochs")
            ),
            format_seconds(None if _missing(trial["seconds"]) else trial["seconds"]),
        )
    return table


def _missing(value: Any) -> bool:
    return str(value) in ("None", "nan", "<NA>")


def _path(path: Path) -> Text:
    return Text(str(path), style="bold")
