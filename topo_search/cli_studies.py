"""Commands that show tables and studies, and use what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from topo_search.cli_common import bad_options, console, echo_json, open_storage, open_study
from topo_search.cli_options import FILE, as_json, overrides, storage_option, table_options
from topo_search.writing import check_file, writing


@click.command()
@click.argument("csv", type=FILE)
@click.option("--target", help="Also warn of columns that alone give this one away.")
@table_options
@as_json
def inspect(csv: Path, target: str | None, json_: bool, **given: Any) -> None:
    """Show how a table is read: encoding, separator, and each column's kind."""
    from objectives.table import choose_target, describe, read_table
    from topo_search.files import table_bytes

    with bad_options():
        table = read_table(table_bytes(csv), overrides=overrides(given))
        chosen = None if target is None else choose_target(table, target)
    description = describe(table, chosen)
    if json_:
        echo_json(description)
        return
    from topo_search.terminal import show_table

    show_table(console(), csv.name, description)


@click.command()
@storage_option
@as_json
def studies(json_: bool, **given: Any) -> None:
    """List all studies."""
    with open_storage(given) as (_, storage):
        from storage import studies as stored
        from topo_search import fleet, study_status

        rows = {row.id: row for row in stored.list_studies(storage)}
        found = study_status.statuses(storage, [*rows.values()])
        unserved = fleet.unserved(storage)
    if json_:
        echo_json(found)
        return
    from topo_search.terminal_status import show_studies

    show_studies(console(), found, rows, unserved)


@click.command()
@click.argument("study_id", metavar="ID")
@storage_option
@as_json
def status(study_id: str, json_: bool, **given: Any) -> None:
    """Show how far a study is."""
    with open_study(study_id, given) as (_, storage, row):
        from topo_search import fleet, study_status

        found = study_status.status(storage, row)
        served = row.id not in fleet.unserved(storage)
    if json_:
        echo_json(found)
        return
    from topo_search.terminal_status import show_status

    show_status(console(), found, row, served=served)


@click.command()
@click.argument("study_id", metavar="ID")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write all trials.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report.")
@storage_option
@as_json
def results(study_id: str, csv: Path | None, html: Path | None, json_: bool, **given: Any) -> None:
    """Show what a study found: leaderboard, scores, and with options a CSV and the report."""
    with open_study(study_id, given) as (_, storage, row):
        from topo_search import delivery, next_steps

        found = delivery.results(storage, row)
        next_ = next_steps.commands(row, next_steps.Asked(storage=given["where"]))
    if csv is not None:
        with writing(csv):
            csv.write_text(found.to_csv(), encoding="utf-8", newline="")
    if html is not None:
        from topo_search.report import write_report

        write_report(found, html, commands=next_)
    if json_:
        echo_json({**found.to_json(), "commands": next_})
        return
    from topo_search.terminal import show_findings, show_results

    show_results(console(), found)
    show_findings(console(), found, next_)
    for path in filter(None, (csv, html)):
        click.echo(f"Written: {path}")


@click.command()
@click.argument("study_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write. [default: network-ID]",
)
@storage_option
@as_json
def export(study_id: str, output: Path | None, json_: bool, **given: Any) -> None:
    """Write a study's network into a folder: Keras file, reading rules, how to use them.

    Of an objective of your own: the weights that its best trial gave.
    """
    with open_study(study_id, given) as (_, storage, row):
        from topo_search import predictor

        folder = predictor.export(storage, row, output or Path(f"network-{row.id}"))
    if json_:
        echo_json({"study": row.id, "folder": str(folder)})
        return
    use = (
        ""
        if row.plan["space"]["name"] == "own"
        else (f" Use it: topo-search predict {folder} NEW.csv -o OUT.csv")
    )
    click.echo(f"Written: {folder}.{use}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("csv", type=FILE)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="CSV file.")
@as_json
def predict(folder: Path, csv: Path, output: Path | None, json_: bool) -> None:
    """Predict a CSV's rows with an exported network. Needs no database."""
    if output is not None:  # Before anything heavy is loaded.
        check_file(output)
    from topo_search import predictor
    from topo_search.files import table_bytes

    prediction = predictor.predict(folder, table_bytes(csv))
    for warning in prediction.warnings:
        click.echo(f"Note: {warning}", err=True)
    if output is not None:
        with writing(output), output.open("w", encoding="utf-8", newline="") as file:
            prediction.frame.to_csv(file, index=False)
        click.echo(f"Written: {len(prediction.frame):,} predictions to {output}", err=True)
    if json_:
        names = [*([prediction.line] if prediction.line else []), *prediction.predicted]
        echo_json(prediction.frame[names].to_dict("records"))
    elif output is None:
        click.echo(prediction.frame.to_csv(index=False), nl=False)


@click.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="On 127.0.0.1."
)
@storage_option
@as_json
def dashboard(port: int, json_: bool, **given: Any) -> None:
    """Open optuna-dashboard over the same storage, for this machine only."""
    with open_storage(given) as (_, storage):
        from topo_search.dashboard import serve

        def say(url: str) -> None:
            if json_:
                echo_json({"url": url})
            else:
                click.echo(f"optuna-dashboard: {url}  (Ctrl-C ends it)")

        serve(storage, port, say)
