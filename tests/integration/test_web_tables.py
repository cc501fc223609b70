"""From an upload to a study over REST: how a table is read, what there is to choose, refusals."""

import hashlib
import io
import os
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from limits import parse
from werkzeug.test import TestResponse

from storage import datasets, studies, workers
from storage.connection import Storage
from storage.workers import Worker
from topo_search import examples
from topo_search.choices import LIMITS
from topo_search.web.access import limiter
from topo_search.web.app import create_app
from topo_search.web.cache import TextCache
from topo_search.web.quota import Limits
from topo_search.web.service import Service

IRIS = Path("examples/iris.csv").read_bytes()
PROBLEM = "application/problem+json"
# Separated by semicolons, with decimal commas, in latin-1; "entf." stands for nothing.
AWKWARD = "Größe;Preis;Stadt\n" + "".join(
    f"{row * 1.7:.2f};{1000 + row * 3.5:.1f};{('Köln', 'Münster')[row % 2]}\n".replace(".", ",")
    for row in range(60)
).replace("1021,0", "entf.").replace("1024,5", "entf.").replace("1028,0", "entf.")
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "a \u202elive\u202c name",
    '"><img src=x onerror=alert(1)>',
    "x" * 5000,
    "{{ 7 * 7 }}",
    "../../etc/passwd",
    "'; DROP TABLE topo_study; --",
)


def upload(client: FlaskClient, data: bytes, name: str = "table.csv") -> TestResponse:
    return client.post("/v1/uploads", query_string={"name": name}, data=data)


def told(response: TestResponse, status: int) -> str:
    """Return what a problem's detail says."""
    assert response.status_code == status, response.text
    assert response.mimetype == PROBLEM
    assert response.json is not None
    assert response.json["status"] == status
    assert response.json["title"]
    detail = str(response.json["detail"])
    if "errors" in response.json:  # By a schema: in our words.
        assert "Expected" in detail and "Received" in detail
    return detail


def known(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json


@pytest.fixture
def iris(client: FlaskClient) -> str:
    """What names the table iris, uploaded."""
    return str(known(upload(client, IRIS, "iris.csv"), 201)["upload"])


def hostile_table() -> bytes:
    head = ",".join('"' + name.replace('"', '""') + '"' for name in HOSTILE)
    rows = [
        ",".join(f"{(row * 7 + n * 3) % 31 / 2}" for n in range(len(HOSTILE))) for row in range(60)
    ]
    lines = [f"{row},{('<b>yes</b>', '=1+1')[n % 2]}" for n, row in enumerate(rows)]
    return "\n".join([f"{head},target", *lines]).encode()


# ---- uploads


def test_a_table_is_uploaded_as_a_body_or_as_a_form(client: FlaskClient) -> None:
    raw = known(upload(client, IRIS, "iris.csv"), 201)
    form = {"file": (io.BytesIO(IRIS), "iris.csv")}
    multipart = known(client.post("/v1/uploads", data=form), 201)
    assert raw == multipart
    assert (raw["name"], raw["size"]) == ("iris.csv", len(IRIS))
    table = raw["table"]
    assert (table["rows"], len(table["columns"]), table["guess"]) == (150, 5, "species")
    assert (table["separator"], table["encoding"], table["header"]) == (",", "utf-8", True)
    assert table["warnings"] == [
        "Rows that equal an earlier row: 1. They are kept; equal rows may fall into training and "
        "test."
    ]
    assert table["preview"][0] == ["5.1", "3.5", "1.4", "0.2", "setosa"]
    numeric, species = table["columns"][0], table["columns"][-1]
    assert (numeric["kind"], sum(numeric["histogram"]["counts"])) == ("numeric", 150)
    assert len(numeric["histogram"]["labels"]) == len(numeric["histogram"]["counts"]) + 1
    assert species["histogram"] == {
        "counts": [50, 50, 50],
        "labels": ["setosa", "versicolor", "virginica"],
    }


def test_small_histograms_have_a_bar_for_each_of_few_numbers_and_none_for_names(
    client: FlaskClient,
) -> None:
    rows = (f"{n % 5 + 94110},{n % 40},name {n},{'ab'[n % 2]}" for n in range(80))
    data = "\n".join(["rooms,age,label,y", *rows]).encode()
    rooms, age, label, _ = known(upload(client, data, "homes.csv"), 201)["table"]["columns"]
    labels = ["94110", "94111", "94112", "94113", "94114"]
    assert rooms["histogram"] == {"counts": [16] * 5, "labels": labels}
    assert len(age["histogram"]["labels"]) == len(age["histogram"]["counts"]) + 1 == 13
    assert label["histogram"] == {"counts": [], "labels": []}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("iris", "species"),
        ("wine", "grower"),
        ("breast_cancer", "diagnosis"),
        ("diabetes", "progression"),
    ],
)
def test_examples_are_taken_as_if_uploaded(client: FlaskClient, name: str, target: str) -> None:
    taken = known(client.post(f"/v1/examples/{name}"), 201)
    assert taken["name"] == f"{name}.csv"
    assert taken["table"]["guess"] == target
    chosen = known(client.post(f"/v1/uploads/{taken['upload']}/choices", json={"target": target}))
    assert (chosen["task"] == "regression") is (name == "diabetes")


