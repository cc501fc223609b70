"""A search for numbers, as a user types it, and what becomes of its network."""

import csv
import json
import random
from pathlib import Path

import pytest
from machines import ONE_SHAPE, Machine, Searched


@pytest.fixture(scope="module")
def flats(machine: Machine) -> Searched:
    """A search of a table of 120 flats, of which rent is made of size and district."""
    folder = machine.folder / "flats"
    folder.mkdir()
    chance = random.Random(7)
    lines = ["size,district,rent"]
    for _ in range(120):
        size, district = chance.uniform(20, 120), chance.choice("abc")
        rent = 9 * size + 200 * "abc".index(district) + chance.gauss(0, 20)
        lines.append(f"{size:.1f},{district},{rent:.2f}")
    (folder / "flats.csv").write_text("\n".join(lines) + "\n")
    report = folder / "flats-report.html"
    options = ("--trials", 3, *ONE_SHAPE, "--epochs", 9, "--slots", 1, "--name", "flats")
    table = folder / "flats.csv"
    printed = machine.json("search", table, "--target", "rent", *options, "--report", report)
    return Searched(machine=machine, printed=printed, report=report)


def test_a_search_for_numbers_prints_errors_beside_the_baselines(flats: Searched) -> None:
    printed = flats.printed
    assert (printed["task"], printed["metric"], printed["direction"]) == (
        *("regression", "rmse", "minimize"),
    )
    assert set(printed["baselines"]) == {"mean", "linear", "boosting"}
    test = printed["test"]
    assert 0 < test["low"] <= test["value"] <= test["high"]
    assert 0 < printed["baselines"]["linear"] < printed["baselines"]["mean"]
    assert printed["trials"]["finished"] == 3


def test_the_time_of_a_search_is_that_of_its_trials_and_more(flats: Searched) -> None:
    results = flats.machine.json("results", "flats")
    assert "rmse" in results["test"]["metrics"]
    trained = sum(trial["seconds"] for trial in results["history"])  # One after the other.
    assert trained <= flats.printed["seconds"] == pytest.approx(results["seconds"])


def test_predictions_that_cannot_be_written_are_told_in_one_line(
    flats: Searched, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "out.csv"
    table = flats.report.with_name("flats.csv")
    done = flats.machine.run("predict", flats.network, table, "-o", place, code=1)
    assert done.stdout == ""
    told = f"Received {place}: {place.parent} is a file.\n"
    assert done.stderr.endswith(f"Error: Expected a place that can be written. {told}")


def test_the_network_predicts_numbers(flats: Searched, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("district,size\na,50\nc,50\na,100\n")
    written = tmp_path / "predictions.csv"
    done = flats.machine.run("predict", flats.network, new, "-o", written, "--json")
    assert done.stderr == f"Written: 3 predictions to {written}\n"
    rows = list(csv.DictReader(written.read_text().splitlines()))
    assert [row["district"] for row in rows] == ["a", "c", "a"]
    predicted = [float(row["prediction"]) for row in rows]
    assert predicted[2] > predicted[0]
    assert json.loads(done.stdout) == [
        {"prediction": pytest.approx(value, rel=1e-4)} for value in predicted
    ]
