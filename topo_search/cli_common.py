"""What the commands share: exit codes, the storage, the console."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo_search.logs import is_for_machines

if TYPE_CHECKING:
    from rich.console import Console

    from storage.connection import Storage
    from storage.rows import StudyRow
    from topo_search.settings import Settings

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # Exit codes.


class BadOption(click.ClickException):
    """An option that does not fit the table, the space or the other options."""

    exit_code = USAGE


@contextmanager
def bad_options() -> Iterator[None]:
    """Tell errors of the options from errors of the file."""
    from objectives.reading import NoSuchColumnError, NoSuchReadingError, ReadingError

    try:
        yield
    except ValueError as error:
        of_options = NoSuchColumnError, NoSuchReadingError
        if isinstance(error, ReadingError) and not isinstance(error, of_options):
            raise
        raise BadOption(str(error)) from error


def check_places(report: Path, *, network: bool) -> None:
    """Make sure that a report can be written, and a network beside it, before anything is trained.

    Raises:
        BadOption: It cannot.
    """
    from topo_search.writing import UnwritableError, check_file, check_folder, network_beside

    try:
        check_file(report)
        if network:
            check_folder(network_beside(report))
    except UnwritableError as error:
        raise BadOption(f"{error} Name another: --report FILE.html") from error


@contextmanager
def open_storage(
    given: dict[str, Any],
    *,
    warm: bool = False,
    upgrade: bool = False,
    despite_workers: bool = False,
) -> Iterator[tuple[Settings, Storage]]:
    """Open the storage that the options and the environment name.

    Args:
        given: The options.
        warm: Whether slots will be started: then their libraries are loaded meanwhile.
        upgrade: As `settings.opened` takes it.
        despite_workers: As `settings.opened` takes it.
    """
    from topo_search.settings import Settings, opened

    given["where"] = given.pop("storage")
    settings = Settings.read(storage=given["where"])
    if warm:
        from storage import private_files
        from topo_search import forking

        private_files.claim_home(settings.home)
        if settings.storage is None:  # It takes as long to start; another may be away.
            forking.warm_up(settings.log)
    import optuna

    from storage import hanging

    hanging.hear_signals()
    # A study's trials are very many objects, and no garbage: looking for some takes as long again.
    gc.set_threshold(10_000)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if is_for_machines():
        optuna.logging.disable_default_handler()
        optuna.logging.enable_propagation()
    with ExitStack() as stack:
        with shown_meanwhile("Opening the database …"):
            how = {"upgrade": upgrade, "despite_workers": despite_workers}
            storage = stack.enter_context(opened(settings, **how))
        if warm:
            forking.warm_up(settings.log)
        yield settings, storage


@contextmanager
def shown_meanwhile(text: str) -> Iterator[None]:
    """Show a line for as long as something takes, where anybody looks."""
    watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if watched:
        click.echo(text, nl=False, err=True)
    try:
        yield
    finally:
        if watched:
            click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def open_study(
    reference: str, given: dict[str, Any], *, warm: bool = False
) -> Iterator[tuple[Settings, Storage, StudyRow]]:
    """Open the storage and the study that the options and the reference name."""
    with open_storage(given, warm=warm) as (settings, storage):
        from storage import studies as stored

        yield settings, storage, stored.get(storage, reference)


@contextmanager
def answer_may_be_lost(words: str) -> Iterator[None]:
    """Add to an error of the database that what was asked for may have happened, and how to look.

    Raises:
        StorageError: With these words at its end.
    """
    from storage.errors import StorageError

    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error} {words}") from error


@contextmanager
def creating(given: dict[str, Any]) -> Iterator[None]:
    """Tell what goes wrong while a study is created: with its options, or on its way."""
    from topo_search.next_steps import Asked

    look = f"topo-search studies{Asked(storage=given['where']).where}"
    lost = f"If the answer alone was lost, the study is there. See before you repeat it: {look}"
    with answer_may_be_lost(lost), bad_options():
        yield


def console(*, stderr: bool = False) -> Console:
    """Return the terminal to print to."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def echo_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
