"""Deaths: a worker that is known to be dead holds nothing any more, however long its leases last.

Silence alone proves no death, which is why leases run out; see `topo_search.liveness` for what
does.
"""

import sqlalchemy as sa

from storage import events, notices, tables
from storage.clock import NOW
from storage.connection import Storage
from storage.rows import vanished
from storage.trials import has_begun
from storage.workers import HERE


def reap(storage: Storage, name: str) -> bool:
    """Note that a worker has died, and hand back what it held.

    An attempt that had begun counts, as it does when a lease runs out: it may be what the worker
    died of. One that was only claimed does not.

    Args:
        storage: Where it served.
        name: The worker's. Buried again, it is left in peace.

    Returns:
        Whether this database knows such a worker.
    """
    worker = tables.worker.c
    with storage.transaction() as connection:
        state = connection.scalar(
            sa.select(worker.state).where(worker.name == name).with_for_update()
        )
        if state is None:
            return False
        if state in HERE:
            lost = sa.update(tables.worker).where(worker.name == name).values(state="lost")
            connection.execute(lost)
            events.record(connection, "worker lost", worker=name, text="its process is gone")
        if _hand_back(connection, name):
            notices.announce(connection)
        return True


def _hand_back(connection: sa.Connection, owner: str) -> int:
    """Hand back the open leases of an owner, and return how many there were."""
    lease = tables.lease.c
    # Locked in the order of their ids, as everybody does who locks several.
    mine = (
        sa.select(lease.id, has_begun(owner).label("begun"))
        .where(lease.owner == owner, lease.ended_at.is_(None))
        .order_by(lease.id)
        .with_for_update()
        .cte("mine")
    )
    handed_back = connection.execute(
        sa.update(tables.lease)
        .where(lease.id == mine.c.id)
        .values(
            owner=None,
            token=sa.func.gen_random_uuid(),
            attempt=lease.attempt - sa.case((mine.c.begun, 0), else_=1),
            reason=sa.case((mine.c.begun, vanished(owner)), else_=lease.reason),
            expires_at=NOW,
        )
    )
    return handed_back.rowcount