def test_examples_that_there_are_not(client: FlaskClient) -> None:
    listed = [example["name"] for example in known(client.get("/v1/examples"))]
    assert listed == [example.name for example in examples.EXAMPLES]
    assert told(client.post("/v1/examples/titanic"), 404).startswith("Expected one of iris, ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty. Expected a table"),
        (b"\n\n\n", "The file is empty. Expected a table"),
        (b"a,b\n", "Expected at least one"),
        (b"\x7fELF\x02\x01\x01" + bytes(400), "Received a program"),
        (b"PK\x03\x04" + bytes(400), "CSV"),
        (b"\x1f\x8b\x08" + bytes(100), "Received a gzip archive"),
        (bytes(range(256)) * 8, "Received"),
    ],
)
def test_what_is_no_table_is_refused_in_words(client: FlaskClient, data: bytes, words: str) -> None:
    assert words in told(upload(client, data), 422)


def test_a_form_without_a_file_is_refused(client: FlaskClient) -> None:
    other = {"table": (io.BytesIO(IRIS), "iris.csv")}
    assert "the form's file `file`" in told(client.post("/v1/uploads", data=other), 422)


@pytest.mark.parametrize("as_form", [False, True])
def test_too_large_a_table_is_refused_and_nothing_of_it_stays(
    client: FlaskClient, app: APIFlask, service: Service, as_form: bool
) -> None:
    service.quota.limits = replace(service.limits, upload=2**20)
    data = b"a,b\n" + b"1,2\n" * 2**18
    if as_form:
        app.config["MAX_CONTENT_LENGTH"] = service.limits.upload
        # As bytes: the client would keep it in a file, which nobody closes.
        head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        body, kind = head + data + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut"
        refused = client.post("/v1/uploads", data=body, content_type=kind)
    else:
        refused = upload(client, data)
    assert "Expected a table of at most 1 MiB. Received a larger one." in told(refused, 413)
    assert list((service.home / "uploads").glob("*")) == []


def test_a_full_service_takes_no_more(client: FlaskClient, service: Service, iris: str) -> None:
    service.quota.limits = replace(service.limits, stored=1)
    refused = upload(client, IRIS)
    assert "takes no more until" in told(refused, 503)
    assert refused.headers["Retry-After"]
    told(client.post("/v1/studies", json={"upload": iris, "target": "species"}), 503)


# ---- reading it otherwise


