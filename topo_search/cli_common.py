"""What the commands share: exit codes, the storage, the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

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


@contextmanager
def open_storage(
    given: dict[str, Any], *, warm: bool = False, upgrade: bool = False
) -> Iterator[tuple[Settings, Storage]]:
    """Open the storage that the options and the environment name.

    Args:
        given: The options.
        warm: Whether slots will be started: then their libraries are loaded meanwhile.
        upgrade: As `settings.opened` takes it.
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

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with opened(settings, upgrade=upgrade) as storage:
        if warm:
            forking.warm_up(settings.log)
        yield settings, storage


@contextmanager
def open_study(
    reference: str, given: dict[str, Any], *, warm: bool = False
) -> Iterator[tuple[Settings, Storage, StudyRow]]:
    """Open the storage and the study that the options and the reference name."""
    with open_storage(given, warm=warm) as (settings, storage):
        from storage import studies as stored

        yield settings, storage, stored.get(storage, reference)


def console(*, stderr: bool = False) -> Console:
    """Return the terminal to print to."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def echo_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
