"""Workers whose disk is full, or whose cache cannot be written: others serve the study."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_disks import barred, full_disk
from fleet_harness import Fleet, wait_until

from storage import datasets
from storage.connection import Storage

SIZE = 3_000_000  # Bytes of the dataset.


@pytest.fixture
def bad_caches(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders for workers in which the dataset cannot be kept."""
    found = [barred(tmp_path / "in-the-way")]
    with ExitStack() as stack:
        full = tmp_path / "full"
        full.mkdir()
        try:
            found.append(stack.enter_context(full_disk(full)))
        except OSError as error:
            warnings.warn(f"no full disk: {error}", stacklevel=1)
        yield found


@pytest.mark.filterwarnings("default:no full disk")
def test_a_worker_that_cannot_keep_the_dataset_leaves_the_study_to_others(
    storage: Storage, fleet: Fleet, bad_caches: list[Path]
) -> None:
    dataset = datasets.put(storage, bytes(range(250)) * (SIZE // 250), "large.csv")
    needing = make_study(storage, trials=6, seconds=0.2, dataset=dataset).id
    other = make_study(storage, trials=6, seconds=0.2).id
    bad = [fleet.start(cache=cache, until_idle=False) for cache in bad_caches]
    refused = f"Study {needing} cannot be served here now: "
    wait_until(lambda: all(refused in member.log for member in bad), "all refuse the study")
    for full in bad[1:]:
        assert "No space left on device" in full.log
    wait_until(lambda: sum(member.status["ended"] for member in bad) == 6, "they serve the other")
    fleet.start().join()
    for study in (needing, other):
        seen = exact(storage, study)
        as_drawn(storage, study, seen)
        assert {(trial.state, trial.attempts) for trial in seen} == {("COMPLETE", 1)}
    none_open(storage)
    assert all(member.alive for member in bad)
