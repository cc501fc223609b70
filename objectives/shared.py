"""Arrays that all slots of a machine have in common: made once, kept in files, mapped by each."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

MOST = 8 * 2**30
"""Bytes of a folder's files, beyond which those used longest ago are dropped."""


def shared(folder: Path | None, what: str, make: Callable[[], Arrays]) -> Arrays:
    """Return arrays that the first process to ask for them makes; others wait for it.

    Args:
        folder: What the processes share; None where there is nothing to share, as in a notebook.
        what: Tells these arrays from all others: whatever they depend on is in it.
        make: Makes them, by names that files can have.

    Returns:
        The arrays, mapped from files: their pages are the machine's, and a process that writes
        into them has a copy of its own. Where files cannot be written, those that were made.
    """
    if folder is None:
        return make()
    place = folder / hashlib.sha256(what.encode()).hexdigest()[:32]
    with _alone(_lock(place)) as alone:
        if not alone:
            return make()
        with suppress(FileNotFoundError):  # Nobody made them yet, or they were dropped.
            return _mapped(place)
        made = make()
        try:
            _write(place, made)
            return _mapped(place)
        except OSError as error:
            logger.warning("Arrays are not shared between slots: %s", error)
            return made


def packed(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return a frame of floats and texts as arrays, equal texts of a column kept once."""
    numeric = [name for name in frame if frame[name].dtype == np.float64]
    factors = {name: pd.factorize(frame[name]) for name in frame if name not in numeric}
    said = {"names": [*frame], "texts": {name: [*texts] for name, (_, texts) in factors.items()}}
    numbers, codes = np.empty((len(numeric), len(frame))), np.empty((len(factors), len(frame)))
    for row, name in enumerate(numeric):
        numbers[row] = frame[name]
    for row, (found, _) in enumerate(factors.values()):
        codes[row] = found
    return {
        "said": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "numbers": numbers,
        "codes": codes.astype(np.int32),
    }


def unpacked(arrays: Arrays) -> pd.DataFrame:
    """Return the frame that `packed` took."""
    said = json.loads(arrays["said"].tobytes())
    numbers, codes = iter(arrays["numbers"]), iter(arrays["codes"])
    columns = {}
    for name in said["names"]:
        texts = said["texts"].get(name)
        values = next(numbers) if texts is None else np.array(texts, object)[next(codes)]
        columns[name] = pd.Series(values, dtype=values.dtype)
    return pd.DataFrame(columns, index=pd.RangeIndex(arrays["numbers"].shape[1]), copy=False)


def _mapped(place: Path) -> dict[str, NDArray[Any]]:
    os.utime(place)
    found = {}
    for path in place.iterdir():
        # There is nothing to map of an array without elements.
        empty = path.suffix == ".empty"
        array = np.load(path, mmap_mode=None if empty else "c", allow_pickle=False)
        found[path.stem] = np.asarray(array)
    return found


def _write(place: Path, arrays: Arrays) -> None:
    """Write arrays where all of them appear at once; the place's lock is held."""
    _make_room(place.parent, sum(array.nbytes for array in arrays.values()))
    unfinished = _hidden(place)
    shutil.rmtree(unfinished, ignore_errors=True)  # Of a slot that was killed.
    try:
        unfinished.mkdir(mode=0o700)
        for name, array in arrays.items():
            path = unfinished / f"{name}{'.npy' if array.size else '.empty'}"
            with path.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        unfinished.rename(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _make_room(folder: Path, size: int) -> None:
    """Drop what was used longest ago; whoever has it mapped keeps it until it lets go.

    What slots that were killed left hidden goes, too: nobody holds its lock.
    """
    known = []
    for path in [*folder.iterdir()]:
        with suppress(OSError):  # Another process is faster.
            if path.is_dir() and path.name[0] == ".":
                with _alone(_lock(folder / path.name[1:]), wait=False) as alone:
                    if alone:
                        shutil.rmtree(path)
            elif path.is_dir():
                held = sum(file.stat().st_size for file in path.iterdir())
                known.append((path.stat().st_mtime_ns, held, path))
    total = size + sum(held for _, held, _ in known)
    for _, held, place in sorted(known):
        if total <= MOST:
            return
        with _alone(_lock(place), wait=False) as alone, suppress(OSError):
            if alone:  # Else it is in use.
                _drop(place)
                total -= held


def _drop(place: Path) -> None:
    """Remove a folder, its lock held, so that a slot that is killed here leaves no part of it."""
    hidden = _hidden(place)
    shutil.rmtree(hidden, ignore_errors=True)  # Of a slot that was killed.
    place.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _hidden(place: Path) -> Path:
    """Return where a folder lies while it is not whole."""
    return place.with_name(f".{place.name}")


def _lock(place: Path) -> Path:
    return place.with_suffix(".lock")


@contextmanager
def _alone(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a file while the block runs; yield whether that was possible."""
    try:
        file = path.open("w")
    except OSError as error:
        logger.warning("Arrays are not shared between slots: %s", error)
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # Another has it, or, on some network disks, there are no locks.
            yield False
            return
        yield True
