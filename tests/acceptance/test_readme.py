"""What the README and the examples promise, done as they say."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from machines import DEADLINE, Machine

from topo_search.cli import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_option_the_readme_names_exists() -> None:
    known = {
        option for command in cli.commands.values() for p in command.params for option in p.opts
    }
    ours = re.sub(r"`docker [^`]*`", "", README)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) - {"--help"}
    assert named
    assert named - known - {"--no-header"} == set()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    named = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    assert named == ["demo", "test"]
    for target in named:
        asked = ["make", "-n", target]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0
    demo = subprocess.run(
        ["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE
    )
    assert "topo-search search examples/iris.csv --target species" in demo.stdout


def test_files_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


AND_MORE = """
import json, optuna, pandas
frame = pandas.read_csv("examples/iris.csv")
options = dict(space="layers", limits={"depth": "1:2"}, metric="log_loss", sampler="random")
options |= dict(pruner="none", validation="holdout", drop=("sepal_width",), seconds=600)
with topo_search.search(
    frame[::2], -1, test=frame[1::2], trials=2, epochs=2, progress=False, **options
) as other:
    assert type(other.study) is type(result.study) is optuna.Study
    assert type(other.leaderboard) is type(result.leaderboard) is pandas.DataFrame
    assert len(other.predict(frame.drop(columns=["species", "sepal_width"]))) == 150
    print(json.dumps(other.summary))
print(len(result.leaderboard), sorted(result.figures)[:1], result.network.name)
"""


def test_the_python_of_the_readme_runs(machine: Machine) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quick = code.replace("trials=30", "trials=2, epochs=3, progress=False")
    assert quick != code
    done = subprocess.run(
        # Without a __main__ guard, as people write scripts.
        [sys.executable, "-c", quick + AND_MORE],
        cwd=ROOT,
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    summary, shown = done.stdout.splitlines()
    told = json.loads(summary)
    assert (told["metric"], told["direction"], told["rows"]["test"]) == ("log_loss", "minimize", 75)
    assert told["trials"] == {"finished": 2, "complete": 2, "pruned": 0, "failed": 0}
    assert shown.startswith("2 ['confusion']")


def test_the_example_of_an_own_objective_runs(machine: Machine, tmp_path: Path) -> None:
    asked = re.search(
        r"topo-search (search --objective .*)", (ROOT / "examples/images.py").read_text()
    )
    assert asked is not None
    report = tmp_path / "report.html"
    done = subprocess.run(
        [Path(sys.executable).with_name("topo-search"), *asked[1].split(), "--trials", "2",
         "--json", "--report", report],
        cwd=ROOT / "examples",
        env=machine.environment | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["trials"]["complete"], printed["trials"]["failed"]) == (2, 0)
    assert printed["best"]["value"] > 0.1
    assert "filters" in report.read_text(encoding="utf-8")
    machine.run("export", printed["study"], "-o", "taken")
    with zipfile.ZipFile(machine.folder / "taken" / "weights") as keras_file:
        assert "model.weights.h5" in keras_file.namelist()


def test_the_dashboard_answers_this_machine_only(machine: Machine) -> None:
    with machine.started("dashboard", "--port", "0", "--json") as process:
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(3))
        url = json.loads(printed)["url"]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url + "api/studies", timeout=DEADLINE) as answer:
            names = [study["study_name"] for study in json.load(answer)["study_summaries"]]
        assert all(name.startswith("topo-") for name in names)
        elsewhere = urllib.request.Request(url, headers={"Host": "example.org"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(elsewhere, timeout=DEADLINE)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(DEADLINE) == 130
