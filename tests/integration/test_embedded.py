"""The private server: who may use it, how long it lives, and what it survives."""

import os
import pwd
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from sqlalchemy import create_engine, make_url

from storage import embedded, system_account
from storage.embedded import serve
from storage.postgres_binaries import Installation, installations, reachable
from storage.private_files import open_private, own_directory, try_lock, wait_until

ROOT = os.geteuid() == 0
SECONDS = 180.0

# Imports come before the change of user: the interpreter itself may lie below /root.
USER = """
import os, pwd, sys
from pathlib import Path
from storage.embedded import serve

home, uid, leave = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(pwd.getpwuid(uid).pw_gid)
    os.setuid(uid)
try:
    with serve(home) as url:
        if leave == "fork":
            child = os.fork()
            if child == 0:
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        print(url, flush=True)
        sys.stdin.read()
except KeyboardInterrupt:
    pass
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


class User:
    """A process that uses the server of a home until told to leave."""

    def __init__(
        self, home: Path, *, uid: int | None = None, leave: str = "exit", under: Sequence[str] = ()
    ) -> None:
        arguments = [str(home), str(os.geteuid() if uid is None else uid), leave]
        self.process = subprocess.Popen(
            [*under, sys.executable, "-c", USER, *arguments],
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )

    def answer(self) -> str:
        """The URL, or the error it met."""
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        assert ready, "no answer in time"
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """Leave in good order; idempotent."""
        self.process.communicate(timeout=SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=SECONDS)


@pytest.fixture
def users() -> Iterator[ExitStack]:
    """Ends what it was given: no process outlives its test."""
    with ExitStack() as stack:
        yield stack


def use(users: ExitStack, home: Path, **how: Any) -> User:
    user = User(home, **how)
    users.callback(user.leave)
    return user


def remove(home: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree((home / "server").resolve())
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose data were made once; each test leaves its server stopped."""
    path = tmp_path_factory.mktemp("embedded") / "home"
    with serve(path):
        pass
    yield path
    remove(path)


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    """A home that is not there yet, for tests that hurt it."""
    path = tmp_path / "home"
    yield path
    remove(path)


@pytest.fixture(scope="module")
def strangers() -> Iterator[list[tuple[int, Path]]]:
    """Two throwaway users of the operating system, each with a directory of its own."""
    if not ROOT:
        pytest.skip("creating users of the operating system takes root")
    names = [f"topo-test-{secrets.token_hex(4)}" for _ in range(2)]
    made = []
    for name in names:
        subprocess.run(["useradd", "--system", "--user-group", name], check=True)
        entry = pwd.getpwnam(name)
        folder = Path(tempfile.mkdtemp(prefix="topo-", dir="/tmp"))
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        made.append((entry.pw_uid, folder))
    yield made
    for (_, folder), name in zip(made, names, strict=True):
        shutil.rmtree(folder)
        subprocess.run(["userdel", name], check=True)


@contextmanager
def connected(url: str) -> Iterator[psycopg2.extensions.cursor]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        yield cursor


def ask(url: str, statement: str) -> object:
    with connected(url) as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def started(url: str) -> object:
    """When the server was started: tells one server from the next."""
    return ask(url, "SELECT pg_postmaster_start_time()")


def data_of(home: Path) -> Path:
    return (home / "server").resolve() / "data"


def server_process(home: Path) -> psutil.Process:
    return psutil.Process(int((data_of(home) / "postmaster.pid").read_text().split()[0]))


def kill_server(home: Path) -> None:
    process = server_process(home)
    process.kill()
    # Init may reap it late: a zombie is as dead.
    assert wait_until(
        lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, SECONDS
    )


def is_stopped(home: Path) -> bool:
    return not (data_of(home) / "postmaster.pid").exists()


def rewrite_pid_files(home: Path, url: str, pid: int) -> None:
    """Kill the server and make its files name another process."""
    old = str(server_process(home).pid)
    kill_server(home)
    socket = Path(make_url(url).query["host"])
    for file in (data_of(home) / "postmaster.pid", socket / ".s.PGSQL.5432.lock"):
        file.write_text(file.read_text().replace(old, str(pid), 1))


