import io
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from rich.console import Console
from stored_studies import begun, make_study

from storage import changes, events, tables, trials, workers
from storage.connection import Storage
from storage.workers import Worker
from topo_search import fleet
from topo_search.web.study_state import StudyState

LEASE = 60.0
SHORT = 0.01  # A lease of which the tests' server has been up for two.


def worker(name: str, **changes: Sequence[str]) -> Worker:
    told = {"host": "h", "version": "1", "device": "2 cores", "slots": 2}
    told |= {"studies": (), "tags": ()} | {key: tuple(limit) for key, limit in changes.items()}
    return Worker(name=name, **told)  # type: ignore[arg-type]


def silent_for(storage: Storage, name: str, seconds: float) -> None:
    ago = sa.func.now() - sa.text(f"interval '{seconds} seconds'")
    with storage.transaction() as connection:
        mine = tables.worker.c.name == name
        connection.execute(sa.update(tables.worker).where(mine).values(seen_at=ago))


def shown(storage: Storage) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(fleet.shown(fleet.look(storage, 10)))
    return captured.get()


def kinds(storage: Storage) -> list[tuple[str, str | None]]:
    return [(event.kind, event.worker) for event in events.latest(storage)]


def test_a_worker_joins_serves_and_leaves(storage: Storage) -> None:
    one = worker("a")
    for state in ("serving", "serving", "draining", "left"):
        workers.heard(storage, one, lease=LEASE, state=state)  # type: ignore[arg-type]
    assert kinds(storage) == [("worker joined", "a"), ("worker left", "a")]
    (known,) = workers.known(storage)
    assert (known.worker, known.state, list(known.trains)) == (one, "left", [])


def test_who_is_silent_for_two_leases_is_lost_and_welcome_back(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=LEASE)
    silent_for(storage, "a", 10.0)
    workers.heard(storage, worker("b"), lease=LEASE)
    assert {known.state for known in workers.known(storage)} == {"serving"}
    for _ in range(2):
        workers.heard(storage, worker("b"), lease=SHORT)
    assert {known.worker.name: known.state for known in workers.known(storage)} == {
        "a": "lost",
        "b": "serving",
    }
    workers.heard(storage, worker("a"), lease=LEASE)
    assert kinds(storage)[2:] == [("worker lost", "a"), ("worker back", "a")]
    assert {known.state for known in workers.known(storage)} == {"serving"}


def test_nobody_is_lost_while_the_server_has_just_started(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=1e9)
    silent_for(storage, "a", 3e8)
    # The server of the tests has not been up for as long as two of these leases.
    workers.heard(storage, worker("b"), lease=1e8)
    assert kinds(storage)[2:] == []


@pytest.mark.parametrize(("up", "state"), [("1 hour", "lost"), ("1 minute", "serving")])
def test_the_last_worker_is_lost_though_nobody_else_is_left_to_note_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, up: str, state: str
) -> None:
    make_study(storage)
    workers.heard(storage, worker("a"), lease=LEASE)
    monkeypatch.setattr(workers, "SERVER_STARTED", sa.func.now() - sa.text(f"interval '{up}'"))
    silent_for(storage, "a", 100)
    assert [known.state for known in workers.known(storage)] == ["serving"]
    silent_for(storage, "a", 130)
    assert [known.state for known in workers.known(storage)] == [state]
    assert ("Nobody serves them" in shown(storage)) == (state == "lost")
    assert [event.kind for event in events.latest(storage)] == ["study created", "worker joined"]
    silent_for(storage, "a", 3700)
    assert len(workers.known(storage)) == (state == "serving")  # As who left.


