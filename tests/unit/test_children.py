"""What may take too much is done in a child, and the service lives on."""

import errno
import gc
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from objectives.reading import NoSuchColumnError, ReadingError
from objectives.table import MissingColumnsError, read_table
from storage.errors import StorageError
from topo_search.web.children import (
    WAITING,
    BusyError,
    Children,
    EndedError,
    TooLongError,
    TooMuchError,
)

MB = 2**20
LONG = 180.0  # Seconds; nothing here takes as long unless it is broken.
SHORT = 1.0
PAUSE = threading.Event()  # Never set.
ROOT = Path(__file__).parents[2]
Made = Callable[..., Children]


@pytest.fixture(scope="module", autouse=True)
def own_fork_server(fork_server: Callable[[str], None]) -> None:
    """Have a fork server as the service has it, whatever tests before and after need."""
    fork_server("web")


@pytest.fixture
def made() -> Iterator[Made]:
    """Make children of the test's own, which end with it."""
    all_made: list[Children] = []

    def make(**given: Any) -> Children:
        all_made.append(Children(**given))
        return all_made[-1]

    yield make
    for one in all_made:
        one.close()
    assert not living(os.getpid())


@pytest.fixture
def children(made: Made) -> Children:
    return made()


def living(parent: int) -> list[psutil.Process]:
    """The children of a process that the fork server started, and not the fork server."""
    own = psutil.Process(parent).children()  # Others' tests may keep a browser here.
    servers = [one for one in own if "multiprocessing.forkserver" in " ".join(one.cmdline())]
    started = [process for server in servers for process in server.children(recursive=True)]
    return [process for process in started if process.status() != psutil.STATUS_ZOMBIE]


def until(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        PAUSE.wait(0.01)
    return found


# What children do; top-level, so that they can be named to another process.


def double(number: int) -> int:
    return 2 * number


def read(data: bytes) -> list[str]:
    return [column.kind for column in read_table(data).columns]


def bomb() -> int:
    hoard = []
    while True:
        hoard.append(bytearray(MB))


def large(size: int) -> str:
    return "x" * size


def length(data: str) -> int:
    return len(data)


def endless(file: Path | None = None) -> None:
    if file is not None:
        file.write_text(str(os.getpid()))
    while True:
        pass


def endless_match(file: Path) -> None:
    """Never end, and never let another thread of this process do anything."""
    file.write_text(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


def stubborn() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int) -> None:
    os._exit(code)


def survive_the_terminal() -> str:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return "here"


def surroundings() -> dict[str, Any]:
    streams = [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)]
    roots = sorted({name.split(".")[0] for name in sys.modules})
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    return {"nice": os.nice(0), "streams": streams, "modules": roots, "blocked": blocked}


def print_something() -> None:
    print("to be found in the log")
    sys.stdout.flush()


def limits() -> tuple[int, int]:
    mapped = psutil.Process().memory_info().vms
    return resource.getrlimit(resource.RLIMIT_AS)[0] - mapped, os.getpid()


def fail(error: Exception) -> None:
    raise error


def fail_as(name: str) -> None:
    import pandas as pd

    if name == "missing":
        raise MissingColumnsError(["size"], ["sise"])
    if name == "parser":
        raise pd.errors.ParserError("no such thing")
    if name == "unicode":
        b"\xff".decode()
    if name == "operating system":
        raise FileNotFoundError(errno.ENOENT, "No such file", "a.csv")


def no_json() -> Any:
    return lambda: None


