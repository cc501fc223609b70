"""Every page and every call of the web service, asked for what there is: all of them answer it."""

import csv
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest
from apiflask import APIFlask
from conftest import HASH
from databases import Databases
from finished_studies import IRIS, finished, train
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage import studies, tokens
from storage.connection import Storage, connect
from storage.signing import signing_key
from topo_search import study
from topo_search.study import Options
from topo_search.web.access import limiter
from topo_search.web.app import create_app
from topo_search.web.quota import Limits
from topo_search.web.service import Service

TABLE = IRIS.read_bytes()
JSON, CSV, HTML = "application/json", "text/csv", "text/html"
ROW = {"sepal_length": "5.9", "sepal_width": "3.0", "petal_length": "5.1", "petal_width": "1.8"}
CLASSES = {"setosa", "versicolor", "virginica"}
Check = Callable[[TestResponse], object]


@dataclass(frozen=True)
class Site:
    """The service over a database with a finished study."""

    app: APIFlask
    storage: Storage
    study: str
    key: str
    upload: str
    token: str

    @property
    def service(self) -> Service:
        """What the application serves."""
        found: Service = self.app.extensions["topo-search"]
        return found

    def client(self) -> FlaskClient:
        """Return a browser without cookies, over TLS."""
        made = self.app.test_client()
        made.environ_base["wsgi.url_scheme"] = "https"
        return made

    def operator(self) -> tuple[FlaskClient, str]:
        """Return a browser in which an operator is logged in, and what its forms must hold."""
        client = self.client()
        form = {"password": "open sesame", "csrf_token": csrf(client.get("/operator/login"))}
        assert client.post("/operator/login", data=form).status_code == 303
        return client, csrf(client.get("/operator"))

    def new(self) -> str:
        """Return the key of a new study, of which nothing is trained."""
        options = Options(data=TABLE, file="iris.csv", target="species", trials=4)
        return study.create(self.storage, options)[1]


def csrf(page: TestResponse) -> str:
    found = re.search(r'name="csrf[_-]token"[^>]*(?:value|content)="([^"]+)"', page.text)
    assert found is not None, page.text
    return unescape(found[1])


@pytest.fixture(scope="module")
def site(
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    fork_server: Callable[[str], None],
) -> Iterator[Site]:
    """One service for all of these: what predicts takes long to start."""
    fork_server("web")
    url, home = databases.take(), tmp_path_factory.mktemp("site")
    storage = connect(url)
    service = Service(storage, home, limits=Limits(), signing_key=signing_key(storage), keep=None)
    app = create_app(service, password_hash=HASH)
    limiter.reset()
    app.testing = True
    row, key = finished(storage)
    upload = service.upload(io.BytesIO(TABLE), "iris.csv")["upload"]
    token = tokens.create(storage, "robot")
    yield Site(app=app, storage=storage, study=row.id, key=key, upload=upload, token=token)
    service.close()
    storage.close()
    databases.give_back(url)


def is_network(answer: TestResponse) -> bool:
    with zipfile.ZipFile(io.BytesIO(answer.data)) as packed:
        return "config.json" in packed.namelist()


def is_predicted(answer: TestResponse) -> bool:
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 150
    assert {row["prediction"] for row in rows} <= CLASSES
    doubts = json.loads(unquote(answer.headers["X-Warning-Texts"]))
    assert int(answer.headers["X-Warnings"]) == len(doubts)
    right = sum(row["prediction"] == row["species"] for row in rows)
    return 0 < right <= 150 and all(0 <= float(row["probability setosa"]) <= 1 for row in rows)


def is_a_row_predicted(answer: TestResponse) -> bool:
    assert answer.json is not None
    (row,) = answer.json["rows"]
    assert answer.json["predicted"][0] == "prediction"
    assert abs(sum(row[f"probability {name}"] for name in CLASSES) - 1) < 1e-3
    return row["prediction"] in CLASSES and row["petal_length"] == ROW["petal_length"]


