import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from stored_studies import begun, claimed, let_expire, make_study, run_to_the_end, waits_for_a_lock

from storage import (
    artifacts,
    datasets,
    events,
    finishing,
    leases,
    removal,
    retention,
    studies,
    tables,
)
from storage.check import violations
from storage.connection import Storage, connect
from storage.errors import StorageError
from storage.retention import Swept, stored, sweep
from storage.rows import StudyRow

WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
NOTHING = Swept(studies=0, datasets=0)


def grow_older(storage: Storage, by: timedelta, *studies: StudyRow) -> None:
    """Make everything that happened to all studies and datasets, or some studies, be earlier."""
    study, dataset = tables.study, tables.dataset
    times = (study.c.created_at, study.c.started_at, study.c.last_active_at)
    more = (study.c.ended_at, study.c.resumed_at)
    mine = study.c.id.in_([row.id for row in studies]) if studies else sa.true()
    with storage.transaction() as connection:
        earlier: dict[Any, Any] = {time: time - by for time in (*times, *more)}
        connection.execute(sa.update(study).where(mine).values(earlier))
        if not studies:
            waiting = dataset.c.waiting_since
            connection.execute(sa.update(dataset).values({waiting: waiting - by}))


def hashes(storage: Storage) -> set[str]:
    with storage.transaction() as connection:
        return set(connection.scalars(sa.select(tables.dataset.c.sha256)))


def ids(storage: Storage) -> set[str]:
    return {row.id for row in studies.list_studies(storage)}


def test_whatever_happens_to_a_study_puts_its_expiry_off(storage: Storage) -> None:
    study = make_study(storage, trials=1, keep=WEEK)
    assert (study.keep, study.expires_at) == (WEEK, study.created_at + WEEK)

    def expires_after(what: str) -> None:
        row = studies.get(storage, study.id)
        assert row.expires_at is not None and last.expires_at is not None
        assert row.expires_at > last.expires_at + HOUR, what

    def later() -> StudyRow:
        grow_older(storage, 2 * HOUR)
        return studies.get(storage, study.id)

    last = later()
    lease = begun(storage, study)
    expires_after("a unit handed out")
    last = later()
    leases.renew(storage, [lease])
    expires_after("work")
    last = later()
    studies.pause(storage, study.id)
    assert studies.get(storage, study.id).expires_at == last.expires_at
    assert studies.resume(storage, study.id).expires_at != last.expires_at
    expires_after("resumed")
    last = later()
    studies.cancel(storage, study.id)
    expires_after("ended")
    assert make_study(storage).expires_at is None


def test_what_has_expired_is_deleted_with_its_dataset_and_told(storage: Storage) -> None:
    sha256 = datasets.put(storage, b"a,b", "t.csv")
    old = make_study(storage, keep=WEEK, name="old", dataset=sha256, trials=1)
    finish = run_to_the_end(storage, old)
    assert finish is not None and finishing.finish(storage, finish, {})
    bare, forever = make_study(storage, keep=WEEK), make_study(storage)
    longer = make_study(storage, keep=2 * WEEK)
    grow_older(storage, WEEK - HOUR)
    assert sweep(storage) == NOTHING
    grow_older(storage, 2 * HOUR)
    assert sweep(storage) == Swept(studies=2, datasets=0)
    assert ids(storage) == {forever.id, longer.id} and hashes(storage) == set()
    assert len(optuna.get_all_study_summaries(storage.optuna)) == 2
    told = [(event.study, event.text) for event in events.latest(storage, count=2)]
    assert told == [(old.id, "old: expired"), (bare.id, "expired")]
    assert sweep(storage) == NOTHING and violations(storage) == []


def test_a_study_that_is_worked_at_stays_however_old_it_is(storage: Storage) -> None:
    busy = make_study(storage, keep=WEEK)
    lease = begun(storage, busy)
    grow_older(storage, 3 * WEEK)
    with storage.transaction() as connection:  # The worker vanishes, a day ago.
        day_ago = sa.func.now() - sa.text("interval '1 day'")
        connection.execute(sa.update(tables.study).values(last_active_at=day_ago))
    let_expire(storage, lease.id)
    assert sweep(storage) == NOTHING
    grow_older(storage, WEEK)
    assert sweep(storage) == Swept(studies=1, datasets=0)


