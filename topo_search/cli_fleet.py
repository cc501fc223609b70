"""Commands of whoever runs the fleet: watch it, look after its storage."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from topo_search.cli_common import FAILED, console, echo_json, open_storage
from topo_search.cli_options import as_json, storage_option


@click.command()
@click.option("--watch", is_flag=True, help="Look again every 2 seconds until Ctrl-C.")
@click.option("--events", default=10, show_default=True, type=click.IntRange(0), help="Shown.")
@storage_option
@as_json
def fleet(watch: bool, events: int, json_: bool, **given: Any) -> None:
    """Show the workers, what each trains, and what happened lately."""
    if watch and json_:
        raise click.UsageError("--watch is for people: leave out --json, or --watch.")
    with open_storage(given) as (_, storage):
        from topo_search import fleet as seen

        if json_:
            echo_json(seen.look(storage, events).to_json())
        elif watch:
            seen.watch(console(), storage, events)
        else:
            console().print(seen.shown(seen.look(storage, events)))


@click.group()
def storage() -> None:
    """Look after the database that holds everything."""


@storage.command()
@click.option("--yes", is_flag=True, help="Also if workers were heard of in the last two minutes.")
@storage_option
@as_json
def upgrade(yes: bool, json_: bool, **given: Any) -> None:
    """Make the tables, or bring them to the form that this version needs."""
    with open_storage(given, upgrade=True, despite_workers=yes) as (_, opened):
        from storage.connection import schema

        version = schema(opened)
    if json_:
        echo_json({"schema": version})
        return
    click.echo(f"The tables have schema {version}, which this version needs.")


@storage.command()
@storage_option
@as_json
def check(json_: bool, **given: Any) -> None:
    """Check that nothing is lost and nothing is there twice."""
    with open_storage(given) as (_, opened):
        from storage.check import violations

        found = violations(opened)
    if json_:
        echo_json([asdict(wrong) for wrong in found])
    else:
        for wrong in found:
            click.echo(f"Study {wrong.study}: {wrong.rule}: {wrong.what}")
        click.echo("All is well." if not found else f"{len(found)} violations.")
    if found:
        sys.exit(FAILED)


@storage.command()
@storage_option
@as_json
def url(json_: bool, **given: Any) -> None:
    """Print the storage's URL, password and all, as Optuna's own tools take it."""
    with open_storage(given) as (_, opened):
        text = opened.url
    if json_:
        echo_json({"url": text})
        return
    click.echo(text)
