"""Studies: made, paused, extended, cancelled, deleted."""

import secrets
import string
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Literal

import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from storage import datasets, events, keys, names, notices, tables
from storage.connection import JoinedOptuna, Storage
from storage.finding import by_key, children, get, list_studies
from storage.removal import delete, end_leases
from storage.rows import OPEN, STUDY_COLUMNS, StudyRow, change, lock, to_study

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
    "rename",
    "resume",
]

LONGEST_KEEP = timedelta(days=36_500)  # A moment beyond the year 9999 could not be read.


def create(
    storage: Storage,
    *,
    plan: dict[str, Any],
    direction: Literal["maximize", "minimize"],
    dataset: str | None,
    test_dataset: str | None = None,
    name: str | None = None,
    trials: int,
    units: int | None = None,
    seconds: float | None = None,
    tags: Collection[str] = (),
    parent: str | None = None,
    known: Sequence[FrozenTrial] = (),
    keep: timedelta | None = None,
) -> tuple[StudyRow, str]:
    """Create a study, Optuna's and ours at once.

    Args:
        storage: Where to.
        plan: What the study is, JSON.
        direction: Of its metric.
        dataset: SHA-256 of a dataset in the storage, or None for an objective without one.
        test_dataset: SHA-256 of the test rows' own, if any.
        name: Free name, unlike every other study's; see `names`.
        trials: Budget of trials, 1 or more; no more of them are tried than there are units.
        units: How many its space has in all; None: without end.
        seconds: Budget of time in which some worker is at it.
        tags: For workers that are limited to some.
        parent: Id of the study whose trials it begins with.
        known: Those trials, ended, as trials of this study.
        keep: How long after it was last worked at it may be deleted; None: never. See `retention`.

    Returns:
        The study, and the secret key to its page, of which only the SHA-256 is kept.

    Raises:
        ValueError: A name that is taken or cannot be shown, or a budget or a `keep` of nothing.
        LookupError: A dataset or a parent that is not in the storage.
    """
    if name is not None:
        names.check(name)
    if trials < 1 or (seconds is not None and not seconds > 0):
        raise ValueError(
            "Expected a budget of at least 1 trial and, if any, more than 0 s. "
            f"Received trials={trials}, seconds={seconds}."
        )
    if keep is not None and not timedelta(0) < keep <= LONGEST_KEEP:
        raise ValueError(
            f"Expected to keep a study for more than no time and at most {LONGEST_KEEP.days} days. "
            f"Received {keep}; leave it out to keep the study until it is deleted."
        )
    given = {sha256 for sha256 in (dataset, test_dataset) if sha256}
    study_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    key = keys.draw()
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
                    key_hash=keys.hash_of(key),
                    name=name,
                    dataset=dataset,
                    test_dataset=test_dataset,
                    plan=plan,
                    trials=trials if units is None else min(trials, units),
                    units=units,
                    seconds=seconds,
                    tags=sorted(set(tags)),
                    parent=parent,
                    keep=keep,
                )
                .returning(*STUDY_COLUMNS)
            ).one()
            datasets.note_study(connection, given)
            events.record(connection, "study created", study=study_id, text=name or "")
            notices.announce(connection)
    except sa.exc.IntegrityError as error:
        _explain_refusal(error, name, given, parent)
        raise
    return to_study(row), key


def rename(storage: Storage, study_id: str, name: str | None) -> StudyRow:
    """Give a study another name, or none.

    Raises:
        ValueError: A name that is taken, or that cannot be shown.
        LookupError: No such study.
    """
    if name is not None:
        names.check(name)
    try:
        with storage.transaction() as connection:
            lock(connection, study_id)
            return change(connection, study_id, name=name)
    except sa.exc.IntegrityError as error:
        _explain_refusal(error, name)
        raise


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
        ValueError: The study is cancelled, or its space is exhausted, or it is through with its
            budget and gets no more.
    """
    if trials < 0 or seconds < 0:
        raise ValueError(f"Expected more, not less. Received trials={trials}, seconds={seconds}.")
    with storage.transaction() as connection:
        study = lock(connection, study_id)
        if study.state == "cancelled":
            raise ValueError(_wrong_state(study, "a study that was not cancelled"))
        if study.exhausted and study.state == "finished":
            raise ValueError(
                f"Study {study.id} is finished: {study.why_through}. Search another space."
            )
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
            failed=False,
            trials=min(study.trials + trials, study.units or study.trials + trials),
            seconds=time,
            ended_at=None,
            # The time since it was last worked at is not the study's, that until then is.
            spent_seconds=study.spent_seconds,
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
            connection,
            study_id,
            state="cancelled",
            reason=reason,
            failed=False,
            ended_at=sa.func.now(),
        )
        end_leases(connection, study_id, reason)
        events.record(connection, "study cancelled", study=study_id, text=reason)
        return study


def _explain_refusal(
    error: sa.exc.IntegrityError,
    name: str | None,
    given: Collection[str] = (),
    parent: str | None = None,
) -> None:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    if constraint == "topo_study_name_key":
        raise ValueError(
            f"Expected a name no study has. Received {name!r}, which is taken; choose another "
            "(--name), or go on with that study."
        ) from error
    if "dataset" in constraint:
        raise LookupError(
            f"Expected datasets that are in the storage. Received {', '.join(sorted(given))}, of "
            "which not all are; upload again what is missing, and make the study then."
        ) from error
    if constraint == "topo_study_parent_fkey":
        raise LookupError(
            f"Expected a study to begin with. Received {parent!r}, which is not there or was "
            "deleted meanwhile; begin with another, or with none."
        ) from error


def _wrong_state(study: StudyRow, expected: str) -> str:
    why = f": {study.reason}" if study.reason else ""
    then = ""
    if study.state == "cancelled":
        then = f" Go on with its trials in a new study: topo-search create --from {study.id}"
    return f"Expected {expected}. Study {study.id} is {study.state}{why}.{then}"
