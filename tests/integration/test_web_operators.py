"""The operator's pages and REST calls: who gets in, and what is shown."""

import os
import re
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import argon2
import pytest
import sqlalchemy as sa
from apiflask import APIFlask
from flask.testing import FlaskClient
from stored_studies import begun, make_study, run_to_the_end, take_over
from werkzeug.test import TestResponse

from storage import sessions, studies, tables, tokens, trials, workers
from storage.connection import Storage
from storage.failures import pause_failed
from topo_search import study
from topo_search.study import Options
from topo_search.web import address, operators
from topo_search.web.access import limiter
from topo_search.web.app import create_app
from topo_search.web.service import Service

PASSWORD = "open sesame"
IRIS = Path("examples/iris.csv")
PAGES = (
    "/operator",
    "/operator/fleet",
    "/operator/studies",
    "/operator/events",
    "/operator/stored",
)
CALLS = ("/v1/studies", "/v1/fleet", "/v1/events")
POSTS = ("/operator/logout", "/operator/tokens", "/operator/tokens/revoke", "/operator/dashboard")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"

Login = Callable[..., TestResponse]


def csrf_of(page: TestResponse) -> str:
    found = re.search(r'name="csrf[_-]token"[^>]*(?:value|content)="([^"]+)"', page.text)
    assert found is not None, page.text
    return unescape(found[1])


@pytest.fixture
def login(client: FlaskClient) -> Login:
    """Log the client in, or try to."""

    def login(password: str = PASSWORD, goal: str = "") -> TestResponse:
        page = client.get("/operator/login")
        form = {"password": password, "next": goal, "csrf_token": csrf_of(page)}
        return client.post("/operator/login", data=form)

    return login


@pytest.fixture
def iris(storage: Storage) -> str:
    """The id of a new study of iris."""
    options = Options(data=IRIS.read_bytes(), file="iris.csv", target="species", trials=4)
    return study.create(storage, options)[0].id


def post(client: FlaskClient, path: str, **form: str) -> TestResponse:
    token = csrf_of(client.get("/operator"))
    return client.post(path, data={**form, "csrf_token": token})


# Logging in


def test_the_right_password_opens_the_overview(client: FlaskClient, login: Login) -> None:
    answer = login()
    assert answer.status_code == 303
    assert answer.location == "/operator"
    assert client.get("/operator").status_code == 200


@pytest.mark.parametrize("password", ["open sesam", "", "x" * 2_000, "open sesame\x00", "пароль"])
def test_a_wrong_password_opens_nothing(client: FlaskClient, login: Login, password: str) -> None:
    answer = login(password)
    assert answer.status_code == 403
    assert "not the operator" in answer.text
    assert client.get("/operator").status_code == 302


def test_without_a_password_nobody_gets_in_and_the_page_says_how(service: Service) -> None:
    client = create_app(service).test_client()
    page = client.get("/operator/login", base_url="https://localhost")
    assert "TOPO_SEARCH_OPERATOR_PASSWORD_FILE" in page.text
    assert 'type="password"' not in page.text
    with create_app(service).test_client() as client:
        client.get("/operator/login", base_url="https://localhost")
        with client.session_transaction(base_url="https://localhost") as session:
            session["operator"] = None
        assert client.get("/operator", base_url="https://localhost").status_code == 302


@pytest.mark.parametrize("password", ["", "None", PASSWORD])
def test_without_a_password_none_is_right(service: Service, password: str) -> None:
    app = create_app(service, secure=False)
    app.config |= {"WTF_CSRF_METHODS": set(), "WTF_CSRF_ENABLED": False}  # The page has no form.
    limiter.reset()
    client = app.test_client()
    assert client.post("/operator/login", data={"password": password}).status_code == 403
    assert client.get("/operator").status_code == 302


def test_guesses_are_slowed_down_even_when_the_last_is_right(
    client: FlaskClient, login: Login
) -> None:
    assert [login(f"guess {number}").status_code for number in range(10)] == [403] * 10
    answer = login()
    assert answer.status_code == 429
    assert "Too many attempts" in answer.text
    assert answer.headers["Retry-After"]
    limiter.reset()
    assert login().status_code == 303


