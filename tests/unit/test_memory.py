"""Memory: what a process lets go of comes back by itself, and what was written stays."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objectives.memory import SMAPS, _unwritten, let_go_of_files, own_memory

HEAD = "7f10000000-7f10003000 {perms} 00000000 fe:00 26 {path}\nRss:  12 kB\n"
REST = "Anonymous:  {anonymous} kB\nSwap:  {swap} kB\nVmFlags: rd mr\n"
LOADED = """
import re, sys
import numpy, pandas
from objectives.memory import let_go_of_files
def of_files():
    return int(re.search(r"RssFile:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1])
before = of_files()
let_go_of_files()
print(before, of_files())
print(int(pandas.DataFrame({"a": numpy.arange(5)}).a.sum()))
"""


@pytest.mark.parametrize(
    ("perms", "path", "anonymous", "swap", "found"),
    [
        ("r-xp", "/lib/a b.so", 0, 0, True),
        ("r--p", "/lib/a.so", 0, 0, True),
        ("r--p", "/lib/a.so", 8, 0, False),  # Addresses were written into it as it was loaded.
        ("r--p", "/lib/a.so", 0, 4, False),  # So they were, and are swapped out now.
        ("rw-p", "/lib/a.so", 0, 0, False),
        ("r--s", "/dev/shm/a", 0, 0, False),
        ("r-xp", "[vdso]", 0, 0, False),
        ("r--p", "", 0, 0, False),
    ],
)
def test_only_files_that_nothing_was_written_to_are_let_go_of(
    perms: str, path: str, anonymous: int, swap: int, found: bool
) -> None:
    this = HEAD.format(perms=perms, path=path) + REST.format(anonymous=anonymous, swap=swap)
    other = this.replace(perms, "rw-p").replace("7f1", "7f2")
    expected = [(0x7F10000000, 0x3000)] if found else []
    assert _unwritten(this + other) == _unwritten(other + this) == expected


def test_where_the_system_does_not_tell_nothing_is_let_go_of(tmp_path: Path) -> None:
    let_go_of_files(tmp_path)  # A folder, as good as one that may not be read.
    let_go_of_files(tmp_path / "absent")


@pytest.mark.skipif(not SMAPS.exists(), reason="needs Linux")
def test_what_is_read_of_a_file_is_not_ones_own_until_it_is_written() -> None:
    installed = Path(np.__file__).parents[1]
    file = max(installed.glob("tensorflow/libtensorflow_framework.so*"))  # Long on the disk.
    size = file.stat().st_size
    before = own_memory()
    read = np.memmap(file, np.uint8, mode="c")
    assert read.any()
    read.sum()
    assert own_memory() - before < size / 2
    read[:] = 1
    assert own_memory() - before > size / 2


@pytest.mark.skipif(not SMAPS.exists(), reason="needs Linux")
def test_what_is_let_go_of_comes_back_where_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, after, total = map(int, re.findall(r"\d+", done.stdout))
    assert after < before / 4
    assert total == 10  # What was loaded into its addresses still works.
