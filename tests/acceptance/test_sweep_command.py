"""The command that learns what depth does, from a table to its page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("topo-search")
IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"
QUICK = ("--depth", "1:1", "--kind", "plain", "--seeds", "1", "--epochs", "2", "--slots", "1")


@pytest.mark.slow
def test_a_sweep_is_trained_told_and_compared(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "sweep", *map(str, arguments)],
            cwd=tmp_path,
            env=kept | {"TOPO_SEARCH_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=600,
        )

    done = run(IRIS, "--target", "species", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    # One network of each activation, and of batch and layer norm with the usual one.
    assert said["trials"] == {"finished": 8, "complete": 8, "failed": 0}
    assert "Plain networks are as good as they get from" in said["answer"][0]
    assert "Where the curve turns" in (tmp_path / said["report"]).read_text()
    assert said["report"] == "iris-depth.html"

    again = run("--compare", said["study"], "--compare", said["study"], "--report", "both.html")
    assert again.returncode == 0, again.stderr
    assert "Several tables" in (tmp_path / "both.html").read_text()

    assert run().returncode == 2
    assert "Missing option '--target'" in run(IRIS).stderr
    assert "from 1 to 1000" in run(IRIS, "--target", "species", "--depth", "1:2000").stderr