@pytest.mark.parametrize("secure", [True, False])
def test_the_cookie_is_for_us_alone(service: Service, app: APIFlask, secure: bool) -> None:
    made = create_app(service, secure=secure, password_hash=app.config["OPERATOR_PASSWORD"])
    client = made.test_client()
    client.environ_base["wsgi.url_scheme"] = "https" if secure else "http"
    page = client.get("/operator/login")
    form = {"password": PASSWORD, "csrf_token": csrf_of(page)}
    cookie = client.post("/operator/login", data=form).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ("Secure" in cookie) is secure
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_a_session_begins_anew_with_the_login(client: FlaskClient, login: Login) -> None:
    before = csrf_of(client.get("/operator/login"))
    with client.session_transaction() as session:
        session["planted"] = "by someone else"
    login()
    with client.session_transaction() as session:
        assert "planted" not in session
        assert session.permanent
    # What was known before counts no more.
    answer = client.post("/operator/logout", data={"csrf_token": before})
    assert answer.status_code == 400
    assert client.get("/operator").status_code == 200


def test_another_password_ends_all_sessions(
    client: FlaskClient, login: Login, service: Service
) -> None:
    login()
    cookie = client.get_cookie("topo-search")
    assert cookie is not None
    for hashed, status in ((client.application.config["OPERATOR_PASSWORD"], 200), ("other", 302)):
        other = create_app(service, password_hash=hashed).test_client()
        other.set_cookie("topo-search", cookie.value, secure=True)
        assert other.get("/operator", base_url="https://localhost").status_code == status


def test_logging_out_ends_it(client: FlaskClient, login: Login) -> None:
    login()
    assert client.get("/operator/logout").status_code == 405
    assert post(client, "/operator/logout").location == "/operator/login"
    assert client.get("/operator").status_code == 302
    assert client.get("/dashboard").status_code == 302


def copied(client: FlaskClient) -> FlaskClient:
    """Return another browser with the cookie of this one."""
    cookie = client.get_cookie("topo-search")
    assert cookie is not None
    other = client.application.test_client()
    other.environ_base["wsgi.url_scheme"] = "https"
    other.set_cookie("topo-search", cookie.value, secure=True)
    return other


def test_logging_out_ends_what_was_copied_of_it(client: FlaskClient, login: Login) -> None:
    login()
    other = copied(client)
    assert other.get("/operator").status_code == 200
    post(client, "/operator/logout")
    assert other.get("/operator").status_code == 302
    login()
    assert client.get("/operator").status_code == 200
    assert other.get("/operator").status_code == 302


def test_a_session_has_its_hours_however_often_it_is_used(
    client: FlaskClient, login: Login, storage: Storage, service: Service
) -> None:
    login()
    assert client.get("/operator/fleet").status_code == 200

    def older(by: timedelta) -> None:
        with storage.transaction() as connection:
            times = {tables.session.c.ends_at: tables.session.c.ends_at - by}
            connection.execute(sa.update(tables.session).values(times))

    older(sessions.LASTS - timedelta(minutes=10))
    service.sweep()
    assert client.get("/operator/fleet").status_code == 200
    older(timedelta(minutes=11))
    assert copied(client).get("/operator").status_code == 302
    with storage.transaction() as connection:
        left = sa.select(sa.func.count()).select_from(tables.session)
        assert connection.scalar(left) == 1
    service.sweep()
    with storage.transaction() as connection:
        assert connection.scalar(left) == 0


@pytest.mark.parametrize(
    "goal",
    [
        "https://evil.example/",
        "//evil.example/operator",
        "/\\evil.example",
        "/operator\\@evil.example",
        "/operator/\\evil.example",
        "/operatorx",
        "/operator@evil.example",
        "javascript:alert(1)",
        "/operator/\r\nSet-Cookie: a=b",
        "/s/some-key",
        "/operator/logout",
        "",
    ],
)
def test_a_login_leads_nowhere_else(login: Login, goal: str) -> None:
    assert login(goal=goal).location == "/operator"


@pytest.mark.parametrize(
    "goal", ["/operator?state=paused&page=2", "/operator/studies/abcd1234", "/dashboard/studies/1"]
)
def test_a_login_leads_back(client: FlaskClient, login: Login, goal: str) -> None:
    turned_away = client.get(goal)
    assert turned_away.status_code == 302
    page = client.get(turned_away.location)
    hidden = re.search(r'name="next" value="([^"]*)"', page.text)
    assert hidden is not None
    assert unescape(hidden[1]) == goal
    assert login(goal=goal).location == goal


