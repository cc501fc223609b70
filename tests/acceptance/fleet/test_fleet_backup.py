"""A backup taken while workers are at work, restored as docs/operations.md says."""

import os
import subprocess
from pathlib import Path

from fleet_checks import as_drawn, exact, make_study, none_open
from fleet_harness import DEADLINE, Fleet, ended, is_finished, wait_until
from fleet_server import Server

from storage.check import violations
from storage.connection import connect


def test_a_study_goes_on_from_a_backup(
    server: Server, database: str, fleet: Fleet, tmp_path: Path
) -> None:
    def run(program: str, *arguments: str, given: bytes = b"") -> bytes:
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "fleet"}
        done = subprocess.run(
            [server.programs / program, *arguments],
            env=os.environ | address | {"PGPASSWORD": server.password},
            input=given,
            capture_output=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    storage = connect(server.url(database))
    study = make_study(storage, trials=40, seconds=0.3).id
    fleet.start(slots=2)
    wait_until(lambda: ended(storage, study) >= 3, "some trials have ended")
    backup = run("pg_dump", "-Fc", database)
    wait_until(lambda: ended(storage, study) >= 6, "more have")
    fleet.close()
    storage.close()
    run("dropdb", "--force", database)
    run("createdb", database)
    run("pg_restore", "-d", database, "--single-transaction", given=backup)

    storage = connect(server.url(database))
    assert violations(storage) == []
    assert 3 <= ended(storage, study) < 40
    fleet.start(until_idle=False)
    wait_until(is_finished(storage, study), "the study is finished")
    fleet.dismiss()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    storage.close()
