from __future__ import annotations

import csv
import io
import json
import math

import optuna
import pandas as pd
import pytest
from fake_studies import HOSTILE, START, identity, outcome, plan, results, study
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from topo_search.plain import csv_text, plain
from topo_search.results import FEWEST_FOR_IMPORTANCES, Results, results_of


def made_of(trials: list[optuna.trial.FrozenTrial], *, direction: str = "maximize") -> Results:
    made = optuna.create_study(direction=direction)
    made.add_trials(trials)
    own = {"objective": "module:function", "metric": "score", "direction": direction}
    return results_of(study=made, plan=own, identity=identity(), outcome=None)


def scored(value: float, **attributes: object) -> optuna.trial.FrozenTrial:
    return create_trial(value=value, user_attrs=attributes)


def test_trials_that_nobody_is_at_are_waiting() -> None:
    made = optuna.create_study()
    made.add_trials([scored(0.5)])
    for _ in range(3):
        made.ask()
    own = {"objective": "module:function", "metric": "score", "direction": "maximize"}
    given = {"study": made, "plan": own, "identity": identity(), "outcome": None}
    assert results_of(**given).counts["running"] == 3  # type: ignore[arg-type]
    found = results_of(**given, live={2})  # type: ignore[arg-type]
    assert list(found.trials["state"]) == ["complete", "waiting", "running", "waiting"]
    assert (found.counts["running"], found.counts["waiting"]) == (1, 2)


def test_every_trial_is_a_row_with_its_parameters_and_attributes() -> None:
    found = results(50)
    trial = study(50).trials[3]
    row = found.trials.iloc[3]
    assert list(found.trials["trial"]) == list(range(50))
    assert row["state"] == "complete"
    assert row["value"] == trial.value
    assert row["param.learning_rate"] == trial.params["learning_rate"]
    for name in ("topology", "depth", "weights", "seconds", "epochs", "best_epoch", "attempts"):
        assert row[name] == trial.user_attrs[name]


def test_counts_are_those_of_the_study() -> None:
    found = results(50)
    states = [trial.state for trial in study(50).trials]
    assert found.counts["complete"] == states.count(TrialState.COMPLETE)
    assert found.counts["pruned"] == states.count(TrialState.PRUNED) > 0
    assert found.counts["failed"] == states.count(TrialState.FAIL) > 0
    assert found.counts["finished"] == 50


@pytest.mark.parametrize(("direction", "order"), [("maximize", [2, 0, 1]), ("minimize", [1, 0, 2])])
def test_the_leaderboard_begins_with_the_best(direction: str, order: list[int]) -> None:
    found = made_of([scored(0.5), scored(0.1), scored(0.9)], direction=direction)
    assert list(found.leaderboard["trial"]) == order


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_ties_go_to_the_lower_loss_of_the_best_epoch_then_to_the_earlier(direction: str) -> None:
    found = made_of(
        [
            scored(0.5),
            scored(0.5, losses=[0.1, 0.9, 0.0], best_epoch=2),
            scored(0.5, losses=[0.9, 0.3, 0.9], best_epoch=2),
            scored(0.5, losses=[0.9, 0.3, 0.9], best_epoch=2),
        ],
        direction=direction,
    )
    assert list(found.leaderboard["trial"]) == [2, 3, 1, 0]


def test_attributes_of_an_own_objective_that_are_not_what_they_are_called_are_left_out() -> None:
    wrong = {"losses": 0.3, "best_epoch": "last", "curve": {}, "depth": "deep", "seconds": []}
    found = made_of([scored(0.5, **wrong, weights=1.5, topology=3), scored(0.25, depth=2.0)])
    first, second = (row for _, row in found.trials.iterrows())
    assert first[["loss", "best_epoch", "depth", "seconds", "weights"]].isna().all()
    assert (first["topology"], second["depth"]) == ("", 2)
    assert list(found.leaderboard["trial"]) == [0, 1]
    assert found.curves.empty


def test_only_complete_trials_with_a_finite_score_are_ranked() -> None:
    pruned = create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.2, 3: 0.99})
    found = made_of([scored(0.5), scored(math.inf), pruned, create_trial(state=TrialState.FAIL)])
    assert list(found.leaderboard["trial"]) == [0]
    assert found.trials["value"].iloc[2] == 0.99


def test_curves_are_those_of_the_best_few() -> None:
    found = results(50)
    first = found.leaderboard.iloc[0]
    curve = found.curves[found.curves["trial"] == first["trial"]]
    assert set(found.curves["trial"]) == set(found.leaderboard["trial"].head(8))
    assert list(curve["epoch"]) == list(range(1, first["epochs"] + 1))
    assert curve["value"].max() == first["value"]


def test_importances_sum_to_one_and_are_sorted() -> None:
    found = results(50)
    assert found.importances.sum() == pytest.approx(1)
    assert found.importances.is_monotonic_decreasing
    assert found.importances_reason == ""


def distributed(value: float, rate: float) -> optuna.trial.FrozenTrial:
    space = {"rate": FloatDistribution(0, 1)}
    return create_trial(value=value, params={"rate": rate}, distributions=space)


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        ([distributed(0.1 * n, n / 20) for n in range(5)], f"needs {FEWEST_FOR_IMPORTANCES}"),
        ([distributed(0.5, n / 20) for n in range(20)], "the same score"),
        ([scored(0.1 * n) for n in range(20)], "no parameter"),
    ],
)
def test_importances_that_cannot_be_had_say_why(
    trials: list[optuna.trial.FrozenTrial], reason: str
) -> None:
    found = made_of(trials)
    assert found.importances.empty
    assert reason in found.importances_reason


