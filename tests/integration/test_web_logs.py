"""What the real web service writes on stderr: a line for each request, and no key ever."""

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from stories import Outage
from web_processes import DEADLINE, Web, all_of, ends, read_until, started, wait_until

from storage import tokens
from storage.connection import Storage


def asked_everything(web: Web, token: str) -> dict[str, str]:
    """Ask for all that has a key in its address, in ways right and wrong; return the secrets."""
    made = web.study()
    key, upload = made["key"], made["upload"]
    secrets = {"key": key, "upload": upload, "token": token}
    referring = {"Referer": f"http://here/s/{key}", "User-Agent": f"browser {key}"}
    bearing = {"Authorization": f"Bearer {key}"}
    for path in (
        f"/s/{key}",
        f"/s/{key}?{key}",
        f"//s//{key}",
        f"/S/{key}",
        f"/%73/{key}",
        f"/s/{key}%0a12:00:00%20GET%20/forged%20200",
        f"/s/{key}/%1b%5b2J",
        f"/{key}",
        f"/tables/{upload}",
        f"/v1/studies/{key}",
        f"/v1//studies/{key}",
        f"/v1/studies/{key}/trials?sort={key}",
        f"/v1/studies/{key}/figures/{key}",
        f"/v1/studies/{key}/downloads/{key}",
        f"/v1/studies/{key}/downloads/model.keras",
        f"/static/../s/{key}",
        f"http://elsewhere/s/{key}",
        "/" + key * 99,
    ):
        web.request("GET", path, headers=referring)
    web.request("GET", f"/v1/studies/{made['study']}", headers=bearing)
    web.request("GET", f"/v1/studies/{made['study']}", headers={"Authorization": f"Bearer {token}"})
    web.request("POST", f"/v1/studies/{key}/predict", {"rows": []})
    web.request("POST", f"/v1/studies/{key}/resume", {"trials": "many"})
    web.request("POST", f"/v1/uploads/{upload}/inspect", {"reading": {"encoding": key}})
    web.request("POST", f"/v1/uploads/{upload}x/inspect", {"reading": {}})
    web.request("BREW", f"/s/{key}")
    for nonsense in (f"GET /s/{key}", f"GET  /s/{key} HTTP/9", f"get /s/{key} HTTP/1.1", f"{key}"):
        with socket.create_connection((web.host, web.port), DEADLINE) as client:
            client.sendall(f"{nonsense}\r\nHost: x\r\n\r\n".encode())
            all_of(client)
    with web.watch(key) as viewer:
        read_until(viewer, b"event: change")
    return secrets


@pytest.mark.parametrize("as_json", [False, True])
def test_no_log_shows_a_key(
    storage: Storage, database_url: str, outage: Outage, tmp_path: Path, as_json: bool
) -> None:
    token = tokens.create(storage, "program")
    given = ["--log-json"] if as_json else []
    with started(tmp_path, *given, storage=database_url) as web:
        secrets = asked_everything(web, token)
        storage.close()
        outage.begin()
        for path in (f"/s/{secrets['key']}", f"/v1/studies/{secrets['key']}/columns", "/healthz"):
            assert web.request("GET", path)[0] == 503
        outage.ends(None)  # type: ignore[arg-type]
        wait_until(lambda: web.request("GET", "/healthz")[0] == 200, "the database is back")
        assert ends(web.process, signal.SIGTERM)[0] == 0
    said = web.said()
    for name, secret in secrets.items():
        assert secret not in said, name
    lines = said.splitlines()[1:]
    if as_json:
        told = [json.loads(line) for line in lines]
        assert {line["worker"] for line in told} == {"web"}
        messages = [line["message"] for line in told]
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [IWE] |    ", line) for line in lines)
        messages = [line[22:] for line in lines]
    assert "".join(messages).isprintable()
    assert not [line for line in messages if line.startswith("GET /forged")]
    assert max(map(len, messages)) < 1_000
    counted = [line for line in messages if re.fullmatch(r"[A-Z-]+ \S+ \d{3} \d+ ms", line)]
    assert len(counted) >= 30, "a request is without a line"
    assert any(line.startswith("GET /s/… 200") for line in counted)
    assert any(line.startswith("GET /v1/studies/…/events 200") for line in counted)
    assert any(line.startswith("GET /s/… 503") for line in counted)
    assert not [line for line in counted if "/healthz" in line]


def test_a_failure_of_ours_is_logged_without_the_key(database_url: str, tmp_path: Path) -> None:
    """An error that names the address it failed at, raised within the application."""
    (tmp_path / "sitecustomize.py").write_text(
        "from topo_search.web.study_state import StudyState\n"
        "def of(storage, row):\n"
        "    import flask\n"
        "    raise RuntimeError(f'no answer for {flask.request.url}')\n"
        "StudyState.of = of\n"
    )

    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with started(tmp_path, storage=database_url, PYTHONPATH=path) as web:
        key = web.study()["key"]
        status, _, body = web.request("GET", f"/v1/studies/{key}/figures")
        assert status == 500
        assert json.loads(body)["detail"] == "An error of topo-search; it has been logged."
        assert "RuntimeError: no answer for http://127.0.0.1" in web.said()
        assert key not in web.said()
