"""What is said when the database cannot be used."""

import psycopg2
import pytest
import sqlalchemy as sa

from storage.errors import AwayError, StorageError, unavailable_as_storage_error

URL = "postgresql+psycopg2://topo:secret@db:5432/topo_search"
# As servers, libpq and PgBouncer say it.
CAUSES = {
    'connection to server at "db" (10.0.0.2), port 5432 failed: root certificate file '
    '"/root/.postgresql/root.crt" does not exist\nEither provide the file, use the system\'s '
    "trusted roots with sslrootcert=system, or change sslmode": "sslrootcert=FILE",
    'connection to server at "db" (10.0.0.2), port 5432 failed: SSL error: certificate verify '
    "failed": "sslrootcert",
    'could not extend file "base/5/1": No space left on device': "Make room",
    'connection to server at "db", port 5432 failed: FATAL:  too many connections for role '
    '"topo"': "CONNECTION LIMIT",
    'connection to server at "db", port 6432 failed: FATAL:  no more connections allowed '
    "(max_client_conn)": "max_client_conn of PgBouncer",
    'connection to server at "db", port 6432 failed: FATAL:  query_wait_timeout': (
        "default_pool_size"
    ),
    'connection to server at "db", port 5432 failed: FATAL:  database "x" does not exist': (
        "Create it"
    ),
    "server closed the connection unexpectedly": "Check that the server is up",
}


@pytest.mark.parametrize("said", CAUSES)
def test_each_cause_has_its_own_remedy(said: str) -> None:
    cause = psycopg2.OperationalError(said)
    with pytest.raises(StorageError) as told, unavailable_as_storage_error(URL):
        raise sa.exc.OperationalError("SELECT 1", None, cause)
    text = str(told.value)
    assert CAUSES[said] in text
    assert "secret" not in text
    assert ("Check that the server is up" in text) == (said == [*CAUSES][-1])


@pytest.mark.parametrize(
    ("code", "invalidated"),
    [("25P04", False), ("XX000", False), ("XX001", False), (None, True)],
    ids=["transaction timeout", "internal error", "data corrupted", "connection broken"],
)
def test_a_server_with_a_fault_of_its_own_is_one_that_cannot_be_used(
    code: str | None, invalidated: bool
) -> None:
    cause = psycopg2.DatabaseError("it says so")
    told = type("Told", (type(cause),), {"pgcode": code})("it says so")
    with pytest.raises(StorageError, match="it says so"), unavailable_as_storage_error(URL):
        raise sa.exc.DatabaseError("SELECT 1", None, told, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Connection refused", AwayError),
        ("FATAL:  the database system is starting up", AwayError),
        ('FATAL:  password authentication failed for user "topo"', StorageError),
    ],
)
def test_a_server_that_may_be_there_in_seconds_is_told_from_one_that_says_no(
    said: str, kind: type[StorageError]
) -> None:
    with pytest.raises(StorageError) as told, unavailable_as_storage_error(URL):
        raise sa.exc.OperationalError("SELECT 1", None, psycopg2.OperationalError(said))
    assert type(told.value) is kind
