"""Files, directories and locks that belong to one user of the operating system alone."""

import fcntl
import hashlib
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition()` holds, for at most `seconds`; tell whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def open_private(path: Path) -> IO[bytes]:
    """Open a file for appending; a new one can be read by its owner only."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def try_lock(file: IO[bytes]) -> bool:
    """Take the exclusive lock of an open file if nobody else holds it; tell whether it was taken.

    A shared lock held through the same `file` is given up either way.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the exclusive lock of the file at `path`, which is created where absent.

    Raises:
        TimeoutError: If others hold it for longer than `seconds`.
    """
    with open_private(path) as file:
        if not wait_until(lambda: try_lock(file), seconds):
            raise TimeoutError(
                f"Expected {path} to be released within {seconds:.0f} s, but another process "
                "still holds it. See what that process waits for, or end it, and try again."
            )
        yield


def user_name(uid: int) -> str:
    """Give the name of a user of the operating system, or its number where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def own_directory(path: Path, *, uid: int, gid: int = -1, mode: int = 0o700) -> None:
    """Make `path` a directory of user `uid` with the given permissions, creating it if absent.

    Raises:
        PermissionError: If something of another user, or no directory, is there already.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    is_directory = stat.S_ISDIR(found.st_mode)
    if is_directory and found.st_uid == os.geteuid() != uid:  # root makes it for an account
        os.chown(path, uid, gid)
    elif not is_directory or found.st_uid != uid:
        raise PermissionError(
            f"Expected {path} to be a directory of {user_name(uid)}, found something of "
            f"{user_name(found.st_uid)}. Look at it, then remove it or give it to {user_name(uid)}."
        )
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)


def claim_home(home: Path) -> None:
    """Create the data directory `home` where absent, for the user of this process alone.

    Raises:
        PermissionError: If it, or the place where it would be made, is somebody else's.
    """
    reached = home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = home.stat().st_uid
        if owner == os.geteuid():
            return
    except PermissionError:
        while not os.access(reached, os.F_OK):
            reached = reached.parent
        owner = reached.stat().st_uid
    raise PermissionError(
        f"Expected a data directory of {user_name(os.geteuid())}, received {home}, but {reached} "
        f"belongs to {user_name(owner)}. Set TOPO_SEARCH_HOME to a directory of your own."
    )


def digest(path: Path) -> str:
    """Give a short name for `path` that no other path has."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
