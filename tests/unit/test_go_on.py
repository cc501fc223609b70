"""The command that goes on with a study has all that its user asked for."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from test_cli_options import given

from storage.rows import StudyRow
from topo_search.cli_serving import asked_again
from topo_search.next_steps import Asked, commands, go_on
from topo_search.own_worker import check_allowed

ASKED = (
    *("--slots", "2", "--slots-per-gpu", "3", "--trial-timeout", "20d"),
    *("--allow-objective", "other.package:function", "--report", "of my own.html"),
)


def row(objective: str = "tabular", state: str = "running", **changes: Any) -> StudyRow:
    """Return a study as it is read."""
    told: dict[str, Any] = dict.fromkeys(field.name for field in fields(StudyRow))
    told |= {"id": "k3v9x2", "state": state, "plan": {"objective": objective}}
    told |= {"trials": 30, "drawn": 7, "spent_seconds": 9.0}
    return StudyRow(**told | changes)


def typed(command: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Return what a command was given, and the line it prints to go on."""
    parameters = given(command, *arguments)
    parameters["where"] = parameters.pop("storage")
    study = row(parameters.get("objective", "tabular"))
    return parameters, go_on(study, asked_again(study, parameters, parameters["report"]))


def resumed(line: str) -> dict[str, Any]:
    """Return what the printed command is given when it is typed."""
    command, *arguments = shlex.split(line.split("topo-search ", 1)[1])
    assert command == "resume"
    return given("resume", *arguments)


@pytest.mark.parametrize("command", [("search",), ("resume", "k3v9x2")])
def test_what_was_asked_of_a_command_is_asked_of_the_one_that_goes_on(
    command: tuple[str, ...],
) -> None:
    before, line = typed(*command, *ASKED, "--storage", "postgresql://topo@db/a b")
    after = resumed(line)
    assert line.startswith("Go on with: ")
    assert (after["study_id"], after["storage"]) == ("k3v9x2", before["where"])
    same = ("slots", "slots_per_gpu", "trial_timeout", "allow_objective", "report")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["report"] == Path("of my own.html") and after["trial_timeout"] == 1_728_000


def test_unasked_nothing_is_added() -> None:
    assert typed("search")[1] == "Go on with: topo-search resume k3v9x2"


@pytest.mark.parametrize(
    ("ended", "more"),
    [
        ({"drawn": 30}, "--trials +20"),
        ({"seconds": 8.0}, "--timeout +10m"),
        ({"drawn": 30, "seconds": 8.0}, "--trials +20 --timeout +10m"),
        ({"drawn": 30, "seconds": 10.0}, "--trials +20"),
    ],
)
def test_a_finished_study_goes_on_with_more_of_what_is_used_up(
    ended: dict[str, Any], more: str
) -> None:
    line = go_on(row(state="finished", **ended), Asked())
    assert line == f"Go on with: topo-search resume k3v9x2 {more}"


def test_a_study_whose_space_is_exhausted_goes_on_in_another_space() -> None:
    plan = {"objective": "tabular", "dataset_name": "my table.csv", "target": "it"}
    done = row(state="finished", drawn=22, trials=22, units=22, plan=plan)
    line = go_on(done, Asked())
    assert line == "Go on in another space: topo-search search 'my table.csv' --target it"
    assert "resume" not in commands(done)
    assert "resume" in commands(row(drawn=22, trials=22, units=22))  # It is still at work.


def test_an_objective_that_a_search_ran_may_run_in_the_command_that_goes_on() -> None:
    _, line = typed("search", "--objective", "mine:score")
    assert resumed(line)["allow_objective"] == ("mine:score",)
    check_allowed(row("mine:score"), resumed(line)["allow_objective"])
    assert resumed(commands(row("mine:score"))["resume"])["allow_objective"] == ("mine:score",)


@pytest.mark.parametrize("allowed", [(), ("other:score",), ("tabular",)])
def test_an_objective_that_nobody_allowed_is_refused_with_the_option(
    allowed: tuple[str, ...],
) -> None:
    with pytest.raises(PermissionError, match="resume it with --allow-objective mine:score$"):
        check_allowed(row("mine:score"), allowed)


@pytest.mark.parametrize(
    "url", ["postgresql://topo:s3cret@db/topo", "postgresql://topo@db/topo?password=s3cret"]
)
def test_a_password_is_not_printed_and_the_environment_is_to_name_the_storage(url: str) -> None:
    _, line = typed("search", "--slots", "2", "--storage", url)
    assert line.startswith("With TOPO_SEARCH_STORAGE set to the same URL, go on with: ")
    after = resumed(line)
    assert (after["storage"], after["slots"]) == (None, 2)
    told = commands(row(), Asked(storage=url))
    assert told["storage"].startswith("export TOPO_SEARCH_STORAGE=")
    assert all("s3cret" not in text for text in (line, *told.values()))
    assert all("--storage" not in text for text in told.values())
