"""One machine for all tests, on which the main job was done once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from light_commands import Commands
from machines import IRIS, ONE_SHAPE, Machine, Searched

from storage.connection import Storage, connect
from storage.embedded import serve


@contextmanager
def a_new_machine(place: Path) -> Iterator[Machine]:
    """Let there be a machine on which topo-search was never run while the block runs."""
    folder = place / "folder"
    folder.mkdir()
    yield Machine(home=place / "home", folder=folder)
    # As root the server's data lies elsewhere, behind a link.
    shutil.rmtree((place / "home" / "server").resolve(), ignore_errors=True)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which topo-search was never run."""
    with a_new_machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture
def machine_of_its_own(tmp_path: Path) -> Iterator[Machine]:
    """Another one, whose server no other test keeps up."""
    with a_new_machine(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def searched(machine: Machine) -> Searched:
    """The main job, on a machine where nothing runs yet, in a folder with code of its user's."""
    for name in ("objectives", "storage", "keras"):
        (machine.folder / f"{name}.py").write_text("raise SystemExit('not meant')\n")
    report = machine.folder / "first" / "iris-report.html"
    report.parent.mkdir()
    options = ("--trials", 4, *ONE_SHAPE, "--epochs", 40, "--slots", 2, "--name", "first")
    printed = machine.json("search", IRIS, "--target", "species", *options, "--report", report)
    return Searched(machine=machine, printed=printed, report=report)


@pytest.fixture(scope="session")
def storage(machine: Machine) -> Iterator[Storage]:
    """The machine's storage; its server stays up meanwhile, which spares each command a start."""
    with serve(machine.home) as url:
        opened = connect(url)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """What commands are forked from that need not import anything."""
    started = Commands(tmp_path_factory.mktemp("printed"))
    yield started
    started.close()


@pytest.fixture
def bench(machine: Machine, storage: Storage, commands: Commands, tmp_path: Path) -> Machine:
    """The machine, with a folder of the test's own, and no TensorFlow in its slots."""
    (tmp_path / "space.toml").write_text("[parameters]\nx = {low = 0, high = 99999}\n")
    return machine.light(tmp_path, commands)
