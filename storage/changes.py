"""Changes: whether what is shown of a study is still what it was, asked about once a second."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from storage import tables
from storage.clock import LEASE, is_free
from storage.connection import Storage
from storage.workers import HERE, REFUSAL, is_lost


def mark(storage: Storage, study_id: str) -> str | None:
    """Return a text that differs whenever what is shown of a study may differ.

    That is its state and the reason of it, its name and budget, what has been drawn, what runs
    where, whose worker has fallen silent, how many workers serve or refuse it, every end of a
    trial, and its outcome. Values that running trials report and the time that passes change
    nothing.

    Returns:
        A text to be compared with an earlier one, and nothing else; None where there is no such
        study.
    """
    with storage.transaction() as connection:
        return connection.scalar(_marks().where(tables.study.c.id == study_id))


def _marks() -> sa.Select[str]:
    study, lease = tables.study.c, tables.lease.c
    # Whatever becomes of a lease gives it a new token or ends it, and those that are open are few.
    # So the ended ones need not be counted: counting 100,000 takes 25 ms, all of this 0.2 ms.
    running = (
        sa.select(
            sa.func.json_agg(
                aggregate_order_by(
                    sa.func.json_build_array(lease.token, lease.trial_number, is_free()),
                    lease.id,
                )
            )
        )
        .where(lease.study == study.id, lease.ended_at.is_(None))
        .correlate(tables.study)
        .scalar_subquery()
    )
    latest = (
        sa.select(sa.func.max(lease.ended_at))
        .where(lease.study == study.id, lease.ended_at.is_not(None))
        .correlate(tables.study)
        .scalar_subquery()
    )
    worker = tables.worker.c
    here = (
        sa.select(sa.func.count()).where(worker.state.in_(HERE), ~is_lost(LEASE)).scalar_subquery()
    )
    event = tables.event.c
    refused = (
        sa.select(sa.func.count())
        .where(event.study == study.id, event.kind.in_(REFUSAL))
        .correlate(tables.study)
        .scalar_subquery()
    )
    shown = sa.func.json_build_array(
        study.state,
        study.reason,
        study.name,
        study.trials,
        study.seconds,
        study.drawn,
        study.outcome.is_not(None),
        running,
        latest,
        here,
        refused,
    )
    written = sa.func.convert_to(sa.cast(shown, sa.Text), "UTF8")
    return sa.select(sa.func.encode(sa.func.sha256(written), "hex"))