@contextmanager
def stranger(uid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    identity = {"user": uid} if ROOT else {}
    with subprocess.Popen(["sleep", "600"], cwd="/", **identity) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def suspended_child(url: str) -> Iterator[None]:
    """A process of the server that cannot see the death of its parent."""
    with connected(url) as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        child = psutil.Process(cursor.fetchone()[0])
        child.suspend()
        try:
            yield
        finally:
            child.resume()


def is_locked(path: Path) -> bool:
    with open_private(path) as file:
        return not try_lock(file)


@contextmanager
def changed(file: Path, text: str) -> Iterator[None]:
    """Change a file's text, and bring the old one back."""
    old = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(old)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# Privacy


def test_the_server_asks_for_the_password(home: Path) -> None:
    with serve(home) as url:
        password = make_url(url).password or ""
        assert len(password) >= 32
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            ask(url.replace(password, "guess"), "SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
            ask(url.replace(f":{password}", ""), "SELECT 1")
        assert ask(url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'topo'").startswith(
            "SCRAM-SHA-256$"
        )


def test_no_process_of_the_server_listens_on_tcp(home: Path) -> None:
    with serve(home) as url:
        assert ask(url, "SHOW listen_addresses") == ""
        server = server_process(home)
        assert server.net_connections(kind="inet") == []
        assert [c.laddr for c in server.net_connections(kind="unix") if c.status] != []


def test_everything_is_for_its_owner_alone(home: Path) -> None:
    with serve(home) as url:
        place = (home / "server").resolve()
        socket = Path(make_url(url).query["host"])
        assert mode(home) == mode(place / "data") == mode(socket) == 0o700
        assert mode(place) == (0o711 if ROOT else 0o700)
        files = ("password", "log", "start.lock", "users.lock", "server.lock")
        assert {mode(place / name) for name in files} == {0o600}
        assert {(place / name).stat().st_uid for name in files} == {os.geteuid()}
        assert mode(socket / ".s.PGSQL.5432") == 0o700


@pytest.mark.skipif(not ROOT, reason="only root needs the system account")
def test_root_runs_the_server_under_the_system_account(home: Path) -> None:
    with serve(home):
        account = system_account.system_account()
        server = server_process(home)
        assert account.pw_uid != 0
        assert set(server.uids()) == {account.pw_uid}
        assert set(server.gids()) == {account.pw_gid}
        status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
        assert [line.split()[1:] for line in status if line.startswith("Groups:")] == [[]]
        assert data_of(home).stat().st_uid == account.pw_uid
        assert data_of(home).parent.parent == system_account.SYSTEM_HOME


def test_the_environment_of_the_server_holds_no_secret_of_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPO_SEARCH_STORAGE", "postgresql://someone:secret@elsewhere/db")
    with serve(home):
        assert "TOPO_SEARCH_STORAGE" not in server_process(home).environ()


def test_a_directory_of_somebody_else_or_a_link_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o777)
    own_directory(mine, uid=os.geteuid())
    assert mode(mine) == 0o700
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(PermissionError, match="link"):
        own_directory(tmp_path / "link", uid=os.geteuid())
    theirs = Path("/etc")
    if ROOT:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        os.chown(theirs, 54321, -1)
    with pytest.raises(PermissionError, match=f"{theirs} to be a directory of"):
        own_directory(theirs, uid=os.geteuid())


# How long it lives


def test_it_lives_as_long_as_its_last_user(home: Path, users: ExitStack) -> None:
    first, second = use(users, home), use(users, home)
    url = first.answer()
    assert second.answer() == url
    since = started(url)
    first.leave()
    assert started(url) == since
    second.leave()
    assert is_stopped(home)


def test_a_process_may_use_it_twice(home: Path) -> None:
    with serve(home) as outer:
        with serve(home) as inner:
            assert inner == outer
        assert ask(outer, "SELECT 1") == 1
    assert is_stopped(home)


def test_an_error_of_its_user_passes_and_stops_it(home: Path) -> None:
    with pytest.raises(ZeroDivisionError), serve(home):
        assert 1 / 0
    assert is_stopped(home)


def test_eight_processes_starting_at_once_get_one_server_of_their_own(
    home: Path, new_home: Path, users: ExitStack
) -> None:
    with serve(home) as other:
        pass
    eight = [use(users, new_home) for _ in range(8)]
    urls = {user.answer() for user in eight}
    assert len(urls) == 1
    (url,) = urls
    assert make_url(url).password != make_url(other).password
    log = (data_of(new_home).parent / "log").read_text()
    assert log.count("database system is ready to accept connections") == 1
    for user in eight[:-1]:
        user.leave()
    assert ask(url, "SELECT 1") == 1
    eight[-1].leave()
    assert is_stopped(new_home)


def test_a_killed_owner_leaves_a_server_that_the_next_user_takes_and_stops(
    home: Path, users: ExitStack
) -> None:
    owner = use(users, home)
    url = owner.answer()
    since = started(url)
    owner.kill()
    assert not is_stopped(home)
    with serve(home) as again:
        assert again == url
        assert started(again) == since
    assert is_stopped(home)


def test_a_killed_user_does_not_keep_it_alive(home: Path, users: ExitStack) -> None:
    killed, last = use(users, home), use(users, home)
    killed.answer(), last.answer()
    killed.kill()
    assert not is_stopped(home)
    last.leave()
    assert is_stopped(home)


def test_root_that_may_not_look_into_others_processes_stops_it(
    home: Path, users: ExitStack
) -> None:
    without = ("setpriv", "--bounding-set", "-sys_ptrace")  # As Docker starts containers.
    if not ROOT or not shutil.which("setpriv") or subprocess.run([*without, "true"]).returncode:
        pytest.skip("to give up CAP_SYS_PTRACE takes root and setpriv")
    user = use(users, home, under=without)
    assert user.answer().startswith("postgresql")
    user.leave()
    assert is_stopped(home)


def test_a_server_that_is_left_running_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "EXIT_SECONDS", 0.1)
        patched.setattr(embedded._Server, "_pid_is_ours", lambda _: False)
        with serve(home):
            pass
    assert "was left running. Stop it where it was started" in caplog.text
    with serve(home):
        pass
    assert is_stopped(home)


