"""What one stranger sends is never what others get: text that no database holds, and the like."""

import re
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import make_url
from stories import Outage
from werkzeug.test import TestResponse

from storage import events, sessions, studies
from storage.connection import Storage
from topo_search import study
from topo_search.study import Options
from topo_search.web.app import create_app
from topo_search.web.service import Service

UNWRITABLE = ("\ud800", "\x00", "a\udfff")
ROWS = "".join(f"{n * 3 % 11},{n * 7 % 5},x{n % 2}\n" for n in range(60))


@pytest.fixture
def iris(client: FlaskClient) -> str:
    """What names the table iris, uploaded."""
    return str(known(client.post("/v1/examples/iris"), 201)["upload"])


@pytest.fixture
def made(storage: Storage) -> str:
    """The key of a new study of iris."""
    data = Path("examples/iris.csv").read_bytes()
    options = Options(data=data, file="iris.csv", target="species", trials=4)
    return study.create(storage, options)[1]


def known(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json


def serves_others(client: FlaskClient, upload: str, operator: dict[str, str]) -> None:
    """Check that what reads all studies can still be read."""
    known(client.get("/v1/studies", headers=operator))
    known(client.post(f"/v1/uploads/{upload}/choices", json={"target": "species"}))


# ---- text that cannot be stored


@pytest.mark.parametrize("text", UNWRITABLE)
def test_text_that_no_database_can_read_back_is_refused(
    client: FlaskClient, storage: Storage, iris: str, operator: dict[str, str], text: str
) -> None:
    asked = {"upload": iris, "target": "species", "reading": {"missing": [text]}}
    refused = known(client.post("/v1/studies", json=asked), 422)
    assert f"Received: {text[-1]!r}" in refused["detail"]
    assert studies.list_studies(storage) == []
    serves_others(client, iris, operator)


@pytest.mark.parametrize("encoding", ["utf-7", "unicode_escape"])
def test_a_table_whose_text_cannot_be_stored_is_refused(
    client: FlaskClient, storage: Storage, iris: str, operator: dict[str, str], encoding: str
) -> None:
    name = {"utf-7": "c+2AA-x", "unicode_escape": r"c\ud800x"}[encoding]
    taken = known(client.post("/v1/uploads?name=a.csv", data=f"a,b,{name}\n{ROWS}"), 201)
    reading = {"encoding": encoding}
    asked = {"upload": taken["upload"], "target": "a", "reading": reading}
    for path in (f"/v1/uploads/{taken['upload']}/inspect", "/v1/studies"):
        given = asked if path == "/v1/studies" else {"reading": reading}
        refused = known(client.post(path, json=given), 422)
        assert f"Expected text encoded as {encoding}" in refused["detail"]
    assert studies.list_studies(storage) == []
    serves_others(client, iris, operator)


# ---- requests that nothing can be made of


@pytest.mark.parametrize("body", ["[" * 5_000, '{"a":' * 50_000, '{"rows":' + "[" * 9_999])
@pytest.mark.parametrize("path", ["/v1/studies/x/resume", "/v1/studies", "predict"])
def test_what_is_nested_too_deeply_is_refused_and_not_logged(
    client: FlaskClient, made: str, caplog: pytest.LogCaptureFixture, path: str, body: str
) -> None:
    path = f"/v1/studies/{made}/predict" if path == "predict" else path
    refused = known(client.post(path, data=body, content_type="application/json"), 400)
    assert "nested too deeply" in refused["detail"]
    assert "Traceback" not in caplog.text and "failed" not in caplog.text


@pytest.mark.parametrize("path", ["/v1/studies/{}/pause", "/operator/login", "/v1/examples/iris"])
def test_what_pages_of_others_send_is_refused(client: FlaskClient, made: str, path: str) -> None:
    path = path.format(made)
    refused = client.post(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert "another site" in refused.text
    for site in ("same-origin", "none"):
        assert client.post(path, headers={"Sec-Fetch-Site": site}).status_code != 403
    # Whoever follows a link comes from elsewhere, too.
    followed = client.get(f"/s/{made}", headers={"Sec-Fetch-Site": "cross-site"})
    assert followed.status_code == 200


def test_what_pages_of_others_send_uses_up_nobodys_share(client: FlaskClient) -> None:
    others = {"Sec-Fetch-Site": "cross-site"}
    answers = [client.post("/v1/uploads", headers=others).status_code for _ in range(40)]
    assert answers == [403] * 40
    assert client.post("/v1/uploads?name=a.csv", data=b"a,b\n1,2\n3,4\n").status_code == 201


def test_only_names_of_this_machine_lead_to_a_service_for_it_alone(service: Service) -> None:
    """A site may let its own name lead to 127.0.0.1: its pages would be ours to a browser."""
    client = create_app(
        service, secure=False, hosts=("localhost", "127.0.0.1", "::1")
    ).test_client()
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:1"):
        assert client.get("/", headers={"Host": host}).status_code == 200, host
    for path in ("/", "/v1/examples", "/v1/studies/x", "/assets/web.css"):
        refused = client.get(path, headers={"Host": "evil.example:8000"})
        assert refused.status_code == 400, path
        assert "Received evil.example:8000. Behind a proxy" in refused.text
    assert client.get("/", headers={"Host": "<b>localhost"}).status_code == 400


def test_the_description_says_nothing_of_who_first_asked_for_it(client: FlaskClient) -> None:
    for host in ("evil.example", "here.example"):
        told = client.get("/v1/openapi.json", base_url=f"https://{host}")
        assert known(told)["servers"] == [{"url": "/"}]
        assert host not in told.text


# ---- who did it


def test_the_log_says_who_paused_a_study(
    client: FlaskClient, made: str, storage: Storage, operator: dict[str, str], app: APIFlask
) -> None:
    study_id = studies.by_key(storage, made).id

    def paused(reference: str, **headers: str) -> str:
        studies.resume(storage, study_id)
        asked = client.post(f"/v1/studies/{reference}/pause", headers=headers)
        return str(known(asked)["reason"])

    assert paused(made) == "by its owner"
    assert paused(study_id, Authorization=f"Bearer {made}") == "by its owner"
    assert paused(study_id, **operator) == "by an operator"
    with client.session_transaction() as session:
        session["operator"] = sessions.begin(storage, app.config["OPERATOR_MARK"])
    assert paused(made) == "by its owner"
    found = re.search(
        r'csrf-token" content="([^"]+)', client.get(f"/operator/studies/{study_id}").text
    )
    assert found is not None
    token = {"X-CSRFToken": found[1], "Referer": "https://localhost/"}
    assert paused(study_id, **token) == "by an operator"
    assert "by an operator" in {event.text for event in events.latest(storage, count=9)}


def test_while_the_database_is_away_strangers_do_not_learn_where_it_is(
    client: FlaskClient, storage: Storage, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    _, key = studies.create(storage, plan={}, direction="maximize", dataset=None, trials=1)
    url = make_url(storage.url)
    secrets = [str(url.query["host"]), str(url.database), f'"{url.username}"', "PostgreSQL"]
    outage.begin()
    try:
        answers = [
            client.get(f"/s/{key}"),
            client.get(f"/v1/studies/{key}"),
            client.post(f"/v1/studies/{key}/pause"),
            client.post("/v1/examples/iris"),
        ]
    finally:
        outage.ends(None)  # type: ignore[arg-type]
    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "The database does not answer. Try again in a moment." in answer.text
        assert not [secret for secret in secrets if secret in answer.text]
    assert f"database {url.database}" in caplog.text
