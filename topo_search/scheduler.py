"""What a worker may do next: leases of the studies it serves, each study in its turn."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage import claiming, studies, workers
from storage.offers import Offer, offers
from storage.rows import OPEN, Lease, StudyRow, Taker
from storage.workers import Worker
from topo_search.retries import Retries
from topo_search.serving import ServedStudy
from topo_search.settings import VERSION

logger = logging.getLogger(__name__)

MAJOR = VERSION.split(".")[0]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease in hand, and the study it is of."""

    lease: Lease
    served: ServedStudy
    number: int = -1  # Of the trial, once it has begun.

    def __str__(self) -> str:
        if self.lease.kind == "finish":
            return f"Study {self.lease.study}"
        return f"Trial {self.number} of study {self.lease.study}"

    @property
    def about(self) -> dict[str, Any]:
        """What a line of the log is about."""
        return {"study": self.lease.study, "trial": None if self.number < 0 else self.number}


class Scheduler:
    """Claims leases for one worker."""

    def __init__(
        self,
        retry: Retries,
        cache: Path,
        worker: Worker,
        *,
        objectives: Collection[str],
        lease: float,
    ) -> None:
        """Make claims of a worker.

        Args:
            retry: How to reach the database.
            cache: Folder of datasets on this machine.
            worker: Who claims, and the studies it is limited to.
            objectives: Names of the objectives that may run here.
            lease: Seconds until a lease must be renewed.
        """
        self.retry, self.storage, self.cache = retry, retry.storage, cache
        self.worker, self.lease_seconds = worker, lease
        self.objectives = frozenset(objectives)
        self.serving: dict[str, ServedStudy] = {}
        self.refused: dict[str, float] = {}  # Studies not served here, until when (monotonic).
        self.idle = False  # Whether no study that is served was open at the last look.
        self._rows: dict[str, StudyRow] = {}  # The open studies as they were first seen.
        self._turns: dict[str, int] = {}  # When each study was last served, in claims.

    def next(self, *, spare: int = 0) -> Held | None:
        """Take what was left behind, or a lease of the study whose turn it is; None without either.

        Args:
            spare: Take only what leaves so many units to others, nothing left behind, and no unit
                of a study with a budget in time: what is claimed ahead of its time waits. Where
                that is what comes next, nothing is taken: another study's would be given first.
        """
        found = self.retry(offers, self.storage)
        self._know({offer.study for offer in found})
        found = [one for one in found if one.study in self._rows and self._may_serve(one.study)]
        now = time.monotonic()
        self.idle = not found
        found = [one for one in found if self.refused.get(one.study, 0.0) <= now]
        self._forget({one.study for one in found})
        if self.retry.others_may_be_back:
            found = [_without_left_behind(one) for one in found]
        for offer in found:
            self._serve(self._rows[offer.study])

        def turn(offer: Offer) -> tuple[bool, int]:
            # What was left behind has been waiting for a lease, and its study with it.
            return not offer.left_behind, self._turns.get(offer.study, 0)

        for offer in sorted(found, key=turn):
            if not offer.claimable:
                continue
            if spare and (
                offer.left_behind
                or offer.standing.seconds is not None
                or offer.standing.trials - offer.standing.drawn <= spare
            ):
                return None  # It is for the first slot that is free, here or elsewhere.
            try:
                held = self._claim(offer)
            except (LookupError, TypeError, ValueError) as error:  # Deleted, or of another version.
                self.refuse(offer.study, f"cannot be served here: {error}")
                continue
            if held is not None:
                self._turns[offer.study] = max(self._turns.values(), default=0) + 1
                return held
        return None

    def refuse(self, study: str, reason: str, *, seconds: float = math.inf) -> None:
        """Serve a study no more, or not for a while, and say so."""
        logger.error("Study %s %s", study, reason, extra={"study": study})
        self.refused[study] = time.monotonic() + seconds
        self.serving.pop(study, None)
        self.retry(workers.refuse, self.storage, self.worker.name, study, reason)

    def serves(self, study: str) -> None:
        """Know that a study is served, and say so where it was not for a while."""
        if study in self.refused and not self.never_serves(study):
            del self.refused[study]
            self.retry(workers.serve_again, self.storage, self.worker.name, study)

    def never_serves(self, study: str) -> bool:
        """Tell whether a study was refused for good."""
        return self.refused.get(study) == math.inf

    def _claim(self, offer: Offer) -> Held | None:
        served = self._serve(self._rows[offer.study])
        # The same at every try: a claim whose answer was lost is found by its token.
        taker = Taker(owner=self.worker.name, lease=self.lease_seconds)
        tries = itertools.count()

        def claim_once() -> Lease | None:
            if next(tries) and (lost := claiming.claimed(self.storage, offer.study, taker, served)):
                return lost
            # Asked at each try: what was left behind may be its owner's again after an outage.
            take_over = offer.left_behind and not self.retry.others_may_be_back
            standing = None if take_over else offer.standing
            return claiming.claim(self.storage, offer.study, taker, served, standing)

        lease = self.retry(claim_once)
        return None if lease is None else Held(lease=lease, served=served)

    def _serve(self, row: StudyRow) -> ServedStudy:
        """Return a study as it is served here; nothing is read of it yet."""
        if row.id not in self.serving:
            self.serving[row.id] = ServedStudy(
                storage=self.storage, row=row, cache=self.cache, meanwhile=self.retry.attend
            )
        return self.serving[row.id]

    def _know(self, wanted: set[str]) -> None:
        """Read the open studies where one is new; what is read of them here never changes."""
        if not wanted <= self._rows.keys():
            found = self.retry(studies.list_studies, self.storage, OPEN)
            self._rows = {row.id: row for row in found}
        for study in self._rows.keys() - wanted:
            del self._rows[study]

    def _may_serve(self, study: str) -> bool:
        """Tell whether a study is for this worker; refuse those that no time will make so."""
        row = self._rows[study]
        if self.never_serves(study):
            return False
        if not self.worker.may_serve(row.id, row.tags):
            return False
        if (made_by := str(row.plan.get("version", VERSION))).split(".")[0] != MAJOR:
            self.refuse(
                row.id,
                f"was made by topo-search {made_by}, and this is {VERSION}. "
                f"Let them agree, in a checkout of version {made_by.split('.')[0]}: "
                "pip install -c constraints.txt .",
            )
            return False
        objective = row.plan.get("objective")
        if objective not in self.objectives:
            self.refuse(
                row.id,
                f"runs {objective}, which this worker may not. "
                f"Allow it here: topo-search worker --allow-objective {objective}",
            )
            return False
        return True

    def _forget(self, served: set[str]) -> None:
        """Let go of studies that are no longer open, with all they keep in memory."""
        for study in set(self.serving) - served - set(self.worker.studies):
            del self.serving[study]


def _without_left_behind(offer: Offer) -> Offer:
    """Return what an offer has for those who are not to take over anything."""
    if not offer.left_behind:
        return offer
    return replace(offer, left_behind=False, claimable=offer.standing.units_left)
