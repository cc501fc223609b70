"""The main job as an ordinary user of the operating system: no step of it may need root."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import DEADLINE, IRIS

NOBODY = 65534  # As users and groups are numbered where nothing is anybody's.
ROOT = Path(__file__).parents[2]
PLACES = "/usr/local/bin:/usr/bin:/bin"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all other tests"),
]


def as_nobody(python: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with this checkout as a user who owns nothing but a folder."""
    libraries = (str(ROOT), sysconfig.get_path("purelib"))
    return subprocess.run(
        [python, "-P", *map(str, arguments)],
        cwd=folder,
        env={
            "PATH": PLACES,
            "HOME": str(folder),
            "TOPO_SEARCH_HOME": str(folder / "home"),
            "PYTHONPATH": os.pathsep.join(libraries),
        },
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of that user's; those of pytest are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="topo-", dir="/tmp"))
    os.chown(made, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def python(folder: Path) -> str:
    """This interpreter, or the system's of the same version where this lies below /root."""
    name = "python{}.{}".format(*sys.version_info)
    why = ""
    for one in (sys.executable, shutil.which(name, path=PLACES)):
        if one is None:
            continue
        try:
            done = as_nobody(one, "-c", "import optuna, psycopg2, topo_search.cli", folder=folder)
        except PermissionError as error:
            why = str(error)
            continue
        if done.returncode == 0:
            return one
        why = done.stderr.strip().splitlines()[-1]
    pytest.skip(f"an ordinary user cannot run this checkout: {why}")


def test_an_ordinary_user_searches_from_a_table_to_predictions(python: str, folder: Path) -> None:
    def run(*arguments: object) -> str:
        done = as_nobody(python, "-m", "topo_search.cli", *arguments, folder=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    table = shutil.copyfile(IRIS, folder / "iris.csv")  # The checkout may be root's alone.
    few = ("--trials", 3, "--epochs", 9, "--depth", "1:2", "--json")
    printed = json.loads(run("search", table, "--target", "species", *few))
    assert (printed["state"], printed["trials"]["finished"]) == ("finished", 3)
    assert printed["test"]["value"] > 0.8
    assert (folder / printed["report"]).stat().st_size > 10_000
    assert run("predict", "iris-network", table).count("\n") == 151
    assert {path.lstat().st_uid for path in folder.rglob("*") if path != table} == {NOBODY}