# Who is refused


@pytest.mark.parametrize("path", [*PAGES, "/operator/studies/abcd1234"])
def test_pages_need_a_login(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.location.startswith("/operator/login?next=")


def test_every_route_of_the_operator_needs_a_login(client: FlaskClient) -> None:
    rules = [
        rule for rule in client.application.url_map.iter_rules()
        if rule.endpoint.startswith(("operators.", "dashboard.", "v1_operators."))
    ]  # fmt: skip
    assert len(rules) > 15
    for rule in rules:
        if rule.endpoint == "operators.login":
            continue
        _, path = rule.build(dict.fromkeys(rule.arguments, 1) | {"part": "fleet"}) or ("", "")
        for method in (rule.methods or set()) - {"OPTIONS"}:
            answer = client.open(path, method=method)
            assert answer.status_code in (302, 400, 401), (method, path, answer.status_code)
            assert "/operator/login" in (answer.location or "/operator/login")


@pytest.mark.parametrize("path", CALLS)
def test_calls_need_an_operator(
    client: FlaskClient, login: Login, storage: Storage, path: str
) -> None:
    assert client.get(path).status_code == 401
    key = studies.create(
        storage, plan={}, direction="maximize", dataset=None, trials=1
    )[1]  # fmt: skip
    for wrong in (key, "topo_nonsense", "", "\xff"):
        assert client.get(path, headers={"Authorization": f"Bearer {wrong}"}).status_code == 404
    token = tokens.create(storage, "ci")
    assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    login()
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_forms_need_a_csrf_token(
    client: FlaskClient, login: Login, storage: Storage, path: str, token: str | None
) -> None:
    login()
    tokens.create(storage, "ci")
    form = {"name": "ci", "open": "yes"} | ({"csrf_token": token} if token else {})
    assert client.post(path, data=form).status_code == 400
    assert client.get("/operator").status_code == 200
    assert [one.name for one in tokens.list_tokens(storage)] == ["ci"]


def test_the_login_needs_a_csrf_token(client: FlaskClient) -> None:
    client.get("/operator/login")
    assert client.post("/operator/login", data={"password": PASSWORD}).status_code == 400
    assert client.get("/operator").status_code == 302


# Tokens


def test_a_token_is_made_shown_once_used_and_revoked(
    client: FlaskClient, login: Login, iris: str
) -> None:
    login()
    made = post(client, "/operator/tokens", name="nightly")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    found = re.search(r"topo_[\w-]{22}", made.text)
    assert found is not None
    page = client.get("/operator").text
    assert "nightly" in page
    assert found[0] not in page
    program = client.application.test_client()
    headers = {"Authorization": f"Bearer {found[0]}"}
    assert program.get(f"/v1/studies/{iris}").status_code == 404
    assert program.get(f"/v1/studies/{iris}", headers=headers).status_code == 200
    assert program.post(f"/v1/studies/{iris}/pause", headers=headers).status_code == 200
    assert post(client, "/operator/tokens/revoke", name="nightly").status_code == 303
    assert "nightly is revoked" in client.get("/operator").text
    assert program.get(f"/v1/studies/{iris}", headers=headers).status_code == 404
    assert program.get("/v1/studies", headers=headers).status_code == 404


@pytest.mark.parametrize("name", ["taken", "", "a\x07b", "x" * 201, "\u202eevil"])
def test_a_name_no_token_can_have_is_explained(
    client: FlaskClient, login: Login, storage: Storage, name: str
) -> None:
    tokens.create(storage, "taken")
    login()
    assert post(client, "/operator/tokens", name=name).status_code == 303
    assert "Expected a name" in client.get("/operator").text
    assert len(tokens.list_tokens(storage)) == 1


def test_revoking_what_is_not_there_is_explained(client: FlaskClient, login: Login) -> None:
    login()
    post(client, "/operator/tokens/revoke", name="nothing")
    assert "Expected the name of a token" in client.get("/operator").text


# A study


def test_a_study_is_shown_by_its_id_and_changed_with_a_csrf_token(
    client: FlaskClient, login: Login, storage: Storage, iris: str
) -> None:
    login()
    page = client.get(f"/operator/studies/{iris}")
    assert page.status_code == 200
    assert f"/v1/studies/{iris}" in page.text
    assert "private address" not in page.text
    assert client.get(f"/v1/studies/{iris}").status_code == 200
    pause = f"/v1/studies/{iris}/pause"
    assert client.post(pause).status_code == 400
    assert client.post(pause, headers={"X-CSRFToken": "wrong"}).status_code == 400
    assert client.delete(f"/v1/studies/{iris}").status_code == 400
    assert studies.get(storage, iris).state == "created"
    assert client.post(pause, headers={"X-CSRFToken": csrf_of(page)}).status_code == 200
    assert studies.get(storage, iris).state == "paused"


def test_a_study_and_the_one_that_began_with_its_trials_link_each_other(
    client: FlaskClient, login: Login, storage: Storage, iris: str
) -> None:
    login()
    child, key = study.create(storage, Options(data=None, trials=5, parent=iris))
    of_parent, of_child = (client.get(f"/operator/studies/{id}").text for id in (iris, child.id))
    assert f'known to study <a href="/operator/studies/{child.id}"' in of_parent
    assert f'the trials of study <a href="/operator/studies/{iris}"' in of_child
    assert f'"/operator/studies/{iris}"' not in of_parent
    # Who has a key is told of the other in the report's foot, and has no way to it.
    assert "/operator/studies/" not in client.get(f"/s/{key}").text


@pytest.mark.parametrize("reference", ["abcd1234", "iris", "' OR 1=1", "..%2f..", "x" * 3000])
def test_no_such_study(client: FlaskClient, login: Login, iris: str, reference: str) -> None:
    login()
    assert client.get(f"/operator/studies/{reference}").status_code == 404


# What is shown


def test_the_overview_of_nothing_says_what_to_do(client: FlaskClient, login: Login) -> None:
    login()
    page = client.get("/operator").text
    for words in (
        "There is no study yet", "No worker is here", "topo-search worker", "Nothing has failed",
        "Nothing has happened", "There is no token yet", "It is read-only",
    ):  # fmt: skip
        assert words in page


def test_the_overview_has_what_there_is(
    client: FlaskClient, login: Login, storage: Storage
) -> None:
    for name in ("ada", "bob"):
        told = workers.Worker(name=name, host="attic", version="1", device="2 cores", slots=2)
        workers.heard(storage, told, lease=30.0)
    done = make_study(storage, name="done")
    run_to_the_end(storage, done, "ada")
    busy = make_study(storage, name="busy", trials=2000)
    take_over(storage, busy, begun(storage, busy, "ada"), "bob")
    failing = make_study(storage, name="failing", trials=50)
    for _ in range(7):
        lease = begun(storage, failing, "bob")
        trials.end(storage, lease, state="failed", attributes={"reason": "out of memory"})
    with storage.transaction() as connection:
        pause_failed(connection, failing.id, "the last 7 trials all failed: out of memory")
    studies.pause(storage, make_study(storage, name="mine").id, "by its owner")
    login()
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get("/operator").text))
    for words in (
        "2 workers with 4 slots, 10 trials in the last hour, 1,999 trials waiting in 2 open",
        "busy : trial 0 (attempt 2)", "done : the winner", "3 of 3", "0 of 2,000",
        "7 (7 failed) of 50", "out of memory", "5, 4, 3, 2 and 2 more", "study paused",
        "trial taken over", "worker joined", "never",
    ):  # fmt: skip
        assert words in page, page
    failures = client.get("/operator/events").text.partition('id="events"')[0]
    assert failures.count("out of memory") == 2
    assert "by its owner" not in failures


