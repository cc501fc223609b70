"""Finding studies: by id, name, key, state or parent."""

import difflib
import hmac
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from storage import keys, tables
from storage.connection import Storage
from storage.rows import STUDY_COLUMNS, State, StudyRow, to_study


def get(storage: Storage, reference: str) -> StudyRow:
    """Return the study of this id, name or beginning of an id.

    Raises:
        LookupError: None or several; the message lists what there is.
    """
    same_start = tables.study.c.id.startswith(reference, autoescape=True)
    with storage.transaction() as connection:
        found = connection.execute(
            sa.select(*STUDY_COLUMNS)
            .where(sa.or_(tables.study.c.name == reference, same_start))
            .order_by(tables.study.c.id != reference, tables.study.c.name != reference)
        ).all()
        exact = [row for row in found if reference in (row.id, row.name)]
        if reference and (exact or len(found) == 1):
            return to_study((exact or found)[0])
        known = connection.execute(
            sa.select(tables.study.c.id, tables.study.c.name).order_by(
                tables.study.c.created_at.desc()
            )
        ).all()
    if reference and found:
        raise LookupError(
            f"Expected the beginning of one study's id. Received {reference!r}, with which "
            f"{len(found)} begin: {', '.join(sorted(row.id for row in found))}."
        )
    raise LookupError(
        f"Expected the id, name or beginning of the id of a study. Received {reference!r}. "
        + _known(reference, [(row.id, row.name) for row in known])
    )


def by_key(storage: Storage, key: str) -> StudyRow:
    """Return the study this secret key opens.

    Raises:
        LookupError: No such study.
    """
    # An index finds it, in a time that may tell how a hash begins: that helps nobody to the 128
    # random bits of which it is one.
    column, hashed = tables.study.c.key_hash, keys.hash_of(key)
    with storage.transaction() as connection:
        row = connection.execute(
            sa.select(*STUDY_COLUMNS).add_columns(column).where(column == hashed)
        ).one_or_none()
    if row is None or not hmac.compare_digest(row.key_hash, hashed):
        raise LookupError("Expected the key of a study. No study has the key that was received.")
    return to_study(row)


def list_studies(storage: Storage, states: Collection[State] | None = None) -> list[StudyRow]:
    """Return the studies, oldest first; only those in some `states` where given."""
    query = sa.select(*STUDY_COLUMNS).order_by(tables.study.c.created_at, tables.study.c.id)
    if states is not None:
        query = query.where(tables.study.c.state.in_(states))
    with storage.transaction() as connection:
        return [to_study(row) for row in connection.execute(query)]


def children(storage: Storage, study_id: str) -> list[str]:
    """Return the ids of the studies that began with the trials of this one, oldest first."""
    query = sa.select(tables.study.c.id).where(tables.study.c.parent == study_id)
    with storage.transaction() as connection:
        return list(connection.scalars(query.order_by(tables.study.c.created_at)))


def _known(reference: str, studies: Sequence[tuple[str, str | None]]) -> str:
    words = [word for study in studies for word in study if word]
    near = difflib.get_close_matches(reference, words, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not studies:
        return "There is no study yet: make one with `topo-search create` or `search`."
    listed = [study_id + (f" ({name})" if name else "") for study_id, name in studies[:10]]
    return f"There are {', '.join(listed)}{', …' if len(studies) > 10 else ''}."
