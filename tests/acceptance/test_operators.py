"""What whoever runs a fleet types."""

import json
import os
import signal

import psycopg2
import pytest
from light_commands import Commands
from machines import COLUMNS, DEADLINE, Machine, wait_until

from storage import leases, studies, tokens, workers
from storage.connection import Storage

GATED = ("--objective", "toy_objectives:gated", "--space-file", "space.toml")
ALLOW = ("--allow-objective", "toy_objectives:gated")


def made(bench: Machine, *options: object) -> str:
    return str(bench.json("create", *GATED, *options)["study"])


def test_a_study_is_paused_resumed_cancelled_and_deleted(bench: Machine, storage: Storage) -> None:
    study = made(bench, "--trials", 3, "--name", f"life-{os.urandom(3).hex()}")
    assert bench.json("pause", study)["state"] == "paused"
    assert bench.json("status", study)["reason"] == "paused by hand"
    assert bench.json("worker", "--study", study, "--until-idle", *ALLOW)["trials"] == 0
    opened = bench.json("resume", study, "--trials", "+2", "--no-serve")
    assert (opened["state"], opened["trials"]) == ("created", 5)
    assert "cancelled" in bench.run("cancel", study, "--reason", "wrong data").stdout
    assert bench.json("status", study)["reason"] == "wrong data"
    assert "cancelled: wrong data" in bench.run("resume", study, *ALLOW, code=1).stderr
    anew = f"in a new study: topo-search create --from {study}"
    assert anew in bench.run("export", study, code=1).stderr
    assert "Nothing was trained: the study was cancelled" in bench.run("results", study).stdout
    refused = bench.run("delete", study, code=2).stderr
    assert f"topo-search delete {study} --yes" in refused
    bench.run("delete", study, "--yes")
    assert study not in {row.id for row in studies.list_studies(storage)}
    kinds = [event["kind"] for event in bench.json("fleet", "--events", 100)["events"]]
    kept = [kind for kind in kinds if kind.startswith("study ")]
    assert kept[-5:] == [
        "study created",
        "study paused",
        "study resumed",
        "study cancelled",
        "study deleted",
    ]


def test_a_worker_says_which_of_the_studies_it_is_for_are_not_open(bench: Machine) -> None:
    paused, cancelled, done = (made(bench, "--trials", 1) for _ in range(3))
    (bench.folder / "go").touch()
    bench.run("worker", "--study", done, "--until-idle", *ALLOW)
    bench.run("pause", paused, "--reason", "for the night")
    bench.run("cancel", cancelled, "--reason", "wrong data")
    named = [word for study in (paused, cancelled, done) for word in ("--study", study)]
    lines = bench.run("worker", *named, "--until-idle", *ALLOW).stderr.splitlines()
    told = [line.partition(" W ")[2] for line in lines if " W " in line]
    nothing = "Workers have nothing to do for it."
    assert told == [
        f"Study {paused} is paused: for the night. {nothing} "
        f"Go on with: topo-search resume {paused} --no-serve",
        f"Study {cancelled} is cancelled: wrong data. {nothing} "
        f"Go on with its trials in a new study: topo-search create --from {cancelled}",
        f"Study {done} is finished: the only trial done. {nothing} "
        f"Go on with: topo-search resume {done} --trials +20 --no-serve",
    ]


def test_a_worker_that_may_serve_nothing_it_is_for_ends_with_a_failure(bench: Machine) -> None:
    (bench.folder / "go").touch()
    study, other = (made(bench, "--trials", 1) for _ in range(2))
    refused = bench.run("worker", "--study", study, "--until-idle", code=1).stderr
    assert "Allow it here: topo-search worker --allow-objective toy_objectives:gated" in refused
    bench.run("pause", other)
    bench.run("worker", "--study", study, "--study", other, "--until-idle")  # Nothing is open.


def test_the_fleet_shows_who_trains_what(bench: Machine) -> None:
    study = made(bench, "--trials", 2, "--tag", "night")
    serve = ("worker", "--tag", "night", "--slots", 2, "--until-idle", "--log-json", *ALLOW)
    with bench.started(*serve) as process:
        wait_until(lambda: len(list(bench.folder.glob("began-*"))) == 2, "both trials begin")
        told = bench.json("fleet")
        (worker,) = [one for one in told["workers"] if one["trains"]]
        assert (worker["slots"], worker["state"]) == (2, "serving")
        assert sorted(one["trial"] for one in worker["trains"]) == [0, 1]
        shown = bench.run("fleet").stdout
        assert f"{study}: trial 0" in shown and "worker joined" in shown
        assert [line for line in shown.splitlines() if len(line) > COLUMNS] == []
        (bench.folder / "go").touch()
        _, logged = process.communicate(timeout=DEADLINE)
    lines = [json.loads(line) for line in logged.splitlines()]
    ended = [line["trial"] for line in lines if line["study"] == study and "complete" in str(line)]
    assert sorted(ended) == [0, 1]
    assert {line["worker"] for line in lines} == {worker["worker"]}


