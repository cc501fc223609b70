import itertools
import json
import logging
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from stored_studies import in_processes, make_study
from stories import wait_until

from storage import connection as opening
from storage import studies, tables, workers
from storage.connection import (
    JoinedOptuna,
    Storage,
    connect,
    hidden,
    normalise,
    schema,
)
from storage.errors import StorageError
from storage.json_text import to_json
from storage.migrating import VERSION_TABLE, _alembic
from topo_search.cli import cli

numbers = itertools.count()


@pytest.fixture
def make_database(server_url: str) -> Iterator[Callable[[], str]]:
    """Make databases without any table; the server's owner removes them."""
    admin = sa.create_engine(normalise(server_url), isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> str:
        name = f"topo_empty_{next(numbers)}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        made.append(name)
        return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)

    yield make
    with admin.connect() as connection:
        for name in made:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@h/d",
        "postgresql://u:p@h/d",
        "postgresql+psycopg2://u:p@h/d",
    ],
)
def test_every_spelling_of_a_postgresql_url_becomes_one(url: str) -> None:
    assert normalise(url) == "postgresql+psycopg2://u:p@h/d"


def test_strange_characters_of_a_password_and_a_socket_survive() -> None:
    url = sa.make_url(normalise("postgresql://u:%7Ba%7D%25%40:x@/d?host=/tmp/a%20b"))
    assert (url.password, url.query["host"]) == ("{a}%@:x", "/tmp/a b")
    assert "{" not in normalise("postgresql://u:{x}@h/d")  # which Optuna would fill in


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///s3cret.db",
        "mysql://u:s3cret@h/d",
        "postgresql+psycopg://u:s3cret@h/d",
        "postgresql://u:s3cret@h:port/d",
        "postgresql://u:s3cret@h/d?port=x",
        "u:s3cret@h/d",
        "u:s3cret@h/d://",
        "",
    ],
)
def test_any_other_url_is_refused_with_what_is_supported_and_without_the_password(
    url: str,
) -> None:
    with pytest.raises(ValueError, match="Expected a PostgreSQL URL such as") as refusal:
        normalise(url)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3@cret@h:5432/d",
        "postgresql://u:s3@cret/s3@h/d",
        "postgresql://u:s3@cret?s3@h/d",
        "postgresql://u:s3@cret?x=s3@h/d",
        "postgresql://u:s3@cret#s3@h/d",
        "postgresql://u:s3@cret:5@h/d",
        "postgresql://u:@s3cret@h/d",
        "postgresql://u/v:s3cret@h/d",
        "postgresql://h/d?user=u&password=s3@cret",
        "postgresql://h:5432/d?user=u&password=s3@cret",
        "postgresql://h?password=s3@cret&user=u",
        "postgresql://u@h/d?sslpassword=s3@cret",
    ],
)
def test_a_url_that_may_be_cut_within_its_password_is_refused_and_none_of_it_shown(
    url: str,
) -> None:
    with pytest.raises(ValueError, match="password as %XX, an @ as %40") as refusal:
        normalise(url)
    assert "s3" not in str(refusal.value) and "cret" not in str(refusal.value)


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "a:b", "a?b=c&d", "a%40b"])
def test_any_other_character_of_a_password_may_stand_as_it_is(password: str) -> None:
    url = sa.make_url(normalise(f"postgresql://u:{password}@h:5432/d"))
    assert (url.password, url.host) == (password.replace("%40", "@"), "h")
    url = sa.make_url(normalise(f"postgresql://h/d?password={password.replace('&', '%26')}"))
    assert (url.query["password"], url.host) == (password.replace("%40", "@"), "h")


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:s3cret@h/d", "postgresql://u@h/d?password=s3cret&sslpassword=s3cret2"],
)
def test_a_url_is_shown_without_its_passwords(url: str) -> None:
    shown = hidden(normalise(url))
    assert "s3cret" not in shown and "@h/d" in shown
    assert "***" in shown or "password=hidden&sslpassword=hidden" in shown


def _open_and_use(url: str, _: int) -> None:
    storage = connect(url)
    make_study(storage)
    storage.close()


def test_eight_processes_may_open_an_empty_database_at_once(
    make_database: Callable[[], str],
) -> None:
    url = make_database()
    assert in_processes(8, _open_and_use, url)
    storage = connect(url)
    assert len(optuna.get_all_study_summaries(storage.optuna)) == 8
    storage.close()