def test_a_forked_child_that_leaves_does_not_stop_it(home: Path, users: ExitStack) -> None:
    user = use(users, home, leave="fork")
    assert ask(user.answer(), "SELECT 1") == 1


def test_ctrl_c_ends_the_starter_but_not_the_server(home: Path, users: ExitStack) -> None:
    starter = use(users, home)
    url = starter.answer()
    with serve(home):
        since = started(url)
        os.killpg(starter.process.pid, signal.SIGINT)
        starter.leave()
        assert starter.process.returncode == 0
        assert started(url) == since


# What it survives


def test_a_killed_server_comes_back_with_everything_committed(home: Path) -> None:
    with serve(home) as url:
        with connected(url) as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        kill_server(home)
        with pytest.raises(psycopg2.OperationalError):
            ask(url, "SELECT 1")
        with serve(home) as again:
            assert again == url
            assert ask(url, "SELECT answer FROM kept") == 42
            with connected(url) as cursor:
                cursor.execute("DROP TABLE kept")
    assert is_stopped(home)


def test_a_killed_server_comes_back_once_its_last_child_is_gone(
    home: Path, users: ExitStack
) -> None:
    with serve(home) as url:
        with suspended_child(url):
            kill_server(home)
            starter = use(users, home)
            assert wait_until(lambda: is_locked(data_of(home).parent / "start.lock"), SECONDS)
        assert ask(starter.answer(), "SELECT 1") == 1


def test_leaving_a_dead_server_signals_no_stranger_that_has_its_id(home: Path) -> None:
    with stranger(data_of(home).stat().st_uid) as other, ExitStack() as child:
        with serve(home) as url:
            child.enter_context(suspended_child(url))
            rewrite_pid_files(home, url, other.pid)
        assert other.poll() is None
    with serve(home) as url:
        assert ask(url, "SELECT 1") == 1