def test_the_storage_is_checked_and_its_url_opens_it(bench: Machine) -> None:
    made(bench, "--trials", 2)
    assert bench.run("storage", "check").stdout == "All is well.\n"
    assert bench.json("storage", "check") == []
    assert bench.json("storage", "upgrade") == {"schema": "0006"}
    url = bench.run("storage", "url").stdout.strip()
    assert url.startswith("postgresql+psycopg2://")
    with (
        psycopg2.connect(url.replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM studies")
        assert cursor.fetchone()[0] > 0


def test_a_study_begins_with_the_trials_of_another(bench: Machine, storage: Storage) -> None:
    (bench.folder / "go").touch()
    parent = made(bench, "--trials", 3)
    bench.json("worker", "--study", parent, "--until-idle", *ALLOW)
    child = bench.json("create", "--from", parent, "--trials", 2)["study"]
    assert studies.get(storage, child).parent == parent
    history = bench.json("results", child)["history"]
    assert [trial["state"] for trial in history] == ["complete"] * 3
    refused = bench.run("create", "--from", parent, "--target", "y", code=2).stderr
    assert "Leave out --target." in refused
    assert bench.json("worker", "--study", child, "--until-idle", *ALLOW)["trials"] == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_drained_worker_ends_well(bench: Machine, number: int, code: int) -> None:
    study = made(bench, "--trials", 2)
    with bench.started("worker", "--study", study, "--drain", "0s", *ALLOW) as process:
        wait_until(lambda: bool(list(bench.folder.glob("began-*"))), "a trial begins")
        process.send_signal(number)
        assert process.wait(100) == code
    told = bench.json("status", study)["trials"]
    assert (told["running"], told["waiting"]) == (0, 2)


def test_a_search_that_is_interrupted_says_that_nobody_serves_it(
    machine_of_its_own: Machine, commands: Commands
) -> None:
    own = machine_of_its_own.light(machine_of_its_own.folder, commands)
    (own.folder / "space.toml").write_text("[parameters]\nx = {low = 0, high = 99999}\n")
    with own.terminal("search", *GATED, "--trials", 2, "--slots", 1) as terminal:
        wait_until(lambda: bool(list(own.folder.glob("began-*"))), "a trial begins")
        terminal.press_ctrl_c()
        (own.folder / "go").touch()
        assert terminal.wait() == 130
    assert "The study is running; nobody serves it." in terminal.shown


def test_the_fleet_is_watched_until_ctrl_c(bench: Machine, storage: Storage) -> None:
    def heard(name: str, state: workers.State) -> None:
        one = workers.Worker(name=name, host="h", version="1", device="2 cores", slots=2)
        workers.heard(storage, one, lease=leases.LEASE, state=state)

    for number in range(8):
        heard(f"gone-{number}", "left")
    heard("here", "serving")
    try:
        with bench.terminal("fleet", "--watch") as terminal:
            wait_until(lambda: "waiting" in terminal.shown, "it is shown")
            assert "here" in terminal.shown and "left in the last hour" in terminal.shown
            study = made(bench, "--trials", 2)
            wait_until(lambda: study in terminal.shown, "what happens later is shown")
            terminal.press_ctrl_c()
            assert terminal.wait() == 0
        assert "Traceback" not in terminal.shown
    finally:
        heard("here", "left")


def test_a_token_is_made_listed_used_and_revoked(bench: Machine, storage: Storage) -> None:
    name = f"robot-{os.urandom(3).hex()}"
    secret = bench.json("token", "create", name)["token"]
    found = tokens.find(storage, secret)
    assert found is not None and found.name == name
    (listed,) = [one for one in bench.json("token", "list") if one["name"] == name]
    assert listed["last_used_at"] is not None
    assert secret not in bench.run("token", "list").stdout
    assert "which is taken" in bench.run("token", "create", name, code=1).stderr
    assert bench.json("token", "revoke", name) == {"name": name, "revoked": True}
    assert tokens.find(storage, secret) is None
    assert name in bench.run("token", "revoke", name, code=1).stderr