def test_an_awkward_table_is_read_otherwise(client: FlaskClient) -> None:
    taken = known(upload(client, AWKWARD.encode("latin-1"), "preise.csv"), 201)
    found = taken["table"]
    assert (found["separator"], found["decimal"], found["encoding"]) == (";", ",", "latin-1")
    price = found["columns"][1]
    assert price["kind"] == "categorical" or price["missing"] == 0
    path = f"/v1/uploads/{taken['upload']}/inspect"
    reading = {"missing": ["entf."], "kinds": {"Stadt": "text"}, "header": True}
    better = known(client.post(path, json={"reading": reading}))["table"]
    kinds = {column["name"]: column["kind"] for column in better["columns"]}
    assert kinds == {"Größe": "numeric", "Preis": "numeric", "Stadt": "text"}
    assert better["columns"][1]["missing"] == pytest.approx(3 / 60)
    kept = {"reading": {"missing": ["entf."], "present": ["entf."]}}
    assert known(client.post(path, json=kept))["table"]["columns"][1]["missing"] == 0
    unnamed = {"reading": {"header": False}}
    other = known(client.post(path, json=unnamed))["table"]
    assert (other["rows"], other["header"], other["preview"][0][0]) == (61, False, "Größe")
    assert "Größe" not in {column["name"] for column in other["columns"]}


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"separator": "ab"}, "reading.separator"),
        ({"separator": "x"}, "Expected one sign as separator, such as ';'. Received: 'x'."),
        ({"decimal": ";"}, "reading.decimal"),
        ({"quote": "x"}, "reading.quote"),
        ({"encoding": "klingon"}, "klingon"),
        ({"skip": -1}, "reading.skip"),
        ({"skip": 9999}, "Give a smaller --skip"),
        ({"header": "perhaps"}, "reading.header"),
        ({"kinds": {"species": "colour"}}, "reading.kinds"),
        ({"kinds": {"nowhere": "numeric"}}, "nowhere"),
        ({"colour": "red"}, "reading.colour"),
        ("all of it", "reading"),
    ],
)
def test_wrong_readings_are_refused_in_words(
    client: FlaskClient, iris: str, reading: Any, words: str
) -> None:
    refused = client.post(f"/v1/uploads/{iris}/inspect", json={"reading": reading})
    assert words in told(refused, 422)


@pytest.mark.parametrize(
    ("data", "words", "reading"),
    [
        ("a b c\n" + "1 2 x\n3 4 y\n" * 20, "Received one column", {"separator": " "}),
        ("a,b,c\n" + '1,"2,x\n3,4,y\n' * 20, "quote", {"quote": ""}),
        ("a,b,c\n" + "1,2,x\n3,4\n" * 20, "above the 1%", {"skip": 0}),
    ],
)
def test_a_table_that_only_people_can_make_out_is_kept_for_them(
    client: FlaskClient, data: str, words: str, reading: dict[str, Any]
) -> None:
    refused = upload(client, data.encode(), "odd.csv")
    assert words in told(refused, 422)
    assert refused.json is not None
    path = f"/v1/uploads/{refused.json['upload']}"
    assert client.get(f"/tables/{refused.json['upload']}").status_code == 200
    if "skip" in reading:  # No reading helps.
        assert words in told(client.post(f"{path}/inspect", json={"reading": reading}), 422)
        return
    table = known(client.post(f"{path}/inspect", json={"reading": reading}))["table"]
    assert [column["name"] for column in table["columns"]] == ["a", "b", "c"]
    asked = {"upload": refused.json["upload"], "target": "c", "reading": reading}
    known(client.post("/v1/studies", json=asked), 201)


def test_what_is_no_table_at_all_is_not_kept(client: FlaskClient) -> None:
    refused = upload(client, b"\x7fELF" + bytes(1000))
    assert refused.status_code == 422
    assert refused.json is not None and "upload" not in refused.json


def test_as_much_is_remembered_as_was_said_and_what_was_used_last() -> None:
    cache = TextCache(30)
    for name in ("a", "b", "c"):
        cache.put(name, name * 9)
    assert cache.get("a") == "a" * 9
    cache.put("d", "d" * 9)
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    cache.put("e", "e" * 99)
    assert cache.get("e") is None and cache.get("d") is not None


