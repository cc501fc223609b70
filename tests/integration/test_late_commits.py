"""A claim that is asked again while its first COMMIT is still under way at the server."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
import sqlalchemy as sa
from stored_studies import (
    begun,
    claim,
    claim_again,
    let_expire,
    make_study,
    open_leases,
    run_to_the_end,
    waits_for_a_lock,
)

from storage import studies, tables
from storage.connection import Storage
from storage.errors import StorageError
from storage.leases import release
from storage.rows import StudyRow

TOKEN = uuid.UUID(int=5)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExitStack]]:
    """Let who takes a lease with `TOKEN` lose the connection, and its COMMIT come later.

    Yields:
        Where the transaction comes to lie, to be closed when it is to be committed.
    """
    real, uncommitted, first = Storage.transaction, list[ExitStack](), [True]
    taken = sa.select(sa.func.count()).where(tables.lease.c.token == TOKEN)

    @contextmanager
    def transaction(self: Storage) -> Iterator[sa.Connection]:
        with ExitStack() as stack:
            connection = stack.enter_context(real(self))
            yield connection
            if first and connection.scalar(taken):
                first.clear()
                uncommitted.append(stack.pop_all())
                raise StorageError("connection reset by peer")

    monkeypatch.setattr(Storage, "transaction", transaction)
    yield uncommitted


def a_unit(storage: Storage) -> StudyRow:
    return make_study(storage, trials=3)


def the_last_unit(storage: Storage) -> StudyRow:
    return make_study(storage, trials=1)


def what_fell_silent(storage: Storage) -> StudyRow:
    study = make_study(storage, trials=3)
    let_expire(storage, begun(storage, study, "gone").id)
    return study


def what_was_handed_back(storage: Storage) -> StudyRow:
    study = make_study(storage, trials=3)
    release(storage, begun(storage, study, "gone"))
    return study


def the_finishing(storage: Storage) -> StudyRow:
    study = make_study(storage, trials=1)
    last = run_to_the_end(storage, study, "gone")
    assert last is not None
    let_expire(storage, last.id)
    return study


@pytest.mark.parametrize(
    "prepared", [a_unit, the_last_unit, what_fell_silent, what_was_handed_back, the_finishing]
)
def test_a_claim_asked_again_before_its_commit_is_through_takes_nothing_else(
    storage: Storage, prepared: Callable[[Storage], StudyRow], late: list[ExitStack]
) -> None:
    study = prepared(storage)
    with pytest.raises(StorageError, match="reset"):
        claim(storage, study.id, "a", token=TOKEN)
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(claim_again, storage, study.id, "a", TOKEN)
        with storage.engine.connect() as looking:
            waits_for_a_lock(looking, again)
        late.pop().close()
        lease = again.result()
    assert [lease] == open_leases(storage, study.id)
    assert studies.get(storage, study.id).drawn == 1
