"""A worker's heartbeat: what the fleet knows of it, kept true while it lives."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection

from storage import connection, migrating, workers
from storage.errors import StorageError
from topo_search.machine import device
from topo_search.retries import Retries
from topo_search.settings import VERSION


class OutdatedError(RuntimeError):
    """The tables were upgraded under a worker, of whom nothing was heard just then."""


class Heartbeat:
    """Tells the fleet that a worker is there."""

    def __init__(
        self,
        retry: Retries,
        *,
        slots: int,
        lease: float,
        only: Collection[str] = (),
        tags: Collection[str] = (),
    ) -> None:
        """Make the heartbeat of a worker.

        Args:
            retry: How to reach the database.
            slots: How many it has.
            lease: Seconds until a lease must be renewed.
            only: Ids of the studies to serve; all open ones where there are none.
            tags: Tags, one of which a study must have to be served; any where there are none.
        """
        self.retry, self.lease_seconds = retry, lease
        self._schema = migrating.needed()
        host = socket.gethostname()
        self.worker = workers.Worker(
            name=f"{host}-{os.getpid()}-{secrets.token_hex(4)}",
            host=host,
            version=VERSION,
            device=device(),
            slots=slots,
            studies=sorted(set(only)),
            tags=sorted(set(tags)),
        )

    def tell(self, state: workers.State = "serving") -> None:
        """Say that it is there, and in which state.

        Raises:
            OutdatedError: The tables are others by now.
        """
        self.retry(self._heard, state)

    def leave(self) -> bool:
        """Say that it is gone; if nobody hears it now (False), it is found lost later."""
        try:
            self._heard("left")
        except (StorageError, OutdatedError):
            return False
        return True

    def _heard(self, state: workers.State) -> None:
        schema = connection.schema(self.retry.storage)
        if schema != self._schema:
            raise OutdatedError(
                f"The database's tables were upgraded (schema {schema}, this worker needs "
                f"{self._schema}) while it was not heard of. Upgrade this machine, in a newer "
                "checkout: pip install -c constraints.txt . Then start it again."
            )
        workers.heard(
            self.retry.storage,
            self.worker,
            lease=self.lease_seconds,
            state=state,
            others_may_be_back=self.retry.others_may_be_back,
        )