def test_what_was_asked_lately_is_not_read_again(
    client: FlaskClient, service: Service, iris: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"inspect": {"reading": {"header": True}}, "choices": {"target": "species"}}
    before = {
        call: known(client.post(f"/v1/uploads/{iris}/{call}", json=given))
        for call, given in calls.items()
    }
    monkeypatch.setattr(service, "children", lambda *_, **__: pytest.fail("read again"))
    for call, given in calls.items():
        assert known(client.post(f"/v1/uploads/{iris}/{call}", json=given)) == before[call]
    with pytest.raises(pytest.fail.Exception, match="read again"):
        client.post(f"/v1/uploads/{iris}/choices", json={"target": "petal_width"})


@pytest.mark.parametrize("call", ["inspect", "choices"])
def test_a_forged_upload_is_none(client: FlaskClient, iris: str, call: str) -> None:
    changed = iris[:-2] + ("AA" if iris[-2:] != "AA" else "BB")
    for forged in ("x", "a" * 3000, changed, iris.partition(".")[0]):
        body = {"target": "species"} if call == "choices" else {}
        assert "Upload it again" in told(
            client.post(f"/v1/uploads/{forged}/{call}", json=body), 404
        )
    body = {"upload": changed, "target": "species"}
    assert "Upload it again" in told(client.post("/v1/studies", json=body), 404)
    assert client.get(f"/tables/{changed}").status_code == 404


# ---- choices


def choices(client: FlaskClient, upload: str, **given: Any) -> Any:
    return known(client.post(f"/v1/uploads/{upload}/choices", json=given))


def test_choices_for_several_classes(client: FlaskClient, iris: str) -> None:
    found = choices(client, iris, target="species")
    assert (found["task"], found["metric"]) == ("multiclass", "accuracy")
    assert found["classes"] == ["setosa", "versicolor", "virginica"]
    assert "rmse" not in {metric["name"] for metric in found["metrics"]}
    assert (found["inputs"], found["validation"]) == (4, "cv")
    by_name = {parameter["name"]: parameter for parameter in found["parameters"]}
    assert list(by_name) == [name for name in LIMITS if name in by_name]
    depth, activation = by_name["depth"], by_name["activation"]
    assert (depth["kind"], depth["low"], depth["high"], depth["whole"]) == ("range", 1, 6, True)
    assert depth["text"] == LIMITS["depth"].text
    assert (activation["kind"], "relu" in activation["values"]) == ("choice", True)
    assert by_name["residual"]["values"] == ["false", "true"]
    assert by_name["rare-levels"]["without"] == "No effect: it has no categorical columns."
    assert by_name["class-weights"]["without"] == ""


def test_choices_for_two_classes_and_for_a_number(client: FlaskClient) -> None:
    rows = "\n".join(f"{n / 3:.2f},{'ab'[n % 2]},{n * 1.5}" for n in range(80))
    uploaded = known(upload(client, f"x,two,number\n{rows}".encode()), 201)["upload"]
    two = choices(client, uploaded, target="two")
    assert (two["task"], two["classes"]) == ("binary", ["a", "b"])
    number = choices(client, uploaded, target="number", drop=["x"])
    assert (number["task"], number["metric"], number["classes"]) == ("regression", "rmse", [])
    assert "accuracy" not in {metric["name"] for metric in number["metrics"]}
    without = {parameter["name"]: parameter["without"] for parameter in number["parameters"]}
    assert without["class-weights"] == "No effect: its target is a number, not a class."
    assert without["scaling"] == "No effect: it has no numeric columns."
    depth = choices(client, uploaded, target="two", space="depth", validation="holdout")
    kinds = {parameter["name"]: parameter["kind"] for parameter in depth["parameters"]}
    assert (kinds["depth"], kinds["activation"]) == ("range", "fixed")
    assert depth["validation"] == "holdout"
    assert [
        text for text in choices(client, uploaded, target="number")["warnings"] if "away" in text
    ]


def test_an_imbalance_and_an_identifier_are_warned_of(client: FlaskClient) -> None:
    rows = "\n".join(f"u{n:04},{n % 17},{'rare' if n % 20 == 0 else 'usual'}" for n in range(200))
    taken = known(upload(client, f"id,x,y\n{rows}".encode()), 201)
    identifier = taken["table"]["columns"][0]
    assert "only tells rows apart" in identifier["warnings"][0]
    found = choices(client, taken["upload"], target="y")
    assert [text for text in found["warnings"] if "--metric balanced_accuracy" in text]


