"""Fifty processes that open a new, empty database in the same second."""

import multiprocessing
from multiprocessing.synchronize import Barrier

from fleet_checks import make_study
from fleet_server import Server

from storage import studies
from storage.connection import VERSION_TABLE, connect

COUNT = 50
DATABASE = "fleet_new"


def test_fifty_processes_that_open_an_empty_database_make_its_tables_once(server: Server) -> None:
    server.make_database(DATABASE, empty=True)
    url = server.url(DATABASE)
    # Forked from a process without threads, so that the libraries are imported once.
    parent = multiprocessing.get_context("spawn").Process(target=_fork, args=(url,))
    parent.start()
    parent.join()
    assert parent.exitcode == 0
    versions = server.execute(f"SELECT version_num FROM {VERSION_TABLE}", DATABASE)
    assert len(versions) == 1
    made = server.execute("SELECT count(*) FROM topo_study", DATABASE)
    assert made == [(COUNT,)]
    server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


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