def test_a_study_that_no_worker_may_serve_is_named(
    client: FlaskClient, login: Login, storage: Storage
) -> None:
    told = {"host": "attic", "version": "1", "device": "2 cores", "slots": 2}
    one = workers.Worker(name="ada", tags=["night"], **told)  # type: ignore[arg-type]
    workers.heard(storage, one, lease=30.0)
    make_study(storage, name="tagged", tags=["night"])
    make_study(storage, name="plain")
    login()

    def page() -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get("/operator/fleet").text))

    assert "Nobody here may serve plain : all workers are limited" in page()
    assert "only tag night" in page()
    workers.heard(storage, workers.Worker(name="bob", **told), lease=30.0)  # type: ignore[arg-type]
    assert "Nobody" not in page()
    for name in ("ada", "bob"):
        gone = workers.Worker(name=name, **told)  # type: ignore[arg-type]
        workers.heard(storage, gone, lease=30.0, state="left")
    assert "Nobody serves the studies that are open." in page()


def test_what_a_user_ended_is_no_failure(
    client: FlaskClient, login: Login, storage: Storage
) -> None:
    one = make_study(storage, trials=5)
    trials.end(storage, begun(storage, one), state="failed", attributes={"reason": "diverged"})
    begun(storage, one)
    studies.cancel(storage, one.id, "enough of it")
    login()
    failures, _, events = client.get("/operator/events").text.partition('id="events"')
    assert "diverged" in failures
    assert "enough of it" not in failures
    assert events.count("enough of it") == 2, "the trial's end, and the study's"
    assert events.count('<th scope="row" class="whole bad">trial failed</th>') == 1
    assert events.count('<th scope="row" class="whole">trial cancelled</th>') == 1


