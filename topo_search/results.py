"""What a study found, as frames: the same numbers for terminal, page, JSON and CSV."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from objectives.space import Space
from objectives.topology import Topology
from topo_search import attributes
from topo_search.plain import csv_text, plain, records

CURVES = 8  # Best trials whose learning curves are kept.
FEWEST_FOR_IMPORTANCES = 15  # Complete trials; below it the estimate is noise.
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_WHOLE = ("trial", *attributes.WHOLE)
_REAL = ("value", "loss", *attributes.REAL)
_TEXT = ("state", *attributes.TEXT)
_COLUMNS = (
    *("trial", "state", "value", "loss", "topology", "depth", "weights"),
    *("seconds", "epochs", "best_epoch", "attempts", "worker", "reason"),
)
_UNUSED_KINDS = {
    "identifier": "looks like an identifier",
    "constant": "holds one value only",
    "empty": "holds no values",
}


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything to be shown of a study; made by `results_of`.

    Frames keep their columns when they have no rows.
    """

    study: str  # Public id.
    name: str
    state: str
    reason: str  # Why the study is in that state; "" where there is nothing to say.
    failed: bool  # Whether it is in that state because it came to nothing.
    created_at: str  # ISO 8601; "" where unknown.
    parent: str  # Id of the study whose trials this one began with; "" without one.
    children: tuple[str, ...]  # Ids of the studies that began with this one's.
    plan: Mapping[str, Any]
    outcome: Mapping[str, Any] | None  # None until the study has finished.
    metric: str
    direction: str  # "maximize" or "minimize".
    seconds: float | None  # Of time in which some worker was at it; None where unknown.
    best: Mapping[str, Any] | None  # The winner, or the first of the leaderboard so far.
    topology: Topology | None  # Of the best network; None where the objective has none.
    trials: pd.DataFrame  # One row a trial in order of number; parameters as `param.<name>`.
    leaderboard: pd.DataFrame  # The complete trials of `trials`, best first.
    curves: pd.DataFrame  # trial, epoch, value, loss: of the best few trials.
    importances: pd.Series[float]  # Share of each parameter, largest first.
    importances_reason: str  # Why `importances` is empty; "" where it is not.
    columns: pd.DataFrame  # column, kind, why: why it was left out, "" where it was used.
    warnings: tuple[str, ...]  # Of reading the table.

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state; `finished` is complete, pruned and failed together."""
        counts = {state: int((self.trials["state"] == state).sum()) for state in _STATES.values()}
        finished = counts["complete"] + counts["pruned"] + counts["failed"]
        return {"finished": finished, **counts}

    @property
    def over(self) -> bool:
        """Whether the study has ended for good, with or without an outcome."""
        return self.outcome is not None or self.state in ("finished", "cancelled")

    @property
    def left_out(self) -> pd.DataFrame:
        """The columns no network was given: column, kind, why."""
        return self.columns[self.columns["why"] != ""].reset_index(drop=True)

    def part(self, name: str) -> dict[str, Any]:
        """Return a part of the outcome such as `test` or `baselines`; {} where there is none."""
        return dict((self.outcome or {}).get(name) or {})

    @property
    def rows(self) -> dict[str, Any]:
        """Number of rows: train, validation, test, dropped, as far as known."""
        # A study that an older version finished has them in its outcome.
        return dict(self.plan.get("rows") or self.part("rows"))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values: no NaN, no infinity, nothing secret."""
        return {
            "study": self.study,
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "created_at": self.created_at,
            "parent": self.parent or None,
            "children": list(self.children),
            **{name: self.plan.get(name) for name in ("objective", "target", "task", "seed")},
            "metric": self.metric,
            "direction": self.direction,
            "rows": plain(self.rows),
            "trials": self.counts,
            "seconds": plain(self.seconds),
            "best": plain(self.best),
            **{name: plain(self.part(name)) or None for name in _OUTCOME_PARTS},
            "leaderboard": [int(trial) for trial in self.leaderboard["trial"]],
            "history": records(self.trials),
            "curves": records(self.curves),
            "importances": {str(name): plain(share) for name, share in self.importances.items()},
            "importances_reason": self.importances_reason,
            "columns": records(self.columns),
            "warnings": list(self.warnings),
        }

    def to_csv(self) -> str:
        """Return every trial as CSV text; text that a spreadsheet would run begins with `'`."""
        return csv_text(self.trials)


