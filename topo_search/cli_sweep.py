"""The command that learns what depth does to networks for a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo_search.cli_common import check_places, console, creating, echo_json, open_storage
from topo_search.cli_options import (
    FILE,
    as_json,
    overrides,
    serving_options,
    storage_option,
    table_options,
)
from topo_search.cli_serving import asked_again, exit_unless_finished, serve_shown
from topo_search.cli_types import Duration

if TYPE_CHECKING:
    from storage.connection import Storage
    from storage.rows import StudyRow
    from topo_search.depths import Depths
    from topo_search.results import Results

LIMITS = ("depth", "width", "activation", "learning-rate", "batch-size")


@click.command()
@click.argument("csv", type=FILE, required=False)
@click.option("--target", metavar="COLUMN", help="Column to predict: its name or position.")
@click.option("--depth", default="1:1000", show_default=True, help="Hidden layers to walk over.")
@click.option(
    "--kind",
    default="both",
    show_default=True,
    type=click.Choice(["plain", "residual", "both"]),
    help="Networks without residual links, with them, or both.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Trainings of each network.",
)
@click.option(
    "--points",
    default=60,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Depths at most, evenly spread in the logarithm.",
)
@click.option("--width", help="Units of each layer. [default: as many as inputs]")
@click.option("--activation", help="Of the curve; the others are tried at fewer depths.")
@click.option("--learning-rate", help="The highest of each training.")
@click.option("--batch-size", help="Rows that a step looks at.")
@click.option("--epochs", default=30, show_default=True, type=click.IntRange(1))
@click.option("--metric", help="The score. [default: accuracy for classes, rmse for numbers]")
@click.option(
    "--validation",
    default="holdout",
    show_default=True,
    type=click.Choice(["auto", "holdout", "cv"]),
    help="How networks are scored: on rows held out, or in turn on each fifth of them.",
)
@click.option("--timeout", type=Duration(), help="Time the trainings may use, as 10m.")
@click.option("--seed", default=0, show_default=True)
@click.option("--drop", multiple=True, metavar="NAME", help="Leave a column out. Repeatable.")
@click.option("--name", help="A name for the study.")
@click.option(
    "--compare",
    multiple=True,
    metavar="ID",
    help="Put an earlier sweep's curves on the page, too. Without CSV the first is the page's.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the page. [default: the table's name with -depth.html]",
)
@table_options
@serving_options
@storage_option
@as_json
def sweep(
    csv: Path | None, compare: tuple[str, ...], report: Path | None, json_: bool, **given: Any
) -> None:
    """Learn how deep networks for a table should be: train many depths, write a page."""
    if csv is None and not compare:
        raise click.UsageError("Missing argument 'CSV'.")
    if csv is not None:
        check_places(_page_path(csv.name, report), network=False)
    with open_storage(given, warm=csv is not None) as (settings, storage):
        from storage import studies as stored

        others = [stored.get(storage, reference) for reference in compare]
        key = None
        if csv is None:
            row, *others = others
        else:
            row, key = _create(storage, csv, given)
            asked = asked_again(row, given)
            row = serve_shown(settings, storage, row, json_, given, asked)
        try:
            _show(storage, row, key, others, report, json_)
        finally:  # Also where there is nothing to show yet.
            if csv is not None:
                exit_unless_finished(row, asked)


def _create(storage: Storage, csv: Path, given: dict[str, Any]) -> tuple[StudyRow, str]:
    from objectives.sweep import Sweep
    from topo_search import study
    from topo_search.files import table_bytes

    if given["target"] is None:
        raise click.UsageError(
            f"Missing option '--target'. See its columns with: topo-search inspect {csv}"
        )
    limits = {name: given[name.replace("-", "_")] for name in LIMITS}
    same = ("target", "metric", "epochs", "validation", "seed", "drop", "name")
    with creating(given):
        return study.create(
            storage,
            study.Options(
                data=table_bytes(csv, stored=True),
                file=csv.name,
                space="depth",
                limits={name: text for name, text in limits.items() if text is not None},
                sweep=Sweep(kind=given["kind"], seeds=given["seeds"], points=given["points"]),
                seconds=given["timeout"],
                overrides=overrides(given),
                **{name: given[name] for name in same},
            ),
        )


def _show(
    storage: Storage,
    row: StudyRow,
    key: str | None,
    others: list[StudyRow],
    report: Path | None,
    json_: bool,
) -> None:
    """Write the page, and say what the sweep found."""
    from objectives.space import Space
    from storage import trials
    from storage.rows import OPEN
    from topo_search import delivery, retries
    from topo_search.depths import depths_of
    from topo_search.sweep_page import answer, sweep_html, table_of
    from topo_search.writing import writing

    def found_by(one: StudyRow) -> tuple[Results, Depths]:
        space = Space.from_json(one.plan["space"])
        return delivery.results(storage, one), depths_of(trials.optuna_study(storage, one), space)

    retry = retries.patient(storage)
    if row.state in OPEN:  # It was interrupted, and whoever did so waits.
        retry.give_up_at(0.0)
    results, found = retry(found_by, row)
    others_found = [retry(found_by, one) for one in others]
    beside = {table_of(other): depths for other, depths in others_found}
    path = _page_path(str(row.plan.get("dataset_name") or row.id), report)
    page = sweep_html(results, found, beside)
    with writing(path):
        path.write_text(page, encoding="utf-8")
    said = answer(results, found)
    if json_:
        counts = {name: results.counts[name] for name in ("finished", "complete", "failed")}
        echo_json(
            {"study": row.id, "key": key, "state": row.state, "trials": counts, "answer": said}
            | {"report": str(path)}
        )
        return
    terminal = console()
    terminal.print()
    for sentence in said:
        terminal.print(sentence, markup=False)
    terminal.print(f"\nThe page: {path}", markup=False)


def _page_path(table: str, report: Path | None) -> Path:
    return report or Path(f"{Path(table).stem}-depth.html")
