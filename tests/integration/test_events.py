"""Events, as a program follows them."""

from collections.abc import Iterator

from storage import events, tables
from storage.connection import Storage, connect
from storage.events import Event


def record(storage: Storage, *texts: str) -> None:
    for text in texts:
        with storage.transaction() as connection:
            events.record(connection, "study created", text=text)


def followed(storage: Storage, after: int, count: int = 2) -> Iterator[Event]:
    while found := events.following(storage, after, count=count):
        yield from found
        after = found[-1].id


def test_who_follows_gets_all_in_pieces_the_oldest_first(storage: Storage) -> None:
    record(storage, *"abcde")
    assert [event.text for event in events.following(storage, 0, count=2)] == ["a", "b"]
    assert [event.text for event in followed(storage, 0)] == [*"abcde"]
    third = events.latest(storage)[2]
    assert [event.text for event in followed(storage, third.id)] == ["d", "e"]
    with storage.transaction() as connection:  # As of 90 days ago.
        connection.execute(tables.event.delete().where(tables.event.c.id <= third.id))
    assert [event.text for event in followed(storage, third.id)] == ["d", "e"]


def test_several_events_of_one_transaction_follow_each_other(storage: Storage) -> None:
    with storage.transaction() as connection:
        for text in "abc":
            events.record(connection, "study created", text=text)
    record(storage, "d")
    assert [event.text for event in followed(storage, 0, count=1)] == [*"abcd"]


def test_an_event_that_is_committed_late_is_not_missed(storage: Storage, database_url: str) -> None:
    record(storage, "a")
    other = connect(database_url)
    with other.transaction() as late:
        events.record(late, "study paused", text="late")
        record(storage, "b")
        before = [*followed(storage, 0)]
    after = [*followed(storage, before[-1].id)]
    other.close()
    assert {event.text for event in (*before, *after)} == {"a", "late", "b"}
    assert [event.text for event in before] == ["a"]


def test_a_lower_id_of_a_later_transaction_is_not_missed(
    storage: Storage, database_url: str
) -> None:
    other = connect(database_url)
    with storage.transaction() as first:  # Which has its number, and records when others did.
        first.exec_driver_sql("SELECT pg_current_xact_id()")
        with other.transaction() as second:
            events.record(second, "study paused", text="lower id")
            events.record(first, "study paused", text="higher id")
            first.commit()
            before = [*followed(storage, 0)]
        after = [*followed(storage, before[-1].id)]
    other.close()
    assert [event.text for event in before] == ["higher id"]
    assert [event.text for event in after] == ["lower id"]
    assert before[0].id > after[0].id