def has_columns(answer: TestResponse) -> bool:
    assert answer.json is not None
    found = {column["name"]: column for column in answer.json["columns"]}
    width = found["petal_width"]
    told = (width["example"], width["levels"], width["all_levels"])
    return list(found) == list(ROW) and told == ("0.2", [], False)


def reads(answer: TestResponse) -> bool:
    said = json.loads(answer.text)
    return said["target"] == "species" and set(said["classes"]) == CLASSES


def is_streamed(answer: TestResponse) -> bool:
    first, second = itertools.islice(answer.iter_encoded(), 2)
    return first.startswith(b"retry: ") and second.startswith(b"event: change")


@dataclass(frozen=True)
class Call:
    """A request, and what is expected of its answer.

    In its address and body `{key}` is the finished study's key, `{study}` its id, `{new}` a new
    study's key and `{upload}` a table.
    """

    endpoint: str
    path: str
    method: str = "GET"
    json: Any = None
    data: Any = None
    status: int = 200
    kind: str = JSON
    holds: str = ""
    check: Check | None = None
    by: str = ""  # `operator` in a browser, or by a `token`.


S, N = "/v1/studies/{key}", "/v1/studies/{new}"
CALLS = [
    Call("pages.start", "/", kind=HTML, holds="Drop"),
    Call("pages.configure", "/tables/{upload}", kind=HTML, holds="iris.csv"),
    Call("pages.study", "/s/{key}", kind=HTML, holds="downloads/report.html"),
    Call("pages.again", "/again", kind=HTML, holds="Search again with other networks"),
    Call("pages.docs", "/docs", kind=HTML, holds="/v1/studies"),
    Call("health.healthz", "/healthz", kind="text/plain", holds="ok"),
    Call("openapi.spec", "/v1/openapi.json", holds='"openapi"'),
    Call("static", "/assets/again.js", kind="text/javascript", holds="parent_key"),
    Call("plotly_js", "/assets/plotly.js", kind="text/javascript"),
    Call("report_css", "/assets/report.css", kind="text/css"),
    Call("favicon", "/favicon.ico", kind="image/svg+xml"),
    Call("v1_tables.upload", "/v1/uploads?name=a.csv", "POST", data=TABLE, status=201),
    Call("v1_tables.list_examples", "/v1/examples", holds="iris"),
    Call("v1_tables.take_example", "/v1/examples/iris", "POST", status=201, holds="upload"),
    Call("v1_tables.inspect", "/v1/uploads/{upload}/inspect", "POST", json={}, holds="preview"),
    Call(
        "v1_tables.choices", "/v1/uploads/{upload}/choices", "POST", json={"target": "species"},
        holds="multiclass",
    ),
    Call(
        "v1.create", "/v1/studies", "POST", json={"upload": "{upload}", "target": "species"},
        status=201, holds="key",
    ),
    Call("v1.create", "/v1/studies", "POST", json={"parent_key": "{key}", "tags": ["night"]},
         status=201, holds="key"),
    Call("v1.read", S, holds='"finished"'),
    Call("v1.choices_again", f"{S}/choices", "POST", json={}, holds='"limits"'),
    Call("v1.results", f"{S}/results", holds='"history"'),
    Call("v1.trials", f"{S}/trials", holds='"topology"'),
    Call("v1.figures", f"{S}/figures", holds='"confusion"'),
    Call("v1.figure", f"{S}/figures/learning-curves", holds='"data":[{'),
    Call("v1.figure", f"{S}/figures/learning-curves?had=0", holds='"data":[{'),
    Call("v1.events", f"{S}/events", kind="text/event-stream", check=is_streamed),
    Call("v1.pause", f"{N}/pause", "POST", holds='"paused"'),
    Call("v1.resume", f"{N}/resume", "POST", json={"trials": 2}, holds='"budget":6'),
    Call("v1.cancel", f"{N}/cancel", "POST", holds='"cancelled"'),
    Call("v1.rename", N, "PATCH", json={"name": "flowers"}, holds='"flowers"'),
    Call("v1.delete", N, "DELETE", status=204, kind=""),
    Call("v1.columns", f"{S}/columns", check=has_columns),
    Call("v1.predict", f"{S}/predict", "POST", json={"rows": [ROW]}, check=is_a_row_predicted),
    Call("v1.predict", f"{S}/predict", "POST", data=TABLE, kind=CSV, check=is_predicted),
    Call(
        "v1.predict", f"{S}/predict", "POST", data={"file": (TABLE, "iris.csv")}, kind=CSV,
        check=is_predicted,
    ),
    Call("v1.download", f"{S}/downloads/model.keras", kind="application/octet-stream",
         check=is_network),
    Call("v1.download", f"{S}/downloads/reading.json", check=reads),
    Call("v1.download", f"{S}/downloads/predictions.csv", kind=CSV, check=is_predicted),
    Call("v1.download", f"{S}/downloads/report.html", kind=HTML, holds="Predicting species"),
    Call("v1.download", f"{S}/downloads/trials.csv", kind=CSV, holds="trial,state,value"),
    Call("v1.download", f"{S}/downloads/trials.json", holds='"history"'),
    Call("v1_operators.list_studies", "/v1/studies", by="token", holds='"total"'),
    Call("v1_operators.see_fleet", "/v1/fleet", by="token", holds='"workers"'),
    Call("v1_operators.list_events", "/v1/events?after=0", by="token", holds="study finished"),
    Call("v1.read", "/v1/studies/{study}", by="token", holds='"finished"'),
    Call("operators.login", "/operator/login", kind=HTML, holds="Password"),
    Call("operators.home", "/operator", kind=HTML, by="operator", holds="Events"),
    Call("operators.part", "/operator/events", kind=HTML, by="operator", holds="study finished"),
    Call("operators.study", "/operator/studies/{study}", kind=HTML, by="operator", holds="species"),
    Call("operators.again", "/operator/again", kind=HTML, by="operator", holds="csrf-token"),
    Call("operators.create_token", "/operator/tokens", "POST", data={"name": "one"}, status=201,
         kind=HTML, by="operator", holds="one"),
    Call("operators.revoke_token", "/operator/tokens/revoke", "POST", data={"name": "one"},
         status=303, kind=HTML, by="operator"),
    Call("operators.open_dashboard", "/operator/dashboard", "POST", data={"open": "yes"},
         status=303, kind=HTML, by="operator"),
    Call("operators.logout", "/operator/logout", "POST", data={}, status=303, kind=HTML,
         by="operator"),
    Call("dashboard.passed_on", "/api/studies", by="operator", holds="study_summaries"),
    Call("dashboard.trials_csv", "/csv/1", kind=CSV, by="operator", holds="0.9"),
]  # fmt: skip
# Of a library, on every page; and what needs the dashboard opened, in test_web_dashboard.py.
ELSEWHERE = {"bootstrap.static", "dashboard.delete_study"}