class Planted:
    """What makes whoever unpickles it run something."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def take_over(file: Path) -> None:
    """Answer as a child that hostile bytes took over."""
    for kept in gc.get_objects():
        if isinstance(kept, Connection) and not kept.closed:
            kept.send(Planted(file))
    os._exit(0)


def together(folder: Path, count: int) -> int:
    """Wait until as many as `count` are here at once; return how many were."""
    (folder / str(os.getpid())).touch()
    until(lambda: len(list(folder.iterdir())) >= count)
    return count


# Values


def test_a_child_returns_what_the_function_does(children: Children) -> None:
    assert children(double, 21, seconds=LONG, memory=256 * MB) == 42
    data = b"a,b\n" + b"1,x\n2,y\n" * 10
    assert children(read, data, seconds=LONG, memory=256 * MB) == ["numeric", "categorical"]


def test_a_large_result_and_large_arguments_come_through_whole(children: Children) -> None:
    result = children(large, 40 * MB, seconds=LONG, memory=256 * MB)
    assert len(result) == 40 * MB and len(set(result)) == 1
    assert children(length, result, seconds=LONG, memory=16 * MB) == 40 * MB


def test_what_tables_need_is_loaded_before_a_child_is_forked(children: Children) -> None:
    # Not by a function of this file, whose imports would load it in the child.
    loaded = "sorted({'pandas', 'objectives.table'} & {*__import__('sys').modules})"
    found = children(eval, loaded, seconds=LONG, memory=256 * MB)
    assert found == ["objectives.table", "pandas"]


def test_a_child_has_what_tables_need_and_no_tensorflow(children: Children) -> None:
    found = children(surroundings, seconds=LONG, memory=256 * MB)
    assert {"numpy", "pandas", "objectives", "storage", "sqlalchemy"} <= {*found["modules"]}
    assert not {"tensorflow", "keras", "sklearn"} & {*found["modules"]}


def test_a_child_is_quiet_and_in_the_background(children: Children) -> None:
    found = children(surroundings, seconds=LONG, memory=256 * MB)
    assert found["nice"] > os.nice(0)
    assert found["streams"] == ["/dev/null"] * 2
    assert not found["blocked"]  # What it starts can be ended as usual.


def test_a_child_is_deaf_to_the_terminal_whoever_started_the_fork_server(
    children: Children,
) -> None:
    """A thread that replaces one cannot make it deaf."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as threads:
        threads.submit(children, double, 1, seconds=LONG, memory=256 * MB).result()
    assert children(survive_the_terminal, seconds=LONG, memory=256 * MB) == "here"


def test_what_a_child_prints_goes_to_the_log(made: Made, tmp_path: Path) -> None:
    log = tmp_path / "children.log"
    children = made(log=log)
    children(print_something, seconds=LONG, memory=256 * MB)
    children.close()
    assert log.read_text() == "to be found in the log\n"


# Limits


def test_a_memory_bomb_is_refused_and_says_what_to_do(children: Children) -> None:
    with pytest.raises(TooMuchError) as raised:
        children(bomb, seconds=LONG, memory=200 * MB)
    assert str(raised.value) == (
        "The table needs more memory than the 200 MiB it may have. "
        "Give a table with fewer rows or columns."
    )
    assert isinstance(raised.value, ValueError)


def test_the_memory_is_limited_beside_what_a_child_has(children: Children) -> None:
    left, _ = children(limits, seconds=LONG, memory=100 * MB)
    assert 0 < left <= 100 * MB
    assert len(children(large, 30 * MB, seconds=LONG, memory=100 * MB)) == 30 * MB
    with pytest.raises(TooMuchError):  # What it returns counts, too.
        children(large, 80 * MB, seconds=LONG, memory=100 * MB)


def test_an_endless_loop_is_killed_and_says_what_to_do(children: Children) -> None:
    start = time.monotonic()
    with pytest.raises(TooLongError) as raised:
        children(endless, seconds=SHORT, memory=256 * MB)
    assert SHORT <= time.monotonic() - start < LONG / 2
    assert str(raised.value) == (
        "The table takes longer than the 1 seconds it may. Give a table with fewer rows or columns."
    )
    assert isinstance(raised.value, ValueError)
    assert not living(os.getpid())


