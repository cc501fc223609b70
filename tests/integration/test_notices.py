"""Notices of work: heard at once by a worker that listens, and missed by none that does not."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import execute
from stored_studies import claimed, optuna_trials
from stored_studies import make_study as stored_study
from stories import Serve, Step, fates, make_study, sends, wait_until

from storage import claiming, leases, notices, studies
from storage.connection import Storage, connect
from storage.notices import Listener
from storage.rows import Standing, StudyRow
from topo_search import worker
from topo_search.worker import Worker

NEVER = 1000.0  # Seconds, longer than any of these stories may take.
LISTENING = "datname = current_database() AND starts_with(query, 'LISTEN')"


@pytest.fixture
def listener(database_url: str) -> Iterator[Listener]:
    """Somebody elsewhere who listens."""
    elsewhere = connect(database_url)
    made = Listener(elsewhere)
    made.begin()
    yield made
    made.close()
    elsewhere.close()


def hears(listener: Listener) -> bool:
    """Ask until something is heard of what was announced before, or certainly nothing is."""
    with listener.sources[0].cursor() as cursor:
        cursor.execute("SELECT 1")  # Notices come before the answer.
    return listener.heard()


def test_whatever_makes_work_claimable_is_announced_and_nothing_else(
    storage: Storage, listener: Listener
) -> None:
    study = stored_study(storage, trials=9)
    assert hears(listener) and not hears(listener)
    lease = claimed(storage, study)
    leases.renew(storage, [lease])
    studies.pause(storage, study.id)
    assert not hears(listener)
    studies.resume(storage, study.id)
    assert hears(listener)
    assert leases.release(storage, lease)
    assert hears(listener)
    assert not leases.release(storage, lease)  # It is not the caller's any more.
    assert not hears(listener)


def test_what_is_not_committed_is_not_announced(storage: Storage, listener: Listener) -> None:
    with pytest.raises(KeyError), storage.transaction() as connection:
        notices.announce(connection)
        raise KeyError
    assert not hears(listener)


def test_a_listener_is_one_of_the_storages_three_connections(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener(storage)
    listener.begin()
    monkeypatch.setattr(storage.engine.pool, "_timeout", 0.01)
    with storage.transaction(), storage.transaction():
        with pytest.raises(ConnectionError, match="limit of size 2 overflow 1"):
            with storage.transaction():
                pass
    listener.close()
    wait_until(lambda: nobody_listens(storage), "the server has seen it go")
    with storage.transaction(), storage.transaction(), storage.transaction():
        pass


def nobody_listens(storage: Storage) -> bool:
    with storage.transaction() as connection:
        count = f"SELECT count(*) FROM pg_stat_activity WHERE {LISTENING}"
        return connection.exec_driver_sql(count).scalar_one() == 0


# Workers.


def comes(made: list[StudyRow], storage: Storage, folder: Path) -> Step:
    """Return the step in which a study is created while the worker waits, and never looks."""

    def a_study_comes(one: Worker) -> bool:
        assert not made and one.listener.sources
        one._due["poll"] = one.turned_at + NEVER
        made.append(make_study(storage, folder, trials=3))
        return True

    return a_study_comes


def it_ends(made: list[StudyRow], storage: Storage) -> Step:
    def the_study_is_finished(_: Worker) -> bool:
        return studies.get(storage, made[0].id).state == "finished"

    return the_study_is_finished


def listens(one: Worker) -> bool:
    return bool(one.listener.sources)


def test_a_worker_that_never_looks_hears_of_a_new_study_and_of_more_trials(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StudyRow] = []

    turns: list[float] = []

    def it_sleeps(one: Worker) -> bool:
        turns.append(one.turned_at)
        monkeypatch.setattr(worker, "POLL", NEVER)
        monkeypatch.setattr(worker, "TICK", NEVER)
        return True

    def it_is_awake(one: Worker) -> bool:  # Else no step is taken any more.
        if one.turned_at == turns[-1]:
            return False
        monkeypatch.setattr(worker, "TICK", 0.25)
        return True

    def it_gets_more_trials(one: Worker) -> bool:
        studies.resume(storage, made[0].id, trials=2)
        return it_sleeps(one)

    def sleeps_while_a_study_comes(one: Worker) -> bool:
        return it_sleeps(one) and comes(made, storage, folder)(one)

    end = it_ends(made, storage)
    serve(
        *(listens, sleeps_while_a_study_comes, it_is_awake, end),
        *(it_gets_more_trials, it_is_awake, end),
        sends(signal.SIGTERM),
        until_idle=False,
    )
    assert fates(storage, made[0]) == ["COMPLETE"] * 5


def cut(database_url: str) -> None:
    execute(
        database_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {LISTENING}"
    )


def test_a_listener_whose_connection_is_cut_listens_again(
    storage: Storage,
    folder: Path,
    serve: Serve,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(notices, "RETRY", 0.0)
    made: list[StudyRow] = []
    sessions: list[Any] = []

    def it_is_cut(one: Worker) -> bool:
        sessions.extend(one.listener.sources)
        cut(database_url)
        return True

    def it_listens_again(one: Worker) -> bool:
        return bool(one.listener.sources) and one.listener.sources != sessions

    end = (it_ends(made, storage), sends(signal.SIGTERM))
    serve(
        *(listens, it_is_cut, it_listens_again, comes(made, storage, folder), *end),
        until_idle=False,
    )
    assert fates(storage, made[0]) == ["COMPLETE"] * 3
    assert not [record for record in caplog.records if record.exc_info or record.levelno > 20]


def test_a_worker_that_cannot_listen_any_more_looks_for_work(
    storage: Storage,
    folder: Path,
    serve: Serve,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(notices, "RETRY", NEVER)
    made: list[StudyRow] = []

    def it_is_cut(_: Worker) -> bool:
        cut(database_url)
        return True

    def it_listens_no_more(one: Worker) -> bool:
        return not listens(one)

    def a_study_comes(_: Worker) -> bool:
        made.append(make_study(storage, folder, trials=3))
        return True

    # It does not chase a connection that broke at once.
    end = (it_ends(made, storage), it_listens_no_more, sends(signal.SIGTERM))
    serve(listens, it_is_cut, it_listens_no_more, a_study_comes, *end, until_idle=False)
    assert fates(storage, made[0]) == ["COMPLETE"] * 3
    assert not [record for record in caplog.records if record.exc_info or record.levelno > 20]


def test_a_worker_that_draws_again_and_listens_needs_two_connections(
    storage: Storage,
    folder: Path,
    serve: Serve,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peek = claiming.peek

    def outdated(connection: sa.Connection, study_id: str) -> Standing | None:
        standing = peek(connection, study_id)
        return standing and replace(standing, drawn=standing.drawn ^ 1)

    # Every draw is then made again, for a unit taken before.
    monkeypatch.setattr(claiming, "peek", outdated)
    study = make_study(storage, folder, trials=6)
    watcher = sa.create_engine(database_url)
    count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    seen = []

    def they_are_counted(one: Worker) -> bool:
        with watcher.connect() as connection:
            seen.append(connection.scalar(count) - 1)
        return one.delivered == 6

    serve(they_are_counted, slots=2)
    watcher.dispose()
    assert fates(storage, study) == ["COMPLETE"] * 6
    assert max(seen) == 2
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_when_a_worker_has_ended_nobody_listens(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    make_study(storage, folder, trials=1)
    serve(listens)
    wait_until(lambda: nobody_listens(storage), "the server has seen it go")