def test_how_many_more_trials_would_do_counts_with_as_many_pruned() -> None:
    complete = [distributed(0.1 * n, n / 20) for n in range(6)]
    pruned = [create_trial(state=TrialState.PRUNED) for _ in range(3)]
    few = "needs 15 complete trials, has "
    assert made_of([*complete, *pruned]).importances_reason == (
        f"{few}6; pruned and failed ones do not count, so about 14 more would do"
    )
    assert made_of(pruned).importances_reason == f"{few}0; pruned and failed ones do not count"


def test_columns_left_out_say_why() -> None:
    left_out = results(5).left_out.set_index("column")["why"]
    assert left_out.to_dict() == {
        "sepal width (cm)": "left out as asked",
        "id": "looks like an identifier",
        "source": "holds one value only",
    }


def test_the_best_is_the_winner_of_the_outcome() -> None:
    made = study(20)
    before = results_of(study=made, plan=plan(), identity=identity(), outcome=None)
    second = {**outcome(before)["best"], "trial": int(before.leaderboard["trial"].iloc[1])}
    after = results_of(
        study=made, plan=plan(), identity=identity(), outcome=outcome(before, best=second)
    )
    assert before.best is not None and after.best is not None
    assert before.best["trial"] == before.leaderboard["trial"].iloc[0]
    assert after.best["trial"] == second["trial"]


def test_the_topology_is_that_of_the_best_parameters() -> None:
    found = results(20)
    assert found.best is not None and found.topology is not None
    assert found.topology.depth == found.best["parameters"]["depth"]
    assert str(found.topology) == found.best["topology"]


@pytest.mark.parametrize("trials", [0, 1, 50])
def test_json_is_strict_and_holds_the_same_numbers(trials: int) -> None:
    found = results(trials)
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["trials"] == found.counts
    assert value["leaderboard"] == list(found.leaderboard["trial"])
    assert [row["trial"] for row in value["history"]] == list(range(trials))
    assert value["created_at"] == START.isoformat()


def test_json_has_no_key() -> None:
    assert "SECRET-KEY" not in json.dumps(results(3).to_json())


def test_a_study_without_trials_keeps_its_columns() -> None:
    found = results(0)
    assert found.best is None and found.topology is None
    assert {"trial", "state", "value"} <= set(found.leaderboard.columns)
    assert list(found.curves.columns) == ["trial", "epoch", "value", "loss"]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_every_trial_and_its_numbers_stay_numbers() -> None:
    found = made_of([scored(-0.25, weights=7), scored(0.5)])
    first, second = read(found.to_csv())
    assert (first["value"], first["weights"]) == ("-0.25", "7")
    assert second["weights"] == ""


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1", "=cmd|'/C calc'!A0"]
)
def test_csv_text_is_never_a_formula(text: str) -> None:
    trial = create_trial(
        value=0.5,
        params={"choice": text},
        distributions={"choice": CategoricalDistribution([text])},
        user_attrs={"reason": text, "topology": text, "worker": text},
    )
    (row,) = read(made_of([trial]).to_csv())
    assert [row[name] for name in ("param.choice", "reason", "topology", "worker")] == [
        f"'{text}"
    ] * 4


@pytest.mark.parametrize("separator", [";", "\t", "\r", "\n"])
@pytest.mark.parametrize("between", ["", " ", '"', '" "', "'", ";"])
def test_csv_text_is_no_formula_either_where_it_is_split_elsewhere(
    separator: str, between: str
) -> None:
    for sign in "=+-@＝":
        text = f"x{separator}{between}{sign}cmd|'/C calc'!A0"
        frame = pd.DataFrame({text: [text, f"{separator}{text}"], "y": [1, 2]})
        for numerals in (False, True):
            told = csv_text(frame, numerals=numerals)
            assert told.count(f"'{sign}cmd") == told.count(f"{sign}cmd") == 3
            others = csv.reader(io.StringIO(told, newline=""), delimiter=separator)
            cells = [cell for row in others for cell in row] if separator in ";\t" else []
            assert not [cell for cell in cells if cell.lstrip(' ";\t').startswith(sign)]
    spared = pd.DataFrame({"a": [f"5{separator}-3{separator}+1,5", f"2{separator}{between}x"]})
    assert list(spared["a"]) == [row["a"] for row in read(csv_text(spared, numerals=True))]


def test_csv_guards_column_names_too() -> None:
    frame = pd.DataFrame({"=1+1": [1], "plain": ["=1"]})
    assert csv_text(frame) == "'=1+1,plain\r\n1,'=1\r\n"


def test_csv_spares_a_tables_own_numbers_where_asked_to_and_nothing_else() -> None:
    numbers = ["-1.5", "+2", "-1.234,5", "-.5", "-1e-07"]
    others = ["-1+1", "-1-2", "-A1", "--1", "-", "+SUM(A1)", "=-1"]
    frame = pd.DataFrame({"-1": [*numbers, *others]})
    spared = [row["'-1"] for row in read(csv_text(frame, numerals=True))]
    assert spared == [*numbers, *(f"'{text}" for text in others)]
    assert [row["'-1"] for row in read(csv_text(frame))] == [f"'{t}" for t in [*numbers, *others]]


def test_hostile_text_survives_json_unchanged() -> None:
    trials = [create_trial(value=0.1, user_attrs={"topology": text}) for text in HOSTILE]
    history = json.loads(json.dumps(made_of(trials).to_json()))["history"]
    assert [row["topology"] for row in history] == HOSTILE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (pd.NA, None),
        (pd.Series([3], dtype="Int64")[0], 3),
        ({1: (math.nan, True, "x")}, {"1": [None, True, "x"]}),
    ],
)
def test_plain_values_are_json(value: object, expected: object) -> None:
    assert plain(value) == expected