def test_a_child_that_is_killed_needed_too_much(children: Children) -> None:
    """It is the kernel that kills, where memory runs out for all."""
    with pytest.raises(TooMuchError):
        children(stubborn, seconds=LONG, memory=256 * MB)
    assert children(double, 1, seconds=LONG, memory=256 * MB) == 2


def test_a_child_that_ends_by_itself_is_an_error_of_ours(children: Children) -> None:
    with pytest.raises(EndedError, match="exit code 3") as raised:
        children(leave, 3, seconds=LONG, memory=256 * MB)
    assert raised.value.code == 3
    assert not isinstance(raised.value, ValueError)


# Errors


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such task"),
        ReadingError("Line 3 is no row."),
        NoSuchColumnError("No column 'x'."),
        LookupError("no such dataset"),
        KeyError("size"),
        StorageError("The database is away."),
        FileNotFoundError("a.csv"),
        PermissionError("b.csv"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_as_it_was(children: Children, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        children(fail, error, seconds=LONG, memory=256 * MB)
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)


def test_missing_columns_are_named_as_ever(children: Children) -> None:
    with pytest.raises(MissingColumnsError, match="'size' \\(is it 'sise'\\?\\)") as raised:
        children(fail_as, "missing", seconds=LONG, memory=256 * MB)
    assert (raised.value.columns, raised.value.unknown) == (("size",), ("sise",))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("parser", ValueError, "no such thing"),
        ("unicode", ValueError, "'utf-8' codec can't decode byte 0xff"),
        ("operating system", FileNotFoundError, "No such file: 'a.csv'"),
    ],
)
def test_an_error_of_a_librarys_is_the_nearest_that_everyone_has(
    children: Children, name: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as raised:
        children(fail_as, name, seconds=LONG, memory=256 * MB)
    assert type(raised.value) is kind
    assert said in str(raised.value)


@pytest.mark.parametrize("error", [TypeError("not a list"), RuntimeError("no"), EOFError("end")])
def test_an_error_that_is_nobodys_fault_but_ours_keeps_its_traceback(
    children: Children, error: Exception
) -> None:
    with pytest.raises(RuntimeError) as raised:
        children(fail, error, seconds=LONG, memory=256 * MB)
    assert str(raised.value) == f"{type(error).__name__}: {error}"
    (note,) = raised.value.__notes__
    assert "in fail\n" in note


def test_a_result_that_cannot_be_sent_is_an_error(children: Children) -> None:
    with pytest.raises(RuntimeError, match="not JSON serializable"):
        children(no_json, seconds=LONG, memory=256 * MB)


def test_nothing_runs_in_the_server_that_a_child_answers(
    children: Children, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, EndedError)):
        children(take_over, tmp_path / "planted", seconds=LONG, memory=256 * MB)
    assert not (tmp_path / "planted").exists()


def test_values_come_back_as_json_has_them(children: Children) -> None:
    value = "[1, None, True, 'é\\ud800', {'a': (2.5, [])}]"
    found = children(eval, value, seconds=LONG, memory=256 * MB)
    assert found == [1, None, True, "é\ud800", {"a": [2.5, []]}]


# Many at once


def test_as_many_as_asked_for_run_at_once_and_no_more(made: Made, tmp_path: Path) -> None:
    children = made(count=2)
    with ThreadPoolExecutor(12) as threads:
        both = [
            threads.submit(children, together, tmp_path, 2, seconds=LONG, memory=256 * MB)
            for _ in range(2)
        ]
        assert [one.result() for one in both] == [2, 2]
        most = 0
        numbers = [
            threads.submit(children, double, k, seconds=LONG, memory=256 * MB) for k in range(24)
        ]
        while not all(number.done() for number in numbers):
            most = max(most, len(children._running))
            PAUSE.wait(0.001)
        assert [number.result() for number in numbers] == [2 * k for k in range(24)]
    assert most == 2
    children.close()