_OUTCOME_PARTS = ("test", "baselines", "leads", "confusion", "scatter")


def results_of(
    *,
    study: optuna.Study,
    plan: Mapping[str, Any],
    identity: Mapping[str, Any],
    outcome: Mapping[str, Any] | None,
    live: Collection[int] | None = None,
) -> Results:
    """Gather what a study found; works at any time, with any number of trials.

    Args:
        study: The plain Optuna study; read, never changed.
        plan: The study's plan.
        identity: Its `id`, `name`, `state`, `reason`, `failed`, `created_at`, `parent`,
            `children` and `seconds`, as far as known.
        outcome: The winner's scores; None until the study has finished.
        live: Numbers of the trials that a worker is at. Others that have begun and not ended are
            waiting. By default all of them run.
    """
    ended = study.get_trials(deepcopy=False)
    direction = study.direction.name.lower()
    trials = _trials(ended)
    if live is not None:
        left = (trials["state"] == "running") & ~trials["trial"].isin(live)
        trials.loc[left, "state"] = "waiting"
    leaderboard = _leaderboard(trials, direction)
    best = _best(ended, leaderboard, outcome)
    importances, importances_reason = _importances(study, leaderboard, _ended(trials))
    created_at = identity.get("created_at") or ""
    return Results(
        study=str(identity.get("id", "")),
        name=str(identity.get("name") or ""),
        state=str(identity.get("state") or ""),
        reason=str(identity.get("reason") or ""),
        failed=bool(identity.get("failed")),
        parent=str(identity.get("parent") or ""),
        children=tuple(identity.get("children") or ()),
        created_at=created_at.isoformat() if isinstance(created_at, date) else str(created_at),
        plan=plan,
        outcome=outcome,
        metric=str(plan.get("metric") or "value"),
        direction=direction,
        seconds=identity.get("seconds"),
        best=best,
        topology=_topology(plan, best),
        trials=trials,
        leaderboard=leaderboard,
        curves=_curves(ended, leaderboard["trial"].head(CURVES)),
        importances=importances,
        importances_reason=importances_reason,
        columns=_table_columns(plan),
        warnings=tuple(str(warning) for warning in plan.get("warnings") or ()),
    )


def _trials(trials: Iterable[FrozenTrial]) -> pd.DataFrame:
    frame = pd.DataFrame([_row(trial) for trial in trials])
    names = sorted(set(frame.columns) - set(_COLUMNS))
    frame = frame.reindex(columns=[*_COLUMNS, *names])
    frame = frame.astype(dict.fromkeys(_REAL, "float64") | dict.fromkeys(_WHOLE, "Int64"))
    frame[list(_TEXT)] = frame[list(_TEXT)].astype(object).fillna("")
    return frame


def _row(trial: FrozenTrial) -> dict[str, Any]:
    row = attributes.described(trial.user_attrs)
    row |= {f"param.{name}": value for name, value in trial.params.items()}
    row |= {"trial": trial.number, "state": _STATES[trial.state], "value": _value(trial)}
    if math.isfinite(loss := attributes.loss_of(trial)):
        row["loss"] = loss
    return row


def _value(trial: FrozenTrial) -> float | None:
    """Return the score; of a trial that was pruned, its last report."""
    value = trial.value
    if value is None and trial.state == TrialState.PRUNED and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return value if value is None or math.isfinite(value) else None