def test_a_study_with_a_worker_stays_however_short_it_is_kept(storage: Storage) -> None:
    study = make_study(storage, keep=timedelta(microseconds=1))
    lease = claimed(storage, study)
    grow_older(storage, WEEK)  # As after an outage, in which nobody could renew.
    assert sweep(storage) == NOTHING
    studies.pause(storage, study.id)
    assert sweep(storage) == NOTHING
    leases.release(storage, lease)
    assert sweep(storage) == Swept(studies=1, datasets=0)


@pytest.mark.parametrize("what", ["resume", "delete"])
def test_what_becomes_of_a_study_after_it_was_found_expired_counts(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    first, _ = make_study(storage, keep=WEEK), make_study(storage, keep=WEEK)
    studies.pause(storage, first.id)
    grow_older(storage, 2 * WEEK)
    real = retention.lock_if_there

    def meanwhile(connection: sa.Connection, study_id: str, **options: bool) -> StudyRow | None:
        if study_id == first.id:
            getattr(studies, what)(storage, study_id)
        return real(connection, study_id, **options)

    monkeypatch.setattr(retention, "lock_if_there", meanwhile)
    assert sweep(storage) == Swept(studies=1, datasets=0)
    assert ids(storage) == ({first.id} if what == "resume" else set())


def test_a_study_that_somebody_is_at_is_left_to_the_next_sweep(storage: Storage) -> None:
    held, _ = make_study(storage, keep=WEEK), make_study(storage, keep=WEEK)
    grow_older(storage, 2 * WEEK)
    with storage.transaction() as connection:
        studies.lock(connection, held.id)
        assert sweep(storage) == Swept(studies=1, datasets=0)
    assert ids(storage) == {held.id}
    assert sweep(storage) == Swept(studies=1, datasets=0)


def test_what_cannot_be_deleted_keeps_nothing_else(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = make_study(storage, keep=WEEK), make_study(storage, keep=WEEK)
    datasets.put(storage, b"a,b", "t.csv")
    grow_older(storage, 2 * WEEK)
    with monkeypatch.context() as patched:
        remove = removal._delete_optuna_study

        def refuse(connection: sa.Connection, study_id: int) -> None:
            if study_id == bad.optuna_study_id:
                raise StorageError("canceling statement due to statement timeout")
            remove(connection, study_id)

        patched.setattr(removal, "_delete_optuna_study", refuse)
        assert sweep(storage) == Swept(studies=1, datasets=1)
    assert f"{bad.id} is left to the next sweep: canceling" in caplog.text
    assert ids(storage) == {bad.id} and hashes(storage) == set()
    assert sweep(storage) == Swept(studies=1, datasets=0), "its expiry was not put off"


def test_two_sweeps_at_once_delete_everything_once(storage: Storage, database_url: str) -> None:
    for number in range(8):
        datasets.put(storage, bytes([number]), "t.csv")
        make_study(storage, keep=WEEK)
    grow_older(storage, 2 * WEEK)

    def sweep_all(_: int) -> Swept:
        mine = connect(database_url)
        swept = [sweep(mine), sweep(mine)]
        mine.close()
        return Swept(
            studies=sum(one.studies for one in swept), datasets=sum(one.datasets for one in swept)
        )

    with ThreadPoolExecutor(3) as pool:
        swept = list(pool.map(sweep_all, range(3)))
    assert sum(one.studies for one in swept) == sum(one.datasets for one in swept) == 8
    assert ids(storage) == hashes(storage) == set()
    told = [event.study for event in events.latest(storage) if event.kind == "study deleted"]
    assert len(told) == len(set(told)) == 8


def test_an_upload_waits_a_day_for_its_study(storage: Storage) -> None:
    used, test = datasets.put(storage, b"used", "u.csv"), datasets.put(storage, b"test", "t.csv")
    make_study(storage, dataset=used, test_dataset=test)
    datasets.put(storage, b"waits", "w.csv")
    again = datasets.put(storage, b"again", "a.csv")
    grow_older(storage, datasets.ORPHANS_KEPT - HOUR)
    assert sweep(storage) == NOTHING
    datasets.put(storage, b"again", "a.csv")
    grow_older(storage, 2 * HOUR)
    assert sweep(storage) == Swept(studies=0, datasets=1)
    assert hashes(storage) == {used, test, again}
    grow_older(storage, 2 * datasets.ORPHANS_KEPT)
    assert sweep(storage) == Swept(studies=0, datasets=1)
    assert hashes(storage) == {used, test}


def test_an_upload_outlives_the_study_that_had_the_same_bytes(storage: Storage) -> None:
    sha256 = datasets.put(storage, b"a,b", "t.csv")
    deleted = make_study(storage, dataset=sha256)
    make_study(storage, dataset=sha256, keep=WEEK)
    grow_older(storage, 2 * WEEK)
    assert datasets.put(storage, b"a,b", "t.csv") == sha256
    studies.delete(storage, deleted.id)
    assert sweep(storage) == Swept(studies=1, datasets=0)
    assert ids(storage) == set()
    assert make_study(storage, dataset=sha256).dataset == sha256


def test_the_last_of_several_studies_takes_its_dataset_along_at_once(storage: Storage) -> None:
    made = []
    for _ in range(3):
        sha256 = datasets.put(storage, b"a,b", "t.csv")
        made.append(make_study(storage, dataset=sha256))
    for study in (made[2], made[0]):
        studies.delete(storage, study.id)
        assert hashes(storage) == {sha256}
    studies.delete(storage, made[1].id)
    assert hashes(storage) == set()


def test_a_study_made_while_its_dataset_is_swept_away_is_refused(storage: Storage) -> None:
    sha256 = datasets.put(storage, b"a,b", "t.csv")
    grow_older(storage, 2 * datasets.ORPHANS_KEPT)
    with ThreadPoolExecutor(1) as pool:
        with storage.transaction() as connection:
            assert datasets.drop_not_needed(connection, [sha256]) == 1
            creation = pool.submit(make_study, storage, dataset=sha256)
            assert waits_for_a_lock(connection, creation)
        with pytest.raises(LookupError, match=f"{sha256}.*upload again what is missing"):
            creation.result()
    assert ids(storage) == set() and optuna.get_all_study_summaries(storage.optuna) == []


def test_an_upload_of_what_is_swept_away_meanwhile_is_kept(storage: Storage) -> None:
    sha256 = datasets.put(storage, b"a,b", "t.csv")
    grow_older(storage, 2 * datasets.ORPHANS_KEPT)
    with ThreadPoolExecutor(1) as pool:
        with storage.transaction() as connection:
            assert datasets.drop_not_needed(connection, [sha256]) == 1
            upload = pool.submit(datasets.put, storage, b"a,b", "t.csv")
            assert waits_for_a_lock(connection, upload)
        assert upload.result() == sha256
    assert hashes(storage) == {sha256} and sweep(storage) == NOTHING


@pytest.mark.parametrize("what", ["sweep", "delete"])
def test_the_dataset_of_a_study_that_is_being_made_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    sha256 = datasets.put(storage, b"a,b", "t.csv")
    before = make_study(storage, dataset=sha256, keep=WEEK)
    if what == "sweep":
        studies.delete(storage, before.id)
        datasets.put(storage, b"a,b", "t.csv")
    grow_older(storage, 2 * WEEK)
    with monkeypatch.context() as patched:

        def meanwhile(connection: sa.Connection, given: set[str]) -> None:
            patched.undo()
            if what == "sweep":
                assert sweep(storage) == NOTHING
            else:
                studies.delete(storage, before.id)

        patched.setattr(datasets, "note_study", meanwhile)
        study = make_study(storage, dataset=sha256)
    assert ids(storage) == {study.id} and hashes(storage) == {sha256}
    studies.delete(storage, study.id)


def test_what_is_stored_is_counted(storage: Storage) -> None:
    empty = stored(storage)
    assert empty == retention.Stored(
        bytes=0,
        studies_open=0,
        studies=0,
        datasets=0,
        database_bytes=empty.database_bytes,
    )
    sha256 = datasets.put(storage, b"x" * 300, "t.csv")
    datasets.put(storage, b"y" * 30, "u.csv")
    running, paused = make_study(storage, dataset=sha256), make_study(storage, dataset=sha256)
    make_study(storage)
    claimed(storage, running)
    studies.pause(storage, paused.id)
    noise = b"".join(uuid.uuid4().bytes for _ in range(2**16))  # Which cannot be compressed.
    artifacts.put(storage, paused.id, "weights", noise)
    found = stored(storage)
    assert (found.bytes, found.studies_open, found.studies, found.datasets) == (
        330 + 2**20,
        2,
        3,
        2,
    )
    assert found.database_bytes > empty.database_bytes + 2**20
