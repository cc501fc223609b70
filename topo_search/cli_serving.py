"""Serving a study from a terminal, in view, and handing over what it found."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo_search.cli_common import FAILED, INTERRUPTED, console, echo_json
from topo_search.cli_options import serving_arguments, serving_of

if TYPE_CHECKING:
    from storage.connection import Storage
    from storage.rows import StudyRow
    from topo_search.next_steps import Asked
    from topo_search.settings import Settings

logger = logging.getLogger(__name__)


def serve_and_hand_over(
    settings: Settings,
    storage: Storage,
    opened: Callable[[], tuple[StudyRow, str | None]],
    csv: Path | None,
    report: Path | None,
    json_: bool,
    given: dict[str, Any],
) -> None:
    """Serve a study here, then say what came of it, or how to go on with it.

    Args:
        settings: Of this machine.
        storage: Where the study is.
        opened: Creates or resumes it, and returns it with its key, if that is known. It is called
            when all is loaded: whoever interrupts what follows is told how to go on.
        csv: The table's file, if any.
        report: Where the report is to lie, where it was asked for.
        json_: Whether to print for machines.
        given: The options.
    """
    from storage.rows import OPEN
    from topo_search import delivery, fleet, live, next_steps, own_worker, retries  # noqa: F401
    from topo_search.terminal import show_end
    from topo_search.writing import UnwritableError

    row, key = opened()
    asked = asked_again(row, given, report)
    row = serve_shown(settings, storage, row, json_, given, asked)
    retry, path = retries.patient(storage), report_path(csv, row.name or row.id, report)
    if row.state in OPEN:  # It was interrupted, and whoever did so waits.
        retry.give_up_at(0.0)
    written, network, failure = None, None, None
    try:
        written, network = retry(delivery.hand_over, storage, row, path, asked)
    except UnwritableError as error:
        failure = f"Error: {error} {next_steps.write_again(row, asked)}"
    if json_:
        echo_json(retry(delivery.to_json, storage, row, key, written))
    else:
        next_ = next_steps.commands(row, asked)
        found = retry(delivery.results, storage, row)
        served = row.id not in retry(fleet.unserved, storage)
        show_end(console(), found, row, written, network, next_, served=served)
    if failure is not None:
        click.echo(failure, err=True)
    exit_unless_finished(row, asked)
    if failure is not None:
        sys.exit(FAILED)


def asked_again(row: StudyRow, given: dict[str, Any], report: Path | None = None) -> Asked:
    """Return what was asked of a command that serves a study, for the one that goes on."""
    from topo_search.next_steps import Asked

    serving = serving_arguments(given, row.plan["objective"], report)
    return Asked(storage=given["where"], serving=serving)


def serve_shown(
    settings: Settings,
    storage: Storage,
    row: StudyRow,
    json_: bool,
    given: dict[str, Any],
    asked: Asked,
) -> StudyRow:
    """Serve a study with this machine's slots, in view, and return how it is then."""
    from topo_search import next_steps, own_worker
    from topo_search.live import View
    from topo_search.terminal import show_start

    try:
        terminal = console(stderr=json_)
        if not json_:
            show_start(terminal, row)
        view = View(terminal, row)
        with view.shown():
            # Whoever starts a study of an own objective here means it to run here.
            own = given.get("objective", "tabular")
            serving = serving_of(given, own)
            return own_worker.serve(storage, settings.home, row.id, serving, on_tick=view.tick)
    except KeyboardInterrupt:  # Before the worker listened to it.
        click.echo(f"Interrupted. {next_steps.go_on(row, asked)}", err=True)
        sys.exit(INTERRUPTED)


def exit_unless_finished(row: StudyRow, asked: Asked) -> None:
    """End the command with a word on what keeps a study from being finished, if anything does."""
    from topo_search import next_steps

    go_on = next_steps.go_on(row, asked)
    if row.state in ("created", "running"):
        click.echo(f"Interrupted. {go_on}", err=True)
        sys.exit(INTERRUPTED)
    if row.state != "finished" or row.outcome is None:
        remedy = "" if row.state == "finished" else f" {go_on}"
        click.echo(f"Error: the study is {row.state}: {row.reason}.{remedy}", err=True)
        sys.exit(FAILED)


def report_path(csv: Path | None, name: str, report: Path | None) -> Path:
    """Return where a study's report goes.

    Args:
        csv: The table's file, after which it is named.
        name: What it is named after where there is no such file.
        report: Where a user wants it.
    """
    named = csv.stem if csv else name
    return report or Path(f"{named.replace('/', '-')}-report.html")
