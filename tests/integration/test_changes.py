import json
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from stored_studies import (
    DISTRIBUTIONS,
    begun,
    claimed,
    let_expire,
    make_study,
    open_leases,
    run_to_the_end,
    take_over,
)

from storage import changes, finishing, leases, studies, tables, trials
from storage.changes import mark
from storage.connection import Storage
from storage.optuna_rows import State
from storage.progress import progress_of
from storage.rows import StudyRow

Step = Callable[[], object]


def steps(storage: Storage, study: StudyRow) -> Iterator[Step]:
    """Yield what can become of a study, one after the other."""
    yield lambda: studies.rename(storage, study.id, "iris")
    yield lambda: studies.rename(storage, study.id, None)
    yield lambda: studies.pause(storage, study.id)
    yield lambda: studies.pause(storage, study.id, "lunch")
    yield lambda: studies.resume(storage, study.id)
    yield lambda: studies.resume(storage, study.id, trials=1)
    yield lambda: studies.resume(storage, study.id, seconds=1.0)
    first = claimed(storage, study)
    yield lambda: None
    yield lambda: trials.begin(storage, first, DISTRIBUTIONS)
    yield lambda: leases.release(storage, first)
    second = claimed(storage, study, "b")
    yield lambda: None
    assert second.id == first.id
    third = take_over(storage, study, second, "c")
    yield lambda: None
    yield lambda: trials.end(storage, third, state="complete", value=1.0)

    def another(state: State) -> None:
        trials.end(storage, begun(storage, study), state=state, value=1.0)

    yield lambda: another("pruned")
    yield lambda: another("failed")
    finishing_lease = run_to_the_end(storage, study)
    assert finishing_lease is not None
    yield lambda: None
    yield lambda: finishing.finish(storage, finishing_lease, None, reason="out of memory")
    yield lambda: studies.resume(storage, study.id)
    again = run_to_the_end(storage, study)
    assert again is not None
    yield lambda: None
    yield lambda: finishing.finish(storage, again, {"best": 1})
    yield lambda: studies.resume(storage, study.id, trials=1)
    yield lambda: studies.cancel(storage, study.id)


def test_whatever_becomes_of_a_study_changes_its_mark(storage: Storage) -> None:
    study, other = make_study(storage, trials=4, seconds=1e6), make_study(storage)
    seen, others = [mark(storage, study.id)], mark(storage, other.id)
    for step in steps(storage, study):
        step()
        seen.append(mark(storage, study.id))
        assert mark(storage, study.id) == seen[-1] != seen[-2], f"step {len(seen) - 1}"
    assert mark(storage, other.id) == others
    assert None not in seen
    studies.delete(storage, study.id)
    assert mark(storage, study.id) is None


def test_a_worker_that_falls_silent_is_seen(storage: Storage) -> None:
    study = make_study(storage)
    lease = begun(storage, study)
    before = mark(storage, study.id)
    assert leases.live_trials(storage, study.id) == {0}
    assert progress_of(storage, study.id).running == 1
    let_expire(storage, lease.id)
    assert mark(storage, study.id) != before
    assert leases.live_trials(storage, study.id) == set()
    found = progress_of(storage, study.id)
    assert (found.running, found.waiting) == (0, 3)


def test_what_is_not_shown_changes_nothing(storage: Storage) -> None:
    study = make_study(storage, seconds=1e6)
    lease = begun(storage, study)
    before = mark(storage, study.id)
    assert leases.renew(storage, [lease]) == {lease.id}
    assert trials.report(storage, lease, 1, 0.5)
    claimed(storage, make_study(storage))
    assert mark(storage, study.id) == before


def test_ends_and_beginnings_between_two_looks_are_not_missed(storage: Storage) -> None:
    """A finishing that comes and goes leaves nothing open, and as many units as before."""
    study = make_study(storage, trials=1)
    lease = run_to_the_end(storage, study)
    assert lease is not None
    studies.resume(storage, study.id, trials=1)
    finishing.finish(storage, lease, {"n": 1})
    running = begun(storage, study)
    before = mark(storage, study.id)
    with storage.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO topo_lease (id, study, kind, unit, parameters, seed, token, attempt, "
            "renewed_at, expires_at, ended_at, outcome) SELECT gen_random_uuid(), study, 'finish', "
            "1, '{}', 0, gen_random_uuid(), 1, now(), now(), clock_timestamp(), 'done' "
            "FROM topo_lease WHERE ended_at IS NULL"
        )
    assert mark(storage, study.id) != before
    assert [lease.id for lease in open_leases(storage)] == [running.id]


@pytest.mark.parametrize("analysed", [True, False])
def test_a_mark_of_a_long_study_among_others_reads_a_few_blocks(
    storage: Storage, analysed: bool
) -> None:
    study, later = make_study(storage), make_study(storage)
    with storage.transaction() as connection:
        for row, ago in ((study, "1 day"), (later, "0 days")):  # The other's ends are the latest.
            connection.exec_driver_sql(
                "INSERT INTO topo_lease (id, study, kind, unit, parameters, seed, owner, token, "
                "attempt, renewed_at, expires_at, ended_at, outcome) "
                f"SELECT gen_random_uuid(), '{row.id}', 'trial', n, '{{}}', 0, 'a', "
                "gen_random_uuid(), 1, now(), now(), "
                f"CASE WHEN n < 10000 THEN now() - interval '{ago}' - n * interval '1 s' END, "
                "CASE WHEN n < 10000 THEN 'complete' END FROM generate_series(0, 10007) n"
            )
    if analysed:
        with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as bare:
            bare.exec_driver_sql("ANALYZE topo_lease")
    asked = changes._marks().where(tables.study.c.id == study.id)
    text = str(asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
    with storage.transaction() as connection:
        explain = sa.text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}".replace(":", r"\:"))
        (told,) = connection.execute(explain).scalar_one()
    plan = told["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, json.dumps(told, indent=1)
