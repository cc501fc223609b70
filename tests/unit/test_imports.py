"""The boundaries between the packages, and what a module may bring along when it is imported."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATABASE = {"sqlalchemy", "psycopg2", "alembic"}
NETWORKS = {"tensorflow", "keras"}
PAGES = {"flask", "apiflask", "flask_limiter", "flask_wtf", "waitress", "werkzeug", "jinja2"}
UNPICKLING = {"builtins", "cloudpickle", "dill", "joblib", "marshal", "pickle", "read_pickle",
              "shelve", "to_pickle"}  # fmt: skip
FORBIDDEN = {
    "objectives": DATABASE | {"storage", "topo_search"},
    "storage": NETWORKS | {"objectives", "topo_search"},
    "topo_search": DATABASE,
}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and top-level package of every import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_from_beyond_its_boundary(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    crossings = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name in FORBIDDEN[package]
    ]
    assert crossings == []


def test_only_the_web_package_knows_flask() -> None:
    crossings = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for package in FORBIDDEN
        for path in sorted((ROOT / package).rglob("*.py"))
        if ROOT / "topo_search" / "web" not in path.parents
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name in PAGES or name.startswith("flask")
    ]
    assert crossings == []


def code_from_data(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every use of what would run code that came as data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("eval", "exec"):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and node.attr in UNPICKLING:
            yield node.lineno, node.attr
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not isinstance(node.value, ast.Constant) or node.value.value:
                yield node.lineno, "allow_pickle"
    yield from ((line, name) for line, name in imported(tree) if name in UNPICKLING)


def test_no_module_unpickles_or_runs_text() -> None:
    uses = [
        f"{path.relative_to(ROOT)}:{line} uses {name}"
        for package in FORBIDDEN
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in code_from_data(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert uses == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "def f():\n    from pickle import loads", "x = eval(text)", "import joblib",
     "run = exec", "import builtins\nbuiltins.eval(text)", "pd.read_pickle(path)",
     "np.load(path, allow_pickle=True)"],
)  # fmt: skip
def test_what_would_run_code_that_came_as_data_is_found(text: str) -> None:
    assert list(code_from_data(ast.parse(text)))


def loaded_after(*arguments: str) -> set[str]:
    """Return the names of all modules that a fresh interpreter has after running `arguments`."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"exec({arguments[0]!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments[1:]], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def roots(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def test_no_module_of_the_service_loads_tensorflow_but_the_one_that_preloads_it() -> None:
    names = [f"topo_search.{path.stem}" for path in (ROOT / "topo_search").glob("*.py")]
    names = [name for name in names if not name.endswith((".preload", ".__init__"))]
    loaded = loaded_after("import " + ", ".join(names))
    assert {"topo_search.worker", "topo_search.study", "topo_search.cli"} <= loaded
    assert not roots(loaded) & NETWORKS


def test_a_worker_starts_without_what_only_its_slots_need() -> None:
    assert not roots(loaded_after("import topo_search.worker")) & {"pandas", "scipy", "sklearn"}


def test_what_keeps_the_web_service_from_serving_is_found_without_loading_it() -> None:
    names = "topo_search.cli_web, topo_search.web.address, topo_search.web.access_log"
    loaded = roots(loaded_after(f"import {names}, topo_search.logs, topo_search.signals"))
    assert not loaded & (PAGES | DATABASE | {"optuna", "pandas", "plotly"})


def test_how_far_studies_are_is_told_without_reading_tables() -> None:
    names = "topo_search.study_status, topo_search.terminal_status, topo_search.next_steps"
    loaded = roots(loaded_after(f"import {names}, topo_search.fleet, storage.studies"))
    assert not loaded & {"pandas", "scipy", "sklearn", "plotly"}


def test_gpus_are_counted_without_tensorflow() -> None:
    """As if its CUDA libraries were there: else no GPU counts."""
    code = (
        "import importlib.util, os\n"
        "from topo_search.machine import device, usable_gpus\n"
        "importlib.util.find_spec = lambda name: name\n"
        "os.environ['CUDA_VISIBLE_DEVICES'] = '0,2'\n"
        "assert (usable_gpus(), device()) == (['0', '2'], '2 GPUs')"
    )
    assert not roots(loaded_after(code)) & NETWORKS


def test_the_web_service_loads_no_tensorflow() -> None:
    web = ROOT / "topo_search" / "web"
    paths = [path.relative_to(ROOT).with_suffix("") for path in web.rglob("*.py")]
    names = [".".join(path.parts) for path in paths if path.name != "__init__"]
    loaded = loaded_after("import " + ", ".join(names))
    assert {"topo_search.web.server", "topo_search.web.prediction", "flask"} <= loaded
    assert not roots(loaded) & NETWORKS


def test_a_slot_loads_no_database_and_no_optuna() -> None:
    loaded = roots(loaded_after("import topo_search.slot, topo_search.preload"))
    assert NETWORKS <= loaded, "the fork server is to preload TensorFlow"
    assert not loaded & (DATABASE | {"storage", "optuna"})


@pytest.mark.parametrize("arguments", [("--help",), ("search", "--help"), ("--version",)])
def test_help_needs_nothing_heavy(arguments: tuple[str, ...]) -> None:
    run = "from topo_search.cli import main; main()"
    heavy = {"tensorflow", "keras", "pandas", "numpy", "optuna", "sqlalchemy", "sklearn", "rich"}
    assert not roots(loaded_after(run, *arguments)) & heavy


def test_tables_spaces_and_metrics_are_read_without_tensorflow_or_scikit_learn() -> None:
    names = ("table", "splits", "metrics", "preprocessing", "topology", "space", "objective")
    loaded = loaded_after("import " + ", ".join(f"objectives.{name}" for name in names))
    assert not roots(loaded) & (NETWORKS | {"sklearn"})
