"""The benchmarks of the service's cost and of growth, at the smallest size: they count right."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import growth  # noqa: E402
import growth_fleet  # noqa: E402
import growth_study  # noqa: E402
import service  # noqa: E402
from service_study import Ended, busy_seconds, ended_since, fill, idle_times, make  # noqa: E402
from surroundings import postmaster, remove_server  # noqa: E402

from storage import studies  # noqa: E402
from storage.check import violations  # noqa: E402
from storage.trials import optuna_study  # noqa: E402
from topo_search.settings import Settings, opened  # noqa: E402

pytestmark = pytest.mark.benchmark

TRIALS = service.SKIPPED + 4


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[service.Bench]:
    with ExitStack() as stack:
        home = tmp_path / "home"
        stack.callback(remove_server, home)
        storage = stack.enter_context(opened(Settings(storage=None, home=home)))
        yield service.Bench(
            storage=storage, home=home, folder=tmp_path, database=postmaster(storage),
            light=True, trials=TRIALS,
        )  # fmt: skip


def cells(table: str, row: str) -> list[str]:
    """Return the cells of a row of a Markdown table, without its name."""
    found = next(line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_a_filled_study_is_as_if_its_trials_had_been_worked_at(bench: service.Bench) -> None:
    for count in (30, 12):  # The second one's trials come after the first one's.
        row = make(bench.storage, trials=count)
        fill(bench.storage, row, count)
        assert violations(bench.storage) == []
        seen = optuna_study(bench.storage, row).trials
        assert [trial.number for trial in seen] == list(range(count))
        assert all(len(trial.params) == 10 for trial in seen)
        assert all(trial.intermediate_values == {1: 0.5, 3: 0.5, 9: 0.5} for trial in seen)
        assert len(ended_since(bench.storage, row.id, 5)) == count - 5


def test_the_service_at_its_smallest(
    bench: service.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = service.fast(bench, "tpe", 20)
    service.paced(bench, "random", 20)
    table = service.accounts_table([{**seen, "before": 100}])
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line.split(" | ")[:2] for line in printed] == [["| tpe", "20"], ["| random", "20"]]
    assert (seen["trials"], seen["counted"]) == (TRIALS, 4)
    accounts = seen["accounts"]
    # What each trial costs: three reports, a beginning, an end, and a claim, mostly.
    assert 5 * 4 <= accounts["transactions"] <= 12 * 4
    assert cells(table, "transactions a trial") == [f"{accounts['transactions'] / 4:.1f}"]
    assert float(cells(table, "statements a trial")[0]) < 60
    assert studies.list_studies(bench.storage) == []


def test_a_fleet_at_its_smallest(tmp_path: Path) -> None:
    size = growth_fleet.Size(workers=1, slots=2, seconds=0.3, window=1.5, studies=2)
    seen = growth_fleet.measured(size, tmp_path)
    table = growth.fleet_table(size, seen)
    for part in (seen["one"], seen["many"]):
        assert 0 < part["busy"] <= 1
        assert 1 <= part["connections"] <= 3
        assert 0 < part["ended"] <= 2 * (size.window / size.seconds + 2)
        assert len(part["claims"]) > 0
    assert cells(table, "connections, at most") == [
        "≤ 60", *(f"**{seen[part]['connections']}**" for part in ("one", "many"))
    ]  # fmt: skip


def test_a_fleet_for_which_there_is_no_room_is_refused(tmp_path: Path) -> None:
    size = growth_fleet.Size(workers=10**6, slots=10, seconds=1, window=1, studies=1)
    with pytest.raises(growth_fleet.CrowdedError, match="GiB are needed"):
        growth_fleet.measured(size, tmp_path)


def test_a_large_study_at_its_smallest(bench: service.Bench) -> None:
    seen = growth_study.measured(bench.storage, bench.home, 40, trials=8, sampler="random")
    table = growth.study_table([seen])
    assert (seen["size"], seen["worker"]["trials"]) == (40, 8)
    assert cells(table, "a page of trials")[0] == "as 10,000"
    assert seen["web"]["trials"]["bytes"] > 1_000
    assert seen["worker"]["peak"] > 50e6


def test_idle_and_busy_times_are_those_of_each_slot() -> None:
    trials = [
        Ended(taken_at=0, ended_at=0, began=began, ended=ended, slot=slot)
        for slot, began, ended in ((1, 0, 4), (2, 1, 3), (1, 4.5, 8), (2, 5, 9))
    ]
    assert sorted(idle_times(trials)) == [0.5, 2]
    assert busy_seconds(trials, 2, 6) == (2 + 1) + (1.5 + 1)
