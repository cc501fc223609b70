"""Fifty processes that open a new, empty database in the same second."""

from fleet_crowd import WELL, open_at_once
from fleet_server import Server


def test_fifty_processes_that_open_an_empty_database_make_its_tables_once(server: Server) -> None:
    assert open_at_once(server, "fleet_new") == WELL