def test_a_page_hears_of_the_last_worker_s_loss_and_calls_nothing_busy_then(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(storage)
    marks = [changes.mark(storage, study.id)]
    started = sa.func.now() - sa.text("interval '1 day'")
    monkeypatch.setattr(workers, "SERVER_STARTED", started)
    workers.heard(storage, worker("a"), lease=LEASE)
    marks.append(changes.mark(storage, study.id))
    begun(storage, study, owner="a")
    marks.append(changes.mark(storage, study.id))
    told = StudyState.of(storage, study)
    assert (told.serving, told.busy) == (1, 1)
    silent_for(storage, "a", 130)
    marks.append(changes.mark(storage, study.id))
    told = StudyState.of(storage, study)
    assert (told.serving, told.busy) == (0, 0)
    assert len(set(marks)) == 4


def test_a_study_is_for_a_worker_that_is_limited_to_it_or_to_nothing() -> None:
    assert worker("a").may_serve("s", []) and worker("a").may_serve("s", ["t"])
    assert worker("a", tags=["t", "u"]).may_serve("s", ["t", "x"])
    assert not worker("a", tags=["t"]).may_serve("s", ["x"])
    assert not worker("a", tags=["t"]).may_serve("s", [])
    assert worker("a", studies=["r", "s"]).may_serve("s", ["x"])
    assert not worker("a", studies=["r"]).may_serve("s", ["x"])
    assert not worker("a", studies=["s"], tags=["t"]).may_serve("s", ["x"])


def test_a_study_that_nobody_here_may_serve_is_known_as_such(storage: Storage) -> None:
    tagged, plain = make_study(storage, tags=["night"]), make_study(storage)
    one, other = worker("a", tags=["night"]), worker("b", studies=[tagged.id])
    for known in (one, other):
        workers.heard(storage, known, lease=LEASE)
    assert [known.worker for known in workers.known(storage)] == [one, other]
    assert fleet.look(storage, 0).unserved == [plain.id]
    told = shown(storage)
    assert f"Nobody serves {plain.id}: start a worker with: topo-search worker" in told
    assert "tag night" in told and f"study {tagged.id}" in told
    assert (StudyState.of(storage, tagged).serving, StudyState.of(storage, plain).serving) == (2, 0)
    workers.heard(storage, worker("c"), lease=LEASE)
    assert (StudyState.of(storage, tagged).serving, StudyState.of(storage, plain).serving) == (3, 1)
    assert "Nobody" not in shown(storage)


def test_who_is_here_is_listed_before_who_was_lost_and_who_left(storage: Storage) -> None:
    for name, state in (("a", "left"), ("b", "lost"), ("c", "draining"), ("d", "serving")):
        workers.heard(storage, worker(name), lease=LEASE, state=state)  # type: ignore[arg-type]
    assert [known.worker.name for known in workers.known(storage)] == ["c", "d", "b", "a"]


def test_who_watches_sees_as_much_as_fits_the_screen(storage: Storage) -> None:
    for number in range(6):
        workers.heard(storage, worker(f"gone-{number}"), lease=LEASE, state="left")
    serve = [f"a-host-of-a-long-name-1234{number}-deadbeef" for number in range(8)]
    for name in serve:
        workers.heard(storage, worker(name), lease=LEASE)
    console = Console(width=80, height=24, file=io.StringIO())

    def seen() -> list[str]:
        with console.capture() as captured:
            console.print(fleet.fitted(console, fleet.look(storage, 10)))
        return captured.get().splitlines()

    make_study(storage)
    make_study(storage, tags=["night"])
    told = "\n".join(seen())
    assert len(seen()) <= 24
    assert told.count("serving") == 3 and "5 more workers, 6 workers left in the last hour" in told
    assert "study created" in seen()[-1] and "earlier events" in told and "gone" not in told
    workers.heard(storage, worker("late"), lease=LEASE)
    assert "late" in seen()[-1] and len(seen()) <= 24
    for name in serve:
        workers.heard(storage, worker(name), lease=LEASE, state="left")
    told = "\n".join(seen())
    assert "late" in told and "14 workers left in the last hour" in told and "more" not in told
    workers.heard(storage, worker("late"), lease=LEASE, state="left")
    told = "\n".join(seen())
    assert "Nobody serves them" in told and "15 workers left in the last hour" in told


def test_how_long_a_worker_is_silent_is_told_in_full(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=LEASE)
    silent_for(storage, "a", 59 * 60 + 50)
    assert "59\u00a0min 5" in shown(storage) and "…" not in shown(storage)


def test_nobody_is_lost_while_others_may_have_been_cut_off_as_well(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=LEASE)
    silent_for(storage, "a", 10.0)
    workers.heard(storage, worker("b"), lease=SHORT, others_may_be_back=True)
    assert {known.state for known in workers.known(storage)} == {"serving"}


def test_what_a_worker_trains_and_has_ended_is_known(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=LEASE)
    study = make_study(storage, trials=5)
    for _ in range(2):
        trials.end(storage, begun(storage, study, "a"), state="complete", value=1.0)
    running = begun(storage, study, "a")
    (known,) = workers.known(storage)
    assert known.trials_last_hour == 2
    (trained,) = known.trains
    assert (trained.study, trained.kind, trained.trial) == (study.id, "trial", running.unit)
    assert (trained.attempt, 0 <= trained.seconds < 60) == (1, True)
    with storage.transaction() as connection:
        earlier = sa.func.now() - sa.text("interval '2 hours'")
        connection.execute(sa.update(tables.lease).values(ended_at=earlier, outcome="complete"))
    (known,) = workers.known(storage)
    assert (known.trials_last_hour, list(known.trains)) == (0, [])


def test_who_left_long_ago_is_not_shown(storage: Storage) -> None:
    workers.heard(storage, worker("a"), lease=LEASE)
    workers.heard(storage, worker("a"), lease=LEASE, state="left")
    assert [known.worker.name for known in workers.known(storage)] == ["a"]
    silent_for(storage, "a", 3700)
    assert workers.known(storage) == []


def test_events_are_told_in_order_of_one_study_or_after_one(storage: Storage) -> None:
    first, second = make_study(storage), make_study(storage)
    trials.end(
        storage, begun(storage, first), state="failed", attributes={"reason": "no such layer"}
    )
    told = events.latest(storage, study=first.id)
    assert [(event.kind, event.trial, event.text) for event in told] == [
        ("study created", None, ""),
        ("trial failed", 0, "no such layer"),
    ]
    assert events.following(storage, told[0].id)[0].study == second.id
    assert len(events.latest(storage, count=1)) == 1


def test_what_was_long_ago_is_forgotten_when_a_worker_joins(storage: Storage) -> None:
    make_study(storage)
    workers.heard(storage, worker("a"), lease=LEASE, state="left")
    workers.heard(storage, worker("b"), lease=LEASE)
    with storage.transaction() as connection:
        long_ago = sa.func.now() - sa.text("interval '91 days'")
        connection.execute(sa.update(tables.event).values(at=long_ago))
        connection.execute(sa.update(tables.worker).values(seen_at=long_ago))
    workers.heard(storage, worker("c"), lease=1e9)
    assert kinds(storage) == [("worker joined", "c")]
    with storage.transaction() as connection:
        names = connection.scalars(sa.select(tables.worker.c.name)).all()
    assert set(names) == {"b", "c"}  # Who never left is lost, not forgotten.
