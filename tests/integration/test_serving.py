"""A study as a worker serves it, over a real database."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from stored_studies import claimed, optuna_trials

from objectives.sizes import Sizes, count_weights
from storage import claiming, trial_reader, trials
from storage.connection import Storage
from storage.rows import Lease, Taker
from topo_search.sampling import RANDOM
from topo_search.serving import ServedStudy
from topo_search.study import Options, create

ROWS = [f"{k % 7},{k % 5},{'ab'[k % 2]}" for k in range(60)]
TABLE = "\n".join(["p,q,y", *ROWS]).encode()


@pytest.fixture
def served(storage: Storage, tmp_path: Path) -> ServedStudy:
    options = Options(data=TABLE, file="t.csv", target="y", trials=9, epochs=9, seed=3)
    row, _ = create(storage, options)
    return ServedStudy(storage=storage, row=row, cache=tmp_path / "datasets")


def leased(served: ServedStudy) -> Lease:
    lease = claiming.claim(served.storage, served.row.id, Taker(owner="a"), served)
    assert lease is not None
    return lease


def test_an_assignment_has_all_that_a_slot_needs(served: ServedStudy) -> None:
    lease = leased(served)
    assignment = served.assignment(lease)
    assert assignment.trial == str(lease.token)
    assert (assignment.parameters, assignment.seed) == (lease.parameters, lease.seed)
    assert assignment.plan == served.row.plan
    assert assignment.dataset is not None and assignment.dataset.read_bytes() == TABLE
    assert assignment.test_dataset is None


def test_test_rows_that_came_apart_are_handed_over(storage: Storage, tmp_path: Path) -> None:
    other = TABLE.replace(b"\n", b"\r\n")
    options = Options(data=TABLE, file="t.csv", target="y", test_data=other, trials=1)
    row, _ = create(storage, options)
    served = ServedStudy(storage=storage, row=row, cache=tmp_path)
    test = served.assignment(leased(served)).test_dataset
    assert test is not None and test.read_bytes() == other


def test_a_draw_is_a_point_of_the_space_and_described(served: ServedStudy) -> None:
    parameters = leased(served).parameters
    assert served.space.contains(parameters)
    topology, _ = served.space.decode(parameters)
    sizes = Sizes(numeric=2, dense=0, codes=())
    assert served.described(parameters) == {
        "topology": str(topology),
        "depth": topology.depth,
        "weights": count_weights(topology, sizes, 2),
    }


def test_a_network_that_predicts_a_number_has_one_output(storage: Storage, tmp_path: Path) -> None:
    data = "p,q,y\n" + "".join(f"{k % 7},{k % 5},{k * 1.5}\n" for k in range(60))
    row, _ = create(storage, Options(data=data.encode(), file="t.csv", target="y", trials=1))
    served = ServedStudy(storage=storage, row=row, cache=tmp_path)
    parameters = leased(served).parameters
    weights = count_weights(
        served.space.decode(parameters)[0], Sizes(numeric=2, dense=0, codes=()), 1
    )
    assert served.described(parameters)["weights"] == weights


def test_another_worker_draws_the_same_for_the_same_unit(served: ServedStudy) -> None:
    another = ServedStudy(storage=served.storage, row=served.row, cache=served.cache)
    assert [served.draw(unit) for unit in range(3)] == [another.draw(unit) for unit in range(3)]


def test_to_draw_after_a_look_takes_no_connection(served: ServedStudy) -> None:
    """It may happen in the midst of a transaction, where everybody who waited for a second
    connection of PgBouncer's would keep the first."""
    leased(served)
    sa.event.listen(served.storage.engine, "checkout", lambda *_: pytest.fail("a connection"))
    unit = len(served.space.portfolio) + RANDOM
    assert served.draw(unit) is not None


def test_a_trial_far_behind_the_others_is_pruned_at_a_rung(served: ServedStudy) -> None:
    distributions = served.space.distributions()
    for value in (0.9, 0.8, 0.85, 0.95):
        lease = leased(served)
        number = trials.begin(served.storage, lease, distributions)
        trials.report(served.storage, lease, 1, value)
        assert not served.prunes(number, 1, value)
        trials.end(served.storage, lease, state="complete", value=value)
    behind, ahead = leased(served), leased(served)
    verdicts = []
    for lease, value in ((behind, 0.1), (ahead, 0.99)):
        number = trials.begin(served.storage, lease, distributions)
        trials.report(served.storage, lease, 1, value)
        verdicts.append(served.prunes(number, 1, value))
    assert verdicts == [True, False]
    assert len(optuna_trials(served.storage, served.row)) == 6


def test_those_that_came_to_their_end_early_are_to_be_beaten_later(served: ServedStudy) -> None:
    distributions = served.space.distributions()
    for _ in range(4):
        lease = leased(served)
        trials.begin(served.storage, lease, distributions)
        trials.report(served.storage, lease, 1, 0.8)
        trials.end(served.storage, lease, state="complete", value=0.9)  # No better after epoch 2.
    worse, better = leased(served), leased(served)
    verdicts = []
    for lease, value in ((worse, 0.87), (better, 0.91)):
        number = trials.begin(served.storage, lease, distributions)
        for step, reported in ((1, 0.85), (3, value)):
            trials.report(served.storage, lease, step, reported)
            verdicts.append(served.prunes(number, step, reported))
    assert verdicts == [False, True, False, False]


def test_a_study_without_a_dataset_hands_none_over(storage: Storage, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text("[parameters]\nx = {low = 0.0, high = 1000.0}\n")
    options = Options(data=None, objective="mine:score", space_file=space, trials=1)
    row, _ = create(storage, options)
    served = ServedStudy(storage=storage, row=row, cache=tmp_path)
    lease = claimed(storage, row)
    assert served.assignment(lease).dataset is None
    assert served.described(lease.parameters) == {}


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({}, True),
        ({"sampler": "random"}, False),
        ({"space": "depth", "limits": {"depth": "4"}}, False),
    ],
)
def test_trials_are_read_for_draws_that_go_by_them_alone(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, reads: bool
) -> None:
    given = Options(data=TABLE, file="t.csv", target="y", trials=4, **options)
    served = ServedStudy(storage=storage, row=create(storage, given)[0], cache=tmp_path)
    looks: list[ServedStudy] = []
    monkeypatch.setattr(ServedStudy, "look", lambda served: looks.append(served))
    claimed = claiming.claim(storage, served.row.id, Taker(owner="a"), served)
    assert claimed is not None
    assert bool(looks) is reads


def test_what_cannot_wait_is_done_while_many_trials_are_read(
    served: ServedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        trials.begin(served.storage, leased(served), served.distributions)
    monkeypatch.setattr(trial_reader, "AT_ONCE", 1)
    done: list[None] = []
    another = ServedStudy(
        storage=served.storage,
        row=served.row,
        cache=tmp_path,
        meanwhile=lambda: done.append(None),
    )
    assert not another.prunes(0, 1, 0.5)
    assert len(done) == 2