def test_an_estimate_grows_with_the_epochs_and_knows_who_serves(
    client: FlaskClient, storage: Storage, iris: str
) -> None:
    alone = choices(client, iris, target="species")
    assert (alone["slots"], alone["measured"]) == (0, False)
    assert 0 < alone["seconds_per_trial"] < 10
    one = Worker(name="w", host="here", version="1", device="2 cores", slots=3)
    workers.heard(storage, one, lease=60)
    longer = choices(client, iris, target="species", epochs=100_000)
    assert longer["slots"] == 3
    assert longer["seconds_per_trial"] > alone["seconds_per_trial"]
    workers.heard(storage, one, lease=60, state="left")
    assert choices(client, iris, target="species")["slots"] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "target"),
        ({"target": "specis"}, "Did you mean 'species'?"),
        ({"target": "99"}, "position from 1 to 5"),
        ({"target": "species", "task": "regression"}, "Received"),
        ({"target": "species", "space": "cnn"}, "space"),
        ({"target": "species", "test_share": 1.5}, "Expected a share of test rows between 0 and 1"),
        ({"target": "species", "test_share": 0.99}, "Give a smaller --test-share"),
        ({"target": "species", "drop": ["species"]}, "do not --drop it"),
        ({"target": "species", "drop": ["nowhere"]}, "nowhere"),
        ({"target": "species", "validation": "twice"}, "validation"),
    ],
)
def test_wrong_choices_are_refused_in_words(
    client: FlaskClient, iris: str, given: Any, words: str
) -> None:
    assert words in told(client.post(f"/v1/uploads/{iris}/choices", json=given), 422)


# ---- studies


def test_of_columns_of_a_few_values_all_are_known(client: FlaskClient) -> None:
    lines = [
        f"{'red green blue'.split()[n % 3]},city {n % 110},{n % 37}.5,{'xy'[n % 2]}"
        for n in range(660)
    ]
    data = "\n".join(["colour,city,size,y", *lines]).encode()
    sent = upload(client, data).get_json()["upload"]
    made = known(client.post("/v1/studies", json={"upload": sent, "target": "y"}), 201)
    path = f"/v1/studies/{made['page'].rpartition('/')[2]}/columns"
    columns = {column["name"]: column for column in known(client.get(path))["columns"]}
    assert {*columns["colour"]["levels"]} == {"red", "green", "blue"}
    assert len(columns["city"]["levels"]) == 100
    found = {name: column["all_levels"] for name, column in columns.items()}
    assert found == {"colour": True, "city": False, "size": False}


def test_a_study_is_created_with_every_option(
    client: FlaskClient, storage: Storage, iris: str
) -> None:
    asked = {
        "upload": iris,
        "target": "species",
        "task": "multiclass",
        "metric": "balanced_accuracy",
        "trials": 7,
        "timeout": 90.5,
        "space": "mlp",
        "limits": {"depth": "1:2", "activation": "relu,gelu", "learning-rate": "0.001"},
        "epochs": 12,
        "seed": 5,
        "test_share": 0.3,
        "validation": "holdout",
        "drop": ["sepal_width"],
        "pruner": "none",
        "sampler": "random",
        "name": "flowers",
        "reading": {"missing": ["none"], "kinds": {"petal_width": "categorical"}},
    }
    made = known(client.post("/v1/studies", json=asked), 201)
    assert made["page"] == f"/s/{made['key']}"
    row = studies.by_key(storage, made["key"])
    assert (row.id, row.name, row.trials, row.seconds) == (made["study"], "flowers", 7, 90.5)
    plan = row.plan
    same = ("target", "task", "metric", "epochs", "seed", "test_share", "validation")
    assert {name: plan[name] for name in same} == {name: asked[name] for name in same}
    assert {name: plan[name] for name in ("drop", "pruner", "sampler", "limits")} == {
        name: asked[name] for name in ("drop", "pruner", "sampler", "limits")
    }
    assert plan["dataset_name"] == "iris.csv"
    assert "none" in plan["reading"]["missing"]
    kinds = {column["name"]: column["kind"] for column in plan["columns"]}
    assert kinds["petal_width"] == "categorical"


