"""Whatever requests the OpenAPI document allows, none of them makes an error of ours."""

import io
import itertools
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import plotly
import pytest
import schemathesis
from apiflask import APIFlask
from finished_studies import IRIS, finished
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from storage import studies, tokens
from storage.connection import Storage
from topo_search import study
from topo_search.study import Options
from topo_search.web import docs
from topo_search.web.access import limiter
from topo_search.web.app import ASSETS, assets_mark
from topo_search.web.service import Service
from topo_search.web.v1 import DOWNLOADS

SETTINGS = settings(
    max_examples=7,  # Of each operation.
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    response_schema_conformance,
    content_type_conformance,
    status_code_conformance,
]
OPERATORS = ("GET /v1/studies", "GET /v1/fleet", "GET /v1/events")
OF_A_NETWORK = ("GET /v1/studies/{study}/columns", "GET /v1/studies/{study}/downloads/{name}")
FIGURES = ("learning-curves", "confusion")
STREAM = "/v1/studies/{study}/events"  # Does not end by itself.


@pytest.fixture
def unlimited(app: APIFlask, monkeypatch: pytest.MonkeyPatch) -> APIFlask:
    monkeypatch.setattr(limiter, "enabled", False)
    app.testing = False  # An error of ours is to be an answer, as in earnest.
    return app


@pytest.fixture
def document(unlimited: APIFlask) -> Any:
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", unlimited)


class Real:
    """Names of things that are there, for most of the requests to get further than to a 404."""

    def __init__(self, storage: Storage, service: Service) -> None:
        self.storage = storage
        self.data = IRIS.read_bytes()
        self.upload = str(service.upload(io.BytesIO(self.data), "iris.csv")["upload"])
        self.token = tokens.create(storage, "robot")
        self.names = {"downloads": itertools.cycle(DOWNLOADS), "figures": itertools.cycle(FIGURES)}
        self._new = self._finished = ("", "")

    def study(self, *, ended: bool = False) -> tuple[str, str]:
        """Return the id and the key of a study, a finished one where asked for."""
        there = {row.id for row in studies.list_studies(self.storage)}  # Requests may delete them.
        if ended:
            if self._finished[0] not in there:
                row, key = finished(self.storage)
                self._finished = (row.id, key)
            return self._finished
        if self._new[0] not in there:
            options = Options(data=self.data, file="iris.csv", target="species", trials=4)
            row, key = study.create(self.storage, options)
            self._new = (row.id, key)
        return self._new

    def named(self, path: str, *, ended: bool, by_id: bool) -> dict[str, str]:
        """Return what may stand in a path."""
        names = {"upload": self.upload, "name": "iris"}
        if "{study}" in path:
            names["study"] = self.study(ended=ended)[0 if by_id else 1]
        for part, cycle in self.names.items():
            if f"/{part}/" in path:
                names["name"] = next(cycle)
        return {name: value for name, value in names.items() if f"{{{name}}}" in path}


@pytest.fixture
def real(storage: Storage, service: Service) -> Real:
    """What there is."""
    return Real(storage, service)


# Schemathesis closes no answer, which a file is left open for.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_makes_an_error_of_ours(document: Any, real: Real, mode: GenerationMode) -> None:
    turns, answers = itertools.count(), set()

    def ask(case: Any) -> None:
        turn = next(turns) % 4  # As a stranger; then with a key, a finished study's, and a token.
        label, headers = case.operation.label, {}
        if turn:
            ended, by_id = turn == 2 or (turn == 3 and case.method == "GET"), turn == 3
            case.path_parameters = real.named(case.operation.path, ended=ended, by_id=by_id)
            if by_id:
                headers["Authorization"] = f"Bearer {real.token}"
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)
        answers.add((label, response.status_code))
        if response.status_code >= 400:
            assert "problem+json" in response.headers["content-type"][0]

    asked = set()
    for found in document.exclude(path=STREAM).get_all_operations():
        operation = found.ok()
        asked.add(operation.label)
        try:
            given(case=operation.as_strategy(generation_mode=mode))(
                SETTINGS(lambda case: ask(case))
            )()
        except Unsatisfiable:  # Nothing in it can be wrong.
            assert mode == GenerationMode.NEGATIVE
    assert len(asked) > 15
    codes = {status for _, status in answers}
    assert {404, 422} <= codes
    if mode == GenerationMode.POSITIVE:
        assert {200, 201} <= codes
        assert {(call, 200) for call in (*OPERATORS, *OF_A_NETWORK)} <= answers


def test_the_document_names_every_call(unlimited: APIFlask) -> None:
    named = {
        (path.replace("{", "<string:").replace("}", ">"), method.upper())
        for path, methods in unlimited.spec["paths"].items()
        for method in methods
    }
    there = {
        (rule.rule, method)
        for rule in unlimited.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/") and rule.rule != "/v1/openapi.json"
    }
    assert named == there


def test_the_document_says_what_every_call_answers(unlimited: APIFlask) -> None:
    for path, methods in unlimited.spec["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if status == "204":
                    continue
                kinds = {kind: about["schema"] for kind, about in response["content"].items()}
                assert all(kinds.values()), f"{method} {path} says nothing of {status}"
                if status == "default" or status >= "400":
                    assert kinds == {
                        "application/problem+json": {"$ref": "#/components/schemas/Problem"}
                    }
    known = unlimited.spec["components"]["schemas"]
    assert {"HTTPError", "ValidationError"}.isdisjoint(known)
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(unlimited.spec)))
    assert named <= set(known)


