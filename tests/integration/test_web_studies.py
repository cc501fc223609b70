"""A study over REST: seen, changed and streamed by whoever has its key."""

import io
import json
import math
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import sqlalchemy as sa
from apiflask import APIFlask
from finished_studies import finished
from flask.testing import FlaskClient
from optuna.exceptions import StorageInternalError
from stored_studies import make_study
from stories import wait_until

from storage import sessions, studies, tokens, trials
from storage.connection import Storage
from storage.errors import StorageError
from storage.rows import StudyRow
from topo_search import study
from topo_search.results import Results
from topo_search.study import Options
from topo_search.web import v1, views, watching
from topo_search.web.quota import FullError, Limits
from topo_search.web.service import Service

IRIS = "examples/iris.csv"
DEADLINE = 120.0


@pytest.fixture
def made(storage: Storage) -> tuple[str, str]:
    """The id and the key of a new study of iris."""
    row, key = new(storage)
    return row.id, key


def new(storage: Storage) -> tuple[StudyRow, str]:
    with open(IRIS, "rb") as file:
        options = Options(data=file.read(), file="iris.csv", target="species", trials=4)
    return study.create(storage, options)


def end(storage: Storage, study_id: str, value: float) -> None:
    """Train a trial of a study of iris, as far as the database knows."""
    from storage import claiming
    from storage.rows import Taker
    from topo_search.serving import ServedStudy

    row = studies.get(storage, study_id)
    served = ServedStudy(storage=storage, row=row, cache=None)  # type: ignore[arg-type]
    lease = claiming.claim(storage, study_id, Taker(owner="w"), served)
    assert lease is not None
    trials.begin(storage, lease, served.distributions)
    topology, _ = served.space.decode(lease.parameters)
    described = {"topology": str(topology), "depth": topology.depth, "weights": 1000 + lease.unit}
    described |= {"seconds": 1.0, "epochs": 9, "best_epoch": 9, "curve": [0.5, value]}
    assert trials.end(storage, lease, state="complete", value=value, attributes=described)


def events_of(client: FlaskClient, key: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
    """Yield a stream's events: name, id, data."""
    response = client.get(f"/v1/studies/{key}/events", headers=headers, buffered=False)
    assert response.mimetype == "text/event-stream"
    text = ""
    for part in response.iter_encoded():
        text += part.decode()
        while "\n\n" in text:
            block, _, text = text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "event" in fields:
                yield fields["event"], fields["id"], json.loads(fields["data"])


def test_a_study_is_read_by_its_key_in_the_path_or_in_the_header(
    client: FlaskClient, made: tuple[str, str]
) -> None:
    study_id, key = made
    in_path = client.get(f"/v1/studies/{key}")
    in_header = client.get(f"/v1/studies/{study_id}", headers={"Authorization": f"Bearer {key}"})
    assert in_path.status_code == in_header.status_code == 200
    assert in_path.json == in_header.json
    assert in_path.json is not None
    assert in_path.json["study"] == study_id
    assert in_path.json["trials"]["waiting"] == 4
    assert key not in in_path.text


def test_a_wrong_key_is_answered_as_none_and_slowed_down(
    client: FlaskClient, made: tuple[str, str], storage: Storage
) -> None:
    study_id, key = made
    other = make_study(storage)
    wrong = client.get("/v1/studies/AAAAAAAAAAAAAAAAAAAAAA")
    by_id = client.get(f"/v1/studies/{study_id}")
    others = client.get(f"/v1/studies/{other.id}", headers={"Authorization": f"Bearer {key}"})
    page = client.get(f"/s/{study_id}")
    assert wrong.status_code == by_id.status_code == others.status_code == page.status_code == 404
    assert wrong.json == by_id.json == others.json
    assert wrong.mimetype == "application/problem+json"
    answers = [client.get(f"/v1/studies/{n:022d}").status_code for n in range(70)]
    assert answers[-1] == 429
    assert set(answers) == {404, 429}


def test_an_operators_token_opens_every_study_until_it_is_revoked(
    client: FlaskClient, made: tuple[str, str], storage: Storage
) -> None:
    headers = {"Authorization": f"Bearer {tokens.create(storage, 'robot')}"}
    assert client.get(f"/v1/studies/{made[0]}", headers=headers).status_code == 200
    tokens.revoke(storage, "robot")
    assert client.get(f"/v1/studies/{made[0]}", headers=headers).status_code == 404


def test_an_operator_with_a_private_link_may_do_what_others_may(
    client: FlaskClient, made: tuple[str, str], app: APIFlask, storage: Storage
) -> None:
    with client.session_transaction() as session:
        session["operator"] = sessions.begin(storage, app.config["OPERATOR_MARK"])
    by_key = client.post(f"/v1/studies/{made[1]}/pause")
    assert by_key.status_code == 200, by_key.text
    by_id = client.post(f"/v1/studies/{made[0]}/pause")
    assert by_id.status_code == 400, "another site's page may send the cookie"


def test_life_of_a_study_over_rest(
    client: FlaskClient, made: tuple[str, str], storage: Storage
) -> None:
    base = f"/v1/studies/{made[1]}"
    paused = client.post(f"{base}/pause").json
    assert paused is not None
    assert paused["state"] == "paused"
    resumed = client.post(f"{base}/resume", json={"trials": 3}).json
    assert resumed is not None
    assert (resumed["state"], resumed["budget"]) == ("created", 7)
    named = client.patch(base, json={"name": "flowers"}).json
    assert named is not None
    assert named["name"] == "flowers"
    taken = make_study(storage, name="taken")
    refused = client.patch(base, json={"name": taken.name})
    assert refused.status_code == 422
    assert refused.json is not None
    assert "taken" in refused.json["detail"]
    cancelled = client.post(f"{base}/cancel").json
    assert cancelled is not None
    assert cancelled["state"] == "cancelled"
    refused = client.post(f"{base}/resume", json={})
    assert refused.status_code == 422
    assert client.delete(base).status_code == 204
    assert client.get(base).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"trials": -1}, "trials"),
        ({"trials": "many"}, "trials"),
        ({"trials": 1, "colour": "red"}, "colour"),
        ({"timeout": 60}, "no budget in time"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    client: FlaskClient, made: tuple[str, str], body: dict[str, Any], words: str
) -> None:
    answer = client.post(f"/v1/studies/{made[1]}/resume", json=body)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert words in answer.json["detail"]
    assert ("Expected" in answer.json["detail"]) is ("errors" in answer.json)