def test_who_waits_in_vain_for_the_tables_is_told_why(
    make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LONGEST_WAIT", 0.3)
    url = make_database()
    other = sa.create_engine(normalise(url))
    with other.begin() as makes_them:
        makes_them.execute(sa.select(sa.func.pg_advisory_xact_lock(opening._MIGRATION_LOCK)))
        began = time.monotonic()
        with pytest.raises(StorageError, match="of another process.*Received none.*try again"):
            connect(url)
        assert time.monotonic() - began > 0.3
    connect(url).close()
    other.dispose()


def test_who_froze_while_it_made_the_tables_is_given_up(
    make_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, make, opened = make_database(), opening._backend, list[Storage]()
    timeouts = opening._GUARD_TIMEOUTS

    def freeze(url: str, *, make_tables: bool) -> object:
        if not opened and make_tables:  # The first is silent for as long as the second takes.
            monkeypatch.setattr(opening, "_backend", make)
            monkeypatch.setattr(opening, "_GUARD_TIMEOUTS", timeouts)
            opened.append(connect(url))
        return make(url, make_tables=make_tables)

    monkeypatch.setattr(opening, "_LONGEST_WAIT", 60.0)
    short = timeouts.replace("session_timeout = '3min'", "session_timeout = '1s'")
    monkeypatch.setattr(opening, "_GUARD_TIMEOUTS", short)
    monkeypatch.setattr(opening, "_backend", freeze)
    with pytest.raises(StorageError, match="PostgreSQL at"):
        connect(url)
    assert schema(opened[0]) == "0006"
    opened[0].close()


def test_opening_again_changes_nothing(storage: Storage, database_url: str) -> None:
    study = make_study(storage)
    again = connect(database_url)
    with again.transaction() as connection:
        assert connection.scalars(sa.select(tables.study.c.id)).all() == [study.id]
    again.close()


def test_the_migrations_make_the_tables_that_the_code_speaks_of(storage: Storage) -> None:
    def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "table" or (name or "").startswith("topo_") and name != VERSION_TABLE

    with storage.engine.connect() as connection:
        options = {"include_object": ours, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
        made = connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conname LIKE 'topo%%'"
        ).scalars()
        spoken_of = {
            str(constraint.name)
            for table in tables.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, sa.CheckConstraint)
        }
        assert set(made) == spoken_of


def test_our_history_is_apart_from_optunas(storage: Storage) -> None:
    with storage.transaction() as connection:
        ours = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one()
        optunas = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    assert ours == "0006"
    assert optunas.startswith("v")


def test_a_database_of_plain_optuna_is_taken_as_it_is(make_database: Callable[[], str]) -> None:
    url = make_database()
    plain = optuna.storages.RDBStorage(normalise(url))
    optuna.create_study(storage=plain, study_name="somebody's")
    storage = connect(url)
    make_study(storage)
    names = {found.study_name for found in optuna.get_all_study_summaries(storage.optuna)}
    assert "somebody's" in names and len(names) == 2
    storage.close()
    plain.engine.dispose()


def test_tables_of_a_newer_version_are_refused_with_the_remedy(
    storage: Storage, database_url: str
) -> None:
    with storage.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0999'")
    with pytest.raises(StorageError, match=r"0999.*in a newer checkout: pip install -c constr"):
        connect(database_url)


def test_an_upgrade_knows_which_studies_had_come_to_nothing(
    storage: Storage, database_url: str
) -> None:
    failed, wished = (make_study(storage) for _ in range(2))
    studies.pause(storage, failed.id, "the last 10 trials all failed: no GPU")
    studies.pause(storage, wished.id, "by its owner")
    with storage.transaction() as connection:
        alembic_command.downgrade(_alembic(connection), "0005")
    opened = connect(database_url, upgrade=True)
    assert [studies.get(opened, one.id).failed for one in (failed, wished)] == [True, False]
    opened.close()


def test_tables_of_an_older_version_are_refused_until_they_are_upgraded(
    storage: Storage, database_url: str
) -> None:
    make_study(storage, trials=3)
    with storage.transaction() as connection:
        alembic_command.downgrade(_alembic(connection), "0001")
    with pytest.raises(StorageError, match="0001.*topo-search storage upgrade"):
        connect(database_url)
    opened = connect(database_url, upgrade=True)
    assert schema(opened) == "0006"
    opened.close()
    connect(database_url).close()
    assert [row.trials for row in studies.list_studies(storage)] == [3]


@pytest.mark.parametrize("version", ["0001", "0002", "0004"])
def test_older_tables_are_upgraded_when_no_worker_was_heard_of_or_if_it_is_meant(
    storage: Storage, database_url: str, tmp_path: Path, version: str
) -> None:
    for name, state in {"ada": "serving", "bob": "draining", "eve": "left"}.items():
        one = workers.Worker(name=name, host="h", version="1", device="2 cores", slots=2)
        workers.heard(storage, one, lease=60.0, state=state)  # type: ignore[arg-type]
    with storage.transaction() as connection:
        alembic_command.downgrade(_alembic(connection), version)

    def upgrade(*words: str) -> str:
        asked = ["storage", "upgrade", "--storage", database_url, *words]
        done = CliRunner().invoke(cli, asked, env={"TOPO_SEARCH_HOME": str(tmp_path)})
        return done.output if done.exception is None else str(done.exception)

    done = "The tables have schema 0006, which this version needs.\n"
    if version != "0001":  # Which knows of no workers.
        refused = upgrade()
        assert "in the last 120 s: ada, bob. Stop them, or" in refused
        assert refused.endswith("topo-search storage upgrade --yes")
        assert upgrade() == refused
        assert upgrade("--yes") == done
        with storage.transaction() as connection:
            alembic_command.downgrade(_alembic(connection), version)
            connection.exec_driver_sql(
                "UPDATE topo_worker SET seen_at = seen_at - interval '121 seconds'"
            )
    assert upgrade() == done


def test_tables_that_need_no_upgrade_are_fine_while_workers_serve(
    storage: Storage, database_url: str, tmp_path: Path
) -> None:
    one = workers.Worker(name="ada", host="h", version="1", device="2 cores", slots=2)
    workers.heard(storage, one, lease=60.0)
    asked = ["storage", "upgrade", "--storage", database_url]
    done = CliRunner().invoke(cli, asked, env={"TOPO_SEARCH_HOME": str(tmp_path)})
    assert done.exit_code == 0, done.output


def test_optunas_tables_of_another_version_are_refused_with_the_remedy(
    storage: Storage, database_url: str
) -> None:
    with storage.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    with pytest.raises(StorageError, match="optuna storage upgrade"):
        connect(database_url)


def test_an_old_server_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.connection.MINIMUM_SERVER", 99)
    with pytest.raises(StorageError, match="version 99 or newer. Received version 1"):
        connect(database_url)


def _with(server_url: str, **changes: object) -> str:
    url = sa.make_url(server_url).set(**changes)  # type: ignore[arg-type]
    return url.render_as_string(hide_password=False)


def test_what_is_wrong_with_a_server_is_said_in_one_line_without_the_password(
    server_url: str, tmp_path: Path
) -> None:
    password = sa.make_url(server_url).password
    assert password
    wrong = {
        _with(server_url, database="nowhere"): 'database "nowhere" does not exist. Create it',
        _with(server_url, password="s3cret"): "password authentication failed.*Check the user",
        _with(server_url, username="nobody"): "nobody.*Check the user",
        f"postgresql://u:{password}@127.0.0.1:1/d": "Connection refused. Start the server",
        f"postgresql://u:{password}@host.invalid/d": "Check the host's name",
        f"postgresql://u:{password}@/d?host={tmp_path}": "No such file.*socket's folder",
        f"{server_url}&sslmod=require": 'connection option "sslmod".*does not know: correct',
        f"{server_url}&sslmode=requir": 'value: "requir". Correct this option in the URL',
    }
    for url, message in wrong.items():
        with pytest.raises(StorageError, match=message) as refusal:
            connect(url)
        text = str(refusal.value)
        assert "\n" not in text
        assert password not in text and "s3cret" not in text


@pytest.mark.parametrize("right", ["CREATE", "ALL"])
def test_a_user_without_rights_is_told_which_are_missing(
    make_database: Callable[[], str], server_url: str, right: str
) -> None:
    url = make_database()
    admin = sa.create_engine(normalise(url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE topo_guest LOGIN PASSWORD 'guest'")
        connection.exec_driver_sql(f"REVOKE {right} ON SCHEMA public FROM PUBLIC")
        try:
            with pytest.raises(StorageError, match="GRANT CREATE, USAGE ON SCHEMA public"):
                connect(_with(url, username="topo_guest", password="guest"))
        finally:
            connection.exec_driver_sql("DROP ROLE topo_guest")
    admin.dispose()


def test_a_user_without_rights_on_the_tables_is_told_what_to_grant(
    storage: Storage, database_url: str
) -> None:
    admin = sa.create_engine(normalise(database_url), isolation_level="AUTOCOMMIT")
    guest = _with(database_url, username="topo_reader", password="guest")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE topo_reader LOGIN PASSWORD 'guest'")
        try:
            with pytest.raises(StorageError, match="denied for table.*owns the tables") as refusal:
                connect(guest)
            grants = re.findall("GRANT [^;]*;", str(refusal.value))
            assert len(grants) == 2
            connection.exec_driver_sql(grants[0].replace("the user", "topo_reader"))
            opened = connect(guest)
            with pytest.raises(StorageError, match="denied for sequence.*ALL SEQUENCES"):
                make_study(opened)
            connection.exec_driver_sql(grants[1].replace("the user", "topo_reader"))
            assert make_study(opened).id
            opened.close()
        finally:
            connection.exec_driver_sql("DROP OWNED BY topo_reader")
            connection.exec_driver_sql("DROP ROLE topo_reader")
    admin.dispose()


def test_optuna_and_we_share_at_most_three_connections(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

    def sessions() -> int:
        with storage.transaction() as connection:
            return int(connection.exec_driver_sql(count).scalar_one())

    wait_until(lambda: sessions() == 1, "what opened the storage has gone")
    with storage.transaction(), storage.transaction(), storage.transaction() as third:
        assert third.exec_driver_sql(count).scalar_one() == 3
        monkeypatch.setattr(storage.engine.pool, "_timeout", 0.01)
        with pytest.raises(StorageError, match="limit of size 2 overflow 1"), storage.transaction():
            pass
        with pytest.raises(optuna.exceptions.StorageInternalError):
            storage.optuna.get_all_studies()


def test_every_transaction_ours_or_optunas_has_timeouts_that_end_with_it(
    storage: Storage,
) -> None:
    show = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with storage.transaction() as connection:
        assert connection.exec_driver_sql(show).scalar_one() == "30s"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "30s"
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "5min"
        with JoinedOptuna(connection).scoped_session() as session:
            assert session.scalar(sa.text(show)) == "30s"
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
        assert bare.connection.driver_connection is not None
        with bare.connection.driver_connection.cursor() as cursor:
            cursor.execute(show)
            assert cursor.fetchone() == ("0",)


def test_a_storage_never_shows_its_password(storage: Storage, database_url: str) -> None:
    password = sa.make_url(database_url).password
    assert password and password not in repr(storage)


def test_connections_cut_between_transactions_are_replaced(
    storage: Storage, database_url: str
) -> None:
    study = make_study(storage)
    killer = connect(database_url)
    with killer.transaction() as connection:
        cut = connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).all()
    assert cut
    with storage.transaction() as connection:
        assert connection.scalars(sa.select(tables.study.c.id)).all() == [study.id]
    killer.close()


def test_a_connection_cut_within_a_transaction_is_a_storage_error(
    storage: Storage, database_url: str
) -> None:
    other = connect(database_url)
    with pytest.raises(StorageError, match="PostgreSQL at"), storage.transaction() as connection:
        pid = connection.scalar(sa.select(sa.func.pg_backend_pid()))
        with other.transaction() as killer:
            killer.execute(sa.select(sa.func.pg_terminate_backend(pid)))
        connection.execute(sa.select(1))
    with storage.transaction() as connection:
        assert connection.scalar(sa.select(1)) == 1
    other.close()


def test_opening_and_creating_says_nothing(
    make_database: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        storage = connect(make_database())
        make_study(storage)
        storage.close()
    assert capfd.readouterr() == ("", "")
    assert [record.name for record in caplog.records] == []


def test_numbers_that_are_not_finite_become_null_in_json() -> None:
    value = {"a": [1.5, float("nan"), (float("inf"), "x")], "b": True}
    assert to_json(value) == '{"a": [1.5, null, [null, "x"]], "b": true}'


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\x00", "\\\x00"])
def test_text_that_postgresql_cannot_read_back_is_not_written(storage: Storage, text: str) -> None:
    for value in ({"a": [text]}, {text: 1}, [math.nan, text]):
        with pytest.raises(ValueError, match="Received: "):
            to_json(value)
    with pytest.raises(ValueError, match="UTF-8"):
        make_study(storage, plan={"text": text})


def test_other_text_is_written_as_it_is() -> None:
    for text in ("\\u0000", "\\ud800", "\U0001f600", "\\", "é\x01"):
        assert json.loads(to_json({text: text})) == {text: text}
