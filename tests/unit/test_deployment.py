"""The files that deploy a fleet, as far as they can be checked without a container engine."""

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from storage import system_account
from topo_search.cli import cli
from topo_search.cli_types import Duration
from topo_search.web import server
from topo_search.web.app import MULTIPART
from topo_search.web.quota import Limits, too_large
from topo_search.web.watching import EACH, HEARTBEAT, STREAMS

ROOT = Path(__file__).parents[2]
IRIS = ROOT / "examples" / "iris.csv"
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
UNITS = {path.stem: path.read_text() for path in sorted((ROOT / "deploy").glob("*.service"))}
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
FILES = {
    "docker-compose.yml": COMPOSE,
    "Dockerfile": DOCKERFILE,
    ".env.example": EXAMPLE,
    "nginx.conf": NGINX,
    "operations.md": OPERATIONS,
    **UNITS,
}
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
SERVICES: dict[str, Any] = yaml.safe_load(VARIABLE.sub(r"\2", COMPOSE))["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("topo-search:")]


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return what click makes of the words after `topo-search`, without running anything."""
    name: str | None = "topo-search"
    command: click.Command | None = cli
    words = [str(IRIS) if word.endswith(".csv") else word for word in arguments]
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(click.Context(command), words)
    assert command is not None
    return command.make_context(name, words).params


def seconds(text: str) -> float:
    return Duration().convert(text, None, None)


def systemd_unit(name: str) -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNITS[name])
    return unit["Service"]


def worker_unit() -> configparser.SectionProxy:
    return systemd_unit("topo-search-worker")


def documented() -> Iterator[str]:
    """Yield every command line of ours in the page, as the words after `topo-search`."""
    fenced = r"^```(\w*)\n(.*?)^```"
    blocks = re.findall(fenced, OPERATIONS.replace("\\\n", ""), re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if kind == "sh" for line in block.splitlines()]
    prose = re.sub(fenced, "", OPERATIONS, flags=re.MULTILINE | re.DOTALL)
    for line in (*lines, *re.findall(r"`([^`\n]+)`", prose)):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for between, words in groupby(lexer, lambda word: set(word) <= set("();<>|&")):
            if not between and (ours := after_program(list(words))):
                yield shlex.join(ours)


def after_program(words: list[str]) -> list[str]:
    """Return what a command line hands to `topo-search`, itself or as a service's entry point."""
    for index, word in enumerate(words):
        if Path(word).name == "topo-search" or (
            words[:3] == ["docker", "compose", "run"] and word in OURS
        ):
            return words[index + 1 :]
    return []


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("needs docker-compose (Debian's package of that name), which CI installs")
    files = ["-f", str(ROOT / "docker-compose.yml"), "--env-file", str(ROOT / ".env.example")]
    done = subprocess.run(
        [program, *files, "config"],
        env={"PATH": str(Path(program).parent), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == SERVICES.keys()


@pytest.mark.parametrize("service", OURS)
def test_services_run_commands_that_there_are(service: str) -> None:
    parsed(shlex.split(SERVICES[service]["command"]))


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_runs_a_command_that_there_is(unit: str) -> None:
    program, *arguments = shlex.split(systemd_unit(unit)["ExecStart"])
    assert program == "/opt/topo-search/.venv/bin/topo-search"
    parsed(arguments)


@pytest.mark.parametrize("line", sorted({*documented()}))
def test_the_operators_page_names_commands_that_there_are(line: str) -> None:
    parsed(shlex.split(line))


def test_the_operators_page_names_what_operators_need() -> None:
    needed = {"storage upgrade", "storage check", "fleet --watch", "pause ID"}
    needed |= {
        "resume ID --no-serve",
        "cancel ID",
        "delete ID --yes",
        "worker --drain 60s",
        "studies",
        "status ID",
        "web",
        "web --with-worker",
        "token create NAME",
        "token list",
        "token revoke NAME",
    }
    assert needed <= {*documented()}


@pytest.mark.parametrize("text", [SERVICES["worker"]["command"], worker_unit()["ExecStart"]])
def test_a_stop_leaves_time_to_drain(text: str) -> None:
    words = shlex.split(text)
    drain = seconds(words[words.index("--drain") + 1])
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > drain
    assert seconds(worker_unit()["TimeoutStopSec"]) > drain


def test_postgresql_keeps_its_data_and_says_when_it_is_up() -> None:
    postgres = SERVICES["postgres"]
    volume, _, folder = postgres["volumes"][0].partition(":")
    assert volume in yaml.safe_load(COMPOSE)["volumes"]
    assert folder == "/var/lib/postgresql"  # Where the images have it from version 18 on.
    assert postgres["image"].startswith("postgres:18")
    assert postgres["healthcheck"]["test"][1] == "pg_isready"


def test_the_tables_are_there_before_the_workers() -> None:
    migrate, worker = SERVICES["migrate"], SERVICES["worker"]
    assert migrate["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert worker["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_workers_can_be_many() -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES["worker"].keys()


def test_a_worker_is_asked_for_its_health_where_it_answers() -> None:
    words = shlex.split(SERVICES["worker"]["command"])
    port = words[words.index("--metrics-port") + 1]
    assert f"127.0.0.1:{port}/healthz" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert SERVICES["worker"]["expose"] == [port]


def test_every_variable_is_explained_and_every_explained_one_used() -> None:
    assert dict(VARIABLE.findall(COMPOSE)) == SETTINGS
    lines = EXAMPLE.splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        assert before.startswith("#") or "=" not in line or line.startswith("#"), line


def test_secrets_come_from_files_that_stay_on_the_machine() -> None:
    for name, secret in yaml.safe_load(COMPOSE)["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    assert {"/secrets/", "/.env"} <= {*(ROOT / ".gitignore").read_text().splitlines()}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    copied = {word for line in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.M) for word in
              line.split()}  # fmt: skip
    assert copied == {line[1:] for line in ignored if line.startswith("!")}


@pytest.mark.parametrize("name", FILES)
def test_no_secret_stands_in_a_file(name: str) -> None:
    passwords = re.findall(r"postgres(?:ql)?(?:\+\w+)?://[^:@/\s]+:([^@\s]+)@", FILES[name])
    assert {*passwords} <= {"PASSWORD", "%s"}
    assert not re.search(r"\b\w*(PASSWORD|SECRET|TOKEN|KEY)\b *[=:] *\S", FILES[name])
    for secret in (ROOT / "secrets").glob("*"):
        assert secret.read_text().strip() not in FILES[name]


def test_the_image_runs_as_a_user_who_owns_its_volume() -> None:
    (home,) = re.findall(r"TOPO_SEARCH_HOME=(\S+)", DOCKERFILE)
    assert re.search(rf"^VOLUME {home}$", DOCKERFILE, re.M)
    assert re.search(rf"install -d -m 700 -o topo-search -g topo-search {home}$", DOCKERFILE, re.M)
    assert all(f"home:{home}" in SERVICES[name]["volumes"] for name in OURS)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.M)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.M)


@pytest.mark.parametrize("name", UNITS)
def test_systemds_services_keep_clear_of_the_private_servers_account(name: str) -> None:
    unit = systemd_unit(name)
    assert unit["User"] != system_account.ACCOUNT
    assert unit["StateDirectory"] != system_account.SYSTEM_HOME.name
    assert f"TOPO_SEARCH_HOME=/var/lib/{unit['StateDirectory']}" in UNITS[name]
    accounts = [systemd_unit(other)["User"] for other in UNITS]
    assert len({*accounts}) == len(accounts)


def test_only_nginx_and_postgresql_are_seen_from_outside() -> None:
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"nginx", "postgres"}
    assert [port.rpartition(":")[0] for port in SERVICES["nginx"]["ports"]] == [
        "0.0.0.0:80",
        "0.0.0.0:443",
    ]
    assert SERVICES["postgres"]["ports"][0].startswith("127.0.0.1:")


def test_the_web_service_is_asked_where_it_listens() -> None:
    given = parsed(shlex.split(SERVICES["web"]["command"]))
    assert given["proxied"] and given["log_json"]
    where = f"127.0.0.1:{given['port']}"
    assert f"{where}/healthz" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert SERVICES["web"]["expose"] == [str(given["port"])]
    assert f"server web:{given['port']};" in NGINX
    _, *arguments = shlex.split(systemd_unit("topo-search-web")["ExecStart"])
    alone = parsed(arguments)
    assert (alone["host"], alone["port"]) == ("127.0.0.1", given["port"])
    assert f"s/web:{given['port']}/127.0.0.1:{given['port']}/" in OPERATIONS
    assert alone["retain"] == given["retain"] == seconds("30d")


def test_the_web_service_has_time_to_end_and_a_password() -> None:
    longest = server.GRACE + 5  # To stop what is its own besides.
    assert seconds(SERVICES["web"]["stop_grace_period"]) > longest
    assert seconds(systemd_unit("topo-search-web")["TimeoutStopSec"]) > longest
    password = SERVICES["web"]["environment"]["TOPO_SEARCH_OPERATOR_PASSWORD_FILE"]
    assert Path(password).name in SERVICES["web"]["secrets"]
    assert SERVICES["worker"]["environment"].keys() == {"TOPO_SEARCH_STORAGE_FILE"}


def test_nginx_has_its_files_and_no_rights_that_it_needs_not() -> None:
    nginx = SERVICES["nginx"]
    source, target, mode = nginx["volumes"][0].split(":")
    assert (ROOT / source).read_text() == NGINX
    assert (target, mode) == ("/etc/nginx/conf.d/default.conf", "ro")
    assert {*re.findall(r"/run/secrets/(\w+)", NGINX)} == {*nginx["secrets"]}
    assert nginx["cap_drop"] == ["ALL"] and nginx["read_only"]
    assert int(nginx["user"].partition(":")[0]) > 0


def test_nginx_takes_bodies_as_large_as_the_service() -> None:
    (taken,) = re.findall(r"client_max_body_size (\d+)k;", NGINX)
    assert int(taken) * 1024 == Limits().upload + MULTIPART
    (said,) = re.findall(r'"status": 413, "detail": "([^"]+)"', NGINX)
    assert said == too_large(Limits().upload)


def test_nginx_waits_as_long_as_the_service_may_take() -> None:
    waited = {*re.findall(r"proxy_read_timeout (\w+);", NGINX)}
    assert min(seconds(text) for text in waited) > 2 * Limits().seconds
    (streams,) = re.findall(r"events\$ \{[^}]*proxy_read_timeout (\w+);", NGINX)
    assert seconds(streams) > 10 * HEARTBEAT
    (connections,) = {*re.findall(r"limit_conn addresses (\d+);", NGINX)}
    assert int(connections) >= 2 * EACH
    (watching,) = re.findall(r"limit_conn streams (\d+);", NGINX)
    assert 200 <= int(watching) < EACH < STREAMS, "the service hears late of who has gone"
