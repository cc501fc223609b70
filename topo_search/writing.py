"""Files and folders that a command writes, and what is said where it cannot."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnwritableError(OSError):
    """A file or a folder that cannot be written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let the block write a file or a folder, those above it made, and say what keeps it from that.

    Raises:
        UnwritableError: It cannot be written; names it, and why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, FileExistsError):
            why = f"{error.filename} is a file"
        raise UnwritableError(
            f"Expected a place that can be written. Received {path}: {why}."
        ) from error


def check_file(path: Path) -> None:
    """Make sure that a file can be written, before what takes long; its folder is made.

    Raises:
        UnwritableError: It cannot.
    """
    with writing(path):
        if path.is_file():
            path.open("ab").close()
        elif not path.exists():  # A pipe, once opened and left, has no reader any more.
            tempfile.TemporaryFile(dir=path.parent).close()


def check_folder(path: Path) -> None:
    """Make sure that files can be written into a folder, or it be made, before what takes long.

    Raises:
        UnwritableError: They cannot.
    """
    with writing(path):
        tempfile.TemporaryFile(dir=path if path.exists() else path.parent).close()


def network_beside(report: Path) -> Path:
    """Return the folder that gets the network whose report lies there."""
    return report.with_name(f"{report.stem.removesuffix('-report')}-network")