def _leaderboard(trials: pd.DataFrame, direction: str) -> pd.DataFrame:
    complete = trials[(trials["state"] == "complete") & trials["value"].notna()]
    ascending = [direction == "minimize", True, True]
    ranked = complete.sort_values(["value", "loss", "trial"], ascending=ascending)
    return ranked.reset_index(drop=True)


def _best(
    trials: list[FrozenTrial], leaderboard: pd.DataFrame, outcome: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    if outcome and outcome.get("best"):
        return dict(outcome["best"])
    if leaderboard.empty:
        return None
    row = leaderboard.iloc[0]
    parameters = next(trial.params for trial in trials if trial.number == row["trial"])
    names = {"trial": "trial", "value": "value", "topology": "topology", "weights": "weights"}
    names |= {"epochs": "best_epoch"}
    return {new: plain(row[name]) for new, name in names.items()} | {"parameters": parameters}


def _curves(trials: list[FrozenTrial], best: Iterable[int]) -> pd.DataFrame:
    rows = []
    of_number = {trial.number: trial.user_attrs for trial in trials}
    for number in best:
        said = (of_number[number].get(name) for name in ("curve", "losses"))
        curve, losses = map(attributes.numbers, said)
        losses = [*losses, *[math.nan] * (len(curve) - len(losses))]
        rows += [
            {"trial": number, "epoch": epoch, "value": value, "loss": loss}
            for epoch, (value, loss) in enumerate(zip(curve, losses, strict=False), start=1)
        ]
    frame = pd.DataFrame(rows, columns=["trial", "epoch", "value", "loss"])
    return frame.astype({"trial": int, "epoch": int, "value": float, "loss": float})


def _ended(trials: pd.DataFrame) -> int:
    return int(trials["state"].isin(["complete", "pruned", "failed"]).sum())


def _importances(
    study: optuna.Study, leaderboard: pd.DataFrame, ended: int
) -> tuple[pd.Series[float], str]:
    """Estimate each parameter's share by PED-ANOVA (https://arxiv.org/abs/2304.10255).

    Of Optuna's evaluators it is the one that takes milliseconds, also for thousands of trials.
    """
    empty = pd.Series(dtype=float, name="importance")
    complete = len(leaderboard)
    if complete < FEWEST_FOR_IMPORTANCES:
        # As many of them as up to now will be complete.
        more = math.ceil((FEWEST_FOR_IMPORTANCES - complete) * ended / complete) if complete else 0
        return empty, (
            f"needs {FEWEST_FOR_IMPORTANCES} complete trials, has {complete}; pruned and failed "
            f"ones do not count{f', so about {more:,} more would do' if more else ''}"
        )
    if leaderboard["value"].nunique() == 1:
        return empty, "all complete trials have the same score"
    try:
        shares = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    except (RuntimeError, ValueError) as error:
        return empty, f"could not be estimated: {error}"
    if not shares or not math.isfinite(sum(shares.values())):
        return empty, "no parameter varies in all trials"
    return pd.Series(shares, dtype=float, name="importance"), ""


def _topology(plan: Mapping[str, Any], best: Mapping[str, Any] | None) -> Topology | None:
    """Return the best network's topology; None for a user's own objective, which has none."""
    if not best or plan.get("objective") != "tabular":
        return None
    return Space.from_json(plan["space"]).decode(best["parameters"])[0]


def _table_columns(plan: Mapping[str, Any]) -> pd.DataFrame:
    kinds = {rule["name"]: rule["kind"] for rule in (plan.get("reading") or {}).get("columns", ())}
    rows = []
    for name, kind in kinds.items():
        why = _UNUSED_KINDS.get(kind, "")
        if name in plan.get("drop", ()):
            why = "left out as asked"
        if name == plan.get("target"):
            kind, why = "target", ""
        rows.append({"column": name, "kind": kind, "why": why})
    return pd.DataFrame(rows, columns=["column", "kind", "why"])
