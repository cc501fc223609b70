"""Studies that begin with the trials of another."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from stored_studies import optuna_trials, waits_for_a_lock

from objectives.space import Space
from storage import claiming, finishing, removal, retention, studies, tables, trials
from storage.check import violations
from storage.connection import Storage
from storage.finishing import Look
from storage.progress import progress_of
from storage.rows import StudyRow, Taker
from topo_search import delivery, inheritance
from topo_search.cli_search import _knows
from topo_search.finish import best_of
from topo_search.halving import STARTUP
from topo_search.report import write_report
from topo_search.serving import ServedStudy
from topo_search.study import Options, create

ROWS = [f"{k % 7},{k % 5},{'ab'[k % 2]}" for k in range(60)]
OPTIONS = Options(
    data="\n".join(["p,q,y", *ROWS]).encode(),
    file="t.csv",
    target="y",
    trials=14,
    limits={"depth": "1:4", "width": "16:64"},
    seed=3,
)


@pytest.fixture
def parent(storage: Storage, tmp_path: Path) -> StudyRow:
    """A finished study, whose trials scored by their depth and one of which was pruned."""
    row, _ = create(storage, OPTIONS)
    return tried(storage, row, tmp_path)


def tried(storage: Storage, row: StudyRow, cache: Path) -> StudyRow:
    """Bring a study to its end; its sixth trial is pruned."""
    served = ServedStudy(storage=storage, row=row, cache=cache)
    distributions = served.space.distributions()
    while (lease := claiming.claim(storage, row.id, Taker(owner="a"), served)) is not None:
        if lease.kind == "finish":
            look = Look(purpose="score the winner", trial_number=0, value=0.5)
            assert finishing.finish(storage, lease, {}, look=look)
            break
        trials.begin(storage, lease, distributions)
        depth = lease.parameters["depth"]
        attributes = {"topology": f"{depth} ×", "best_epoch": 1, "losses": [0.1], "seed": 5}
        trials.report(storage, lease, 1, float(depth))
        trials.report(storage, lease, 81, float(depth))
        state = "pruned" if lease.unit == 5 else "complete"
        trials.end(
            storage,
            lease,
            state=state,  # type: ignore[arg-type]
            value=float(depth),
            attributes=attributes,
        )
    return studies.get(storage, row.id)


def depths_of(row: StudyRow) -> list[int]:
    """Return the depths that a study tries, in order."""
    points = Space.from_json(row.plan["space"]).enumerated or ()
    return [int(point["depth"]) for point in points]


def child_of(storage: Storage, parent: StudyRow, **changes: object) -> StudyRow:
    asked = Options(data=None, parent=parent.id, **{"trials": 5, **changes})  # type: ignore[arg-type]
    return create(storage, asked)[0]


def test_a_child_knows_its_parents_trials_under_its_own_distributions(
    storage: Storage, parent: StudyRow
) -> None:
    child = child_of(storage, parent, limits={"depth": "1:9"})
    known = optuna_trials(storage, child)
    assert len(known) == 14
    assert {trial.distributions["depth"] for trial in known} == {
        optuna.distributions.IntDistribution(1, 9)
    }
    space = Space.from_json(child.plan["space"])
    assert space.distributions() == known[0].distributions  # Limits of the parent's stay.
    pairs = {(t.user_attrs["known_from"], t.value, t.state.name) for t in known}
    assert pairs == {
        (f"{parent.id}/{t.number}", t.value, t.state.name) for t in optuna_trials(storage, parent)
    }
    assert not {"lease", "unit", "worker"} & known[0].user_attrs.keys()
    assert progress_of(storage, child.id).finished == 0
    assert violations(storage) == []


def test_trials_outside_the_childs_space_are_left_behind(
    storage: Storage, parent: StudyRow
) -> None:
    child = child_of(storage, parent, limits={"depth": "2:3"})
    inside = [t for t in optuna_trials(storage, parent) if t.params["depth"] in (2, 3)]
    assert 0 < len(inside) < 14
    assert len(optuna_trials(storage, child)) == len(inside)
    fixed = child_of(storage, parent, limits={"depth": "2"})
    assert len(optuna_trials(storage, fixed)) == sum(t.params["depth"] == 2 for t in inside)


def test_a_child_has_the_split_of_its_parent_and_other_draws(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    child = child_of(storage, parent)
    same = ("target", "task", "classes", "metric", "seed", "test_share", "validation", "reading")
    assert {name: child.plan[name] for name in same} == {name: parent.plan[name] for name in same}
    assert (child.dataset, child.parent) == (parent.dataset, parent.id)
    served = ServedStudy(storage=storage, row=child, cache=tmp_path)
    lease = claiming.claim(storage, child.id, Taker(owner="a"), served)
    assert lease is not None and lease.unit == 0
    # It knows more than the portfolio, and draws what its parent did not.
    assert lease.parameters not in [dict(t.params) for t in optuna_trials(storage, parent)]
    assert trials.begin(storage, lease, served.space.distributions()) == 14
    grandchild = child_of(storage, child)
    assert grandchild.plan["sampling_seed"] != child.plan["sampling_seed"]
    origins = {t.user_attrs["known_from"].split("/")[0] for t in optuna_trials(storage, grandchild)}
    assert origins == {parent.id}


def test_looks_of_a_line_of_studies_are_counted_together(
    storage: Storage, parent: StudyRow
) -> None:
    child = child_of(storage, parent)
    grandchild = child_of(storage, child)
    assert len(finishing.looks(storage, grandchild.id)) == 1
    assert len(finishing.looks(storage, parent.id)) == 1


def test_looks_of_all_that_set_the_same_rows_aside_are_counted_once_each(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    child, sibling = child_of(storage, parent, trials=1), child_of(storage, parent, trials=1)
    grandchildren = [child_of(storage, child, trials=1) for _ in range(2)]
    other = child_of(storage, tried(storage, create(storage, OPTIONS)[0], tmp_path))
    tried(storage, child, tmp_path)
    tried(storage, grandchildren[0], tmp_path)
    line = [parent, child, sibling, *grandchildren]
    found = [finishing.looks(storage, row.id) for row in line]
    assert len(found[0]) == 3 and all(looks == found[0] for looks in found)
    moments = [look.at for look in found[0]]
    assert moments == sorted(moments)  # type: ignore[type-var]
    assert len(finishing.looks(storage, other.id)) == 1
    studies.delete(storage, child.id)  # Both of its children have its look now.
    found = [finishing.looks(storage, row.id) for row in (parent, sibling, *grandchildren)]
    assert all([look.at for look in looks] == moments for looks in found)
    assert [look.purpose for look in found[0]].count(f"score the winner of study {child.id}") == 1


def test_looks_outlive_the_studies_that_took_them(storage: Storage, parent: StudyRow) -> None:
    child = child_of(storage, parent)
    grandchild = child_of(storage, child)
    studies.delete(storage, child.id)
    assert studies.get(storage, grandchild.id).parent == parent.id
    assert len(finishing.looks(storage, grandchild.id)) == 1
    studies.delete(storage, parent.id)
    [look] = finishing.looks(storage, grandchild.id)
    assert look.purpose == f"score the winner of study {parent.id}", "the rows have been looked at"
    great = child_of(storage, grandchild)
    studies.delete(storage, grandchild.id)
    assert [one.purpose for one in finishing.looks(storage, great.id)] == [look.purpose]


def test_looks_that_are_left_to_children_break_no_rule_and_excuse_no_other(
    storage: Storage, parent: StudyRow
) -> None:
    child = child_of(storage, parent)
    with storage.transaction() as connection:  # As one that the parent took after its child began.
        connection.execute(sa.update(tables.look).values(at=sa.func.now()))
    studies.delete(storage, parent.id)
    assert len(finishing.looks(storage, child.id)) == 1
    assert violations(storage) == []
    with storage.transaction() as connection:
        connection.execute(sa.insert(tables.look).values(study=child.id, purpose="peep"))
    assert [wrong.what for wrong in violations(storage)] == ["1 looks, 0 finishings"]


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_no_study_begins_with_one_that_is_being_deleted(
    storage: Storage, parent: StudyRow, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begins = ThreadPoolExecutor(1)
    creations: list[Future[StudyRow]] = []
    real = removal._leave_looks_to_children

    def meanwhile(connection: sa.Connection, study: StudyRow) -> None:
        real(connection, study)
        creations.append(begins.submit(child_of, storage, parent))
        assert waits_for_a_lock(connection, creations[0])

    monkeypatch.setattr(removal, "_leave_looks_to_children", meanwhile)
    with begins:
        if how == "deleted":
            studies.delete(storage, parent.id)
        else:
            with storage.transaction() as connection:
                old = sa.text("now() - interval '9 days'")
                times = ("created_at", "last_active_at", "ended_at", "resumed_at")
                keep = timedelta(days=1)
                changes = {**dict.fromkeys(times, old), "keep": keep}
                connection.execute(sa.update(tables.study).values(changes))
            assert retention.sweep(storage).studies == 1
        with pytest.raises(LookupError, match="deleted meanwhile"):
            creations[0].result()
    assert studies.list_studies(storage) == []


def test_only_the_best_trials_are_taken_over(
    storage: Storage, parent: StudyRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inheritance, "KNOWN", 3)
    child = child_of(storage, parent)
    known = optuna_trials(storage, child)
    best = sorted((t.value or 0.0 for t in optuna_trials(storage, parent)), reverse=True)
    assert [t.value for t in known] == best[:3]
    assert _knows(child) == f"knows 3 of 14 trials of study {parent.id}, the best in its space"
    monkeypatch.setattr(inheritance, "KNOWN", 14)
    assert _knows(child_of(storage, parent)) == f"knows 14 trials of study {parent.id}"


def test_the_pages_of_both_name_each_other(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    child = child_of(storage, parent)
    pages = {}
    for row in (parent, child):
        path = tmp_path / f"{row.id}.html"
        pages[row.id] = write_report(delivery.results(storage, row), path, commands={}).read_text()
    assert f"study {child.id}" in pages[parent.id]
    assert f"the trials of study {parent.id}" in pages[child.id]


def test_the_parent_of_a_child_can_be_deleted(storage: Storage, parent: StudyRow) -> None:
    child = child_of(storage, parent)
    studies.delete(storage, parent.id)
    found = studies.get(storage, child.id)
    assert (found.parent, found.dataset) == (None, child.dataset)
    assert len(optuna_trials(storage, found)) == 14


def test_a_child_of_other_epochs_knows_what_was_reached_and_not_what_was_on_the_way(
    storage: Storage, parent: StudyRow
) -> None:
    same = child_of(storage, parent)
    assert same.plan["epochs"] == parent.plan["epochs"] == 100
    assert all(
        t.intermediate_values == {1: t.value, 81: t.value} for t in optuna_trials(storage, same)
    )
    child = child_of(storage, parent, epochs=7)
    known = optuna_trials(storage, child)
    assert (child.plan["epochs"], child.plan["known"]) == (7, 13)
    assert {t.state.name for t in known} == {"COMPLETE"}, "TPE ranks pruned ones by their step"
    assert all(t.intermediate_values == {} for t in known)
    assert _knows(child) == f"knows 13 trials of study {parent.id}"
    # A trial keeps its epochs, whoever knows it: to a study with the same it is as comparable.
    back = optuna_trials(storage, child_of(storage, child, epochs=100))
    assert {t.user_attrs["known_epochs"] for t in [*known, *back]} == {100}


def test_a_trial_of_a_child_is_not_pruned_against_trials_of_other_epochs(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    pruned = {}
    for epochs in (100, 900):
        child = child_of(storage, parent, epochs=epochs)
        served = ServedStudy(storage=storage, row=child, cache=tmp_path)
        late = child.plan["known"] + STARTUP
        pruned[epochs] = served.prunes(late, 81, -1.0)
    assert pruned == {100: True, 900: False}


def test_the_first_trials_of_a_childs_own_are_never_pruned(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    child = child_of(storage, parent)
    served = ServedStudy(storage=storage, row=child, cache=tmp_path)
    verdicts = [served.prunes(14 + own, 9, -1.0) for own in range(STARTUP + 1)]
    assert verdicts == [False] * STARTUP + [True]


def test_trials_of_equal_layers_are_known_to_a_child_that_chooses_layer_by_layer(
    storage: Storage, parent: StudyRow
) -> None:
    child = child_of(storage, parent, space="layers")
    space = Space.from_json(child.plan["space"])
    known = {t.user_attrs["known_from"]: t.params for t in optuna_trials(storage, child)}
    assert known
    own = Space.from_json(parent.plan["space"])
    for trial in optuna_trials(storage, parent):
        topology, _ = own.decode(trial.params)
        taken = known.pop(f"{parent.id}/{trial.number}", None)
        if taken is None:
            assert topology.residual
        else:
            same = space.decode(taken)[0]
            assert (same.widths, same.activations) == (topology.widths, topology.activations)
    assert known == {}
    narrow = {"width": "64", "activation": "tanh", "dropout": "0.1"}
    with pytest.raises(ValueError, match="None of the 14 trials"):
        child_of(storage, parent, space="layers", limits=narrow)


def test_a_child_whose_own_trials_are_all_pruned_is_finished_with_a_known_one(
    storage: Storage, parent: StudyRow, tmp_path: Path
) -> None:
    child = child_of(storage, parent)
    served = ServedStudy(storage=storage, row=child, cache=tmp_path)
    for _ in range(5):
        lease = claiming.claim(storage, child.id, Taker(owner="a"), served)
        assert lease is not None and lease.kind == "trial"
        trials.begin(storage, lease, served.space.distributions())
        assert trials.end(storage, lease, state="pruned", value=0.0)
    last = claiming.claim(storage, child.id, Taker(owner="a"), served)
    assert last is not None and last.kind == "finish"
    best = best_of(storage, child)
    assert best is not None and best["value"] == 4.0


def test_a_child_that_tries_every_depth_does_not_try_again_what_its_parent_tried(
    storage: Storage, tmp_path: Path
) -> None:
    asked = replace(OPTIONS, space="depth", limits={"depth": "1:8"}, trials=7)
    parent = tried(storage, create(storage, asked)[0], tmp_path)  # Pruned: depth 6. Left: 8.
    child = child_of(storage, parent, limits={"depth": "1:12"}, trials=None)
    assert depths_of(child) == [8, 9, 10, 11, 12]
    assert (child.trials, child.units, child.plan["known"]) == (5, 5, 7)
    tried(storage, child, tmp_path)
    child = studies.get(storage, child.id)
    assert (child.state, child.reason) == ("finished", "its whole space tried, in 5 trials")
    own = [t.params["depth"] for t in optuna_trials(storage, child) if "lease" in t.user_attrs]
    assert own == [8, 9, 10, 11, 12]
    assert violations(storage) == []
    # With other epochs it is another training, also to a grandchild.
    longer = child_of(storage, child, epochs=200, trials=2)
    assert depths_of(longer) == [*range(1, 13)]
    assert depths_of(child_of(storage, tried(storage, longer, tmp_path))) == [*range(3, 13)]


def test_a_child_whose_space_has_been_tried_is_refused(storage: Storage, tmp_path: Path) -> None:
    asked = replace(OPTIONS, space="depth", limits={"depth": "1:4"}, trials=None)
    parent = tried(storage, create(storage, asked)[0], tmp_path)
    for limits in ({}, {"depth": "1:3"}, {"depth": "1"}):
        with pytest.raises(ValueError, match=r"Nothing is left to try. Give another --depth"):
            child_of(storage, parent, limits=limits)
    assert [row.id for row in studies.list_studies(storage)] == [parent.id]


def test_what_a_child_tries_first_is_not_what_its_few_known_trials_are(
    storage: Storage, tmp_path: Path
) -> None:
    parent = tried(storage, create(storage, replace(OPTIONS, trials=3))[0], tmp_path)
    first = parent.plan["space"]["portfolio"]
    assert len(first) > 3
    assert child_of(storage, parent).plan["space"]["portfolio"] == first[3:]
    assert child_of(storage, parent, epochs=7).plan["space"]["portfolio"] == first


@pytest.mark.parametrize("given", [{"metric": "log_loss"}, {"seed": 4}, {"data": b"a,b"}])
def test_what_a_child_has_of_its_parent_is_not_to_be_given(
    storage: Storage, parent: StudyRow, given: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=f"Leave out {next(iter(given))}"):
        create(storage, replace(Options(data=None), parent=parent.id, **given))  # type: ignore[arg-type]
