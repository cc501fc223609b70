"""The services of the compose file as plain processes, with its commands, settings and checks."""

import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from fleet_harness import DEADLINE, TREE, environment, is_finished, wait_until
from fleet_server import free_port, running_server

from storage.check import violations
from storage.connection import connect

PROGRAM = Path(sys.executable).with_name("topo-search")
COMPOSE = re.sub(r"\$\{\w+(?::-([^}]*))?\}", r"\1", (TREE / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
DATABASE = SERVICES["postgres"]["environment"]["POSTGRES_DB"]
SETTINGS = dict(re.findall(r"-c (\w+)=(\S+)", SERVICES["postgres"]["command"]))
SAMPLE = re.compile(r"[a-z_]+(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? [-+0-9.eInfNa]+")


def test_the_services_of_the_compose_file_serve_a_study_together(tmp_path: Path) -> None:
    ports = {"9464": str(free_port()), "8000": str(free_port())}

    def here(text: str) -> str:
        """Return a command of the file's with ports that are free here."""
        for port, free in ports.items():
            text = text.replace(port, free)
        return text

    with ExitStack() as stack:
        server = stack.enter_context(running_server({**SETTINGS, "unix_socket_directories": ""}))
        server.make_database(DATABASE, empty=True)
        secrets = {"storage_url": server.url(DATABASE), "operator_password": "open sesame"}
        for name, secret in secrets.items():
            (tmp_path / name).write_text(f"{secret}\n")
        around = environment() | {"TOPO_SEARCH_HOME": str(tmp_path / "home")}
        for name in SERVICES["web"]["environment"]:
            file = Path(SERVICES["web"]["environment"][name]).name
            around[name] = str(tmp_path / file)

        def run(*words: object) -> str:
            done = subprocess.run(
                [PROGRAM, *map(str, words)], env=around, cwd=tmp_path,
                capture_output=True, text=True, timeout=DEADLINE,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        def started(name: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [PROGRAM, *shlex.split(here(SERVICES[name]["command"]))],
                env=around, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        def healthy(name: str) -> Callable[[], bool]:
            kind, program, *check = SERVICES[name]["healthcheck"]["test"]
            assert (kind, program) == ("CMD", "python")
            command = [sys.executable, *map(here, check)]
            return lambda: subprocess.run(command, capture_output=True).returncode == 0

        run(*shlex.split(SERVICES["migrate"]["command"]))
        services = {name: started(name) for name in ("worker", "web")}
        for name in services:
            wait_until(healthy(name), f"{name} is healthy")
        quick = ("--trials", 2, "--epochs", 2, "--depth", "1:1", "--validation", "holdout")
        made = json.loads(
            run("create", TREE / "examples" / "iris.csv", "--target", "species", *quick, "--json")
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['8000']}/s/{made['key']}") as page:
            assert made["study"] in page.read().decode()
        storage = connect(server.url(DATABASE))
        stack.callback(storage.close)
        wait_until(is_finished(storage, made["study"]), "the study is finished")
        assert violations(storage) == []
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['9464']}/metrics") as answer:
            samples = [line for line in answer.read().decode().splitlines() if line[0] != "#"]
        assert samples and all(SAMPLE.fullmatch(line) for line in samples), samples
        for process in services.values():
            process.send_signal(signal.SIGTERM)
        for process in services.values():
            assert process.wait(DEADLINE) == 0
        logged = (tmp_path / "worker.log").read_text().splitlines()
        assert all({"study", "trial", "worker"} <= json.loads(line).keys() for line in logged)
        for name in services:
            said = (tmp_path / f"{name}.log").read_text()
            assert not any(secret in said for secret in (server.password, made["key"]))
