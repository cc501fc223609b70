"""Disks on which a dataset cannot be kept."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATASETS = "datasets"  # The folder that a worker keeps them in.


@contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """Let a folder have room for 1 MB while the block runs.

    Raises:
        OSError: A small file system cannot be mounted here.
    """
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        raise OSError("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def barred(folder: Path) -> Path:
    """Make a folder in which no dataset can be kept, as a file is in the way."""
    folder.mkdir()
    (folder / DATASETS).write_text("not a folder")
    return folder


def spoilt(folder: Path, dataset: str) -> Path:
    """Make a folder that keeps a dataset's name with the bytes of another."""
    (folder / DATASETS).mkdir(parents=True)
    (folder / DATASETS / dataset).write_bytes(b"not what it was")
    return folder