def test_only_studies_that_are_there_are_linked(
    client: FlaskClient, login: Login, storage: Storage
) -> None:
    kept, deleted = make_study(storage, trials=5), make_study(storage, trials=5)
    for one in (kept, deleted):
        trials.end(storage, begun(storage, one), state="failed", attributes={"reason": "odd"})
    studies.delete(storage, deleted.id)
    login()
    page = client.get("/operator/events").text
    assert page.count(deleted.id) >= 4, "what happened to it stays known"
    linked = set(re.findall(r'href="(/operator/studies/[^"]+)"', page))
    assert linked == {f"/operator/studies/{kept.id}"}
    failures = page.partition('id="events"')[0]
    assert kept.id in failures and deleted.id in failures


def test_studies_are_paged_and_filtered(
    client: FlaskClient, login: Login, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "SIZE", 3)
    made = [make_study(storage).id for _ in range(8)]
    studies.cancel(storage, made[0])
    login()

    def shown(query: str) -> list[str]:
        page = client.get(f"/operator{query}")
        assert page.status_code == 200
        part = page.text.partition('id="studies"')[2].partition('id="failures"')[0]
        return re.findall(r'data-key="study-(\w+)"', part)

    assert shown("") == made[:-4:-1]
    assert shown("?page=3") == made[1::-1]
    assert shown("?state=cancelled") == [made[0]]
    assert shown("?state=paused") == []
    assert shown("?state=nonsense&page=nonsense") == shown("?page=-5") == made[:-4:-1]
    assert shown(f"?page={10**30}") == []
    assert "4 to 6 of 8" in client.get("/operator?page=2").text
    assert "state=created&amp;page=2" in client.get("/operator?state=created").text


def test_hostile_names_are_text(client: FlaskClient, login: Login, storage: Storage) -> None:
    plan = {"objective": "none", "dataset_name": HOSTILE, "target": HOSTILE}
    row = make_study(storage, name=HOSTILE, plan=plan)
    named = {"name": HOSTILE, "host": HOSTILE, "version": HOSTILE, "device": HOSTILE}
    told = workers.Worker(**named, slots=1, tags=[HOSTILE])
    workers.heard(storage, told, lease=30.0)
    lease = begun(storage, row, HOSTILE)
    trials.end(storage, lease, state="failed", attributes={"reason": HOSTILE})
    begun(storage, row, HOSTILE)
    tokens.create(storage, HOSTILE)
    studies.pause(storage, row.id, f"failed: {HOSTILE}\u202e\x1b[31m")
    login()
    page = client.get("/operator")
    assert page.text.count("alert(1)") > 8
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert "alert(1)&gt;49" not in page.text  # As it would be, were {{7*7}} worked out.
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text
    assert post(client, "/operator/tokens/revoke", name=HOSTILE).status_code == 303
    assert "<script>alert" not in client.get("/operator").text
    assert tokens.list_tokens(storage) == []


def test_pages_are_shown_once_and_to_nobody_else(client: FlaskClient, login: Login) -> None:
    login()
    headers = client.get("/operator").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"].partition("style-src")[0]


# Calls