def test_who_waits_in_vain_is_told_that_others_are_busy(made: Made) -> None:
    children = made(count=1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(children, endless, seconds=LONG, memory=256 * MB)
        until(lambda: children._running)
        with pytest.raises(BusyError, match="Try again in a moment"):
            children(double, 1, seconds=0.1, memory=256 * MB)
        children.close()
        with pytest.raises(BusyError, match="ending"):
            first.result()


def test_one_asker_has_one_child_and_others_have_the_rest(made: Made, tmp_path: Path) -> None:
    children = made(count=2)
    with ThreadPoolExecutor(4) as threads:
        one = [
            threads.submit(children, endless, seconds=LONG, memory=256 * MB, asker="one")
            for _ in range(3)
        ]
        until(lambda: children._running)
        for asker in ("other", "third", "other"):
            found = children(double, 1, seconds=LONG, memory=256 * MB, asker=asker)
            assert found == 2
        assert len(children._running) == 1
        children.close()
        for call in one:
            with pytest.raises(BusyError, match="ending"):
                call.result()


def test_one_asker_leaves_others_places_to_wait(made: Made) -> None:
    children = made(count=1)
    with ThreadPoolExecutor(WAITING) as threads:
        asked = [
            threads.submit(children, endless, seconds=LONG, memory=256 * MB, asker="one")
            for _ in range(WAITING)
        ]
        until(lambda: sum(call.done() for call in asked) == WAITING // 2)
        with pytest.raises(BusyError, match="Other tables"):
            children(double, 1, seconds=0.1, memory=256 * MB, asker="other")
        waited = threads.submit(children, double, 1, seconds=LONG, memory=256 * MB, asker="other")
        until(lambda: children._limit._taken["other"])
        assert not waited.done(), "it has a place to wait"
        children.close()
        for call in (*asked, waited):
            assert isinstance(call.exception(), BusyError)


# Ends


def test_closing_ends_what_runs_and_what_waits(made: Made) -> None:
    children = made(count=1)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(children, endless, seconds=LONG, memory=256 * MB) for _ in range(2)]
        until(lambda: children._running)
        children.close()
        for call in calls:
            with pytest.raises(BusyError, match="The service is ending"):
                call.result(LONG / 2)
    with pytest.raises(BusyError, match="The service is ending"):
        children(double, 1, seconds=LONG, memory=256 * MB)
    assert not living(os.getpid())


def test_a_fork_server_that_was_killed_is_replaced(children: Children) -> None:
    children(double, 1, seconds=LONG, memory=256 * MB)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert children(double, 2, seconds=LONG, memory=256 * MB) == 4


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_children
from topo_search.web.children import Children
Children()(getattr(test_children, sys.argv[2]), Path(sys.argv[3]), seconds=float(sys.argv[4]),
           memory=2**28)
"""


@pytest.mark.parametrize(("name", "seconds"), [("endless", 600), ("endless_match", 1)])
def test_a_parent_that_dies_leaves_no_child(name: str, seconds: float, tmp_path: Path) -> None:
    """Also where the child never lets the thread run that looks after its parent."""
    file = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, Path(__file__).parent, name, file, str(seconds)], cwd=ROOT
    )
    try:
        pid = int(until(lambda: file.exists() and file.read_text(), LONG))
        child = psutil.Process(pid)
        server = child.parent()
        assert server is not None and server.ppid() == parent.pid
    finally:
        parent.kill()
        parent.wait()
    until(lambda: gone(child))
    until(lambda: gone(server))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_threads_that_start_children_leave_the_script_in_its_place(children: Children) -> None:
    """To start one hides the script from `multiprocessing` for a moment, for all threads."""
    script = sys.modules["__main__"]
    barrier = threading.Barrier(8)

    def call(number: int) -> int:
        barrier.wait()
        return children(double, number, seconds=LONG, memory=256 * MB)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [2 * number for number in range(8)]
    assert sys.modules["__main__"] is script
