"""What the folder with a network says of how to use it, done as it says."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from objectives import finishing
from objectives.baselines import Baselines
from objectives.objective import Finish
from objectives.space import Space
from objectives.table import read_table
from storage.rows import StudyRow
from topo_search.predictor import NETWORK, Predictor, Rules, _readme
from topo_search.study import Options, tabular_plan

# TensorFlow's variables do not know NumPy's `copy` yet, and Keras saves them so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS = 60
TABLE = "id,date,paid,flag,city,left,class\n" + "".join(
    f"k{i:03d},{i % 28 + 1:02d}.{i % 12 + 1:02d}.{2020 + i % 4},{('Nein', 'Ja')[i // 2 % 2]},"
    f"{i // 3 % 2},{'abc'[i % 3]},{i * 7 % 11},{'xy'[i % 2]}\n"
    for i in range(ROWS)
)
TAKEN = {
    "date.year": ("numeric: the year", 2021.0),
    "date.month": ("numeric: the month, 1 to 12", 3.0),
    "date.day": ("numeric: the day of the month", 28.0),
    "date.weekday": ("numeric: the day of the week, 0 on Monday", 6.0),
    "date.days": ("numeric: days since 2020-01-01, with their fraction", 452.0),
    "paid": ("boolean: 0 = nein, 1 = ja", 1.0),
    "flag": ("boolean: 0 = 0, 1 = 1", 0.0),
    "city": ("categorical", "b"),
}


@dataclass(frozen=True)
class Study:
    """A study of the table above, its winner drawn and not searched."""

    plan: dict[str, Any]
    parameters: dict[str, Any]

    def readme(self, **best: Any) -> str:
        known = {"trial": 3, "topology": "so deep", "weights": 12, "parameters": self.parameters}
        outcome = {"best": known | best, "test": {"value": 0.5, "rows": 12}}
        return _readme(Mock(StudyRow, id="abc", plan=self.plan, outcome=outcome))


def study_of(depth: int) -> Study:
    plan = tabular_plan(
        Options(
            data=TABLE.encode(),
            target="class",
            drop=("left",),
            limits={"depth": str(depth), "width": "4", "embedding": "none"},
        )
    )
    return Study(plan, Space.from_json(plan["space"]).portfolio[0])


def listed(text: str) -> dict[str, str]:
    return dict(re.findall(r"^- `(.+?)` \((.+)\)$", text, re.MULTILINE))


def code(text: str) -> list[str]:
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith("topo-search predict")]


def test_what_a_network_takes_is_listed_with_what_its_numbers_mean() -> None:
    assert listed(study_of(2).readme()) == {name: told for name, (told, _) in TAKEN.items()}


@pytest.mark.parametrize("depth", [200, 201])
def test_a_network_that_needs_our_layer_says_so_and_imports_it(depth: int) -> None:
    text = study_of(depth).readme()
    lines = code(text)
    assert len(lines) == 5
    assert ("objectives.stack" in lines[0]) is (depth > 200)
    assert ("Keras and TensorFlow alone" in text) is (depth <= 200)


def test_the_five_lines_predict_from_the_values_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "baselines", lambda *_: Baselines(rows=0, predictions={}))
    made, table = study_of(201), tmp_path / "table.csv"
    table.write_text(TABLE, encoding="utf-8")
    winner = {"trial": 3, "value": 0.5, "parameters": made.parameters, "seed": 4, "epochs": 2}
    given = Finish(trial="finish", plan=made.plan, winner=winner, looks=1, dataset=table)
    final = finishing.finish(given)
    (tmp_path / NETWORK).write_bytes(final.files[NETWORK])
    text = made.readme()
    row = {name: TAKEN[name][1] for name in listed(text)}
    script = "\n".join([f"one_row = {row}", *code(text)])
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    chances = [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", done.stdout)]
    assert len(chances) == 2 and np.sum(chances) == pytest.approx(1, abs=1e-4)


def test_hundreds_of_classes_have_a_column_each_beside_the_tables_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Warnings are errors here: pandas has one where columns are added one by one."""
    classes = ("k", "k_", *(f"k{code}" for code in range(300)))
    chances = np.random.default_rng(0).dirichlet(np.ones(len(classes)), ROWS)
    monkeypatch.setattr(finishing, "predictions", lambda *_: chances)
    table = read_table(TABLE.replace("city", "probability k").encode())
    rules = Rules(reading=table.reading, optional=(), classes=classes)
    found = Predictor(rules, Mock(input={})).of(table)
    named = found.predicted
    assert named[:4] == ("prediction", "probability k_", "probability k__", "probability k0")
    assert [*found.frame] == [*table.labels, *named]
    assert found.frame["prediction"].tolist() == [classes[c] for c in chances.argmax(axis=1)]
    np.testing.assert_array_equal(found.frame[[*named[1:]]].to_numpy(), chances.round(6))
    assert found.frame["probability k"].tolist() == table.labels["probability k"].tolist()
