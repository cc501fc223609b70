"""Fifty processes that open a new, empty database in the same second."""

import multiprocessing
from multiprocessing.synchronize import Barrier

from fleet_checks import make_study
from fleet_server import Server

from storage import studies
from storage.connection import connect
from storage.migrating import VERSION_TABLE

COUNT = 50

WELL = 0, 1, COUNT  # What `open_at_once` returns where nothing went wrong.


def open_at_once(server: Server, database: str) -> tuple[int | None, int, int]:
    """Make a database, have all open and use it at the same moment, and drop it.

    Returns:
        The exit code of who forked them, how many versions the tables have, and the studies made.
    """
    server.make_database(database, empty=True)
    # Forked from a process without threads, so that the libraries are imported once.
    parent = multiprocessing.get_context("spawn").Process(
        target=_fork, args=(server.url(database),)
    )
    parent.start()
    parent.join()
    versions = server.execute(f"SELECT version_num FROM {VERSION_TABLE}", database)
    ((made,),) = server.execute("SELECT count(*) FROM topo_study", database)
    server.execute(f"DROP DATABASE {database} WITH (FORCE)")
    return parent.exitcode, len(versions), made


def _fork(url: str) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(COUNT)
    processes = [context.Process(target=_open, args=(start, url)) for _ in range(COUNT)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * COUNT


def _open(start: Barrier, url: str) -> None:
    """Open the database at the same moment as all others, and use it."""
    start.wait()
    storage = connect(url)
    study = make_study(storage, trials=1)
    assert studies.get(storage, study.id) == study
    storage.close()