def test_test_rows_come_from_a_table_of_their_own(
    client: FlaskClient, storage: Storage, iris: str
) -> None:
    header, *lines = IRIS.splitlines()
    data = b"\n".join([header + b",more", *(line + b",1" for line in lines[::9])])
    test = known(upload(client, data, "others.csv"), 201)["upload"]
    told = choices(client, iris, target="species", test_upload=test)
    assert told["rows"] == 120  # Of 150, as all of them train and validate.
    assert any(warning.startswith("Test file: ") for warning in told["warnings"])
    asked = {"upload": iris, "target": "species", "test_upload": test, "tags": ["gpu", "big"]}
    made = known(client.post("/v1/studies", json=asked), 201)
    row = studies.get(storage, made["study"])
    assert row.test_dataset == hashlib.sha256(data).hexdigest()
    assert row.tags == ["big", "gpu"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"a,b\n1,2\n3,4\n", "Expected a --test-file that is as the table is. "),
        (IRIS.replace(b"setosa", b"oak"), "oak"),
        (IRIS.replace(b"setosa", b"").replace(b"versicolor", b"").replace(b"virginica", b""), ""),
    ],
)
def test_test_rows_that_do_not_fit_are_refused_in_words(
    client: FlaskClient, iris: str, table: bytes, words: str
) -> None:
    test = known(upload(client, table), 201)["upload"]
    given = {"target": "species", "test_upload": test}
    said = told(client.post(f"/v1/uploads/{iris}/choices", json=given), 422)
    assert words in said and "--test-file" in said
    assert told(client.post("/v1/studies", json={"upload": iris, **given}), 422) == said


def test_a_study_needs_a_table_and_a_target_only(
    client: FlaskClient, storage: Storage, iris: str
) -> None:
    made = known(client.post("/v1/studies", json={"upload": iris, "target": "species"}), 201)
    row = studies.by_key(storage, made["key"])
    assert (row.trials, row.seconds, row.plan["metric"]) == (50, None, "accuracy")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limits": {"depth": "6:1"}}, "Expected depth as low:high. Received: 6:1. Write 1:6."),
        ({"limits": {"activation": "relo"}}, "Did you mean relu?"),
        ({"limits": {"colour": "red"}}, "limits.colour"),
        ({"trials": 0}, "trials"),
        ({"trials": 10**9}, "trials"),
        ({"timeout": 0}, "timeout"),
        ({"metric": "rmse"}, "rmse"),
        ({"metric": "beauty"}, "beauty"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"name": "a" * 2000}, "name"),
        ({"objective": "os:system"}, "objective"),
        ({"space_file": "/etc/passwd"}, "space_file"),
        ({"target": "gone"}, "There is no column 'gone'"),
    ],
)
def test_wrong_studies_are_refused_in_words(
    client: FlaskClient, storage: Storage, iris: str, given: Any, words: str
) -> None:
    body = {"upload": iris, "target": "species", **given}
    assert words in told(client.post("/v1/studies", json=body), 422)
    assert studies.list_studies(storage) == []


def test_a_name_that_is_taken_is_refused(client: FlaskClient, iris: str) -> None:
    body = {"upload": iris, "target": "species", "name": "twice"}
    known(client.post("/v1/studies", json=body), 201)
    assert "twice" in told(client.post("/v1/studies", json=body), 422)


# ---- hostile names


