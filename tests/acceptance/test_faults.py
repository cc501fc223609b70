"""What a user or a machine may do to a search that runs, and that it comes through."""

import os
import re
import shlex
import signal
from contextlib import suppress
from typing import Any

import psutil
import pytest
from machines import DEADLINE, IRIS, Machine, wait_until

from storage import studies
from storage.connection import Storage

# Of trials enough that some are left whenever something happens to it after the first.
TRIALS = 14
REAL = (
    *("search", IRIS, "--target", "species", "--trials", TRIALS, "--slots", 2),
    *("--epochs", 80, "--validation", "holdout"),
    # Of one shape, which is compiled once: what is killed is to be trained again, not built.
    *("--depth", 1, "--width", 16, "--activation", "relu", "--normalisation", "none"),
    *("--embedding", "none", "--pruner", "none"),
)
GATED = ("--objective", "toy_objectives:gated", "--space-file", "space.toml")


def gated_search(trials: int) -> tuple[Any, ...]:
    """Return a search whose trials wait for the file `go`."""
    name = f"gated-{os.urandom(4).hex()}"
    return ("search", *GATED, "--trials", trials, "--slots", 2, "--name", name)


def began(bench: Machine, count: int) -> None:
    """Wait until so many trials have begun."""
    wait_until(lambda: len(list(bench.folder.glob("began-*"))) >= count, f"{count} trials begin")


def attempts(bench: Machine, study: str) -> list[int]:
    return [trial["attempts"] for trial in bench.json("results", study)["history"]]


def counts(bench: Machine, study: str) -> dict[str, int]:
    told: dict[str, int] = bench.json("status", study)["trials"]
    return {name: count for name, count in told.items() if count}


def ended(shown: str) -> int:
    """Return how many of a real search's trials the screen has counted."""
    return max((int(count) for count in re.findall(rf"(\d+)/{TRIALS}", shown)), default=0)


def fork_servers(command: psutil.Process) -> list[psutil.Process]:
    """Return what a command's slots are forked from; of one that has just died there may be two."""
    found = []
    for child in command.children():
        with suppress(psutil.NoSuchProcess):  # Zombies among them.
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                found.append(child)
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_drains_and_resume_completes_the_exact_budget(bench: Machine) -> None:
    search = gated_search(5)
    study = str(search[-1])
    with bench.terminal(*search) as terminal:
        began(bench, 2)
        wait_until(lambda: "0/5" in terminal.shown, "the screen counts the trials")
        wait_until(lambda: "No trial is complete yet." in terminal.shown, "and that none is")
        first, *_ = sorted(bench.folder.glob("began-*"))
        (bench.folder / f"go-{first.name.split('-')[1]}").touch()
        for words in ("1/5", "Best so far", "(trial ", " left", "slot", "trains"):
            wait_until(lambda words=words: words in terminal.shown, words)  # type: ignore[misc]
        began(bench, 3)
        terminal.press_ctrl_c()
        wait_until(lambda: "Press Ctrl-C again" in terminal.shown, "the screen tells of the end")
        (bench.folder / "go").touch()
        assert terminal.wait() == 130
    public = bench.json("status", study)["study"]
    assert f"topo-search resume {public}" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert counts(bench, study) == {"finished": 3, "complete": 3, "waiting": 2}
    (line,) = re.findall(r"Go on with: topo-search ([^\r\x1b]*)", terminal.shown)
    printed = bench.json(*shlex.split(line))
    assert printed["trials"] == {"finished": 5, "complete": 5, "pruned": 0, "failed": 0}
    assert attempts(bench, study) == [1] * 5


def test_a_second_ctrl_c_stops_at_once_and_hands_the_trials_back(bench: Machine) -> None:
    search = gated_search(3)
    study = str(search[-1])
    with bench.terminal(*search) as terminal:
        began(bench, 2)
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.press_ctrl_c()
        wait_until(lambda: "Press Ctrl-C again" in terminal.shown, "the screen tells of the end")
        terminal.press_ctrl_c()
        assert terminal.wait() == 130
    wait_until(lambda: not any(lives(child) for child in children), "its processes end")
    assert "Traceback" not in terminal.shown
    assert counts(bench, study) == {"waiting": 3}
    assert [trial["state"] for trial in bench.json("results", study)["history"]] == ["waiting"] * 2


def test_a_killed_search_is_resumed_at_once_to_the_exact_budget(bench: Machine) -> None:
    search = gated_search(4)
    study = str(search[-1])
    with bench.started(*search) as process:
        began(bench, 2)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(DEADLINE)
    wait_until(lambda: not any(lives(child) for child in children), "its processes end")
    (bench.folder / "go").touch()
    resumed = bench.run("resume", study, "--slots", 2, "--allow-objective", GATED[1])
    assert "Another worker has" not in resumed.stdout
    assert counts(bench, study) == {"finished": 4, "complete": 4}
    # Had one been claimed ahead, it had not begun.
    assert attempts(bench, study) == [2, 2, 1, 1]


