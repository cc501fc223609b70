"""Offers: the open studies as those who look for work see them, every second and all at once."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from storage import tables
from storage.clock import is_free
from storage.connection import Storage
from storage.rows import OPEN, STANDING_COLUMNS, Standing, to_standing


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An open study, as far as a worker that looks for work has to know it."""

    standing: Standing
    claimable: bool  # Whether there is something to claim now.
    left_behind: bool  # Whether a trial, or the finishing, waits to be taken up again.

    @property
    def study(self) -> str:
        """Its public id."""
        return self.standing.id


def _query() -> sa.Select[Any]:
    study, lease = tables.study.c, tables.lease.c
    mine = sa.and_(lease.study == study.id, lease.ended_at.is_(None))
    units_left = sa.and_(
        study.drawn < study.trials,
        sa.or_(study.seconds.is_(None), study.spent_seconds < study.seconds),
    )
    # A finishing waits for units that were added meanwhile.
    left_behind = sa.exists().where(mine, is_free(), sa.or_(lease.kind == "trial", ~units_left))
    through = ~sa.exists().where(mine)  # Then it is to be finished.
    return (
        sa.select(
            *STANDING_COLUMNS,
            sa.or_(units_left, left_behind, through).label("claimable"),
            left_behind.label("left_behind"),
        )
        .where(study.state.in_(OPEN))
        .order_by(study.created_at, study.id)
    )


_OFFERS = _query()  # Asked all the time.


def offers(storage: Storage) -> list[Offer]:
    """Return the open studies, oldest first, and in which there is something to claim now."""
    with storage.transaction() as connection:
        return [
            Offer(standing=to_standing(row), claimable=row.claimable, left_behind=row.left_behind)
            for row in connection.execute(_OFFERS)
        ]
