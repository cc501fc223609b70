"""Many studies at a glance."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from stored_studies import begun, claimed, make_study, run_to_the_end

from storage import artifacts, datasets, events, leases, listing, studies, tables, trials
from storage.connection import Storage
from storage.progress import progress_of


@pytest.fixture
def statements(storage: Storage) -> list[str]:
    """What is asked of the database, as it is asked."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    sa.event.listen(storage.engine, "before_cursor_execute", note)
    return asked


def test_pages_are_newest_first_and_have_every_study_once(storage: Storage) -> None:
    made = [make_study(storage).id for _ in range(7)]
    pages = [listing.page(storage, page=number, size=3) for number in (1, 2, 3, 4)]
    assert [study.id for page in pages for study in page.studies] == made[::-1]
    assert [len(page.studies) for page in pages] == [3, 3, 1, 0]
    assert {page.total for page in pages} == {7}


def test_a_page_of_studies_in_one_state(storage: Storage) -> None:
    paused, _, cancelled = (make_study(storage).id for _ in range(3))
    studies.pause(storage, paused, "by its owner")
    studies.cancel(storage, cancelled)
    found = listing.page(storage, states=["paused", "cancelled"])
    assert [(one.id, one.state, one.reason) for one in found.studies] == [
        (cancelled, "cancelled", "cancelled"),
        (paused, "paused", "by its owner"),
    ]
    assert found.total == 2


def test_progress_is_that_of_each_study_alone(storage: Storage) -> None:
    new, done, busy = (make_study(storage) for _ in range(3))
    run_to_the_end(storage, done)
    failed = begun(storage, busy)
    trials.end(storage, failed, state="failed", attributes={"reason": "diverged"})
    claimed(storage, busy)
    shown = {one.id: one.progress for one in listing.page(storage).studies}
    assert shown == {row.id: progress_of(storage, row.id) for row in (new, done, busy)}
    assert (shown[busy.id].failed, shown[busy.id].running, shown[busy.id].waiting) == (1, 1, 1)
    assert shown[done.id].complete == 3


def test_size_name_table_and_target(storage: Storage) -> None:
    table = datasets.put(storage, b"a,b\n1,2\n", "mine.csv")
    plan = {"objective": "none", "dataset_name": "yours.csv", "target": "b"}
    row = make_study(storage, plan=plan, dataset=table, test_dataset=table, name="ours")
    artifacts.put(storage, row.id, "network.keras", b"x" * 1000)
    artifacts.put(storage, row.id, "reading.json", b"y" * 10)
    plain = make_study(storage)
    bare, full = listing.page(storage).studies
    assert (full.name, full.table, full.target, full.bytes) == ("ours", "yours.csv", "b", 1018)
    assert (bare.id, bare.name, bare.table, bare.target) == (plain.id, None, None, None)
    assert bare.bytes == 0
    assert listing.names(storage, [row.id, plain.id, "other"]) == {row.id: "ours"}


def test_a_study_says_when_it_expires(storage: Storage) -> None:
    row, never = make_study(storage), make_study(storage)
    with storage.transaction() as connection:
        connection.execute(
            sa.update(tables.study)
            .where(tables.study.c.id == row.id)
            .values(keep=timedelta(days=30), last_active_at=sa.func.now())
        )
    shown = {one.id: one for one in listing.page(storage).studies}
    assert shown[row.id].expires_at == studies.get(storage, row.id).expires_at
    assert shown[row.id].expires_at is not None
    assert shown[never.id].expires_at is None


def test_a_page_takes_as_many_questions_however_many_studies(
    storage: Storage, statements: list[str]
) -> None:
    make_study(storage)
    statements.clear()
    listing.page(storage)
    alone = len(statements)
    for _ in range(5):
        run_to_the_end(storage, make_study(storage))
    statements.clear()
    assert len(listing.page(storage).studies) == 6
    assert len(statements) == alone == 2


def test_totals_count_each_state_and_what_waits(storage: Storage) -> None:
    empty = listing.totals(storage)
    assert (empty.open, empty.waiting, set(empty.studies.values())) == (0, 0, {0})
    begun(storage, make_study(storage, trials=5))  # Running; 4 wait.
    make_study(storage, trials=2)
    studies.pause(storage, make_study(storage, trials=9).id)
    found = listing.totals(storage)
    assert found.studies == {
        "created": 1,
        "running": 1,
        "paused": 1,
        "finished": 0,
        "cancelled": 0,
    }
    assert (found.open, found.waiting) == (2, 6)


def test_a_trial_that_was_handed_back_waits_again_in_totals_as_in_its_study(
    storage: Storage,
) -> None:
    row = make_study(storage, trials=5)
    lease, _ = begun(storage, row), begun(storage, row)
    leases.release(storage, lease)
    assert listing.totals(storage).waiting == progress_of(storage, row.id).waiting == 4


def test_events_of_some_kinds(storage: Storage) -> None:
    row = make_study(storage)
    studies.pause(storage, row.id, "why")
    studies.resume(storage, row.id)
    found = events.latest(storage, kinds=["study paused", "trial failed"])
    assert [(event.kind, event.text) for event in found] == [("study paused", "why")]
