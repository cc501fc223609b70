"""One study, very large: what it costs a worker to take it up, and the web service to show it."""

from __future__ import annotations

import json
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from service_fleet import wait_for, worker
from service_study import ended_since, fill, make
from web_world import Peak, Web

from storage import keys, studies, tables
from storage.connection import Storage
from storage.rows import StudyRow

SLOTS = 2
SKIPPED = 5  # Trials of the worker before its rate counts.
CALLS = 30  # Of each page.
kB, MB = 1000, 1e6


def measured(
    storage: Storage, home: Path, size: int, *, trials: int, sampler: str
) -> dict[str, Any]:
    """Make a study of which so many trials have ended, take it up, and look at its page."""
    row = make(storage, trials=size + trials, sampler=sampler)
    began = time.monotonic()
    fill(storage, row, size)
    filled = time.monotonic() - began
    work = of_a_worker(storage, home, row, size, trials)
    web = of_the_web(storage, home, row)
    began = time.monotonic()
    studies.delete(storage, row.id)
    took = {"filled": filled, "deleted": time.monotonic() - began}
    return {"size": size, "sampler": sampler, **took, "worker": work, "web": web}


def of_a_worker(
    storage: Storage, home: Path, row: StudyRow, size: int, trials: int
) -> dict[str, Any]:
    """Let a fresh worker go on with the study for so many trials."""
    said, log = home.parent / "accounts.json", home.parent / "log"
    told = {"light": True, "accounts": str(said)}
    arguments = ("--slots", str(SLOTS), "--study", row.id, "--until-idle")
    began = time.time()
    process = worker(home, *arguments, log=log, told=told)
    wait_for(process, log)
    ended = ended_since(storage, row.id, size)
    if len(ended) != trials:
        raise SystemExit(f"{len(ended)} of {trials} trials ended:\n{log.read_text()[-3_000:]}")
    accounts = json.loads(said.read_text(encoding="utf-8"))
    counted = trials - SKIPPED
    return {
        # From the start of the command, with all its imports, to its first trial.
        "opened": min(one.taken_at for one in ended) - began,
        "first_claim": accounts["claims"][0][1],
        "peak": accounts["peak"],
        "rate": counted / (ended[-1].ended_at - ended[SKIPPED - 1].ended_at),
        "trials": trials,
    }


def of_the_web(storage: Storage, home: Path, row: StudyRow) -> dict[str, Any]:
    """Look at the study's page as its owner does."""
    key = keys.draw()
    with storage.transaction() as connection:
        new = sa.update(tables.study).values(key_hash=keys.hash_of(key))
        connection.execute(new.where(tables.study.c.id == row.id))
    with closing(_Service(home)) as web, Peak(web.family) as peak:
        page, took = web.get(f"/s/{key}")
        seen: dict[str, Any] = {"first_visit": {"seconds": took, "bytes": len(page)}}
        began, cpu = time.perf_counter(), web.cpu
        with web.events(key) as stream:
            first = next(stream)
        seen["first_change"] = {
            "seconds": time.perf_counter() - began, "cpu": web.cpu - cpu, "bytes": len(first),
        }  # fmt: skip
        seen["page"] = repeated(web, lambda call: f"/s/{key}")
        seen["trials"] = repeated(
            web, lambda call: f"/v1/studies/{key}/trials?page={call % 20 + 1}&size=20&sort=rank"
        )
    return seen | {"peak": peak.rss}


class _Service(Web):
    close = Web.end


def repeated(web: Web, path: Any) -> dict[str, float]:
    """Ask for pages again and again, and return what one costs."""
    web.get(path(0))
    cpu, taken, size = web.cpu, [], 0
    for call in range(CALLS):
        body, took = web.get(path(call))
        taken.append(took)
        size += len(body)
    return {
        "seconds": statistics.median(taken),
        "cpu": (web.cpu - cpu) / CALLS,
        "bytes": size / CALLS,
    }
