"""What the options of the command line mean."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

from objectives.reading import Overrides
from storage.connection import Storage
from topo_search import cli_options, sampling, study
from topo_search.cli import cli
from topo_search.study import Options

CSV = b"a,b\n1,x\n2,y\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(CSV)
    return path


def given(command: str, *arguments: str) -> dict[str, Any]:
    """Return what click makes of arguments, as the command's function gets it."""
    return cli.commands[command].make_context(command, list(arguments)).params


def asked(table: Path, *arguments: str) -> Options:
    """Return the options of a study that `create` would make."""
    parameters = given("create", str(table), *arguments)
    return cli_options.options(parameters.pop("csv"), parameters)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("600", 600), ("1d", 86_400), ("+10m", 600)],
)
def test_times_are_read_in_every_unit(text: str, seconds: float) -> None:
    assert given("search", "--timeout", text)["timeout"] == seconds
    assert given("resume", "ID", "--timeout", text)["timeout"] == seconds


@pytest.mark.parametrize("text", ["soon", "-5m", "10 weeks", "1:30", ""])
def test_a_time_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected a time such as 90s, 10m or 1.5h"):
        given("search", "--timeout", text)


@pytest.mark.parametrize(("text", "slots"), [("auto", None), ("1", 1), ("16", 16)])
def test_slots_are_a_number_or_found_out(text: str, slots: int | None) -> None:
    assert given("worker", "--slots", text)["slots"] == slots


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_slots_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected auto or a number from 1"):
        given("worker", "--slots", text)


@pytest.mark.parametrize("text", ["+20", "20"])
def test_more_trials_come_with_or_without_a_plus(text: str) -> None:
    assert given("resume", "ID", "--trials", text)["trials"] == 20


@pytest.mark.parametrize("text", ["-20", "many", "2.5"])
def test_more_trials_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"Expected a number such as \+20"):
        given("resume", "ID", "--trials", text)


def test_unasked_a_study_is_as_the_readme_says(table: Path) -> None:
    options = asked(table, "--target", "b")
    assert options == Options(data=CSV, file="table.csv", target="b")


@pytest.mark.parametrize(
    ("asked_for", "trials"),
    [
        (("--space", "depth", "--depth", "1:60"), 60),
        (("--space", "depth", "--depth", "1:60", "--trials", "5"), 5),
        ((), 50),
    ],
)
def test_unasked_every_depth_of_a_space_of_depths_is_tried(
    asked_for: tuple[str, ...], trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr("topo_search.study.studies.create", lambda _, **given: kept.update(given))
    monkeypatch.setattr("topo_search.study.datasets.put", lambda *_: "0" * 64)
    iris = Path(__file__).parents[2] / "examples" / "iris.csv"
    study.create(cast(Storage, None), asked(iris, "--target", "species", *asked_for))
    assert kept["trials"] == trials


def test_what_is_asked_of_a_study_arrives(table: Path) -> None:
    options = asked(
        table,
        *("--target", "b", "--trials", "7", "--timeout", "2m", "--metric", "roc_auc"),
        *("--task", "binary", "--space", "layers", "--epochs", "12", "--seed", "5"),
        *("--test-share", "0.3", "--validation", "cv", "--pruner", "none"),
        *("--sampler", "random", "--name", "mine", "--drop", "a", "--test-file", str(table)),
        *("--encoding", "latin-1", "--separator", r"\t", "--decimal", ",", "--no-header"),
        *("--column", "a=categorical", "--column", "b=c=text"),
    )
    assert options == Options(
        data=CSV,
        file="table.csv",
        target="b",
        trials=7,
        seconds=120.0,
        metric="roc_auc",
        task="binary",
        space="layers",
        epochs=12,
        seed=5,
        test_share=0.3,
        test_data=CSV,
        validation="cv",
        pruner="none",
        sampler="random",
        name="mine",
        drop=("a",),
        overrides=Overrides(
            encoding="latin-1",
            separator="\t",
            decimal=",",
            header=False,
            kinds={"a": "categorical", "b=c": "text"},
        ),
    )


def test_every_parameter_of_every_space_can_be_limited(table: Path) -> None:
    from objectives.limits import BOUNDS

    names = [name.replace("_", "-") for name in BOUNDS]
    assert sorted(cli_options.LIMITS) == sorted(names)
    flags = [part for name in names for part in (f"--{name}", f"limit of {name}")]
    limits = asked(table, "--target", "b", *flags).limits
    assert limits == {name: f"limit of {name}" for name in names}


def test_every_kind_of_column_that_can_be_read_can_be_asked_for() -> None:
    from typing import get_args

    from objectives.reading import Kind

    found_only = {"constant", "empty"}
    assert set(cli_options.KINDS) == set(get_args(Kind)) - found_only


@pytest.mark.parametrize("text", ["a", "a=number", "=text", "a="])
def test_a_column_without_a_kind_is_refused_with_the_kinds(table: Path, text: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected NAME=KIND with one of numeric"):
        asked(table, "--target", "b", "--column", text)


def test_a_search_of_nothing_says_what_is_missing(table: Path) -> None:
    with pytest.raises(click.UsageError, match="Missing argument 'CSV'"):
        parameters = given("create")
        cli_options.options(parameters.pop("csv"), parameters)
    with pytest.raises(click.UsageError, match="topo-search inspect .*table.csv"):
        asked(table)


def test_an_own_objective_needs_no_table(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text("[parameters]\nx = {low = 1, high = 3}\n")
    parameters = given(
        "create", "--objective", "mine:score", "--space-file", str(space), "--direction", "minimize"
    )
    options = cli_options.options(parameters.pop("csv"), parameters)
    assert (options.data, options.objective, options.space_file, options.direction) == (
        None,
        "mine:score",
        space,
        "minimize",
    )


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_explains_itself_and_its_options(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    explained = cli.commands[command]
    assert explained.help and explained.help.splitlines()[0].endswith(".")
    flags = [flag for option in explained.params for flag in option.opts if flag.startswith("--")]
    assert all(flag in result.output for flag in flags)


def test_the_sampler_is_told_of_as_it_is() -> None:
    (sampler,) = (option for option in cli.commands["search"].params if option.name == "sampler")
    assert isinstance(sampler, click.Option)
    assert f"once {sampling.RANDOM} trials have ended" in (sampler.help or "")


def test_every_command_but_web_prints_json() -> None:
    def silent(command: click.Command) -> Iterator[str]:
        if isinstance(command, click.Group):
            for one in command.commands.values():
                yield from silent(one)
        elif not any("--json" in option.opts for option in command.params):
            yield str(command.name)

    assert list(silent(cli)) == ["web"]


def test_inspect_says_where_the_table_begins_what_quotes_it_and_what_stays_a_value(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("My table\na,b,c\n" + "'x, y','NA',1\n'z','EU',2\n" * 10)
    arguments = ["inspect", str(path), "--present", "NA"]
    told = CliRunner().invoke(cli, arguments).output
    assert "begins on line 2" in told and "cells quoted with '" in told
    assert "NA" in told and "--present" not in told
