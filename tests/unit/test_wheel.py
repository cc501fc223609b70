"""What is installed: the wheel, built as pip builds it, but with no network."""

import subprocess
import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PACKAGES = ("topo_search", "objectives", "storage")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if not name.startswith("topo_search-")}
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    assert tracked - held == set()
    for kind in (".html", ".css", ".js", ".mako", ".py"):  # Of each kind there are some.
        assert any(name.endswith(kind) for name in tracked), kind
    assert "storage/migrations/versions/0001_first.py" in held