def test_studies_over_rest(client: FlaskClient, storage: Storage) -> None:
    made = [make_study(storage, name=f"s{number}").id for number in range(3)]
    studies.cancel(storage, made[1])
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {tokens.create(storage, 'ci')}"
    found: Any = client.get("/v1/studies?size=2").json
    assert (found["total"], found["page"], found["size"]) == (3, 1, 2)
    assert [one["id"] for one in found["studies"]] == made[:0:-1]
    assert found["studies"][0]["progress"]["units"] == 3
    assert found["studies"][0]["name"] == "s2"
    assert found["studies"][0]["expires_at"] is None
    cancelled: Any = client.get("/v1/studies?state=cancelled").json
    assert [one["id"] for one in cancelled["studies"]] == [made[1]]
    for query in ("page=0", "size=501", "state=x", "page=x"):
        assert client.get(f"/v1/studies?{query}").status_code == 422


def test_the_fleet_and_events_over_rest(client: FlaskClient, storage: Storage) -> None:
    told = workers.Worker(name="ada", host="attic", version="1", device="2 cores", slots=2)
    workers.heard(storage, told, lease=30.0)
    row = make_study(storage)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {tokens.create(storage, 'ci')}"
    fleet: Any = client.get("/v1/fleet").json
    assert [one["worker"] for one in fleet["workers"]] == ["ada"]
    assert fleet["studies"] == {"open": 1, "waiting": 3, "unserved": []}
    events: Any = client.get("/v1/events").json
    assert [one["kind"] for one in events["events"]] == ["worker joined", "study created"]
    first = events["events"][0]["id"]
    after: Any = client.get(f"/v1/events?after={first}&study={row.id}&count=5").json
    assert [one["study"] for one in after["events"]] == [row.id]


# The password


@pytest.mark.parametrize(
    ("host", "proxied", "reached"),
    [
        ("0.0.0.0", False, True),
        ("127.0.0.1", True, True),
        ("127.0.0.1", False, False),
        ("127.9.9.9", False, False),
        ("localhost", False, False),
    ],
)
def test_a_public_address_needs_a_password(host: str, proxied: bool, reached: bool) -> None:
    with closing(address.bound(host, 0)) as listening:
        for password in (None, ""):
            if reached:
                with pytest.raises(ValueError, match="Expected an operator's password"):
                    address.require_password(listening, address.hashed(password), proxied=proxied)
            else:
                address.require_password(listening, address.hashed(password), proxied=proxied)
        address.require_password(listening, "a hash", proxied=proxied)


def test_a_password_is_hashed_and_a_hash_taken_as_it_is() -> None:
    assert address.hashed(None) is None
    made = address.hashed("open sesame")
    assert made is not None
    assert argon2.PasswordHasher().verify(made, "open sesame")
    assert address.hashed(made) == made
    with pytest.raises(ValueError, match="Expected a password or its Argon2 hash") as refused:
        address.hashed("$argon2id$v=19$broken")
    assert "broken" not in str(refused.value)


def test_a_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOPO_SEARCH_OPERATOR_PASSWORD_FILE", raising=False)
    monkeypatch.delenv("TOPO_SEARCH_OPERATOR_PASSWORD", raising=False)
    assert address.read_password() is None
    monkeypatch.setenv("TOPO_SEARCH_OPERATOR_PASSWORD", " from outside ")
    assert address.read_password() == " from outside "
    assert "TOPO_SEARCH_OPERATOR_PASSWORD" not in os.environ, "children would have it, too"
    monkeypatch.setenv("TOPO_SEARCH_OPERATOR_PASSWORD", " from outside ")
    file = tmp_path / "password"
    monkeypatch.setenv("TOPO_SEARCH_OPERATOR_PASSWORD_FILE", str(file))
    with pytest.raises(OSError, match="cannot be read"):
        address.read_password()
    for text in (b"", b"\n", b" \n"):
        file.write_bytes(text)
        with pytest.raises(ValueError, match="empty"):
            address.read_password()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        address.read_password()
    file.write_bytes(b" from a file \r\n")
    assert address.read_password() == " from a file "
    assert "TOPO_SEARCH_OPERATOR_PASSWORD" not in os.environ


def test_how_long_studies_are_kept_is_said(
    client: FlaskClient, login: Login, service: Service
) -> None:
    login()
    assert "until somebody deletes them" in client.get("/operator").text
    service.keep = timedelta(days=30)
    assert "deleted 30 days after" in client.get("/operator").text
