"""A worker as one of a fleet: what it serves, how it leaves, what it tells of itself."""

import io
import json
import logging
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from stored_studies import claim, let_expire, open_leases, optuna_trials
from stories import Outage, Serve, appears, fates, go, make_study, sends

from storage import changes, events, studies, workers
from storage.connection import Storage
from storage.errors import StorageError
from storage.migrating import VERSION_TABLE
from storage.rows import Drawn, Lease
from topo_search import (
    fleet,
    forking,
    logs,
    monitoring,
    own_worker,
    retries,
    study_status,
    worker,
)
from topo_search.heartbeat import OutdatedError
from topo_search.machine import Serving
from topo_search.monitoring import monitored
from topo_search.scheduler import Held
from topo_search.serving import ServedStudy
from topo_search.web.study_state import StudyState
from topo_search.worker import Worker

PORT = 0  # Any that is free.


def test_a_worker_with_a_tag_serves_only_studies_that_have_it(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    tagged = make_study(storage, folder, trials=2, tags=["gpu", "big"])
    other, plain = (make_study(storage, folder, trials=2, tags=tags) for tags in (["x"], []))
    one = serve(tags=["gpu"])
    assert one.delivered == 2
    assert fates(storage, tagged) == ["COMPLETE"] * 2
    assert [studies.get(storage, row.id).drawn for row in (other, plain)] == [0, 0]
    serve()  # A worker without one serves all.
    assert fates(storage, other) == fates(storage, plain) == ["COMPLETE"] * 2


def test_studies_take_turns(storage: Storage, folder: Path, serve: Serve) -> None:
    rows = [make_study(storage, folder, trials=3) for _ in range(3)]
    serve()
    begun = sorted(
        (trial.datetime_start, place)
        for place, row in enumerate(rows)
        for trial in optuna_trials(storage, row)
        if trial.datetime_start is not None
    )
    places = [place for _, place in begun]
    assert [sorted(places[turn : turn + 3]) for turn in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_a_small_study_need_not_wait_until_a_large_one_is_through(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    large, small = (make_study(storage, folder, trials=trials) for trials in (24, 3))
    serve(slots=1)
    begun = sorted(
        (trial.datetime_start, row is small)
        for row in (large, small)
        for trial in optuna_trials(storage, row)
        if trial.datetime_start is not None
    )
    assert [is_small for _, is_small in begun[:9]].count(True) == 3


def test_what_was_left_behind_comes_before_the_next_turn(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    rows = [make_study(storage, folder, trials=3) for _ in range(3)]
    lost = claim(storage, rows[2].id, "gone", lambda unit: Drawn(parameters={"x": 9}, seed=1))
    assert lost is not None
    let_expire(storage, lost.id)
    serve()
    begun = [
        (trial.datetime_start, place, trial.user_attrs["attempts"])
        for place, row in enumerate(rows)
        for trial in optuna_trials(storage, row)
    ]
    assert min(begun)[1:] == (2, 1)  # It had only been claimed before.


def test_a_drain_that_takes_too_long_hands_back_what_runs(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})
    first = serve(appears(folder / "began-0-1"), sends(signal.SIGTERM), drain=0.5)
    assert (first.draining, first.delivered) == (True, 0)
    (lease, *_) = open_leases(storage, study.id)
    assert (lease.unit, lease.owner, lease.attempt) == (0, None, 0)
    go(folder)(first)
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_a_worker_asked_to_end_while_it_claims_begins_nothing_more(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    """It would not have the time that draining gives: nothing was held when that began."""
    study = make_study(storage, folder, trials=4)

    def claim_and_be_asked(one: Worker) -> bool:
        claim = one.scheduler.next

        def next_(**how: Any) -> Held | None:
            held = claim(**how)
            one.drain()
            return held

        one.scheduler.next = next_  # type: ignore[method-assign]
        return True

    serve(slots=2, prepared=claim_and_be_asked)
    (lease,) = open_leases(storage, study.id)
    assert (lease.owner, lease.attempt, fates(storage, study)) == (None, 0, [])
    serve()
    assert fates(storage, study) == ["COMPLETE"] * 4
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def test_the_fleet_knows_who_is_there_and_what_it_trains(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1, fates={"0": "gated"}, tags=["night"])
    seen: list[workers.Known] = []

    def the_fleet_is_looked_at(_: Worker) -> bool:
        seen.extend(workers.known(storage))
        return bool(seen)

    def it_drains(_: Worker) -> bool:
        return workers.known(storage)[0].state == "draining"

    waits = appears(folder / "began-0-1")
    story = (waits, the_fleet_is_looked_at, sends(signal.SIGTERM), it_drains, go(folder))
    one = serve(*story, only=[study.id], tags=["night", "big"])
    (known,) = seen
    assert (known.worker.studies, known.worker.tags) == ((study.id,), ("big", "night"))
    assert (known.worker.name, known.worker.slots, known.state) == (one.name, 1, "serving")
    assert [(t.study, t.trial, t.attempt) for t in known.trains] == [(study.id, 0, 1)]
    told = [(event.kind, event.worker) for event in events.latest(storage) if event.worker]
    assert told == [("worker joined", one.name), ("worker left", one.name)]
    assert workers.known(storage)[0].state == "left"


def test_a_study_whose_every_trial_fails_is_paused_with_the_reason(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=40, fates={"rest": "raises"})
    serve(slots=2)
    row = studies.get(storage, study.id)
    assert row.state == "paused" and row.reason is not None
    assert row.reason.endswith("trials all failed: RuntimeError: no such layer")
    assert 10 <= row.drawn <= 13
    assert f"Study {study.id} is paused: {row.reason}" in caplog.text
    failed = [record for record in caplog.records if getattr(record, "traceback", None)]
    assert {record.levelname for record in failed} == {"ERROR"} and len(failed) >= 10
    message = f"Trial 0 of study {study.id}: RuntimeError: no such layer"
    (first,) = [record for record in failed if record.getMessage() == message]
    plain = logs.PlainLines().format(first)
    assert f"E {message}\n    Traceback (most recent call last):\n    " in plain
    assert plain.endswith("\n    RuntimeError: no such layer")
    told = json.loads(logs.JsonLines("w").format(first))
    assert (told["message"], told["trial"]) == (message, 0)
    assert "toy_objectives.py" in told["traceback"]


def test_an_outage_that_never_ends_ends_a_worker_that_has_nothing(
    serve: Serve, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_OUTAGE", 0.3)
    with pytest.raises(StorageError, match="PostgreSQL at"):
        serve(outage.begins, until_idle=False)
    outage.ends(None)  # type: ignore[arg-type]


def test_a_result_outlasts_the_longest_outage(
    storage: Storage, folder: Path, serve: Serve, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_OUTAGE", 0.0)
    study = make_study(storage, folder, trials=2, fates={"0": "gated"})
    waits = appears(folder / "began-0-1")
    serve(waits, outage.begins, go(folder), outage.is_waited_out, outage.ends)
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert {trial.user_attrs["attempts"] for trial in optuna_trials(storage, study)} == {1}


def asked(server: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_are_told_on_a_port(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, folder, trials=3, fates={"0": "raises", "2": "gated"})
    told: dict[str, tuple[int, str]] = {}

    def they_are_asked_for(one: Worker) -> bool:
        with monitored(one, PORT) as server:
            told["metrics"] = asked(server, "/metrics")
            told["health"] = asked(server, "/healthz")
            told["other"] = asked(server, "/nothing")
            with monkeypatch.context() as patched:
                patched.setattr(one, "turned_at", time.monotonic() - 61.0)
                told["stuck"] = asked(server, "/healthz")
            monkeypatch.setattr(monitoring, "LONGEST_SILENCE", -1.0)
            told["sick"] = asked(server, "/healthz")
        return True

    serve(appears(folder / "began-2-1"), they_are_asked_for, go(folder))
    status, text = told["metrics"]
    assert status == 200
    lines = text.splitlines()
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    exported = {re.split("[ {]", line)[0] for line in lines if not line.startswith("#")}
    assert len(exported) > 12 and exported <= set(re.findall(r"`(\w+)(?:{outcome})?`", page))
    for line in (
        "topo_search_slots 1.0",
        "topo_search_slots_busy 1.0",
        'topo_search_trials_total{outcome="failed"} 1.0',
        'topo_search_trials_total{outcome="complete"} 1.0',
        "topo_search_leases_lost_total 0.0",
    ):
        assert line in lines
    assert told["health"] == (200, "ok\n")
    assert told["other"][0] == 404
    assert told["stuck"] == (503, "The worker has not taken a turn for 61 s.\n")
    assert told["sick"][0] == 503 and "has not answered" in told["sick"][1]


def test_a_log_for_machines_names_worker_study_and_trial_in_every_line(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=2, fates={"0": "raises"})
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logs.JsonLines("me"))
    logger = logging.getLogger("topo_search")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        serve()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    names = {"time", "level", "message", "worker", "study", "trial"}
    assert all(set(line) - {"traceback"} == names for line in told)
    assert {t["worker"] for t in told} == {"me"}
    assert [(t["study"], t["trial"]) for t in told if t["trial"] is not None] == [
        (study.id, 0),  # With the traceback.
        (study.id, 0),
        (study.id, 1),
    ]


def test_a_study_of_another_major_version_is_refused_with_the_remedy(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=1, version="97.2.1")
    serve()
    assert studies.get(storage, study.id).drawn == 0
    assert f"Study {study.id} was made by topo-search 97.2.1, and this is 0." in caplog.text
    assert "in a checkout of version 97: pip install -c constraints.txt ." in caplog.text


def test_a_study_whose_objective_is_missing_on_a_machine_loses_no_trial_to_it(
    storage: Storage, folder: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study(storage, folder, trials=2, objective="not_here:objective")
    serve(objectives=["not_here:objective"])
    assert "Install the package on this machine" in caplog.text
    assert studies.get(storage, study.id).state == "running"
    (trial,) = optuna_trials(storage, study)
    assert not trial.state.is_finished()
    serving = Serving(objectives=["not_here:objective"])
    with pytest.raises(LookupError, match="stays open for machines that can serve it"):
        own_worker.serve(storage, folder / "home", study.id, serving)


def test_a_study_that_all_who_are_there_refuse_is_known_not_to_be_served(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1)
    seen: list[tuple[int, str | None]] = []
    marks = [changes.mark(storage, study.id)]

    def it_is_refused(one: Worker) -> bool:
        told = StudyState.of(storage, study)
        if told.refusal is None:
            return False
        seen.append((told.serving, told.refusal))
        marks.append(changes.mark(storage, study.id))
        assert fleet.look(storage, 0).unserved == [study.id]
        shown = study_status.status(storage, study)["refused"]
        assert list(shown) == [one.name] and "--allow-objective" in shown[one.name]
        one.drain()
        return True

    serve(it_is_refused, objectives=[], until_idle=False)
    ((serving, why),) = seen
    assert serving == 0 and why is not None and "which this worker may not" in why
    assert marks[0] != marks[1]
    assert [event.text for event in events.latest(storage, kinds=["study refused"])] == [why]
    assert StudyState.of(storage, study).refusal is None, "who refused it has left"


def test_a_worker_that_was_away_while_the_tables_were_upgraded_goes_and_says_why(
    storage: Storage, folder: Path, serve: Serve
) -> None:
    study = make_study(storage, folder, trials=1, fates={"0": "gated"})
    upgrade = f"UPDATE {VERSION_TABLE} SET version_num = '9999'"

    def the_tables_are_upgraded(one: Worker) -> bool:
        with storage.transaction() as connection:
            connection.exec_driver_sql(upgrade)
        one._due["heartbeat"] = 0.0
        return True

    with pytest.raises(OutdatedError, match=r"schema 9999, this worker needs \d{4}\)"):
        serve(appears(folder / "began-0-1"), the_tables_are_upgraded)
    (lease,) = open_leases(storage)
    (known,) = workers.known(storage)
    assert lease.owner == known.worker.name, "it writes nothing into tables that are others"
    assert studies.get(storage, study.id).drawn == 1


def test_a_long_log_of_the_slots_is_set_aside(
    storage: Storage, folder: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "home" / "slots.log"
    log.parent.mkdir()
    log.write_text("much has been printed\n" * 100)
    monkeypatch.setattr(forking, "LONGEST_LOG", 1_000)
    make_study(storage, folder, trials=1)
    serve()
    assert log.with_suffix(".old.log").read_text().startswith("much has been printed")
    assert log.stat().st_size < 1_000


def test_each_slot_sees_one_gpu_alone(storage: Storage, folder: Path, serve: Serve) -> None:
    study = make_study(storage, folder, trials=12, fates={})

    def has_two_gpus(one: Worker) -> bool:
        one.pool.gpus = ["7", "9"]
        return True

    serve(slots=3, prepared=has_two_gpus)
    seen = {(t.user_attrs["pid"], t.user_attrs["gpu"]) for t in optuna_trials(storage, study)}
    assert len({pid for pid, _ in seen}) == len(seen)
    assert {gpu for _, gpu in seen} == {"7", "9"}


def test_a_study_that_cannot_be_served_now_is_tried_again_later(
    storage: Storage, folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage, folder, trials=2)
    monkeypatch.setattr(worker, "REFUSED", 0.5)
    described = ServedStudy.assignment
    tried: list[int] = []
    marks: list[object] = []

    def assignment(served: ServedStudy, lease: Lease) -> object:
        tried.append(lease.unit)
        marks.append(changes.mark(storage, study.id))
        if len(tried) > 1:  # It was refused already: that is known while it lasts, and told once.
            assert "No space left" in str(StudyState.of(storage, study).refusal)
            (why,) = study_status.status(storage, study)["refused"].values()
            assert why == "cannot be served here now: [Errno 28] No space left on device"
            assert fleet.look(storage, 0).unserved == [study.id]
        if len(tried) < 3:
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(ServedStudy, "assignment", described)
        return described(served, lease)

    def it_is_served_again(one: Worker) -> bool:
        if not one.held:
            return False
        told = StudyState.of(storage, study)
        assert (told.serving, told.refusal) == (1, None)
        assert fleet.look(storage, 0).unserved == []
        return True

    monkeypatch.setattr(ServedStudy, "assignment", assignment)
    serve(it_is_served_again, slots=1)  # Though it is to end when idle.
    assert tried == [0, 0, 0]
    assert fates(storage, study) == ["COMPLETE"] * 2
    assert optuna_trials(storage, study)[0].user_attrs["attempts"] == 1
    kinds: tuple[events.Kind, ...] = ("study refused", "study served")
    told = [event.kind for event in events.latest(storage, study=study.id, kinds=kinds)]
    assert told == [*kinds]
    assert marks[0] != marks[1] != changes.mark(storage, study.id)
