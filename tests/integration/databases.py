"""What tests do to a server and to the folder it lives in."""

import shutil
from pathlib import Path

import psycopg2
from sqlalchemy import make_url


def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction, as creating a database must."""
    connection = psycopg2.connect(
        make_url(url).set(drivername="postgresql").render_as_string(False)
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def remove_home(home: Path) -> None:
    """Remove a home and, for root, what lies for it below /var/lib/topo-search."""
    shutil.rmtree((home / "server").resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