@pytest.mark.slow
def test_a_search_of_a_real_table_is_killed_then_interrupted_and_completes_its_budget(
    machine_of_its_own: Machine,
) -> None:
    machine = machine_of_its_own
    with machine.terminal(*REAL, "--name", "real") as terminal:
        wait_until(lambda: ended(terminal.shown) >= 1, "a trial ends")
        terminal.process.kill()  # And no word to the server that it started.
        terminal.process.wait(DEADLINE)
    with machine.terminal("resume", "real", "--slots", 2) as terminal:
        wait_until(lambda: ended(terminal.shown) >= 3, "more of them end")
        terminal.press_ctrl_c()
        assert terminal.wait() == 130
    assert "Go on with: topo-search resume" in terminal.shown
    assert "Traceback" not in terminal.shown
    left = counts(machine, "real")
    assert left["waiting"] > 0 and left["finished"] + left["waiting"] == TRIALS
    assert not (machine.folder / "iris-network").exists()
    printed = machine.json("resume", "real", "--slots", 2)
    assert printed["trials"]["finished"] == TRIALS and printed["trials"]["failed"] == 0
    assert printed["test"]["looks"] == 1
    history = machine.json("results", "real")["history"]
    assert [trial["trial"] for trial in history] == list(range(TRIALS))
    # Two slots were at work, and one trial may have been claimed ahead.
    assert 1 <= sum(trial["attempts"] - 1 for trial in history) <= 3
    assert (machine.folder / "iris-network" / "network.keras").exists()


@pytest.mark.slow
def test_a_search_of_a_real_table_outlives_its_slots_and_its_fork_server(
    machine: Machine, storage: Storage
) -> None:
    def slots_beside(dead: set[psutil.Process]) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for server in fork_servers(search):
            with suppress(psutil.NoSuchProcess):
                found.update(server.children())
        return found - dead

    with machine.terminal(*REAL, "--name", "killed", "--report", "killed-report.html") as terminal:
        search = psutil.Process(terminal.process.pid)
        wait_until(lambda: ended(terminal.shown) >= 1, "a trial ends")
        (server,) = fork_servers(search)
        first, second = server.children()
        first.kill()
        wait_until(lambda: len(slots_beside({first})) == 2, "another slot takes its place")
        server.kill()
        second.kill()  # Whose place only a slot of another fork server can take.
        wait_until(lambda: bool(slots_beside({first, second})), "another fork server has a slot")
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.shown
    told = counts(machine, "killed")
    assert told["finished"] == TRIALS and set(told) <= {"finished", "complete", "pruned"}
    history = machine.json("results", "killed")["history"]
    assert [trial["trial"] for trial in history] == list(range(TRIALS))
    # Two slots were killed, at least one of them in the midst of a trial; the third trained on.
    assert 1 <= sum(trial["attempts"] - 1 for trial in history) <= 2
    assert (machine.folder / "killed-network" / "network.keras").exists()


def test_a_search_in_which_every_trial_fails_is_a_failure_and_says_why(bench: Machine) -> None:
    raises = ("--objective", "toy_objectives:raises", "--space-file", "space.toml")
    done = bench.run("search", *raises, "--trials", 2, "--slots", 1, code=1)
    assert "Traceback" not in done.stdout + done.stderr
    assert "none complete" in done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("trial ")]
    assert [line.split()[1:3] for line in told] == [["0", "failed"], ["1", "failed"]]
    assert all("RuntimeError: no such layer" in line for line in told)


def test_two_workers_end_exactly_the_budget_whatever_is_killed(
    bench: Machine, storage: Storage
) -> None:
    study = bench.json("create", *GATED, "--trials", 12)["study"]
    serve = ("worker", "--until-idle", "--study", study, "--slots", 2, "--json")
    allow = ("--allow-objective", "toy_objectives:gated")
    with bench.started(*serve, *allow) as one, bench.started(*serve, *allow) as other:
        began(bench, 4)
        traces = [path.read_text().split() for path in sorted(bench.folder.glob("began-*"))]
        slots, servers = ([int(trace[place]) for trace in traces] for place in (0, 1))
        assert len(set(servers)) == 2
        os.kill(servers[0], signal.SIGKILL)  # One worker's fork server …
        os.kill(slots[servers.index(servers[0])], signal.SIGKILL)  # … a slot of it …
        rest = next(slots[at] for at, server in enumerate(servers) if server != servers[0])
        os.kill(rest, signal.SIGKILL)  # … and a slot of the other.
        (bench.folder / "go").touch()
        for process in (one, other):
            assert process.wait(DEADLINE) == 0, process.stderr and process.stderr.read()
    assert counts(bench, study) == {"finished": 12, "complete": 12}
    history = bench.json("results", study)["history"]
    assert [trial["trial"] for trial in history] == list(range(12))
    assert sorted(trial["attempts"] for trial in history) == [1] * 10 + [2] * 2
    assert studies.get(storage, study).state == "finished"