def test_hostile_names_stay_names(client: FlaskClient, storage: Storage) -> None:
    path = "../../<script>alert(1)</script>\r\nSet-Cookie: a=b\u202e.csv"
    taken = known(upload(client, hostile_table(), path), 201)
    assert "/" not in taken["name"]
    assert not set("\r\n\u202e") & set(taken["name"])
    names = [column["name"] for column in taken["table"]["columns"]]
    assert names == [*HOSTILE, "target"]
    page = client.get(f"/tables/{taken['upload']}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    found = choices(client, taken["upload"], target="target")
    assert found["classes"] == ["<b>yes</b>", "=1+1"]
    reading = {"kinds": {HOSTILE[4]: "categorical", HOSTILE[1]: "categorical"}}
    body = {"upload": taken["upload"], "target": HOSTILE[0], "reading": reading}
    body["drop"] = [HOSTILE[2], HOSTILE[6], "target"]
    made = known(client.post("/v1/studies", json=body), 201)
    plan = studies.by_key(storage, made["key"]).plan
    assert plan["target"] == HOSTILE[0]
    assert set(plan["drop"]) == {HOSTILE[2], HOSTILE[6], "target"}
    shown = client.get(made["page"]).text
    assert "<script>alert" not in shown
    assert "onerror=alert(1)>" not in shown


# ---- pages


def test_the_pages_say_what_may_be_uploaded_and_how_long_it_is_kept(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "200 MiB at most" in page.text
    assert "kept until they are deleted" in page.text
    for example in examples.EXAMPLES:
        assert f'data-example="{example.name}"' in page.text
    assert "onclick" not in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


def test_no_element_of_a_page_has_an_attribute_twice(client: FlaskClient, iris: str) -> None:
    made = known(client.post("/v1/studies", json={"upload": iris, "target": "species"}), 201)
    twice = []

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = [name for name, _ in attrs]
            twice.extend(f"{path}: {tag} {attrs}" for _ in range(len(names) > len(set(names))))

    for path in ("/", f"/tables/{iris}", "/again", made["page"]):
        Elements().feed(client.get(path).text)
    assert twice == []  # Of which a browser takes the first, and says nothing.


def test_the_form_has_the_words_and_defaults_of_the_command_line(
    client: FlaskClient, iris: str
) -> None:
    page = client.get(f"/tables/{iris}").text
    for words in (
        "Share of the rows set aside for the one honest score at the end.",
        "Makes a search repeatable on one slot.",
        "How often a network sees all training rows, at most.",
        "Whether trials that fall behind are ended early.",
        "One width and activation for all hidden layers. The usual choice.",
    ):
        assert words in page
    assert "[default" not in page
    assert 'value="50"' in page
    assert '<option value="tpe" selected>' in page


# ---- what may be asked, and what is kept


def test_a_table_that_was_deleted_is_not_read_again(
    client: FlaskClient, service: Service, iris: str, storage: Storage
) -> None:
    path, body = f"/v1/uploads/{iris}", {"reading": {}}
    known(client.post(f"{path}/inspect", json=body))  # Now it is remembered, and lies here.
    made = known(client.post("/v1/studies", json={"upload": iris, "target": "species"}), 201)
    assert client.delete(f"/v1/studies/{made['key']}").status_code == 204
    for call, asked in (("inspect", body), ("choices", {"target": "species"})):
        assert "not here any more" in told(client.post(f"{path}/{call}", json=asked), 404)
    again = {"upload": iris, "target": "species"}
    assert "Upload it again" in told(client.post("/v1/studies", json=again), 404)
    assert not datasets.is_kept(storage, service.opened(iris)[0])
    (held,) = (service.home / "datasets").iterdir()
    os.utime(held, (0, held.stat().st_mtime))
    service.sweep()
    assert not held.exists()


def test_studies_of_the_page_are_kept_as_long_as_the_service_says(
    client: FlaskClient, service: Service, iris: str, storage: Storage
) -> None:
    service.keep = timedelta(days=30)
    assert "deleted 30 days after they were last worked at" in client.get("/").text
    made = known(client.post("/v1/studies", json={"upload": iris, "target": "species"}), 201)
    expires = studies.get(storage, made["study"]).expires_at
    assert expires is not None
    assert f'are deleted on <span id="expires"><time datetime="{expires:%Y-%m-%dT%H:%M}' in (
        client.get(made["page"]).text
    )


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        (Limits(columns=3), 422, "Expected at most 3 columns. Received 5."),
        (Limits(rows=10), 422, "Expected at most 10 rows. Received more."),
        (Limits(seconds=0.001), 422, "takes longer than the 0.001 seconds"),
        (Limits(upload=2**60), 503, "disk is full"),
        (Limits(memory=0), 422, "of memory. The limit is 0 GiB"),
    ],
)
def test_a_table_beyond_the_limits_is_refused(
    storage: Storage, service: Service, tmp_path: Path, limits: Limits, status: int, words: str
) -> None:
    small = Service(storage, tmp_path / "small", limits=limits, signing_key="k", keep=None)
    app = create_app(small, password_hash=None)
    limiter.reset()
    try:
        assert words in told(upload(app.test_client(), IRIS), status)
    finally:
        small.close()
    assert not list((tmp_path / "small" / "uploads").iterdir())


