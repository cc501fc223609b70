"""What is said when the database cannot be used."""

import psycopg2
import pytest
import sqlalchemy as sa

from storage.errors import StorageError, unavailable_as_storage_error

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
