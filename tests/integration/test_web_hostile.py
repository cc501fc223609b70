"""What one stranger sends is never what others get: text that no database holds, and the like."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage import studies
from storage.connection import Storage

UNWRITABLE = ("\ud800", "\x00", "a\udfff")
ROWS = "".join(f"{n * 3 % 11},{n * 7 % 5},x{n % 2}\n" for n in range(60))


@pytest.fixture
def iris(client: FlaskClient) -> str:
    """What names the table iris, uploaded."""
    return str(known(client.post("/v1/examples/iris"), 201)["upload"])


def known(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json


def serves_others(client: FlaskClient, upload: str, operator: dict[str, str]) -> None:
    """Check that what reads all studies can still be read."""
    known(client.get("/v1/studies", headers=operator))
    known(client.post(f"/v1/uploads/{upload}/choices", json={"target": "target"}))


# ---- text that cannot be stored


@pytest.mark.parametrize("text", UNWRITABLE)
def test_text_that_no_database_can_read_back_is_refused(
    client: FlaskClient, storage: Storage, iris: str, operator: dict[str, str], text: str
) -> None:
    asked = {"upload": iris, "target": "target", "reading": {"missing": [text]}}
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