def test_trials_are_paged_sorted_and_filtered(
    client: FlaskClient, made: tuple[str, str], storage: Storage
) -> None:
    for value in (0.5, 0.9, 0.7):
        end(storage, made[0], value)
    base = f"/v1/studies/{made[1]}/trials"

    def numbers(**query: Any) -> list[int]:
        found = client.get(base, query_string=query).json
        assert found is not None
        return [trial["trial"] for trial in found["trials"]]

    assert numbers() == [1, 2, 0]
    assert numbers(sort="trial", order="desc") == [2, 1, 0]
    assert numbers(size=2, page=2) == [0]
    assert numbers(state="pruned") == []
    first = client.get(base, query_string={"size": 1}).json
    assert first is not None
    topology = first["trials"][0]["topology"]
    assert 1 in numbers(search=topology.upper())
    assert client.get(base, query_string={"sort": "__class__"}).status_code == 422


def test_a_page_of_trials_is_made_once_for_all_viewers(
    client: FlaskClient, made: tuple[str, str], storage: Storage, service: Service
) -> None:
    end(storage, made[0], 0.5)
    base, watch = f"/v1/studies/{made[1]}/trials", service.watches.of(made[0])
    pages = [client.get(base, query_string={"sort": sort}).json for sort in ("rank", "trial") * 3]
    assert pages[0] == pages[1] == pages[-1]
    assert watch.current().found._page.cache_info().misses == 2
    end(storage, made[0], 0.9)
    watch.look(now=True)
    later = client.get(base, query_string={"sort": "rank"}).json
    assert later is not None
    assert later["total"] == 2


def test_a_stream_says_what_changes_and_only_that(
    client: FlaskClient, made: tuple[str, str], storage: Storage, service: Service
) -> None:
    end(storage, made[0], 0.5)
    stream = events_of(client, made[1])
    name, mark, everything = next(stream)
    assert name == "change"
    assert everything["state"]["trials"]["finished"] == 1
    assert {"head", "reading", "foot"} <= set(everything["fragments"])
    with service.watches.of(made[0])._gathering:  # No look sees it half done.
        end(storage, made[0], 0.9)
    name, later, change = next(stream)
    assert change["state"]["trials"]["finished"] == 2
    assert later != mark
    assert "head" in change["fragments"]
    assert "reading" not in change["fragments"], "what is read of the table has not changed"
    assert "history" in change["figures"]
    again = events_of(client, made[1], **{"Last-Event-ID": mark})
    assert next(again)[1] == later, "who was away hears of it"
    studies.delete(storage, made[0])
    assert next(event for event in stream if event[0] == "gone")


