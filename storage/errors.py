"""What is said when the database cannot be used: the cause, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy as sa

# What libpq's message holds, and what to do about it; the first that it holds counts.
_REMEDIES = {
    "root certificate file": "Name the file with the server's root certificate in the URL: "
    "?sslmode=verify-full&sslrootcert=FILE; or sslrootcert=system for those of this machine.",
    "certificate verify failed": "Let sslrootcert in the URL name the certificate that signed the "
    "server's; one that is out of date is renewed on the server.",
    "password authentication failed": "Check the user and the password in the URL.",
    "no password supplied": "Put the password into the URL: postgresql://user:password@host/name",
    "does not exist": "Create it (createdb, createuser), or correct the URL.",
    "could not translate host name": "Check the host's name in the URL.",
    "Connection refused": "Start the server, or check the host and the port in the URL.",
    "No such file or directory": "Start the server, or check the socket's folder in the URL.",
    "timeout expired": "Check the host, the port and the firewall between here and there.",
    "no pg_hba.conf entry": "Let this machine in: add it to pg_hba.conf on the server.",
    "No space left on device": "Make room on the server's disk; or delete studies that nobody "
    "needs: topo-search delete ID --yes",
    "too many connections for role": "Raise the user's limit: ALTER ROLE the user CONNECTION LIMIT "
    "-1, or to 3 for every worker.",
    "no more connections allowed": "Raise max_client_conn of PgBouncer: 3 for every worker.",
    "query_wait_timeout": "Raise default_pool_size of PgBouncer: all its connections to PostgreSQL "
    "were in use for too long.",
    "too many clients": "Raise max_connections on the server: 3 for every worker.",
    "remaining connection slots": "Raise max_connections on the server: 3 for every worker.",
    "canceling statement": "Try again: others were in the way for too long.",
    "deadlock detected": "Try again: others were in the way.",
    "permission denied for database": "GRANT CONNECT ON DATABASE name TO the user.",
    "is not permitted to log in": "Let the user log in: ALTER ROLE the user LOGIN.",
    "invalid connection option": "The URL has an option that PostgreSQL does not know: correct it.",
    ' value: "': "Correct this option in the URL.",  # As of sslmode.
    "starting up": "Wait until the server has started.",
    "shutting down": "Wait until the server is up again.",
}
# What the message of a server holds that starts, stops, or whose machine does.
_PASSING = (
    "Connection refused",
    "No such file or directory",
    "could not translate host name",
    "starting up",
    "shutting down",
    "terminating connection",
    "server closed the connection",
)
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_GRANT = "Let the user make tables: GRANT CREATE, USAGE ON SCHEMA public TO the user."
# The first that the message holds counts, for a code that has several causes.
_RIGHTS = {
    "must be owner": "Use the user who owns the tables.",
    **dict.fromkeys(
        ("for table", "for sequence", "for relation"),
        "Use the user who owns the tables, or let this one use them: "
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO the user; "
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO the user;",
    ),
}
_BROKEN = ("25P04", "XX")  # A transaction that took too long; the server's own errors.
_REMEDIES_BY_CODE = {
    "42501": _GRANT,
    "3F000": _GRANT,
    "25006": "Name the primary server, not a standby.",
    "25P03": "This process was not heard of for too long, and its transaction undone.",
}


class StorageError(ConnectionError):
    """The database cannot be used now; the message names the cause and the remedy."""


class AwayError(StorageError):
    """There is no server now; one that starts just then is there in seconds."""


@contextmanager
def unavailable_as_storage_error(url: str) -> Iterator[None]:
    """Turn every way in which drivers say that the database is away into `StorageError`.

    Errors that trying again cannot mend, such as a broken constraint, pass as they are.

    Raises:
        ValueError: A value that the database cannot keep, such as a number out of range.
    """
    try:
        yield
    except (sa.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        root: BaseException = error
        if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
            root = error.__cause__
        if isinstance(root, sa.exc.TimeoutError | sa.exc.PendingRollbackError):
            said = _first_line(root).partition(" (Background")[0]
            raise StorageError(f"{_place(url)}: {said}. Try again.") from error
        if not isinstance(root, sa.exc.DBAPIError) or root.orig is None:
            raise
        said = _first_line(root.orig)
        if isinstance(root, sa.exc.DataError):
            raise ValueError(f"Expected what the database can keep. It says: {said}.") from error
        if isinstance(root, sa.exc.OperationalError | sa.exc.InterfaceError):
            away = any(sign in str(root.orig) for sign in _PASSING)
            kind = AwayError if away else StorageError
            raise kind(f"{_place(url)}: {said}. {_remedy(root.orig)}") from error
        code = getattr(root.orig, "pgcode", None) or ""
        if root.connection_invalidated or code.startswith(_BROKEN):
            raise StorageError(f"{_place(url)}: {said}. {_remedy(root.orig)}") from error
        remedy = _REMEDIES_BY_CODE.get(code)
        if not code and said.startswith("invalid dsn"):  # Before anything was sent.
            remedy = _remedy(root.orig)
        elif code == "42501":
            remedy = next((text for sign, text in _RIGHTS.items() if sign in said), remedy)
        if remedy is not None:
            raise StorageError(f"{_place(url)}: {said}. {remedy}") from error
        raise


def _remedy(cause: BaseException) -> str:
    known = (text for sign, text in _REMEDIES.items() if sign in str(cause))
    return next(known, "Check that the server is up and can be reached.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    # libpq tells each address it tried on a line of its own: the last words say what went wrong.
    line = text.splitlines()[0]
    return (
        line.rpartition("FATAL:")[2].strip().rstrip(".") if "FATAL:" in line else line.rstrip(".")
    )


def _place(url: str) -> str:
    parsed = sa.make_url(url)
    host = parsed.host or parsed.query.get("host", "a local socket")
    return f"PostgreSQL at {host}, database {parsed.database}"