def test_a_stale_pid_file_that_names_a_stranger_is_recovered(home: Path, users: ExitStack) -> None:
    owner = use(users, home)
    url = owner.answer()
    # As after a reboot: the id belongs to another process, of the same user.
    with stranger(data_of(home).stat().st_uid) as other:
        rewrite_pid_files(home, url, other.pid)
        owner.kill()
        with serve(home) as again:
            assert ask(again, "SELECT 1") == 1
        assert other.poll() is None
    assert is_stopped(home)


def test_data_half_made_are_made_again(new_home: Path) -> None:
    place = embedded._Server.of(new_home).place
    (place / "data.new" / "base").mkdir(parents=True)
    (place / "password").write_text("")
    with serve(new_home) as url:
        assert ask(url, "SELECT 1") == 1
    assert not (place / "data.new").exists()


def test_commits_are_durable(home: Path) -> None:
    with serve(home) as url:
        assert ask(url, "SHOW fsync") == ask(url, "SHOW synchronous_commit") == "on"
        assert ask(url, "SHOW full_page_writes") == ask(url, "SHOW data_checksums") == "on"


def test_variables_of_other_postgresql_tools_do_not_meddle(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/x", "PGHOST": "x", "PGUSER": "x"}.items():
        monkeypatch.setenv(name, value)
    with serve(home) as url:
        assert ask(url, "SELECT current_user || ' ' || current_database()") == "topo topo_search"


# Where a home may lie


@pytest.mark.parametrize(
    "name",
    ["with a space", "d" * 150, "comma, 100% + 'quote' \"$HOME\" @ü"],
    ids=["space", "150 characters", "signs"],
)
def test_a_home_may_have_any_path(name: str, tmp_path: Path) -> None:
    home = tmp_path / name
    with serve(home) as url:
        socket = Path(make_url(url).query["host"])
        assert len(os.fsencode(socket / ".s.PGSQL.5432")) <= 107
        assert mode(socket) == 0o700
        assert "%" not in url
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        engine.dispose()
    assert is_stopped(home)
    assert ROOT or not socket.exists()
    remove(home)


def test_a_home_that_moved_keeps_its_data(home: Path, tmp_path: Path) -> None:
    with serve(home) as url:
        (password,) = {make_url(url).password}
        since = ask(url, "SELECT system_identifier FROM pg_control_system()")
    moved = home.rename(tmp_path / "moved")
    try:
        with serve(moved) as url:
            assert make_url(url).password == password
            assert ask(url, "SELECT system_identifier FROM pg_control_system()") == since
    finally:
        moved.rename(home)


def test_two_users_of_the_system_work_at_once(
    home: Path, users: ExitStack, strangers: list[tuple[int, Path]]
) -> None:
    (first, first_folder), (second, second_folder) = strangers
    urls = set()
    for uid, folder in ((first, first_folder / "a, b"), (second, second_folder / ("d" * 150))):
        url = use(users, folder, uid=uid).answer()
        assert ask(url, "SELECT 1") == 1
        assert server_process(folder).uids().real == uid
        assert mode(data_of(folder)) == 0o700
        assert Path(make_url(url).query["host"]).stat().st_uid == uid
        urls.add(url)
    with serve(home) as url:  # root's own, beside them
        assert ask(url, "SELECT 1") == 1
    assert len(urls | {url}) == 3


def test_a_second_user_of_the_system_is_refused_and_told_whose_home_it_is(
    users: ExitStack, strangers: list[tuple[int, Path]]
) -> None:
    (first, folder), (second, _) = strangers
    owner = use(users, folder / "shared", uid=first)
    url = owner.answer()
    name = pwd.getpwuid(first).pw_name
    refused = use(users, folder / "shared", uid=second).answer()
    assert refused.startswith("PermissionError")
    assert f"belongs to {name}. Set TOPO_SEARCH_HOME" in refused
    with pytest.raises(PermissionError, match=f"belongs to {name}. Set TOPO_SEARCH_HOME"):
        with serve(folder / "shared"):
            pass
    os.chmod(folder, 0o755)  # now it can be seen, and still not used
    refused = use(users, folder / "shared", uid=second).answer()
    assert f"belongs to {name}. Set TOPO_SEARCH_HOME" in refused
    assert ask(url, "SELECT 1") == 1


def test_a_socket_directory_laid_as_a_trap_is_refused(
    users: ExitStack, strangers: list[tuple[int, Path]]
) -> None:
    (victim, folder), (attacker, _) = strangers
    home = folder / ("t" * 150)
    probe = use(users, home, uid=victim)
    trap = Path(make_url(probe.answer()).query["host"])
    probe.leave()
    assert not trap.exists()
    trap.mkdir(mode=0o777)
    try:
        os.chown(trap, attacker, -1)
        answer = use(users, home, uid=victim).answer()
        assert answer.startswith("PermissionError")
        assert str(trap) in answer
    finally:
        trap.rmdir()


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_home_that_cannot_be_made_is_refused_with_a_remedy() -> None:
    with pytest.raises(PermissionError, match="belongs to root. Set TOPO_SEARCH_HOME"):
        with serve(Path("/etc/topo-search")):
            pass


# Refusals with a remedy


def test_data_of_an_unknown_version_are_refused(home: Path) -> None:
    with changed(data_of(home) / "PG_VERSION", "12\n"):
        with pytest.raises(RuntimeError, match="found data of PostgreSQL 12.*TOPO_SEARCH_HOME"):
            with serve(home):
                pass


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home: Path) -> None:
    with changed(data_of(home) / "postgresql.conf", "shared_buffers = banana\n"):
        with pytest.raises(RuntimeError, match="banana"):
            with serve(home):
                pass
    assert is_stopped(home)