@pytest.mark.parametrize("how", ["token", "session"])
def test_an_operators_stream_ends_when_he_is_one_no_more(
    client: FlaskClient,
    made: tuple[str, str],
    app: APIFlask,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(watching, "HUNG_UP", 0.1)
    mark, headers = app.config["OPERATOR_MARK"], {}
    key = sessions.begin(storage, mark)
    if how == "token":
        headers["Authorization"] = f"Bearer {tokens.create(storage, 'robot')}"
    else:
        with client.session_transaction() as session:
            session["operator"] = key
    stream = events_of(client, made[0], **headers)
    others = events_of(client, made[1])
    assert next(stream)[0] == next(others)[0] == "change"
    end(storage, made[0], 0.5)
    assert next(stream)[0] == "change"
    if how == "token":
        tokens.revoke(storage, "robot")
    else:
        sessions.end(storage, key, mark)
    further: list[Any] = []
    reader = threading.Thread(target=lambda: further.extend(stream), daemon=True)
    reader.start()
    reader.join(DEADLINE)
    assert not reader.is_alive() and further == []
    end(storage, made[0], 0.5)
    assert next(others)[0] == "change", "who has the key sees it as before"
    refused = client.get(f"/v1/studies/{made[0]}/events", headers=headers)
    assert refused.status_code == 404


def test_any_number_of_viewers_cost_the_database_one_look(
    client: FlaskClient,
    made: tuple[str, str],
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    gathered = watching.view_of
    monkeypatch.setattr(watching, "view_of", lambda *given: looks.append(1) or gathered(*given))
    streams = [events_of(client, made[1]) for _ in range(20)]
    threads = [threading.Thread(target=next, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(looks) == 1


def test_a_key_is_looked_up_once_while_its_study_is_watched(
    client: FlaskClient, made: tuple[str, str], storage: Storage
) -> None:
    pages = [f"/v1/studies/{made[1]}{part}" for part in ("", "/trials", "/figures", "/results")]
    client.get(pages[0])
    asked, reader = [], threading.get_ident()

    def note(*_: object) -> None:
        if threading.get_ident() == reader:  # Not in the thread that looks for all who watch.
            asked.append(1)

    sa.event.listen(storage.engine, "before_cursor_execute", note)
    assert [client.get(page).status_code for page in pages] == [200] * 4
    assert not asked
    assert client.delete(pages[0]).status_code == 204
    assert [client.get(page).status_code for page in pages] == [404] * 4


def test_a_study_that_cannot_be_gathered_holds_up_no_other(
    client: FlaskClient,
    made: tuple[str, str],
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, _ = new(storage)
    service: Service = client.application.extensions["topo-search"]
    service.watches.of(bad.id).look()
    stream = events_of(client, made[1])
    next(stream)
    gathered = watching.view_of

    def gather(storage: Storage, row: StudyRow, *given: Any) -> Any:
        if row.id == bad.id:
            raise ZeroDivisionError("what nobody thought of")
        return gathered(storage, row, *given)

    monkeypatch.setattr(watching, "view_of", gather)
    studies.rename(storage, bad.id, "other")
    end(storage, made[0], 0.7)
    changes = (change for _, _, change in stream)
    assert any(change["state"]["trials"]["complete"] == 1 for change in changes)
    wait_until(lambda: "cannot be gathered" in caplog.text, "it is told")


def test_a_study_too_large_to_gather_at_once_is_shown_as_far_as_it_is_known(
    client: FlaskClient, made: tuple[str, str], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, gathered = threading.Event(), watching.view_of

    def slow(*given: Any) -> Any:
        assert ready.wait(DEADLINE)
        return gathered(*given)

    monkeypatch.setattr(watching, "view_of", slow)
    page = client.get(f"/s/{made[1]}")
    assert page.status_code == 200
    assert "Gathering" in page.text
    assert "0 trials" in page.text
    ready.set()
    assert next(events_of(client, made[1]))[0] == "change"


def test_a_study_that_takes_long_to_gather_is_gathered_less_often(
    made: tuple[str, str], storage: Storage, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = service.watches.of(made[0])
    watch.current()
    monkeypatch.setattr(watching, "SHARE", 1e-9)
    monkeypatch.setattr(watching, "sys", SimpleNamespace(modules={}))  # As if all were loaded.
    end(storage, made[0], 0.5)
    after = watch.look()
    found = after.found.results.trials
    assert len(found) == 1, "that all trials were read once is not held against it"
    end(storage, made[0], 0.6)
    spared = watch.look()
    assert spared.found is after.found, "what it found waits"
    assert spared.state["trials"]["finished"] == 2, "but not how far it is"
    assert {*spared.since(after)} == {"state", "trials", "fragments"}
    assert (spared.since(after)["trials"], spared.since(after)["fragments"]) == (False, {})
    assert watch.look() is spared
    watch._not_before = 0.0
    told = watch.look()
    assert len(told.found.results.trials) == 2 and told.mark != spared.mark, "it is told in the end"


def test_what_a_study_came_to_is_gathered_at_once_however_long_it_takes(
    made: tuple[str, str], storage: Storage, service: Service
) -> None:
    watch = service.watches.of(made[0])
    watch.current()
    end(storage, made[0], 0.5)
    watch.look(now=True)
    watch._not_before = math.inf
    end(storage, made[0], 0.6)
    assert len(watch.look().found.results.trials) == 1
    studies.pause(storage, made[0], "by hand")
    paused = watch.look()
    assert (paused.state["state"], len(paused.found.results.trials)) == ("paused", 2)
    assert "paused" in paused.found.fragments["head"]


def test_time_in_which_modules_are_loaded_is_not_held_against_a_study(
    made: tuple[str, str], storage: Storage, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, gathered = service.watches.of(made[0]), watching.view_of
    watch.current()

    def loads(*given: Any) -> Any:
        monkeypatch.setitem(sys.modules, "loaded_now", types.ModuleType("loaded_now"))
        return gathered(*given)

    monkeypatch.setattr(watching, "SHARE", 1e-9)
    monkeypatch.setattr(watching, "view_of", loads)
    end(storage, made[0], 0.5)
    watch.look()
    monkeypatch.setattr(watching, "view_of", gathered)
    end(storage, made[0], 0.6)
    assert len(watch.look().found.results.trials) == 2


def test_a_database_that_goes_away_in_the_midst_of_gathering_is_told_in_our_words(
    made: tuple[str, str], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any) -> Any:
        gone = sa.exc.OperationalError("SELECT", {}, Exception("server closed the connection"))
        raise StorageInternalError("Optuna's words") from gone

    monkeypatch.setattr(views.delivery, "results", away)
    with pytest.raises(StorageError, match="server closed the connection"):
        service.watches.of(made[0]).current()


def test_pages_forbid_scripts_frames_and_referrers(
    client: FlaskClient, made: tuple[str, str]
) -> None:
    page = client.get(f"/s/{made[1]}")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    assert "<script>" not in page.text


def test_downloads(client: FlaskClient, made: tuple[str, str], storage: Storage) -> None:
    base = f"/v1/studies/{made[1]}/downloads"
    end(storage, made[0], 0.5)
    table = client.get(f"{base}/trials.csv")
    assert table.mimetype == "text/csv"
    assert table.headers["Content-Disposition"].startswith("attachment")
    assert table.text.startswith("trial,state,value")
    found = client.get(f"{base}/trials.json").json
    assert found is not None
    assert len(found["history"]) == 1
    report = client.get(f"{base}/report.html")
    assert report.headers["Content-Disposition"].startswith("attachment")
    assert "<title>Predicting species" in report.text
    none_yet = client.get(f"{base}/model.keras")
    assert none_yet.status_code == 404
    assert none_yet.json is not None
    assert "not finished" in none_yet.json["detail"]
    assert client.get(f"{base}/..%2f..%2fetc%2fpasswd").status_code == 404


def test_an_error_of_ours_is_logged_and_shown_without_what_it_was(
    client: FlaskClient,
    made: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*given: Any) -> Any:
        raise KeyError("secret inside")

    client.application.testing = False
    monkeypatch.setattr(watching, "view_of", broken)
    answer = client.get(f"/v1/studies/{made[1]}")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret inside" in caplog.text
    assert made[1] not in caplog.text


def test_what_a_library_refuses_is_logged_with_its_place_and_what_we_refuse_is_not(
    client: FlaskClient,
    made: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = client.patch(f"/v1/studies/{made[1]}", json={"name": "a\u202eb"})
    assert (wrong.status_code, caplog.text) == (422, "")

    def by_a_library(*given: Any) -> Any:
        return np.zeros((2, 2)).reshape(3)

    monkeypatch.setattr(watching, "view_of", by_a_library)
    answer = client.get(f"/v1/studies/{made[1]}")
    assert answer.status_code == 422
    assert "in by_a_library" in caplog.text and "cannot reshape" in caplog.text
    assert made[1] not in caplog.text


def test_the_more_watch_the_less_often_there_is_news(
    made: tuple[str, str], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], thread_time=lambda: 0.0)
    monkeypatch.setattr(watching, "time", clock)
    watch = watching.Watch(storage, made[0], threading.Event())
    watch.look()

    def news_at(moment: float) -> bool:
        now[0] = moment
        before = watch.view
        studies.rename(storage, made[0], f"at {moment}")
        return watch.look() is not before

    with ExitStack() as stack:
        assert [news_at(moment) for moment in (1.0, 2.0)] == [True, True]
        for _ in range(100):
            stack.enter_context(watch.viewed())
        assert [news_at(moment) for moment in (3.0, 12.9, 13.0, 14.0)] == [True, False, True, False]
        assert watch.look(now=True).state["name"] == "at 14.0", "whoever changed it sees it at once"
    assert news_at(24.1) and news_at(25.0)


def test_what_a_study_found_is_written_once_for_all_who_ask(
    client: FlaskClient,
    made: tuple[str, str],
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = []

    def counted(name: str) -> Callable[[Results], Any]:
        write = getattr(Results, name)
        return lambda results: written.append(name) or write(results)

    for name in ("to_json", "to_csv"):
        monkeypatch.setattr(Results, name, counted(name))
    base = f"/v1/studies/{made[1]}"
    results = client.get(f"{base}/results")
    assert results.mimetype == "application/json"
    paths = [f"{base}/results", *(f"{base}/downloads/trials.{kind}" for kind in ("json", "csv"))]
    with ThreadPoolExecutor(9) as threads:
        asked = threads.map(lambda path: client.application.test_client().get(path).data, paths * 3)
        found = list(asked)
    assert found == [results.data, results.data, found[2]] * 3
    assert sorted(written) == ["to_csv", "to_json"]
    end(storage, made[0], 0.5)
    client.patch(base, json={"name": "flowers"})
    assert client.get(f"{base}/results").data != results.data
    assert written.count("to_json") == 2


def test_what_a_study_found_is_asked_for_so_often(
    client: FlaskClient, made: tuple[str, str]
) -> None:
    for path in ("results", "downloads/trials.json"):
        answers = [client.get(f"/v1/studies/{made[1]}/{path}").status_code for _ in range(121)]
        assert answers == [200] * 120 + [429]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/pause", None),
        ("POST", "/resume", {}),
        ("POST", "/cancel", None),
        ("PATCH", "", {"name": "flowers"}),
        ("DELETE", "", None),
    ],
)
def test_a_study_is_changed_so_often(
    client: FlaskClient,
    made: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: Any,
) -> None:
    def refuse(study: str) -> StudyRow:  # At once: what counts is how many there are in a minute.
        raise ValueError("not now")

    monkeypatch.setattr(v1, "study_of", refuse)
    base = f"/v1/studies/{made[1]}{path}"
    answers = [client.open(base, method=method, json=body).status_code for _ in range(61)]
    assert answers == [422] * 60 + [429]


def test_a_finished_study_goes_on_with_more_trials(client: FlaskClient, storage: Storage) -> None:
    row, key = finished(storage)
    base = f"/v1/studies/{key}"
    before = client.get(base).get_json()
    assert (before["state"], before["budget"]) == ("finished", 1)
    more = client.post(f"{base}/resume", json={"trials": 2}).get_json()
    assert (more["state"], more["budget"], more["has_network"]) == ("running", 3, True)
    end(storage, row.id, 0.4)

    def it_is_counted() -> bool:
        return bool(client.get(base).get_json()["trials"]["finished"] == 2)

    wait_until(it_is_counted, "the trial is counted")
    assert client.get(base).get_json()["trials"]["waiting"] == 1


def test_a_full_service_takes_no_more_and_says_so(
    client: FlaskClient, service: Service, made: tuple[str, str]
) -> None:
    with open(IRIS, "rb") as file:
        table = file.read()
    kept = client.post("/v1/uploads?name=iris.csv", data=table).json
    assert kept is not None
    wanted = {"upload": kept["upload"], "target": "species"}
    service.quota.limits = Limits(open_studies=1)
    refused = client.post("/v1/studies", json=wanted)
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "1 open studies" in refused.text
    service.quota.limits = Limits(stored=1000)
    assert client.post("/v1/uploads?name=iris.csv", data=table).status_code == 503
    service.quota.limits = Limits(upload=1000)
    larger = client.post("/v1/uploads?name=iris.csv", data=table)
    assert larger.status_code == 413
    assert larger.mimetype == "application/problem+json"
    assert not list((service.home / "uploads").iterdir())


def test_no_more_studies_are_open_than_may_be_however_they_are_opened(
    client: FlaskClient, service: Service, storage: Storage
) -> None:
    service.quota.limits = Limits(open_studies=1)
    (_, key), (_, other) = new(storage), new(storage)
    for one in (key, other):
        assert client.post(f"/v1/studies/{one}/pause").status_code == 200
    assert client.post(f"/v1/studies/{key}/resume", json={}).status_code == 200
    refused = client.post(f"/v1/studies/{other}/resume", json={})
    assert refused.status_code == 503
    more = client.post(f"/v1/studies/{key}/resume", json={"trials": 2})
    assert more.status_code == 200, "it is one of those that are open"
    assert "takes no more until some have ended" in refused.text


def test_studies_that_are_being_made_count_as_open(service: Service) -> None:
    service.quota.limits = Limits(open_studies=2)
    with service.quota.for_a_study(), service.quota.for_a_study():
        with pytest.raises(FullError, match="2 open studies"), service.quota.for_a_study():
            pass
    with service.quota.for_a_study():
        pass


def test_keys_are_guessed_no_more_often_by_changing_the_call(
    client: FlaskClient, made: tuple[str, str]
) -> None:
    calls = ("", "/results", "/trials", "/figures", "/columns", "/downloads/trials.csv")
    answers = [
        client.get(f"/v1/studies/{number:022d}{calls[number % len(calls)]}") for number in range(66)
    ]
    assert [answer.status_code for answer in answers] == [404] * 60 + [429] * 6
    assert client.get(f"/s/{1:022d}").status_code == 429
    study_id, key = made
    wrong = {"Authorization": f"Bearer {key[::-1]}"}
    for there in (study_id, "aaaaaaaa"):  # Of what there is it says no more than of what is not.
        assert client.get(f"/v1/studies/{there}", headers=wrong).status_code == 429
    last = answers[-1].json
    assert last is not None
    assert re.search(r"Try again in (1\smin|\d+\ss)\.", last["detail"])


def test_whoever_guesses_keeps_nobody_else_of_the_same_address_out(
    client: FlaskClient, made: tuple[str, str], operator: dict[str, str]
) -> None:
    answers = [client.get(f"/v1/studies/{number:022d}").status_code for number in range(61)]
    assert answers[-1] == 429
    study_id, key = made
    for path in ("/", "/docs", f"/s/{key}", f"/v1/studies/{key}"):
        assert client.get(path).status_code == 200, path
    by_header = {"Authorization": f"Bearer {key}"}
    for headers in (by_header, operator):
        assert client.get(f"/v1/studies/{study_id}", headers=headers).status_code == 200
    assert client.post("/v1/examples/iris").status_code == 201
    assert client.post(f"/v1/studies/{key}/pause").status_code == 200


def test_what_is_not_there_yet_is_no_guess(client: FlaskClient, made: tuple[str, str]) -> None:
    path = f"/v1/studies/{made[1]}/downloads/model.keras"
    assert {client.get(path).status_code for _ in range(70)} == {404}


def test_a_study_begins_with_anothers_trials_by_its_key(
    client: FlaskClient, storage: Storage, made: tuple[str, str]
) -> None:
    study_id, key = made
    for value in (0.5, 0.6):
        end(storage, study_id, value)
    offered = client.post(f"/v1/studies/{key}/choices", json={"space": None}).get_json()
    assert (offered["target"], offered["space"], offered["limits"]) == ("species", "mlp", {})
    assert {one["name"] for one in offered["parameters"]} >= {"depth", "width"}
    asked = {"parent_key": key, "limits": {"depth": "1:20"}, "trials": 7}
    answer = client.post("/v1/studies", json=asked)
    assert answer.status_code == 201, answer.text
    child = studies.get(storage, answer.get_json()["study"])
    parent = studies.get(storage, study_id)
    assert (child.parent, child.dataset, child.trials) == (study_id, parent.dataset, 7)
    assert child.plan["limits"] == {"depth": "1:20"}
    assert child.plan["known"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"parent_key": "A" * 22}, 404, "No study has this key."),
        ({"parent_key": ""}, 404, "No study has this key."),
        ({"upload": "x"}, 422, "upload: Expected none,"),
        ({"test_upload": "x"}, 422, "test_upload: Expected none,"),
        ({"target": "species"}, 422, "Leave out target."),
        ({"metric": "log_loss"}, 422, "Leave out metric."),
        ({"parent_key": None}, 422, "upload: Expected a value. Received none."),
    ],
)
def test_a_study_that_cannot_begin_with_another_is_refused(
    client: FlaskClient, made: tuple[str, str], changes: dict[str, Any], status: int, words: str
) -> None:
    answer = client.post("/v1/studies", json={"parent_key": made[1], **changes})
    assert answer.status_code == status, answer.text
    assert words in answer.get_json()["detail"]


def test_wrong_keys_of_studies_to_begin_with_are_guesses(client: FlaskClient) -> None:
    answers = [
        client.post("/v1/studies", json={"parent_key": f"{n:022d}"}).status_code for n in range(31)
    ]
    assert answers == [404] * 30 + [429]  # Uploads and studies are limited further still.


def test_a_study_begins_with_one_of_which_all_failed(
    client: FlaskClient, storage: Storage, made: tuple[str, str]
) -> None:
    from storage import claiming
    from storage.rows import Taker
    from topo_search.serving import ServedStudy

    row = studies.get(storage, made[0])
    served = ServedStudy(storage=storage, row=row, cache=None)  # type: ignore[arg-type]
    lease = claiming.claim(storage, row.id, Taker(owner="w"), served)
    assert lease is not None
    trials.begin(storage, lease, served.distributions)
    assert trials.end(storage, lease, state="failed", attributes={"reason": "odd"})
    answer = client.post("/v1/studies", json={"parent_key": made[1]})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("warnings", "told"),
    [
        ([], []),
        (["Blank rows left out: 1."], ["Blank rows left out: 1."]),
        ([f"Column '名{n}\r\n'" for n in range(50)], [f"Column '名{n}�'" for n in range(20)]),
        (["名" * 5000] * 30, ["名" * 199 + "…"]),
    ],
)
def test_what_is_doubtful_of_a_table_is_told_in_short_headers(
    client: FlaskClient,
    made: tuple[str, str],
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    warnings: list[str],
    told: list[str],
) -> None:
    monkeypatch.setattr(v1, "_network", lambda row: None)
    monkeypatch.setattr(service, "predict", lambda *given: (io.BytesIO(b"x"), warnings))
    answer = client.post(f"/v1/studies/{made[1]}/predict", data=b"x\n1\n")
    assert answer.headers["X-Warnings"] == str(len(warnings))
    assert json.loads(unquote(answer.headers["X-Warning-Texts"])) == told
    assert len(str(answer.headers)) < 4_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rows": []}, "rows: Expected 1 to 1,000 values. Received 0."),
        ({"rows": [{"x": 5.9}]}, "rows.0.x.value: Expected text. Received: 5.9."),
        ({"rows": [{"x": "1"}], "colour": "red"}, "colour: Expected no field but rows."),
        ([1, 2], "Expected an object with fields."),
    ],
)
def test_rows_to_predict_that_are_none_are_refused_in_words(
    client: FlaskClient, made: tuple[str, str], body: Any, words: str
) -> None:
    answer = client.post(f"/v1/studies/{made[1]}/predict", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert words in answer.json["detail"]


def test_gathering_that_fails_is_logged_as_all_else_is(
    service: Service,
    made: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*given: Any) -> Any:
        raise ZeroDivisionError("in the midst of it")

    monkeypatch.setattr(watching, "view_of", broken)
    assert service.watches.of(made[0]).soon(DEADLINE) is None
    assert "cannot be gathered" in caplog.text and "in the midst of it" in caplog.text
