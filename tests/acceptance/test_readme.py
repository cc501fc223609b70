"""What the README and the examples promise, done as they say."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from machines import DEADLINE, Machine

from objectives.objective import Assignment
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


@pytest.mark.parametrize(
    ("version", "suits"),
    [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)],
)
def test_a_python_that_does_not_suit_is_refused_in_one_line(
    version: tuple[int, int], suits: bool, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\n[ $1 = -c ] || {{ echo made > made; exit 1; }}\n"
        f'exec {sys.executable} -c "import sys; sys.version_info = {(*version, 0)}; $2"\n'
    )
    python.chmod(0o755)
    asked = ["make", ".venv/installed", f"PYTHON={python}"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert (tmp_path / "made").exists() == suits
    expected = f"Expected Python 3.11 to 3.13. Received {version[0]}.{version[1]}."
    assert [line.startswith(expected) for line in done.stderr.splitlines()[:-1]] == [True] * (
        not suits
    )


def test_files_the_readme_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


# Of one shape, as most of the time goes into compiling each.
LIMITS = {"depth": "1:1", "width": "32", "activation": "relu"}
LIMITS |= {"normalisation": "none", "embedding": "none", "residual": "no"}
AND_MORE = """
import json, optuna, os, pandas
frame = pandas.read_csv("examples/iris.csv")
options = dict(space="layers", limits={"depth": "2:2"}, metric="log_loss", sampler="random")
options |= dict(pruner="none", validation="holdout", drop=("sepal_width",), seconds=600)
report = os.environ["TOY_FOLDER"] + "/python-report.html"
options |= dict(slots=2, trial_timeout=300, report=report)
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
    quick = code.replace("trials=30", f"trials=2, epochs=3, limits={LIMITS}, progress=False")
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
    page = (machine.folder / "python-report.html").read_text(encoding="utf-8")
    assert f"topo-search resume {told['study']} --trials +20" in page


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example of an own objective, importable as its reader has it."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module("images")


def test_the_example_of_an_own_objective_runs(
    machine: Machine, images: ModuleType, tmp_path: Path
) -> None:
    asked = re.search(
        r"topo-search (search --objective .*)", (ROOT / "examples/images.py").read_text()
    )
    assert asked is not None
    report = tmp_path / "report.html"
    done = subprocess.run(
        [Path(sys.executable).with_name("topo-search"), *asked[1].split(), "--trials", "1",
         "--epochs", "2", "--json", "--report", report],
        cwd=ROOT / "examples",
        env=machine.environment | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["trials"]["complete"], printed["trials"]["failed"]) == (1, 0)
    assert printed["best"]["value"] > 0.1
    assert "filters" in report.read_text(encoding="utf-8")
    machine.run("export", printed["study"], "-o", "taken")
    network = (machine.folder / "taken" / "weights").read_bytes()
    assert score(images, network, tmp_path) == pytest.approx(printed["best"]["value"], abs=1e-6)


def score(images: ModuleType, network: bytes, folder: Path) -> float:
    """Return the accuracy of a Keras file on the images that the example scores by."""
    (folder / "network.keras").write_bytes(network)
    _, x_valid, _, y_valid = images.split()
    loaded = images.keras.saving.load_model(folder / "network.keras")
    return float(loaded.evaluate(x_valid, y_valid, batch_size=450, verbose=0)[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_example_gives_the_weights_of_its_best_epoch(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(**parameters: Any) -> Any:
        network = build(**parameters)
        fit, fitted = network.fit, []

        def fit_once(*data: Any, **options: Any) -> None:
            fit(*data, **options)
            if fitted:
                network.set_weights([0 * part for part in network.get_weights()])
            fitted.append(True)

        network.fit = fit_once
        return network

    build = images.build
    monkeypatch.setattr(images, "build", forgets)
    parameters = {"filters": 8, "blocks": 1, "dropout": 0.0, "learning_rate": 0.01}
    assignment = Assignment(trial="0", parameters=parameters, seed=0, plan={}, dataset=None)
    outcome = images.objective(assignment, lambda step, value: step < 3)
    assert outcome.weights is not None and outcome.value > 0.3
    assert score(images, outcome.weights, tmp_path) == pytest.approx(outcome.value, abs=1e-6)


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
