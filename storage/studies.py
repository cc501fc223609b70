"""Studies: made, found, paused, extended, finished, deleted."""

import difflib
import hashlib
import secrets
import string
import uuid
from collections.abc import Collection, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from storage import events, notices, tables
from storage.connection import JoinedOptuna, Storage
from storage.rows import OPEN, STUDY_COLUMNS, State, StudyRow, change, lock, to_study
from storage.trials import OUTCOMES, adopt_end, close, end_lease, with_trials

__all__ = [
    "StudyRow",
    "by_key",
    "cancel",
    "children",
    "create",
    "delete",
    "get",
    "list_studies",
    "pause",
    "resume",
]


def create(
    storage: Storage,
    *,
    plan: dict[str, Any],
    direction: Literal["maximize", "minimize"],
    dataset: str | None,
    test_dataset: str | None = None,
    name: str | None = None,
    trials: int,
    seconds: float | None = None,
    tags: Collection[str] = (),
    parent: str | None = None,
    known: Sequence[FrozenTrial] = (),
) -> tuple[StudyRow, str]:
    """Create a study, Optuna's and ours at once.

    Args:
        storage: Where to.
        plan: What the study is, JSON.
        direction: Of its metric.
        dataset: SHA-256 of a dataset in the storage, or None for an objective without one.
        test_dataset: SHA-256 of the test rows' own, if any.
        name: Free name, unlike every other study's.
        trials: Budget of trials, 1 or more.
        seconds: Budget of time in which some worker is at it.
        tags: For workers that are limited to some.
        parent: Id of the study whose trials it begins with.
        known: Those trials, ended, as trials of this study.

    Returns:
        The study, and the secret key to its page, of which only the SHA-256 is kept.

    Raises:
        ValueError: A name that is taken, or a budget of nothing.
        LookupError: A dataset that is not in the storage.
    """
    if trials < 1 or (seconds is not None and not seconds > 0):
        raise ValueError(
            "Expected a budget of at least 1 trial and, if any, more than 0 s. "
            f"Received trials={trials}, seconds={seconds}."
        )
    study_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    key = secrets.token_urlsafe(16)
    try:
        with storage.transaction() as connection:
            joined = JoinedOptuna(connection)
            optuna_id = joined.create_new_study(
                [StudyDirection[direction.upper()]], f"topo-{study_id}"
            )
            for trial in known:
                joined.create_new_trial(optuna_id, trial)
            row = connection.execute(
                sa.insert(tables.study)
                .values(
                    id=study_id,
                    optuna_study_id=optuna_id,
                    key_hash=_hash(key),
                    name=name,
                    dataset=dataset,
                    test_dataset=test_dataset,
                    plan=plan,
                    trials=trials,
                    seconds=seconds,
                    tags=sorted(set(tags)),
                    parent=parent,
                )
                .returning(*STUDY_COLUMNS)
            ).one()
            events.record(connection, "study created", study=study_id, text=name or "")
            notices.announce(connection)
    except sa.exc.IntegrityError as error:
        _explain_refusal(error, name, (dataset, test_dataset))
        raise
    return to_study(row), key


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
    with storage.transaction() as connection:
        row = connection.execute(
            sa.select(*STUDY_COLUMNS).where(tables.study.c.key_hash == _hash(key))
        ).one_or_none()
    if row is None:
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


def pause(storage: Storage, study_id: str, reason: str | None = None) -> StudyRow:
    """Hand out nothing of this study until it is resumed; what runs goes on to its end.

    Raises:
        ValueError: The study has ended.
    """
    with storage.transaction() as connection:
        study = lock(connection, study_id)
        if study.state not in (*OPEN, "paused"):
            raise ValueError(_wrong_state(study, "a study that is open"))
        events.record(connection, "study paused", study=study_id, text=reason or "")
        return change(connection, study_id, state="paused", reason=reason)