def test_a_lost_password_is_said_and_data_are_kept(home: Path) -> None:
    password = data_of(home).parent / "password"
    password.rename(password.with_name("lost"))
    with pytest.raises(FileNotFoundError, match="Bring it back"):
        with serve(home):
            pass
    password.with_name("lost").rename(password)
    with serve(home) as url:
        assert ask(url, "SELECT 1") == 1


def test_a_wrong_password_is_refused_at_once(home: Path) -> None:
    with changed(data_of(home).parent / "password", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            with serve(home):
                pass
    assert is_stopped(home)


def test_a_silent_server_is_given_up_with_a_remedy(
    home: Path, users: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    monkeypatch.setattr(embedded._Server, "answers", lambda server: False)
    use(users, home).answer()
    with pytest.raises(TimeoutError, match="TOPO_SEARCH_HOME"):
        with serve(home):
            pass


def test_no_way_to_create_the_account_is_said_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_account.shutil, "which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="ordinary user, or name a PostgreSQL server"):
        system_account._create_account()


@pytest.mark.skipif(not ROOT, reason="only root runs programs under another account")
def test_binaries_out_of_the_accounts_reach_are_copied(tmp_path: Path) -> None:
    original = max(installations().values(), key=lambda installation: installation.major)
    hidden = tmp_path / "hidden" / "pginstall"
    shutil.copytree(original.prefix, hidden, ignore=shutil.ignore_patterns("include", "*.a"))
    hidden.parent.chmod(0o700)
    account = system_account.system_account()
    version = f"test-{secrets.token_hex(4)}"
    unreachable = Installation(version=version, prefix=hidden)
    copy = system_account.SYSTEM_HOME / f"server-{version}"
    try:
        assert reachable(original, account) == original
        assert reachable(unreachable, account).prefix == copy
        assert reachable(unreachable, account).prefix == copy
        assert reachable(Installation(version=version, prefix=copy), account).prefix == copy
        assert (mode(hidden.parent), mode(copy)) == (0o700, 0o755)
        assert copy.stat().st_uid == 0
    finally:
        shutil.rmtree(copy, ignore_errors=True)
