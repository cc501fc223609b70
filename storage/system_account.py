"""The system account PostgreSQL runs under when topo-search is started by root.

PostgreSQL refuses to run as root, so root lends it an account that owns nothing but the data.
"""

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.private_files import digest, locked, own_directory

ACCOUNT = "topo-search"
SYSTEM_HOME = Path("/var/lib/topo-search")
LOCK_SECONDS = 60.0


def system_account() -> pwd.struct_passwd:
    """Find the system account, creating it where it is missing. For root only.

    Raises:
        RuntimeError: If it is missing and this machine has no way to create it.
    """
    SYSTEM_HOME.parent.mkdir(parents=True, exist_ok=True)
    own_directory(SYSTEM_HOME.resolve(), uid=0, mode=0o711)
    with locked(SYSTEM_HOME / "lock", LOCK_SECONDS):
        try:
            return pwd.getpwnam(ACCOUNT)
        except KeyError:
            return _create_account()


def as_account(account: pwd.struct_passwd) -> dict[str, Any]:
    """Give the arguments of `subprocess.run` that make a child run under `account`."""
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _create_account() -> pwd.struct_passwd:
    home, shell = str(SYSTEM_HOME), "/usr/sbin/nologin"
    ways = {
        "useradd": ["--system", "--user-group", "--no-create-home", "-d", home, "-s", shell],
        "adduser": ["-S", "-D", "-H", "-h", home, "-s", shell],  # BusyBox
    }
    said = "neither `useradd` nor `adduser` was found"
    for command, arguments in ways.items():
        if program := shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            done = subprocess.run(
                [program, *arguments, ACCOUNT],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode == 0:
                return pwd.getpwnam(ACCOUNT)
            said = f"{command} said: {done.stdout.strip()}"
    raise RuntimeError(
        f"Expected a system account {ACCOUNT!r}, because PostgreSQL refuses to run as root; "
        f"creating it failed ({said}). Create it, run topo-search as an ordinary user, or name "
        "a PostgreSQL server with --storage."
    )


def system_place(home: Path) -> Path:
    """Give the directory below `SYSTEM_HOME` that serves root's `home`, linked from it.

    Raises:
        PermissionError: If something else has the link's name.
    """
    link = home / "server"
    with suppress(FileExistsError):
        link.symlink_to(SYSTEM_HOME / digest(home))
    # Followed, not computed again: a home that was moved keeps its data.
    place = link.resolve()
    if place.parent != SYSTEM_HOME.resolve():
        raise PermissionError(
            f"Expected {link} to link to a directory in {SYSTEM_HOME}, as root runs the server "
            f"under a system account; it is {place}. Set TOPO_SEARCH_HOME to another directory."
        )
    return place
