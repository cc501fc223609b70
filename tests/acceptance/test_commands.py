"""The commands as a user types them, on a machine of their own."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from light_commands import Commands
from machines import COLUMNS, DEADLINE, IRIS, Machine, Searched
from sqlalchemy import make_url

from storage import studies
from storage.connection import Storage
from topo_search.cli import cli

ROOT = Path(__file__).parents[2]
CLASSES = ["setosa", "versicolor", "virginica"]
OWN = ("--objective", "toy_objectives:objective", "--space-file", "space.toml")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines_wider_than_the_terminal(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > COLUMNS]


@pytest.fixture
def quick(machine: Machine, storage: Storage, commands: Commands) -> Machine:
    """The machine, for commands that train no network."""
    return machine.light(machine.folder, commands)


# A search and what it leaves.


def test_search_prints_one_object_with_everything_it_came_to(searched: Searched) -> None:
    printed = searched.printed
    top = "study key task metric direction rows trials seconds best test baselines report"
    assert set(top.split()) <= set(printed)
    assert set(printed) - set(top.split()) == {"state", "reason"}
    assert set(printed["rows"]) == set("train validation test dropped".split())
    assert set(printed["trials"]) == set("finished complete pruned failed".split())
    assert set(printed["best"]) == set(
        "trial value parameters topology weights epochs seed".split()
    )
    assert set(printed["test"]) == set("value low high looks".split())
    assert set(printed["baselines"]) == {"majority", "linear", "boosting"}


def test_what_search_prints_is_true_of_iris(searched: Searched) -> None:
    printed = searched.printed
    assert (printed["task"], printed["metric"], printed["direction"]) == (
        *("multiclass", "accuracy", "maximize"),
    )
    rows = printed["rows"]
    assert rows["train"] + rows["validation"] == 120
    assert (rows["test"], rows["dropped"]) == (30, 0)
    trials = printed["trials"]
    assert trials["finished"] == 4 == trials["complete"] + trials["pruned"]
    assert trials["failed"] == 0
    test = printed["test"]
    assert 0 <= test["low"] <= test["value"] <= test["high"] <= 1
    assert test["value"] > 0.8
    assert (test["looks"], printed["baselines"]["majority"]) == (1, pytest.approx(1 / 3))
    assert printed["best"]["weights"] > 100


def test_search_writes_a_report_and_the_network(searched: Searched) -> None:
    assert Path(searched.printed["report"]) == searched.report
    page = searched.report.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert searched.study in page
    names = {path.name for path in searched.network.iterdir()}
    assert names == {"network.keras", "reading.json", "README.md"}


def test_the_network_is_used_with_keras_alone_as_its_readme_says(searched: Searched) -> None:
    text = (searched.network / "README.md").read_text(encoding="utf-8")
    indented = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    code = [line for line in indented if not line.startswith("topo-search predict")]
    assert len(code) == 5
    row = {name: float(text) for name, text in read(IRIS)[0].items() if name != "species"}
    alone = ["import sys", "assert not {'objectives', 'topo_search'} & sys.modules.keys()"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", "\n".join([f"one_row = {row}", *code, *alone])],
        cwd=searched.network,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    chances = [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", done.stdout)]
    assert len(chances) == 3 and sum(chances) == pytest.approx(1, abs=1e-4)


def test_the_network_predicts_without_the_database(searched: Searched, tmp_path: Path) -> None:
    nowhere = Machine(home=tmp_path / "none", folder=searched.network)
    rows = read(IRIS)
    new = tmp_path / "new.csv"
    with new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)  # Without the target, and with the columns turned around.
        names = [name for name in reversed(rows[0]) if name != "species"]
        writer.writerow(["note", *names])
        writer.writerows(["x", *(row[name] for name in names)] for row in rows)
    done = nowhere.run("predict", searched.network, new)
    assert "'note'" in done.stderr and not any(name in done.stderr for name in names)
    assert {line.split(" ")[0] for line in done.stderr.splitlines()} == {"Note:"}
    predicted = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["note"] for row in predicted} == {"x"}
    assert {row["prediction"] for row in predicted} <= set(CLASSES)
    right = [row["prediction"] == known["species"] for row, known in zip(predicted, rows, strict=1)]
    assert sum(right) / len(right) > 0.85
    for row in predicted:
        chances = {name: float(row[f"probability {name}"]) for name in CLASSES}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert max(chances, key=chances.__getitem__) == row["prediction"]
    assert not nowhere.home.exists()


def test_predict_names_the_column_that_is_missing(searched: Searched, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("sepal_length,sepal_width,petal_width\n5.1,3.5,0.2\n")
    done = searched.machine.run("predict", searched.network, new, code=1)
    assert_one_line(done.stderr)
    assert "petal_length" in done.stderr


def test_export_writes_the_network_again(searched: Searched, quick: Machine) -> None:
    assert quick.json("export", searched.study, "-o", "again") == {
        "study": searched.study,
        "folder": "again",
    }
    for path in searched.network.iterdir():
        assert (quick.folder / "again" / path.name).read_bytes() == path.read_bytes()


def test_results_fill_a_csv_and_a_page(searched: Searched, quick: Machine) -> None:
    shown = quick.run("results", "first", "--csv", "trials.csv", "--html", "page.html").stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert next(line for line in lines if line.startswith("mattered most"))
    commands = quick.json("results", "first")["commands"]
    assert {"resume", "export", "predict", "results", "dashboard"} == set(commands)
    for name, command in commands.items():
        assert f"{name} {command}" in " ".join(shown.split())
    trials = read(quick.folder / "trials.csv")
    assert [row["trial"] for row in trials][:4] == [str(number) for number in range(4)]
    best = searched.printed["best"]
    assert float(trials[best["trial"]]["value"]) == best["value"]
    page = (quick.folder / "page.html").read_text(encoding="utf-8")
    assert f"trial {best['trial']}, {best['weights']:,} weights" in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)


def test_studies_lists_every_study_as_status_tells_it(searched: Searched, quick: Machine) -> None:
    listed = {one["study"]: one for one in quick.json("studies")}
    status = quick.json("status", searched.study[:5])
    assert status == listed[searched.study]
    assert {"study", "state", "trials", "best"} <= set(status)
    assert status["state"] == "finished"
    assert set(status["trials"]) == set("finished running waiting complete pruned failed".split())
    assert status["best"]["value"] == searched.printed["best"]["value"]


def test_resume_adds_trials_and_fits_the_screen(searched: Searched, storage: Storage) -> None:
    machine = searched.machine
    done = machine.run("resume", searched.study, "--trials", "+2", "--report", "more-report.html")
    assert lines_wider_than_the_terminal(done.stdout + done.stderr) == []
    assert f"topo-search resume {searched.study} --trials +20" in done.stdout
    assert "trial   4" in done.stdout and "trial   5" in done.stdout
    shown = ("on 30 test rows", "95 % interval", "this network", "most common class")
    for words in (*shown, "linear model", "gradient boosting", "Report", "Network", "Predict"):
        assert words in done.stdout, words
    counts = machine.json("status", searched.study)["trials"]
    assert (counts["finished"], counts["running"], counts["waiting"]) == (6, 0, 0)
    row = studies.get(storage, searched.study)
    assert row.outcome is not None and row.outcome["test"]["looks"] == 2
    assert (machine.folder / "more-network" / "network.keras").exists()


def test_resume_of_a_finished_study_says_how_to_add_to_it(
    searched: Searched, quick: Machine
) -> None:
    done = quick.run("resume", searched.study, code=1)
    assert_one_line(done.stderr)
    assert "--trials +20" in done.stderr


# Other commands.


def test_inspect_tells_machines_how_a_table_was_read(machine: Machine) -> None:
    told = machine.json("inspect", IRIS)
    keys = "encoding separator decimal header rows columns warnings"
    assert set(keys.split()) <= set(told)
    assert (told["separator"], told["header"], told["rows"]) == (",", True, 150)
    assert {"name", "kind", "missing", "distinct"} <= set(told["columns"][0])
    kinds = {column["name"]: column["kind"] for column in told["columns"]}
    assert kinds["petal_width"] == "numeric" and kinds["species"] == "categorical"


def test_inspect_fits_the_screen(machine: Machine, tmp_path: Path) -> None:
    wide = tmp_path / "wide.csv"
    long = "a column with a very long name that goes on and on and on " * 3
    cells = "some words that are long enough to be prose, and then some more of them " * 4
    rows = [f'"{cells}{k}",{k},{"yn"[k % 2]}' for k in range(40)]
    wide.write_text("\n".join([f'"{long}",number,"another {long}"', *rows]))
    done = machine.run("inspect", wide)
    assert lines_wider_than_the_terminal(done.stdout + done.stderr) == []
    assert "number" in done.stdout


def test_a_study_of_an_own_objective_is_created_served_and_shown(quick: Machine) -> None:
    (quick.folder / "space.toml").write_text(
        "[parameters]\nx = {low = 0, high = 9}\nkind = {choices = ['a', 'b']}\n"
    )
    made = quick.json("create", *OWN, "--trials", 5, "--name", "own", "--direction", "minimize")
    assert set(made) == {"study", "key"}
    allow = ("--allow-objective", "toy_objectives:objective")
    served = quick.json("worker", "--study", "own", "--until-idle", "--slots", 1, *allow)
    assert served["trials"] == 5
    status = quick.json("status", made["study"])
    assert (status["state"], status["trials"]["complete"]) == ("finished", 5)
    results = quick.json("results", "own")
    values = [trial["value"] for trial in results["history"]]
    assert status["best"]["value"] == results["best"]["value"] == min(values)
    shown = quick.run("results", "own", "--csv", "own.csv", "--html", "own.html").stdout
    assert lines_wider_than_the_terminal(shown) == []
    assert {"param.x", "param.kind"} <= set(read(quick.folder / "own.csv")[0])
    assert (quick.folder / "own.html").stat().st_size > 10_000
    assert "own" in quick.run("studies").stdout
    assert "5 of 5 trials: 5 complete" in quick.run("status", "own").stdout


def test_a_study_created_with_what_its_slots_are_to_do_says_how_to_serve_and_show_it(
    quick: Machine,
) -> None:
    (quick.folder / "space.toml").write_text("[parameters]\nx = {low = 0, high = 9}\n")
    slots = ("--slots", 1, "--trial-timeout", "5m", "--report", "of my own.html")
    told = quick.run("create", *OWN, "--trials", 2, "--name", "a/b", *slots).stdout
    serve, show = (shlex.split(line)[1:] for line in re.findall("topo-search .*", told))
    assert {"--slots", "1", "--trial-timeout", "300s", "--allow-objective"} <= {*serve}
    assert quick.json(*serve)["trials"] == 2
    quick.run(*show)
    assert (quick.folder / "of my own.html").exists()
    resume = ("resume", "a/b", "--trials", 1)
    refused = quick.run(*resume, code=1)
    assert_one_line(refused.stderr)
    assert refused.stderr.endswith(f"resume it with --allow-objective {OWN[1]}\n")
    assert quick.json("status", "a/b")["state"] == "finished"
    shown = quick.json(*resume, "--allow-objective", OWN[1])
    assert (shown["report"], shown["trials"]["complete"]) == ("a-b-report.html", 3)


def test_one_slot_and_one_seed_give_the_same_study_twice(
    machine: Machine, storage: Storage
) -> None:
    shapes = ("--depth", "1:2", "--width", 32, "--activation", "relu", "--embedding", "none")
    shapes = (*shapes, "--normalisation", "batch", "--residual", "yes")
    limits = (*shapes, "--epochs", 3, "--validation", "holdout")
    budget = ("--trials", 14, "--slots", 1, "--seed", 5, "--report", "same-report.html")
    found = []
    for _ in range(2):
        study = machine.json("search", IRIS, "--target", "species", *limits, *budget)["study"]
        results = machine.json("results", study)
        for trial in results["history"]:
            del trial["seconds"], trial["worker"]
        found.append({name: results[name] for name in ("history", "best", "test", "curves")})
    first, second = found
    assert first["history"] == second["history"]
    assert first == second
    states = [trial["state"] for trial in first["history"]]
    assert "pruned" in states and states.count("complete") > 2
    parameters = [
        {name: value for name, value in trial.items() if name.startswith("param.")}
        for trial in first["history"]
    ]
    assert all(parameters.count(one) == 1 for one in parameters)


# Errors.


def assert_one_line(stderr: str) -> None:
    """Assert that a user is told of one error in one line, with nothing of our insides."""
    assert "Traceback" not in stderr and 'File "' not in stderr
    told = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    usage = [line for line in stderr.splitlines() if line.startswith(("Usage: ", "Try "))]
    assert len(told) == 1
    assert len(told) + len(usage) == len([line for line in stderr.splitlines() if line])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("search", "nowhere.csv", "--target", "y"), 2, "'nowhere.csv' does not exist"),
        (("search", IRIS), 2, "topo-search inspect"),
        (("search", IRIS, "--target", "specie"), 2, "Did you mean 'species'?"),
        (("create", IRIS, "--target", "species", "--depth", "6:1"), 2, "Write 1:6."),
        (("create", IRIS, "--target", "species", "--width", "lots"), 2, "'lots'"),
        (("create", IRIS, "--target", "species", "--activation", "rely"), 2, "Did you mean relu?"),
        (("create", IRIS, "--target", "species", "--metric", "rmse"), 2, "accuracy, balanced_"),
        (("create", IRIS, "--target", "species", "--metric", "accurate"), 2, "'accurate'"),
        (("create", IRIS, "--target", "species", "--drop", "petal"), 2, "Did you mean 'petal_"),
        (("create", IRIS, "--target", "species", "--test-share", "2"), 2, "between 0 and 1"),
        (("create", IRIS, "--target", "species", "--column", "x"), 2, "NAME=KIND"),
        (("create", IRIS, "--target", "species", "--trials", "0"), 2, "--trials"),
        (("create", *OWN[:2]), 2, "--space-file FILE.toml"),
        (("inspect", COLUMNS), 2, "does not exist"),
        (("inspect", IRIS, "--separator", ",,"), 2, "Expected one sign as separator"),
        (("inspect", IRIS, "--encoding", "nope"), 2, "Expected the name of an encoding"),
        (("inspect", IRIS, "--column", "nope=text"), 2, "There is no column 'nope'"),
        (("status", "nothing"), 1, "Received 'nothing'."),
        (("resume", "nothing", "--trials", "some"), 2, "+20"),
        (("export", "nothing"), 1, "Received 'nothing'."),
        (("predict", ".", IRIS), 1, "topo-search export"),
        (("predict", ".", IRIS, "-o", "file/out.csv"), 1, "file is a file"),
        (("serach",), 2, "serach"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wrong_input_is_answered_in_one_line(
    quick: Machine, arguments: tuple[Any, ...], code: int, said: str
) -> None:
    (quick.folder / "file").touch()
    done = quick.run(*arguments, code=code)
    assert done.stdout == ""
    assert_one_line(done.stderr)
    assert said in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("search", IRIS, "--target", "species", "--report", "file/page.html"),
        ("search", IRIS, "--target", "species", "--report", "/proc/nope/page.html"),
        ("search", IRIS, "--target", "species", "--report", "taken-report.html"),
        ("resume", "first", "--trials", 1, "--report", "file/page.html"),
        ("sweep", IRIS, "--target", "species", "--report", "file/page.html"),
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_what_cannot_be_written_at_the_end_is_told_before_anything_is_trained(
    searched: Searched, quick: Machine, storage: Storage, command: tuple[Any, ...]
) -> None:
    for name in ("file", "taken-network"):
        (quick.folder / name).touch()
    before = [(row.id, row.trials) for row in studies.list_studies(storage)]
    done = quick.run(*command, code=2)
    assert_one_line(done.stderr)
    place = str(command[-1]).replace("taken-report.html", "taken-network")
    assert f"Expected a place that can be written. Received {place}: " in done.stderr
    assert done.stderr.endswith(". Name another: --report FILE.html\n")
    assert [(row.id, row.trials) for row in studies.list_studies(storage)] == before


@pytest.mark.parametrize("as_json", [False, True])
def test_a_report_that_cannot_be_written_after_all_is_told_below_the_result(
    bench: Machine, as_json: bool
) -> None:
    own = ("--objective", "toy_objectives:in_the_way", "--space-file", "space.toml")
    asked = ("--trials", 2, "--slots", 1, "--report", "page.html", *["--json"] * as_json)
    done = bench.run("search", *own, *asked, code=1)
    told = done.stderr.splitlines()[-1]
    assert_one_line(told)
    again = re.fullmatch(
        r"Error: .+ Received page.html: Is a directory. Write the report elsewhere: "
        r"topo-search (results .+ --html FILE.html)",
        told,
    )
    assert again is not None
    if as_json:
        printed = json.loads(done.stdout)
        assert (printed["report"], printed["trials"]["complete"]) == (None, 2)
    else:
        assert "trial   1" in done.stdout and "Go on" in done.stdout
        assert "Report" not in done.stdout
    bench.run(*again[1].replace("FILE", "other").split())
    assert (bench.folder / "other.html").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("results", "first", "--html", "file/page.html"),
        ("results", "first", "--csv", "file/trials.csv"),
        ("export", "first", "-o", "file/network"),
        ("export", "first", "-o", "/proc/nope"),
    ],
    ids=lambda command: " ".join(command[::3]),
)
def test_a_file_that_cannot_be_written_is_named_in_one_line(
    searched: Searched, quick: Machine, command: tuple[str, ...]
) -> None:
    (quick.folder / "file").touch()
    done = quick.run(*command, code=1)
    assert_one_line(done.stderr)
    assert f"Expected a place that can be written. Received {command[-1]}: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://topo:s3cret@db/topo", "Expected a PostgreSQL URL"),
        ("postgresql://topo:s3cret@localhost:port/topo", "cannot be told apart"),
    ],
)
def test_a_storage_that_is_none_is_told_without_its_password(
    quick: Machine, url: str, said: str
) -> None:
    done = quick.run("studies", "--storage", url, code=1)
    assert_one_line(done.stderr)
    assert said in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist. Create it'),
        ({"password": "s3cret"}, "password authentication failed"),
        ({"query": {"sslmod": "require"}}, 'invalid connection option "sslmod"'),
    ],
    ids=["database", "password", "option"],
)
def test_a_storage_with_something_wrong_in_its_url_is_told_in_one_line(
    quick: Machine, storage: Storage, changed: dict[str, Any], said: str
) -> None:
    url = make_url(storage.url)
    if "query" in changed:
        changed = {"query": {**url.query, **changed["query"]}}
    url = url.set(drivername="postgresql", **changed)
    named = ("--storage", url.render_as_string(hide_password=False))
    done = quick.run("studies", *named, code=1)
    assert done.stdout == ""
    assert_one_line(done.stderr)
    assert said in done.stderr
    assert str(url.password) not in done.stderr


def test_commands_that_are_printed_leave_a_url_with_a_password_to_the_environment(
    quick: Machine, storage: Storage
) -> None:
    url = make_url(storage.url).set(drivername="postgresql")
    named = ("--storage", url.render_as_string(hide_password=False))
    told = quick.run("create", IRIS, "--target", "species", *named).stdout
    assert "Set TOPO_SEARCH_STORAGE to the same URL where you type what follows." in told
    assert told.count("topo-search ") == 2 and "--storage" not in told
    study = told.split()[1]
    paused = quick.run("pause", study, *named).stdout
    assert "With TOPO_SEARCH_STORAGE set to the same URL, go on with: topo-search" in paused
    assert str(url.password) not in told + paused


def test_a_name_is_given_once(quick: Machine) -> None:
    create = ("create", IRIS, "--target", "species", "--name", "the only one")
    quick.run(*create)
    done = quick.run(*create, code=2)
    assert done.stdout == ""
    assert_one_line(done.stderr)
    assert "'the only one'" in done.stderr


@pytest.mark.parametrize(
    ("position", "target"), [("-1", "species"), ("1", "sepal_length"), ("-2", "petal_width")]
)
def test_a_target_is_given_by_its_position(quick: Machine, position: str, target: str) -> None:
    created = quick.run("create", IRIS, "--target", position, "--json").stdout
    shown = quick.run("results", json.loads(created)["study"], "--json").stdout
    assert json.loads(shown)["target"] == target


def test_a_target_whose_name_two_columns_have_is_refused(quick: Machine) -> None:
    rows = [f"{'ab'[k % 2]},{k},{'xyz'[k % 3]}" for k in range(60)]
    (quick.folder / "twice.csv").write_text("\n".join(["y,a,y", *rows]))
    told = quick.json("inspect", "twice.csv")
    assert "Two columns are named 'y'; the second is called 'y_2'." in told["warnings"]
    done = quick.run("create", "twice.csv", "--target", "y", code=2)
    assert_one_line(done.stderr)
    assert "Give its position, 1 or 3, or rename one in the file." in done.stderr
    study = quick.json("create", "twice.csv", "--target", 3)["study"]
    assert quick.json("results", study)["target"] == "y_2"


def test_a_file_that_is_no_table_is_refused(machine: Machine, tmp_path: Path) -> None:
    page = tmp_path / "page.csv"
    page.write_text("<!doctype html><html><body>Not found</body></html>\n")
    done = machine.run("inspect", page, code=1)
    assert_one_line(done.stderr)
    assert "HTML" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "large.csv"),
        ("search", "large.csv", "--target", "y"),
        ("create", IRIS, "--target", "species", "--test-file", "large.csv"),
        ("sweep", "large.csv", "--target", "y"),
        ("predict", ".", "large.csv"),
    ],
    ids=lambda command: command[0],
)
def test_a_file_too_large_is_refused_before_it_is_read(
    quick: Machine, command: tuple[Any, ...]
) -> None:
    with (quick.folder / "large.csv").open("wb") as file:
        file.truncate(2**40)  # It takes no room.
    done = quick.run(*command, code=1)
    assert_one_line(done.stderr)
    assert "with 1,024 GiB. Leave out columns or rows" in done.stderr


# What is written of the commands.


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"topo-search {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_help_lists_every_command(machine: Machine) -> None:
    shown = machine.run("--help").stdout
    assert all(re.search(rf"^  {command} ", shown, re.MULTILINE) for command in cli.commands)
    assert lines_wider_than_the_terminal(shown) == []


def test_every_json_is_one_object_or_list_alone_on_stdout(
    searched: Searched, storage: Storage
) -> None:
    for command in (("studies",), ("status", "first"), ("results", "first"), ("inspect", IRIS)):
        done = searched.machine.run(*command, "--json")
        assert isinstance(json.loads(done.stdout), dict | list)
        assert done.stderr == ""
