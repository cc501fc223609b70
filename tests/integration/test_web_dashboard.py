"""optuna-dashboard behind the operator's login: who may see it, and who may change what."""

import csv
import io
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from stored_studies import DISTRIBUTIONS, begun, make_study
from werkzeug.test import Client

from storage import datasets, events, leases, studies, trials
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search.dashboard import application
from topo_search.web import dashboard

ORIGIN = "https://localhost"
HOSTILE = "=cmd|'/C calc'!A0"


def csrf_of(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


@pytest.fixture
def operator(client: FlaskClient) -> FlaskClient:
    """A browser that is logged in."""
    form = {"password": "open sesame", "csrf_token": csrf_of(client, "/operator/login")}
    assert client.post("/operator/login", data=form).status_code == 303
    return client


@pytest.fixture
def row(storage: Storage) -> StudyRow:
    """A study with a trial that ended and one that failed."""
    made = make_study(storage, name="mine")
    lease = begun(storage, made)
    trials.end(storage, lease, state="complete", value=-0.5, attributes={"topology": HOSTILE})
    lease = begun(storage, made)
    trials.end(storage, lease, state="failed", attributes={"reason": "<script>alert(1)</script>"})
    return made


def let_change(client: FlaskClient, wanted: str = "yes") -> None:
    form = {"open": wanted, "csrf_token": csrf_of(client, "/operator")}
    assert client.post("/operator/dashboard", data=form).status_code == 303


def rename(client: FlaskClient, row: StudyRow, **headers: str) -> Any:
    body = {"study_name": "renamed"}
    path = f"/api/studies/{row.optuna_study_id}/rename"
    return client.post(path, json=body, headers=headers)


def optuna_names(storage: Storage) -> list[str]:
    return [study.study_name for study in storage.backend.get_all_studies()]


# Who may see it


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/studies/1", "/csv/1"])
def test_a_person_without_a_session_is_led_to_the_login(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.location.startswith("/operator/login?next=/")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api/studies", "/api/meta", "/static/bundle.js", "/artifacts/1/2", "/api/artifacts/1"]
)
def test_its_own_requests_are_refused_without_a_session(
    client: FlaskClient, row: StudyRow, path: str, method: str
) -> None:
    answer = client.open(path, method=method, headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert "Log in" in answer.json["reason"]  # type: ignore[index]


def test_a_study_s_key_opens_none_of_it(client: FlaskClient, storage: Storage) -> None:
    _, key = studies.create(storage, plan={}, direction="maximize", dataset=None, trials=1)
    answer = client.get("/api/studies", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


def test_the_operator_sees_it_with_its_files_and_data(operator: FlaskClient, row: StudyRow) -> None:
    for path in ("/dashboard", "/dashboard/", f"/dashboard/studies/{row.optuna_study_id}"):
        with operator.get(path) as page:
            assert page.status_code == 200
            assert "/static/bundle.js" in page.text
    with operator.get("/static/bundle.js") as bundle:
        assert bundle.status_code == 200
        size = len(bundle.data)
    with operator.get("/static/bundle.js", headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert 10**5 < len(packed.data) < size
    listed: Any = operator.get("/api/studies").json
    assert [study["study_name"] for study in listed["study_summaries"]] == [row.optuna_name]
    detail: Any = operator.get(f"/api/studies/{row.optuna_study_id}").json
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Fail"]
    assert operator.head("/dashboard").status_code == 200


@pytest.mark.parametrize("path", ["/dashboard", "/static/bundle.js", "/api/studies"])
def test_its_policy_lets_no_script_in_but_its_own(operator: FlaskClient, path: str) -> None:
    with operator.get(path) as answer:
        headers = answer.headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_our_own_files_are_not_hidden_by_its_own(client: FlaskClient) -> None:
    with client.get("/assets/common.js") as answer:
        assert "use strict" in answer.text


def test_its_bundle_of_megabytes_is_not_sent_again(operator: FlaskClient) -> None:
    with operator.get("/static/bundle.js") as first:
        assert first.headers["Cache-Control"] == "private, no-cache"
        headers = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert operator.get("/static/bundle.js", headers=headers).status_code == 304
    assert operator.get("/api/studies").headers["Cache-Control"] == "no-store"


# Who may change what


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_it_is_read_only(
    operator: FlaskClient, storage: Storage, row: StudyRow, method: str
) -> None:
    for path in (f"/api/studies/{row.optuna_study_id}", "/api/studies", "/dashboard"):
        answer = operator.open(path, method=method, headers={"Origin": ORIGIN}, json={})
        assert answer.status_code == 403
        assert "read-only" in answer.json["reason"]  # type: ignore[index]
    assert optuna_names(storage) == [row.optuna_name]
    assert studies.get(storage, row.id).id == row.id


def test_opened_it_changes_things_until_it_is_closed(
    operator: FlaskClient, storage: Storage, row: StudyRow
) -> None:
    let_change(operator)
    assert "It can change and delete studies" in operator.get("/operator").text
    note = {"body": "seen", "version": 1}
    put = operator.put(
        f"/api/studies/{row.optuna_study_id}/note", json=note, headers={"Origin": ORIGIN}
    )
    assert put.status_code == 204
    detail: Any = operator.get(f"/api/studies/{row.optuna_study_id}").json
    assert detail["note"]["body"] == "seen"
    let_change(operator, "no")
    assert "It is read-only" in operator.get("/operator").text
    assert rename(operator, row, Origin=ORIGIN).status_code == 403
    assert optuna_names(storage) == [row.optuna_name]


@pytest.fixture
def deleted_by_optuna(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The studies that Optuna deleted, which locks rows in another order than workers do."""
    numbers: list[int] = []
    delete = RDBStorage.delete_study

    def note(storage: RDBStorage, number: int) -> None:
        numbers.append(number)
        delete(storage, number)

    monkeypatch.setattr(RDBStorage, "delete_study", note)
    return numbers


def nothing_is_left_of(storage: Storage, row: StudyRow) -> bool:
    with storage.transaction() as connection:
        left = [
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in ("topo_study", "topo_lease", "topo_dataset", "studies", "trials")
        ]
    told = [event.kind for event in events.latest(storage, study=row.id)]
    return left == [0] * 5 and told[-1] == "study deleted"


def test_a_study_deleted_there_is_gone_here(
    operator: FlaskClient, storage: Storage, deleted_by_optuna: list[int]
) -> None:
    row = make_study(storage, dataset=datasets.put(storage, b"a,b", "t.csv"))
    running = begun(storage, row)
    path = f"/api/studies/{row.optuna_study_id}"
    assert operator.delete(path, json={}, headers={"Origin": ORIGIN}).status_code == 403
    let_change(operator)
    assert operator.delete(path, json={}, headers={"Origin": ORIGIN}).status_code == 204
    assert nothing_is_left_of(storage, row) and deleted_by_optuna == []
    assert leases.renew(storage, [running]) == set()
    assert operator.get(f"/operator/studies/{row.id}").status_code == 404
    assert operator.delete(path, json={}, headers={"Origin": ORIGIN}).status_code == 404


def test_a_study_of_plain_optuna_is_deleted_there_by_optuna(
    operator: FlaskClient, storage: Storage, row: StudyRow, deleted_by_optuna: list[int]
) -> None:
    plain = storage.backend.create_new_study([StudyDirection.MAXIMIZE], "somebody's")
    let_change(operator)
    path = f"/api/studies/{plain}"
    assert operator.delete(path, json={}, headers={"Origin": ORIGIN}).status_code == 204
    assert optuna_names(storage) == [row.optuna_name] and deleted_by_optuna == [plain]


def test_a_study_deleted_on_this_machine_s_own_dashboard_is_deleted_as_here(
    storage: Storage, deleted_by_optuna: list[int]
) -> None:
    row = make_study(storage, dataset=datasets.put(storage, b"a,b", "t.csv"))
    begun(storage, row)
    client = Client(application(storage))
    path = f"/api/studies/{row.optuna_study_id}"
    here = {"Host": "127.0.0.1:80"}
    assert client.delete(path, json={}, headers={"Host": "evil.example:80"}).status_code == 403
    assert client.delete(path, json={}, headers=here).status_code == 204
    assert nothing_is_left_of(storage, row) and deleted_by_optuna == []
    assert client.delete(path, json={}, headers=here).status_code == 404
    assert client.get("/api/studies", headers=here).status_code == 200


def test_what_is_open_closes_by_itself(
    operator: FlaskClient, storage: Storage, row: StudyRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_change(operator)
    began = dashboard._now()
    monkeypatch.setattr(dashboard, "_now", lambda: began + dashboard.OPEN_FOR + 1)
    assert rename(operator, row, Origin=ORIGIN).status_code == 403
    assert "It is read-only" in operator.get("/operator").text
    monkeypatch.setattr(dashboard, "_now", lambda: began + dashboard.OPEN_FOR - 10)
    assert rename(operator, row, Origin=ORIGIN).status_code == 201
    assert optuna_names(storage) == ["renamed"]


def test_it_is_open_for_one_session_only(
    operator: FlaskClient, row: StudyRow, client: FlaskClient
) -> None:
    let_change(operator)
    other = operator.application.test_client()
    other.environ_base["wsgi.url_scheme"] = "https"
    form = {"password": "open sesame", "csrf_token": csrf_of(other, "/operator/login")}
    other.post("/operator/login", data=form)
    assert rename(other, row, Origin=ORIGIN).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", "https://localhost.evil.example", "https://localhost:1",
     "file://localhost", "localhost", "https://evil.example@localhost.", "//localhost"],
)  # fmt: skip
def test_another_page_changes_nothing(
    operator: FlaskClient, storage: Storage, row: StudyRow, origin: str | None
) -> None:
    let_change(operator)
    headers = {"Origin": origin} if origin else {}
    answer = rename(operator, row, **headers)
    assert answer.status_code == 403
    assert "from elsewhere" in answer.json["reason"]
    assert optuna_names(storage) == [row.optuna_name]


def test_artifacts_are_never_served(operator: FlaskClient, row: StudyRow) -> None:
    let_change(operator)
    number = row.optuna_study_id
    for path in (f"/artifacts/{number}/abc", f"/artifacts/{number}/1/abc", "/artifacts/x"):
        answer = operator.get(path)
        assert answer.status_code == 403
        assert answer.mimetype == "application/json"
    for path in (f"/api/artifacts/{number}", f"/api/artifacts/{number}/1"):
        answer = operator.post(path, json={"file": "data:,x"}, headers={"Origin": ORIGIN})
        assert answer.status_code == 403


def test_the_csv_is_a_file_without_formulas(operator: FlaskClient, row: StudyRow) -> None:
    answer = operator.get(f"/csv/{row.optuna_study_id}")
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    first, second = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert first["UserAttribute topology"] == f"'{HOSTILE}"
    assert first["Value"] == "-0.5"
    assert first["Param x"] == "0.0"
    assert second["UserAttribute reason"] == "<script>alert(1)</script>"
    assert operator.get("/csv/999").status_code == 404
    assert operator.post(f"/csv/{row.optuna_study_id}").status_code in (403, 405)
    assert "x" in DISTRIBUTIONS


def test_what_is_not_there_is_said(operator: FlaskClient) -> None:
    for path in ("/api/nothing", "/api/studies/999", "/static/nothing.js"):
        assert operator.get(path).status_code == 404
    for path in ("/static/../_app.py", "/static/%2e%2e/_app.py", "/static//etc/passwd"):
        answer = operator.get(path, follow_redirects=True)
        assert answer.status_code in (403, 404)
        assert "import" not in answer.text


def test_its_caches_are_let_go(
    operator: FlaskClient, row: StudyRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = operator.application.extensions
    operator.get("/api/studies")
    first = kept["optuna-dashboard"].get(None)
    assert kept["optuna-dashboard"].get(None) is first
    monkeypatch.setattr(dashboard, "RENEWED", -1.0)
    assert operator.get("/api/studies").status_code == 200
    monkeypatch.setattr(dashboard, "RENEWED", 3600.0)
    assert kept["optuna-dashboard"].get(None) is not first
