"""Failures: when a study fails so much that it is paused instead of burning its budget."""

import re
from collections import Counter

import sqlalchemy as sa

from storage import events, tables
from storage.connection import Storage
from storage.rows import OPEN, change, lock_if_there

FIRST = 10  # Trials from the first on that must not all fail for one reason.
LAST = 50  # Trials of which at most half may fail.
_WORKER = re.compile(r"\bits worker \S+ vanished")
_NUMBER = re.compile(r"0x[0-9a-f]+|-?\d+([.,]\d+)*(e[+-]?\d+)?", re.IGNORECASE)


def pause_failed(connection: sa.Connection, study_id: str, reason: str) -> None:
    """Pause a locked study because it comes to nothing, and record it."""
    change(connection, study_id, state="paused", failed=True, reason=reason)
    events.record(connection, "study failed", study=study_id, text=reason)


def pause_failing(storage: Storage, study_id: str) -> str | None:
    """Pause a study that fails too much, and return why; None where it goes on.

    It does if 10 trials or more have ended since it was last resumed and all of them failed for
    one reason, whatever numbers it names, or more than half of the last 50 failed.
    """
    lease, study = tables.lease.c, tables.study.c
    since = sa.func.coalesce(study.resumed_at, study.created_at)
    ended = (
        sa.select(lease.outcome, lease.reason)
        .join(tables.study, study.id == lease.study)
        .where(lease.study == study_id, lease.kind == "trial", lease.ended_at > since)
    )
    with storage.transaction() as connection:
        row = lock_if_there(connection, study_id)
        if row is None or row.state not in OPEN:
            return None
        last = connection.execute(ended.order_by(lease.ended_at.desc()).limit(LAST)).all()
        why = _why([None if end.outcome != "failed" else end.reason or "" for end in last])
        if why is not None:
            pause_failed(connection, study_id, why)
        return why


def _why(reasons: list[str | None]) -> str | None:
    """Judge the last trials by the reasons of their failures, None of one that did not fail."""
    # Trials that kill their workers all do so for one reason, whichever worker it was.
    texts = [_WORKER.sub("its worker vanished", reason) for reason in reasons if reason is not None]
    failed = Counter(_NUMBER.sub("…", text) for text in texts)
    if not failed:
        return None
    commonest, count = failed.most_common(1)[0]
    told = {text for text in texts if _NUMBER.sub("…", text) == commonest}
    if len(told) == 1:
        (commonest,) = told
    if FIRST <= len(reasons) == count:
        return f"the last {count} trials all failed: {commonest}"
    if len(reasons) == LAST and failed.total() > LAST // 2:
        return f"{failed.total()} of the last {LAST} trials failed, most of them: {commonest}"
    return None