def ask(site: Site, call: Call) -> TestResponse:
    """Ask as the call says."""
    names = {"key": site.key, "study": site.study, "upload": site.upload}
    words = json.dumps([call.path, call.json])
    if "{new}" in words:
        names["new"] = site.new()
    for name, value in names.items():
        words = words.replace(f"{{{name}}}", value)
    path, body = json.loads(words)
    client, data, headers = site.client(), call.data, dict[str, str]()
    if call.by == "operator":
        client, token = site.operator()
        data = {**data, "csrf_token": token} if isinstance(data, dict) else data
    if call.by == "token":
        headers["Authorization"] = f"Bearer {site.token}"
    if isinstance(data, dict) and "file" in data:
        data = {"file": (io.BytesIO(data["file"][0]), data["file"][1])}
    return client.open(path, method=call.method, json=body, data=data, headers=headers)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_what_there_is_is_answered(site: Site, call: Call) -> None:
    with ask(site, call) as answer:
        assert answer.status_code == call.status, answer.text
        assert answer.mimetype == call.kind or not call.kind
        if call.check is not None:
            assert call.check(answer)
        if call.holds:
            assert call.holds in answer.text


def test_who_had_a_chart_is_told_what_is_new_in_it(site: Site) -> None:
    key, client = site.new(), site.client()
    base, row = f"/v1/studies/{key}", studies.by_key(site.storage, key)
    watch = site.service.watches.of(row.id)
    charts = []
    for value in (0.7, 0.8):
        train(site.storage, row, value)
        watch.look(now=True)
        charts.append(client.get(f"{base}/figures/learning-curves").get_json())
    had = {"had": charts[0]["digest"]}
    new = client.get(f"{base}/figures/learning-curves", query_string=had).get_json()
    assert new["digest"] == charts[1]["digest"] != charts[0]["digest"]
    assert new["data"] is None and new["patch"]
    assert new["layout"] == charts[1]["layout"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "{none}/columns", None, 404, "This study has no table."),
        ("GET", "{none}/downloads/predictions.csv", None, 404, "This study has no table."),
        ("GET", "{key}/downloads/passwd", None, 404, "Expected one of model.keras, reading.json,"),
        ("GET", "{key}/figures/pie", None, 404, "Expected a chart: "),
        ("GET", "{new}/downloads/predictions.csv", None, 404, "it has not finished"),
        ("GET", "{new}/downloads/model.keras", None, 404, "it has not finished"),
        ("POST", "{new}/predict", {"rows": [ROW]}, 404, "it has not finished"),
        ("POST", "{key}/predict", {"rows": [{"colour": "1"}]}, 422, "Columns are missing"),
        ("POST", "{key}/pause", None, 422, "Expected a study that is open."),
        ("POST", "{key}/cancel", None, 422, "Expected a study that has not ended."),
        ("POST", "{cancelled}/pause", None, 422, "Expected a study that is open."),
        ("POST", "{cancelled}/resume", {}, 422, "Expected a study that was not cancelled."),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    site: Site, method: str, path: str, body: Any, status: int, words: str
) -> None:
    if "{none}" in path:
        own = {"plan": {"objective": "none", "direction": "maximize"}, "direction": "maximize"}
        key = studies.create(site.storage, **own, dataset=None, trials=1)[1]
        path = path.replace("{none}", key)
    if "{cancelled}" in path:
        key = site.new()
        assert site.client().post(f"/v1/studies/{key}/cancel").status_code == 200
        path = path.replace("{cancelled}", key)
    answer = ask(site, Call("", f"/v1/studies/{path}", method, json=body))
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert words in answer.get_json()["detail"]