def test_the_page_of_calls_says_what_everything_means(unlimited: APIFlask) -> None:
    document: Any = unlimited.spec
    groups = docs.grouped(document)
    calls = [call for group in groups.values() for call in group]
    assert len(calls) == sum(len(methods) for methods in document["paths"].values())

    def silent(members: tuple[docs.Member, ...]) -> list[str]:
        own = [one.name for one in members if not one.text]
        return own + [name for one in members for name in silent(one.members)]

    asked = {c.id: (*docs.queried(c), *docs.body(document, c)) for c in calls}
    assert {name: found for name, all_ in asked.items() if (found := silent(all_))} == {}
    (created,) = [all_ for name, all_ in asked.items() if name == "post-v1-studies"]
    assert {one.name: len(one.members) > 5 for one in created}["reading"]
    page = unlimited.test_client().get("/docs").text
    assert "`" not in page
    assert page.index('id="tables"') < page.index('id="studies"') < page.index('id="operators"')
    assert docs.code("a `<b>` c") == "a <code>&lt;b&gt;</code> c"
    known = {re.sub(r"\{\w+\}", "STUDY", path) for path in document["paths"]}
    walked = re.findall(r"http://localhost(/v1/[\w/]+)", page)
    assert len(walked) == 4 and set(walked) <= known


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/nowhere", 404, "Expected the address of a page or a call that there is."),
        ("GET", "/nowhere", 404, "Expected the address of a page or a call that there is."),
        (
            "PUT",
            "/v1/studies",
            405,
            "Expected one of GET, HEAD, OPTIONS, POST here.",
        ),
        ("POST", "/", 405, "Expected one of GET, HEAD, OPTIONS here. Received: POST."),
        ("POST", "/v1/studies", 400, "Expected a request that can be read, with valid JSON"),
        ("POST", "/v1/studies/{key}/predict", 400, "Expected a request that can be read, with"),
    ],
)
def test_requests_for_what_there_is_not_are_refused_in_our_words(
    unlimited: APIFlask,
    real: Real,
    method: str,
    path: str,
    status: int,
    words: str,
) -> None:
    address = path.format(key=real.study()[1])
    answer = unlimited.test_client().open(
        address, method=method, data=b"{", content_type="application/json"
    )
    assert answer.status_code == status
    detail = answer.get_json()["detail"] if path.startswith("/v1") else unescape(answer.text)
    assert words in detail
    if status == 405:
        assert set(answer.headers["Allow"].split(", ")) >= {"GET", "HEAD", "OPTIONS"}


def test_tokens_are_no_keys(unlimited: APIFlask, storage: Storage) -> None:
    token = tokens.create(storage, "robot")
    assert unlimited.test_client().get(f"/v1/studies/{token}").status_code == 404


def test_the_document_tells_bodies_that_are_tables_and_what_lets_one_in(
    unlimited: APIFlask,
) -> None:
    paths = unlimited.spec["paths"]
    uploads, predict = (
        paths[path]["post"]["requestBody"]["content"]
        for path in ("/v1/uploads", "/v1/studies/{study}/predict")
    )
    assert set(uploads) == {"text/csv", "multipart/form-data"}
    assert set(predict) == {*uploads, "application/json"}
    assert set(predict["application/json"]["schema"]["properties"]) == {"rows"}
    for path, name in (("/v1/uploads", "name"), ("/v1/studies/{study}/events", "seen")):
        (operation,) = paths[path].values()
        assert name in [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    assert paths["/v1/studies/{study}"]["get"]["security"] == [{"key": []}, {}]
    assert "key" in unlimited.spec["components"]["securitySchemes"]
    page = unlimited.test_client().get("/docs")
    assert page.status_code == 200 and "JSON, or a table as the body" in page.text


def test_what_pages_load_has_another_address_when_it_changes(
    unlimited: APIFlask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    script = folder / "a.js"
    script.write_text("1")
    before = assets_mark(folder)
    assert assets_mark(folder) == before
    script.write_text("2")
    assert assets_mark(folder) != before
    script.write_text("1")
    monkeypatch.setattr(plotly, "__version__", "0.1")
    assert assets_mark(folder) != before
    monkeypatch.undo()
    client = unlimited.test_client()
    upload = client.post("/v1/examples/iris").get_json()["upload"]
    made = client.post("/v1/studies", json={"upload": upload, "target": "species"}).get_json()
    for address in ("/", f"/tables/{upload}", made["page"], "/operator/login"):
        page = client.get(address).text
        loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
        assert len(loaded) >= 4
        assert all(one.endswith(f"?v={assets_mark(ASSETS)}") for one in loaded), loaded
    assert "/assets/plotly.js?v=" in client.get(made["page"]).text


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/favicon.ico", "svg"), ("/assets/report.css", "css"), ("/assets/plotly.js", "javascript")],
)
def test_what_pages_need_is_served(unlimited: APIFlask, path: str, kind: str) -> None:
    with unlimited.test_client().get(path) as answer:
        assert answer.status_code == 200 and kind in answer.mimetype
        assert len(answer.data) > 100
