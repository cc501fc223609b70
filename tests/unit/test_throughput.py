"""The benchmark of trials an hour: its list, its arithmetic and its report."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from throughput_report import HEAD, Measured, row  # noqa: E402
from throughput_study import space_of  # noqa: E402
from throughput_world import (  # noqa: E402
    HIGH_RATE,
    JOBS,
    LISTED,
    LOW_RATE,
    NAMES,
    Job,
    Trial,
    flops,
    points,
    read_job,
    write_job,
)

SMALL = Job(table="iris", rows=10, columns=3, classes=2, batch=4, epochs=5)


def measured(
    starts: list[float], seconds: float, epoch: float | None = None, **given: object
) -> Measured:
    trials = [
        Trial(
            start=start, end=start + seconds, seconds=seconds, score=0.5 + start / 100, epochs=5,
            epoch_seconds=epoch,
        )
        for start in starts
    ]  # fmt: skip
    usual = {"wall": 30.0, "cpu": 9.0, "database_cpu": 1.0, "peak": 2e9, "database_peak": 1e8}
    return Measured(
        side="one", trials=trials, flops=4e9, cores=1.0, **{**usual, **given}  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_list_has_24_networks_no_two_alike() -> None:
    assert len(LISTED) == 24
    assert len({(depth, width, activation) for depth, width, activation, *_ in LISTED}) == 24
    assert {depth for depth, *_ in LISTED} == set(range(1, 7))
    assert {width for _, width, *_ in LISTED} == {16, 32, 64, 128}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_study_has_all_points_and_tries_them_first(job: Job) -> None:
    listed = points(job, rounds=job.rounds)

    space = space_of(job, listed)

    assert list(space.portfolio) == listed
    for point in listed:
        topology, recipe = space.decode(point)
        assert (topology.depth, topology.width) == (point["depth"], point["width"])
        assert (recipe.epochs, recipe.batch_size) == (job.epochs, job.batch)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_no_trial_can_be_stopped_early(job: Job) -> None:
    assert job.epochs <= 10


def test_rounds_repeat_the_networks_with_new_rates() -> None:
    once, thrice = points(SMALL), points(SMALL, rounds=3)

    assert thrice[:24] == once
    assert len({tuple(point[name] for name in NAMES) for point in thrice}) == 72
    for number, point in enumerate(thrice):
        like = {**once[number % 24], "learning_rate": point["learning_rate"]}
        assert point == like
        assert LOW_RATE <= point["learning_rate"] <= HIGH_RATE


def test_operations_of_a_trial() -> None:
    # 3 × 8 + 8 × 8 + 8 × 2 = 104 weights, 5 epochs.
    assert flops(SMALL, {"depth": 2, "width": 8}, train=7, valid=3) == 5 * 104 * (6 * 7 + 2 * 3)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_job(SMALL, points(SMALL, 2), tmp_path)

    assert read_job(tmp_path) == (SMALL, points(SMALL, 2))
    assert json.loads((tmp_path / "job.json").read_text())["job"]["table"] == "iris"


def test_trials_an_hour_and_the_share_of_the_peak() -> None:
    two = measured([0.0, 2.0], 2.0)  # One after the other: 4 s.

    assert two.an_hour == 1800
    assert two.best == 0.52
    assert two.share(1e9, cores=2) == pytest.approx(0.5)
    assert two.share_in_trials(1e9) == pytest.approx(1.0)


def test_the_share_of_the_peak_in_epochs_leaves_out_the_rest_of_a_trial() -> None:
    assert measured([0.0, 2.0], 2.0, epoch=0.2).share_in_epochs(1e9) == pytest.approx(2.0)
    assert measured([0.0, 2.0], 2.0).share_in_epochs(1e9) is None


def test_scores_differ_by_the_same_networks() -> None:
    ours, theirs = measured([0.0, 4.0, 9.0], 2.0), measured([0.0, 2.0], 2.0)

    assert ours.difference(theirs) == "+0.010 ± 0.010"  # 0 and 0.02 more; the third has no other.
    assert theirs.difference(theirs) == "–"


def test_a_row_has_a_cell_for_each_column() -> None:
    slow, fast = measured([0.0, 2.0], 2.0), measured([0.0, 0.0], 2.0)

    first, second, third = (
        row(fast, slow, 1e9, 2), row(slow, slow, 1e9, 2), row(slow, None, 1e9, 2),
    )  # fmt: skip

    assert {line.count("|") for line in (*HEAD.splitlines(), first, second)} == {16}
    assert "| 3,600 | 2.0 | 30.0 |" in first
    assert "| 1,800 | 1.0 |" in second
    assert "| 1,800 | – |" in third