def test_columns_are_read_once_and_asked_for_so_often(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, client = f"/v1/studies/{site.new()}/columns", site.client()
    first = client.get(path)
    assert first.status_code == 200
    monkeypatch.setattr(site.service, "children", lambda *_, **__: pytest.fail("read again"))
    limiter.reset()
    answers = [client.get(path) for _ in range(121)]
    limiter.reset()
    assert [answer.status_code for answer in answers] == [200] * 120 + [429]
    assert {answer.text for answer in answers[:120]} == {first.text}


def test_a_table_beyond_the_limits_is_not_predicted(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = Limits(rows=149)
    home, key = tmp_path_factory.mktemp("small"), signing_key(site.storage)
    small = Service(site.storage, home, limits=limits, signing_key=key, keep=None)
    try:
        path = f"/v1/studies/{site.key}/predict"
        answer = create_app(small).test_client().post(path, data=TABLE)
        assert answer.status_code == 422
        assert "Expected at most 149 rows." in answer.get_json()["detail"]
    finally:
        small.close()


def test_every_endpoint_is_asked_by_every_method(site: Site) -> None:
    there = {rule.endpoint for rule in site.app.url_map.iter_rules()}
    assert there - ELSEWHERE == {call.endpoint for call in CALLS}
    for call in CALLS:
        adapter = site.app.url_map.bind("localhost")
        path = re.sub(r"\{\w+\}", "x", call.path).partition("?")[0]
        assert adapter.match(path, call.method)[0] == call.endpoint