def resume(storage: Storage, study_id: str, *, trials: int = 0, seconds: float = 0.0) -> StudyRow:
    """Open a study again, with `trials` and `seconds` more of its budgets.

    Raises:
        ValueError: The study is cancelled, or is through with its budget and gets no more.
    """
    if trials < 0 or seconds < 0:
        raise ValueError(f"Expected more, not less. Received trials={trials}, seconds={seconds}.")
    with storage.transaction() as connection:
        study = lock(connection, study_id)
        if study.state == "cancelled":
            raise ValueError(_wrong_state(study, "a study that was not cancelled"))
        if seconds and study.seconds is None:
            raise ValueError(
                f"Study {study.id} has no budget in time to add to. Leave out --timeout."
            )
        time = None if study.seconds is None else study.seconds + seconds
        through = (time is not None and study.spent_seconds >= time) or (
            study.drawn >= study.trials + trials
        )
        if study.state == "finished" and through:
            raise ValueError(
                f"Study {study.id} is finished: {study.why_through}. Add to its budget: "
                "--trials +20" + ("" if time is None else ", and time: --timeout +10m")
            )
        more = f"{trials} more trials" * bool(trials) + f" {seconds:g} s more" * bool(seconds)
        events.record(connection, "study resumed", study=study_id, text=more.strip())
        notices.announce(connection)
        return change(
            connection,
            study_id,
            state="running" if study.started_at else "created",
            resumed_at=sa.func.clock_timestamp(),
            reason=None,
            trials=study.trials + trials,
            seconds=time,
            ended_at=None,
            # The time since it was last worked at is not the study's.
            last_active_at=sa.func.now() if study.started_at else None,
        )


def cancel(storage: Storage, study_id: str, reason: str = "cancelled") -> StudyRow:
    """End a study now: what runs is failed with the reason, and its workers' ends are refused.

    Raises:
        ValueError: The study is finished.
    """
    with storage.transaction() as connection:
        study = lock(connection, study_id)
        if study.state == "finished":
            raise ValueError(_wrong_state(study, "a study that has not ended"))
        if study.state == "cancelled":
            return study
        study = change(
            connection, study_id, state="cancelled", reason=reason, ended_at=sa.func.now()
        )
        _end_leases(connection, study_id, reason)
        events.record(connection, "study cancelled", study=study_id, text=reason)
        return study


def delete(storage: Storage, study_id: str) -> None:
    """Delete a study, Optuna's and ours, and its datasets where no other study has them."""
    with storage.transaction() as connection:
        study = lock(connection, study_id)
        # Its workers are shut out first: they lock a lease and then Optuna's rows, as we do here.
        _end_leases(connection, study_id, "study deleted")
        JoinedOptuna(connection).delete_study(study.optuna_study_id)
        events.record(connection, "study deleted", study=study_id, text=study.name or "")
        using = sa.select(tables.study.c.id).where(
            sa.or_(
                tables.study.c.dataset == tables.dataset.c.sha256,
                tables.study.c.test_dataset == tables.dataset.c.sha256,
            )
        )
        connection.execute(
            sa.delete(tables.dataset).where(
                tables.dataset.c.sha256.in_([study.dataset, study.test_dataset]),
                ~using.exists(),
            )
        )


def _end_leases(connection: sa.Connection, study_id: str, reason: str) -> None:
    """End whatever is open as failed, and shut its owners out."""
    leases = connection.execute(
        with_trials()
        .where(tables.lease.c.study == study_id, tables.lease.c.ended_at.is_(None))
        .order_by(tables.lease.c.id)
        .with_for_update(of=tables.lease)
    ).all()
    for held in leases:
        if held.kind == "finish":
            end_lease(connection, held.id, "failed", token=uuid.uuid4())
        elif held.trial_state in OUTCOMES:
            adopt_end(connection, held)
        else:
            attributes = {"reason": reason, "attempts": held.attempt}
            close(connection, held, state="failed", attributes=attributes, token=uuid.uuid4())


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _explain_refusal(
    error: sa.exc.IntegrityError, name: str | None, datasets: Sequence[str | None]
) -> None:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    if constraint == "topo_study_name_key":
        raise ValueError(
            f"Expected a name no study has. Received {name!r}, which is taken; choose another "
            "(--name), or go on with that study."
        ) from error
    if "dataset" in constraint:
        listed = ", ".join(str(dataset) for dataset in datasets if dataset)
        raise LookupError(
            f"Expected datasets that are in the storage. Received {listed}."
        ) from error


def _wrong_state(study: StudyRow, expected: str) -> str:
    why = f": {study.reason}" if study.reason else ""
    return f"Expected {expected}. Study {study.id} is {study.state}{why}."


def _known(reference: str, studies: Sequence[tuple[str, str | None]]) -> str:
    words = [word for study in studies for word in study if word]
    near = difflib.get_close_matches(reference, words, n=3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not studies:
        return "There is no study yet: make one with `topo-search create` or `search`."
    listed = [study_id + (f" ({name})" if name else "") for study_id, name in studies[:10]]
    return f"There are {', '.join(listed)}{', …' if len(studies) > 10 else ''}."
