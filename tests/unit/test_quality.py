"""The benchmark of time to quality: its curves, its arithmetic and its report."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import quality_world  # noqa: E402
from quality import missing  # noqa: E402
from quality_curves import (  # noqa: E402
    NEVER,
    Run,
    Trial,
    curve,
    cut,
    final,
    final_test,
    median,
    noise,
    pruning,
    read_runs,
    time_to,
    training_to,
    write_runs,
)
from quality_report import SIDES, best_peer, of_length, report  # noqa: E402

ABOUT = {
    "cpu": "A processor",
    "cores": 2,
    "memory": 2**33,
    "versions": {"python": "3.11"},
    "commit": "abc",
    "date": "2026-11-22",
    "others": 0.5,
}


def run(side: str, *values: float | None, test: float | None = None, **given: object) -> Run:
    """Return a run of trials of 5 s that end every 10 s, where None is pruned."""
    trials = [
        Trial(
            at=10.0 * place,
            seconds=5.0,
            state="pruned" if value is None else "complete",
            value=value,
            test=None if value is None or test is not None else value - 0.1,
        )
        for place, value in enumerate(values, start=1)
    ]
    usual = {"table": "digits", "seed": 0, "minutes": 1.0, "metric": "accuracy", "wall": 70.0}
    usual |= {"direction": "maximize", "rows": {"train": 4, "valid": 2, "test": 3}}
    return Run(side=side, trials=trials, test=test, about=ABOUT, **{**usual, **given})  # type: ignore[arg-type]


def test_a_curve_has_every_new_best_and_nothing_that_was_pruned() -> None:
    one = run("optuna", 0.5, None, 0.4, 0.5, 0.8)

    assert [(trial.at, trial.value) for trial in curve(one)] == [(10.0, 0.5), (50.0, 0.8)]
    assert (final(one), final_test(one)) == (0.8, pytest.approx(0.7))


def test_less_is_better_where_errors_are_the_score() -> None:
    one = run("optuna", 5.0, 6.0, 3.0, direction="minimize")

    assert [trial.value for trial in curve(one)] == [5.0, 3.0]
    assert time_to(one, 4.0) == 30.0
    assert time_to(one, 4.0, slack=1.0) == 10.0
    assert time_to(one, 2.0) == NEVER


def test_time_to_a_score() -> None:
    one = run("optuna", 0.5, None, 0.7, 0.8)

    assert time_to(one, 0.5) == 10.0
    assert time_to(one, 0.6) == 30.0
    assert time_to(one, 0.9) == NEVER
    assert time_to(one, 0.85, slack=0.05) == 40.0
    assert time_to(one, float(np.nextafter(0.8, 1))) == 40.0, "rounding decides nothing"
    assert time_to(one, None) == NEVER
    assert training_to(one, 0.7) == 15.0
    assert training_to(one, 0.9) == NEVER


def test_a_run_without_a_score_reaches_none() -> None:
    nothing = run("optuna", None, None)

    assert (final(nothing), final_test(nothing)) == (None, None)
    assert time_to(nothing, 0.1) == NEVER


def test_what_ends_late_does_not_count() -> None:
    values = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    late = run("topo-search", *values, 0.7, test=0.65)
    idle = run("topo-search", *values, 0.6, test=0.55)

    assert len(late.ended) == 6
    assert (final(late), final_test(late)) == (0.6, None), "the late winner was scored, not ours"
    assert (final(idle), final_test(idle)) == (0.6, 0.55)


def test_a_run_is_cut_to_fewer_minutes() -> None:
    peer, ours = run("optuna", 0.5, 0.6, 0.7, 0.8), run("topo-search", 0.5, 0.6, test=0.55)

    assert (final(cut(peer, 0.5)), final_test(cut(peer, 0.5))) == (0.7, pytest.approx(0.6))
    assert final_test(cut(ours, 0.5)) is None, "it was told at the end of the longer run alone"
    assert cut(ours, 1.0) is ours


def test_pruning_is_compared_at_equal_trials() -> None:
    bare = run("unpruned", 0.5, 0.8, 0.7)
    quick = run("topo-search", None, 0.5, 0.79, 0.9)
    quick = replace(quick, trials=[replace(trial, seconds=1.0) for trial in quick.trials])

    found = pruning(quick, bare, noise=0.02)

    assert found is not None
    assert (found.trials, found.unpruned, found.pruned) == (3, 0.8, 0.79)
    assert found.share == pytest.approx(3 / 15)
    assert found.reach == pytest.approx(3 / 15)
    assert found.own_reach == pytest.approx(10 / 15)
    exact = pruning(quick, bare, noise=0.0)
    assert exact is not None and exact.reach == pytest.approx(4 / 15)


def test_pruning_is_not_compared_with_more_trials_than_there_are() -> None:
    assert pruning(run("topo-search", 0.5), run("unpruned", 0.5, 0.6), noise=0.1) is None


def test_noise_is_the_spread_over_seeds() -> None:
    assert noise([run("unpruned", 0.5)]) == 0.0
    assert noise([run("unpruned", 0.5), run("unpruned", 0.7)]) == pytest.approx(0.02**0.5)


def test_medians_count_never_as_longer_than_anything() -> None:
    assert median([3.0, None, 1.0]) == 2.0
    assert median([3.0, NEVER, NEVER]) == NEVER
    assert median([None]) is None


def test_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    runs = [run("optuna", 0.5, None), run("topo-search", 0.5, test=0.4)]

    assert read_runs(tmp_path / "runs.json") == []
    write_runs(runs[:1], tmp_path / "runs.json")
    write_runs(runs, tmp_path / "runs.json")

    assert read_runs(tmp_path / "runs.json") == runs
    assert [path.name for path in tmp_path.iterdir()] == ["runs.json"]


def test_what_is_there_is_not_run_again() -> None:
    there = [run("optuna", 0.5, minutes=10.0), run("topo-search", 0.5, minutes=3.0)]
    sides = ["optuna", "topo-search"]

    assert list(missing(there, ["digits"], sides, [0, 1], [3.0, 10.0])) == [
        ("digits", "topo-search", 0, 10.0),
        ("digits", "optuna", 1, 10.0),
        ("digits", "topo-search", 1, 3.0),
        ("digits", "topo-search", 1, 10.0),
    ]
    assert list(missing(there, ["adult"], ["holdout"], [0], [3.0])) == []


def test_shorter_runs_of_peers_are_read_off_longer_ones() -> None:
    runs = [run("optuna", 0.5, 0.6, 0.7), run("topo-search", 0.5, test=0.4)]

    sides = of_length(runs, "digits", 0.25)

    assert list(sides) == ["optuna"]
    assert final(sides["optuna"][0]) == 0.5


def test_the_best_peer_is_chosen_by_validation() -> None:
    runs = [run("optuna", 0.5), run("bayesian", 0.6), run("hyperband", None), run("unpruned", 0.9)]
    best = best_peer(of_length(runs, "digits", 1.0), 0)

    assert best is not None and best.side == "bayesian"


def test_the_report_sets_targets_beside_what_was_measured() -> None:
    runs = []
    for seed in range(3):
        runs += [
            run("hyperband", 0.5, 0.6, seed=seed),
            run("optuna", 0.5, 0.5, 0.5, 0.7, seed=seed),
            run("unpruned", 0.7, 0.71 + seed / 100, seed=seed, test=0.6),
        ]
        ours = run("topo-search", 0.65, 0.72, 0.75, seed=seed, test=0.74)
        quick = [replace(trial, at=trial.at / 5, seconds=1.0) for trial in ours.trials]
        runs.append(replace(ours, trials=quick))

    text = report(runs)

    assert "A processor, 2 cores, 8 GiB. python 3.11. Commit abc." in text
    assert "Other work took 0.5 to 0.5 cores before a run." in text
    assert "| KerasTuner, Hyperband | 3 | 2.0 | 0.6000 | 0.5000 | 70 | 20 | never |" in text
    assert "| topo-search | 3 | 3.0 | 0.7500 | 0.7400 | 70 | 2.0 | 4.0 |" in text
    # It has the 0.7 of the best peer after 4 of 60 s, the peer after 40.
    assert "| TPE | 0.7000 | 0.6000 | 0.7500 | 0.7400 | 4.0 | **7 %** | ≤ 12.5 % | 10 % |" in text
    assert "| digits | 3 | 2.0 | 0.7200 | 0.7200 | 0.01 | **20 %** | ≤ 40 % | 20 % |" in text


def test_tables_of_a_report_have_a_cell_for_each_column() -> None:
    slow = run("topo-search", 0.5, test=0.4)
    table: list[str] = []
    for line in [*report([slow, run("optuna", 0.6), run("unpruned", 0.6)]).splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            assert len({row.count("|") for row in table}) == 1, table
            table = []


def test_a_missed_target_is_not_bold_and_an_empty_list_is_said() -> None:
    text = report([run("topo-search", 0.5, test=0.4), run("optuna", 0.6)])

    assert "| never | never | ≤ 12.5 % | never |" in text
    assert "**" not in text
    assert "Pruning" not in text
    assert report([]) == "There are no runs."


def test_every_side_has_a_name() -> None:
    from quality_ours import OPTIONS
    from quality_report import PEERS

    assert set(SIDES) == {*PEERS, *OPTIONS}


def test_all_sides_have_the_same_rows(tmp_path: Path) -> None:
    prepared = quality_world.prepare("digits", 1, tmp_path)

    with np.load(tmp_path / quality_world.ARRAYS) as data:
        found = {name: len(data[f"y_{name}"]) for name in ("train", "valid", "test")}
        assert data["x_train"].shape[1] == data["x_test"].shape[1]
        assert abs(data["x_train"].mean()) < 0.01
    lines = {part: len((tmp_path / f"{part}.csv").read_text().splitlines()) - 1
             for part in ("train", "test")}  # fmt: skip
    assert found == prepared.rows
    assert lines == {"train": found["train"] + found["valid"], "test": found["test"]}
    assert (prepared.metric, prepared.direction) == ("accuracy", "maximize")
