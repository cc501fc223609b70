"""Files with tables on this machine, read only where they fit."""

from __future__ import annotations

from pathlib import Path

from objectives.memory import available_memory
from objectives.table import TooLargeError
from storage.datasets import MAX_BYTES


def table_bytes(path: Path, *, stored: bool = False) -> bytes:
    """Return a table's bytes; its size is looked at first.

    Args:
        path: The file.
        stored: Whether they are to be kept as a dataset, of `MAX_BYTES` at most.

    Raises:
        TooLargeError: It has more bytes than the memory that is free, or than a dataset may have.
        OSError: It cannot be read.
    """
    size, free = path.stat().st_size, available_memory()
    if stored and size > MAX_BYTES:
        raise TooLargeError(
            f"Expected a table of at most {_gigabytes(MAX_BYTES)}, which is what the database "
            f"keeps of one. Received {path.name} with {_gigabytes(size)}. Leave out columns or "
            "rows."
        )
    if size > free:
        raise TooLargeError(
            f"Expected a table that fits into the memory that is free here, {_gigabytes(free)}. "
            f"Received {path.name} with {_gigabytes(size)}. Leave out columns or rows, or use a "
            "machine with more memory."
        )
    return path.read_bytes()


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.3g} GiB" if size < 1000 * 2**30 else f"{size / 2**30:,.0f} GiB"