def test_a_table_beyond_the_limits_gives_no_study_either(
    client: FlaskClient, service: Service, iris: str
) -> None:
    for most, words in (((10**6, 4), "4 columns. Received 5"), ((149, 9), "149 rows. Received")):
        service._where = replace(service._where, most=most)
        asked = {"upload": iris, "target": "species"}
        assert words in told(client.post("/v1/studies", json=asked), 422)
        path = f"/v1/uploads/{iris}/choices"
        assert words in told(client.post(path, json={"target": "species"}), 422)


def test_a_table_of_test_rows_beyond_the_limits_gives_no_study_either(
    client: FlaskClient, service: Service, iris: str
) -> None:
    test = known(upload(client, IRIS + IRIS.partition(b"\n")[2]), 201)["upload"]
    service._where = replace(service._where, most=(150, 5))
    given = {"target": "species", "test_upload": test}
    words = "Expected a --test-file that is as the table is. Expected at most 150 rows."
    assert words in told(client.post(f"/v1/uploads/{iris}/choices", json=given), 422)
    assert words in told(client.post("/v1/studies", json={"upload": iris, **given}), 422)


def test_an_address_uploads_so_often_and_is_told_in_words(
    client: FlaskClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_table(*given: Any) -> Any:  # At once: what counts is how many there are in a minute.
        raise ValueError("no table")

    monkeypatch.setattr(service, "upload", no_table)
    answers = [upload(client, b"no table") for _ in range(31)]
    assert {answer.status_code for answer in answers[:30]} == {422}
    assert re.search(r"Try again in (1\smin|\d+\ss)\.", told(answers[30], 429))
    assert 1 <= int(answers[30].headers["Retry-After"]) <= 60


def test_who_has_used_an_hours_share_is_told_how_long_that_lasts(
    client: FlaskClient, service: Service
) -> None:
    assert upload(client, IRIS).status_code == 201
    limiter.limiter.hit(parse("300 per hour"), "127.0.0.1", "v1_tables.upload", cost=299)
    refused = upload(client, IRIS)
    assert re.search(r"Try again in (1\sh|59\smin.*)\.", told(refused, 429))
    assert 3500 <= int(refused.headers["Retry-After"]) <= 3600


def test_a_body_is_the_table_whatever_its_sender_calls_it(client: FlaskClient) -> None:
    kind = "application/x-www-form-urlencoded"  # As curl does, unless told otherwise.
    sent = client.post("/v1/uploads?name=iris.csv", data=IRIS, content_type=kind)
    assert known(sent, 201)["table"]["rows"] == 150


def test_what_a_killed_service_left_is_cleared_away(storage: Storage, tmp_path: Path) -> None:
    spool = tmp_path / "home" / "uploads"
    (spool / "left" / "over").mkdir(parents=True)
    (spool / "file").touch()
    for path in spool.iterdir():
        os.utime(path, (0, 0))
    (spool / "new").touch()
    Service(storage, tmp_path / "home", limits=Limits(), signing_key="k", keep=None).close()
    assert [path.name for path in spool.iterdir()] == ["new"]
