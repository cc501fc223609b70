"""What one visitor may have of what all share: others find room, too."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage import studies
from storage.connection import Storage
from topo_search.web import watching
from topo_search.web.access import limiter
from topo_search.web.service import Service

IRIS = Path("examples/iris.csv").read_bytes()
KEY = "A" * 22
HERE, THERE = "203.0.113.7", "198.51.100.9"

Visit = Callable[[str], FlaskClient]


@pytest.fixture
def visit(app: APIFlask) -> Visit:
    """Return a browser at an address."""

    def visit(address: str) -> FlaskClient:
        client = app.test_client()
        client.environ_base |= {"wsgi.url_scheme": "https", "REMOTE_ADDR": address}
        return client

    return visit


def known(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json


def uploaded(client: FlaskClient, more: str = "") -> str:
    data = IRIS + more.encode()
    return str(known(client.post("/v1/uploads?name=iris.csv", data=data), 201)["upload"])


def created(client: FlaskClient, upload: str) -> TestResponse:
    return client.post("/v1/studies", json={"upload": upload, "target": "species"})


def guessed(client: FlaskClient) -> int:
    return client.get(f"/v1/studies/{KEY}").status_code


def logged_in(client: FlaskClient, password: str) -> int:
    page = client.get("/operator/login")
    found = re.search(r'name="csrf[_-]token"[^>]*(?:value|content)="([^"]+)"', page.text)
    assert found is not None
    form = {"password": password, "csrf_token": unescape(found[1])}
    return client.post("/operator/login", data=form).status_code


# ---- how often


def test_all_addresses_of_a_network_guess_as_often_as_one(visit: Visit) -> None:
    answers = [guessed(visit(f"2001:db8::{number:x}")) for number in range(70)]
    assert answers == [404] * 60 + [429] * 10
    assert guessed(visit("2001:db8:0:1::1")) == 404
    assert [guessed(visit(f"203.0.113.{number}")) for number in range(70)] == [404] * 70


def test_passwords_are_guessed_so_often_from_wherever(visit: Visit) -> None:
    answers = [logged_in(visit(f"203.0.113.{number}"), "guess") for number in range(105)]
    assert answers == [403] * 100 + [429] * 5
    assert logged_in(visit(THERE), "open sesame") == 429
    limiter.reset()
    answers = [logged_in(visit(f"203.0.113.{number}"), "open sesame") for number in range(105)]
    assert answers == [303] * 105, "only wrong ones count"


# ---- how much


def test_half_of_the_open_studies_may_come_from_one_address(
    visit: Visit, service: Service, storage: Storage
) -> None:
    service.quota.limits = replace(service.limits, open_studies=4)
    here, there = visit(HERE), visit(THERE)
    upload = uploaded(here)
    first, second = (known(created(here, upload), 201) for _ in range(2))
    refused = created(here, upload)
    assert "From where you are come 2 open studies" in known(refused, 503)["detail"]
    known(created(there, upload), 201)
    studies.cancel(storage, first["study"])
    third = known(created(here, upload), 201)
    known(here.post(f"/v1/studies/{third['key']}/pause"))
    studies.pause(storage, second["study"])
    for status, one in ((200, second), (200, third)):
        known(here.post(f"/v1/studies/{one['key']}/resume", json={}), status)
    assert "From where you are" in known(created(here, upload), 503)["detail"]


def test_half_of_what_is_kept_may_be_tables_of_one_address_without_studies(
    visit: Visit, service: Service
) -> None:
    service.quota.limits = replace(service.limits, stored=int(4.5 * len(IRIS)))
    here, there = visit(HERE), visit(THERE)
    _, upload, _ = (uploaded(here, "\n" * number) for number in range(3))
    refused = here.post("/v1/uploads?name=a.csv", data=IRIS)
    assert "tables without a study" in known(refused, 503)["detail"]
    assert "tables without a study" in known(here.post("/v1/examples/iris"), 503)["detail"]
    uploaded(there, "\n" * 4)
    service.quota.limits = replace(service.limits, stored=6 * len(IRIS) + 10)
    known(created(there, upload), 201)  # Now a study has it.
    uploaded(here, "\n" * 5)


def test_others_can_watch_however_many_watch_from_one_address(
    visit: Visit, service: Service, monkeypatch: pytest.MonkeyPatch, client: FlaskClient
) -> None:
    made = known(created(client, uploaded(client)), 201)
    service.watches._limit.each = 2
    page = f"/v1/studies/{made['key']}/events"
    open_ = [visit(HERE).get(page, buffered=False) for _ in range(2)]
    assert [one.status_code for one in open_] == [200, 200]
    refused = visit(HERE).get(page)
    assert "from where you are" in known(refused, 503)["detail"]
    with visit(THERE).get(page, buffered=False) as other:
        assert other.status_code == 200
    open_.pop().close()
    with visit(HERE).get(page, buffered=False) as again:
        assert again.status_code == 200
    open_.pop().close()
    assert watching.EACH < watching.STREAMS
