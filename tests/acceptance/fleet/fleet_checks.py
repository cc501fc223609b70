"""Studies of a fleet, and what must hold of each when its story is over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fleet_objectives import score
from optuna.trial import FrozenTrial

from objectives.parameters import Range
from objectives.space import Space
from storage import studies, tables, trials
from storage.check import violations
from storage.connection import Storage
from storage.rows import StudyRow
from storage.tables import MAX_ATTEMPTS
from topo_search.sampling import Sampler

OUTCOMES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
SPACE = Space(name="own", parameters={"x": Range(low=0.0, high=1.0), "n": Range(low=0, high=9)})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as it is when a story is over."""

    number: int
    unit: int
    parameters: dict[str, Any]
    seed: int
    state: str  # Optuna's
    value: float | None
    attempts: int
    reason: str | None


def make_study(
    storage: Storage,
    *,
    trials: int,
    seconds: float = 0.1,
    sampler: str = "random",
    pruner: str = "none",
    objective: str = "timed",
    folder: Path | None = None,
    **changes: Any,
) -> StudyRow:
    """Make a study whose trials take so many seconds each."""
    plan = {
        "objective": f"fleet_objectives:{objective}",
        "space": SPACE.to_json(),
        "epochs": 9,
        "seed": 0,
        "pruner": pruner,
        "sampler": sampler,
        "metric": "value",
        "direction": "maximize",
        "seconds": seconds,
        "folder": str(folder),
        "title": changes.pop("title", ""),
    }
    given: dict[str, Any] = {"dataset": None, **changes}
    return studies.create(storage, plan=plan, direction="maximize", trials=trials, **given)[0]


def exact(storage: Storage, study: str, *, state: str = "finished") -> list[Trial]:
    """Check all that is promised of a study, and return its trials by number."""
    row = studies.get(storage, study)
    assert row.state == state, (row.state, row.reason)
    assert [broken for broken in violations(storage) if broken.study == study] == []
    found = sorted(trials.optuna_study(storage, row).trials, key=lambda trial: trial.number)
    units = row.trials if state == "finished" else row.drawn
    assert [trial.number for trial in found] == list(range(units))
    leases = {lease.trial_number: lease for lease in _leases(storage, study)}
    assert sorted(leases) == list(range(units))
    assert sorted(lease.unit for lease in leases.values()) == list(range(units))
    seen = [_trial(trial, leases[trial.number]) for trial in found]
    for trial in seen:
        assert OUTCOMES[trial.state] == leases[trial.number].outcome, trial
        _check_reason(trial, cancelled=state == "cancelled")
    assert repeated_ends(storage, study) == []
    return seen


def none_open(storage: Storage) -> None:
    """Check that nothing in the whole database is under a lease, or breaks a rule."""
    query = sa.select(sa.func.count()).where(tables.lease.c.ended_at.is_(None))
    with storage.transaction() as connection:
        assert connection.scalar(query) == 0
    assert violations(storage) == []


def repeated_ends(storage: Storage, study: str) -> list[str]:
    """Return what ended more often than once, or never, by the audit's account."""
    query = sa.text(
        """
        SELECT 'unit ' || l.unit || ' ended ' || count(a.id) || ' times' FROM topo_lease l
        LEFT JOIN fleet_audit a ON a.lease = l.id AND a.kind = 'lease ended'
        WHERE l.study = :study GROUP BY l.id HAVING count(a.id) <> 1
        UNION ALL
        SELECT 'trial ' || t.number || ' ended ' || count(a.id) || ' times' FROM trials t
        JOIN topo_study s ON s.optuna_study_id = t.study_id
        LEFT JOIN fleet_audit a ON a.trial = t.trial_id AND a.kind = 'trial ended'
        WHERE s.id = :study GROUP BY t.number HAVING count(a.id) <> 1"""
    )
    with storage.transaction() as connection:
        return list(connection.scalars(query, {"study": study}))


def takeovers(storage: Storage) -> list[float]:
    """Return when trials changed hands, by the database's clock, which is this machine's."""
    query = sa.text(
        "SELECT extract(epoch FROM at) FROM fleet_audit WHERE kind = 'lease taken' "
        "AND owner IS NOT NULL"
    )
    with storage.transaction() as connection:
        return [float(at) for at in connection.scalars(query)]


def as_drawn(storage: Storage, study: str, seen: list[Trial], *, scored: bool = True) -> None:
    """Check that every unit of a randomly drawn study was tried and scored as in any other run.

    Such a draw depends on the seed and the unit alone, whoever makes it and when.

    Args:
        storage: Where the study is.
        study: Its id.
        seen: Its trials.
        scored: Whether the objective scores what was drawn, and not who trained it.
    """
    plan = studies.get(storage, study).plan
    space = Space.from_json(plan["space"])
    sampler = Sampler(space, plan["direction"], plan["sampler"], plan["seed"])
    for trial in seen:
        drawn = sampler.draw([], trial.unit)
        assert drawn is not None
        assert trial.seed == drawn.seed
        if trial.state == "COMPLETE":
            assert trial.parameters == drawn.parameters
            assert not scored or trial.value == score(drawn.parameters, drawn.seed)


def fates(seen: list[Trial]) -> Counter[str]:
    """Count how the trials ended."""
    return Counter(trial.state for trial in seen)


def essence(seen: list[Trial]) -> list[tuple[Any, ...]]:
    """Return what two runs from one seed must have in common, by number."""
    return [(one.number, one.state, one.parameters, one.seed, one.value) for one in seen]


def _leases(storage: Storage, study: str) -> list[sa.Row[Any]]:
    query = sa.select(tables.lease).where(
        tables.lease.c.study == study, tables.lease.c.kind == "trial"
    )
    with storage.transaction() as connection:
        return list(connection.execute(query))


def _trial(trial: FrozenTrial, lease: sa.Row[Any]) -> Trial:
    assert trial.user_attrs["lease"] == str(lease.id)
    return Trial(
        number=trial.number,
        unit=lease.unit,
        parameters=trial.params,
        seed=lease.seed,
        state=trial.state.name,
        value=trial.value if trial.state.name == "COMPLETE" else None,
        attempts=lease.attempt,
        reason=trial.user_attrs.get("reason"),
    )


def _check_reason(trial: Trial, *, cancelled: bool) -> None:
    """Check that a failed trial says why, and was given up after all its attempts alone."""
    if trial.state != "FAIL" or cancelled:
        return
    assert trial.reason, trial
    assert trial.attempts == MAX_ATTEMPTS, trial
    assert trial.reason.startswith(f"gave up after {MAX_ATTEMPTS} attempts: "), trial
