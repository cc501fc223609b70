"""Studies that were never trained, for tests of what is shown of them."""

from __future__ import annotations

import datetime
import math
import random
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from topo_search.results import Results, results_of

START = datetime.datetime(2026, 11, 22, 9, 30)
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "=cmd|'/C calc'!A0",
    "\u202egnp.exe",
    "<!--<script>",
    "{{7*7}}${7*7}$missing",
    "<a href=\"javascript:alert(1)\">x</a>",
    "long " * 2000,
    "\x1b[31mred\x00",
]  # fmt: skip
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "depth": IntDistribution(1, 6),
    "width": IntDistribution(16, 128),
    "activation": CategoricalDistribution(["relu", "gelu", "silu", "selu", "tanh", "mish"]),
    "residual": CategoricalDistribution([False, True]),
    "dropout": FloatDistribution(0.0, 0.5),
    "learning_rate": FloatDistribution(3e-4, 3e-2, log=True),
}
FIXED = {
    "normalisation": "layer",
    "embedding": "periodic",
    "label_smoothing": 0.0,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "scaling": "standard",
    "rare_levels": "keep",
    "class_weights": "none",
    "epochs": 100,
}


def space_json(deepest: int = 6) -> dict[str, Any]:
    """The JSON of a space that `DISTRIBUTIONS` draw from."""
    parameters = [
        {"name": "depth", "low": 1, "high": deepest},
        {"name": "width", "low": 16, "high": 128},
        {"name": "activation", "choices": ["relu", "gelu", "silu", "selu", "tanh", "mish"]},
        {"name": "residual", "choices": [False, True]},
        {"name": "dropout", "low": 0.0, "high": 0.5},
        {"name": "learning_rate", "low": 3e-4, "high": 3e-2, "log": True},
    ]
    return {"name": "mlp", "parameters": parameters, "fixed": FIXED, "portfolio": [],
            "blocks": []}  # fmt: skip


def plan(**changes: Any) -> dict[str, Any]:
    """The plan of a study on Iris."""
    kinds = {"sepal length (cm)": "numeric", "sepal width (cm)": "numeric",
             "petal length (cm)": "numeric", "petal width (cm)": "numeric",
             "id": "identifier", "source": "constant", "species": "categorical"}  # fmt: skip
    columns = [
        {"name": name, "position": position, "kind": kind}
        for position, (name, kind) in enumerate(kinds.items())
    ]
    reading = {"encoding": "utf-8", "separator": ",", "quote": '"', "decimal": ".",
               "thousands": "", "header": True, "skip": 0, "columns": columns}  # fmt: skip
    return {
        "objective": "tabular", "target": "species", "task": "multiclass",
        "classes": ["setosa", "versicolor", "virginica"], "metric": "accuracy",
        "direction": "maximize", "reading": reading, "drop": ["sepal width (cm)"],
        "space": space_json(), "epochs": 100, "validation": "cv", "test_share": 0.2, "seed": 7,
        "sampler": "tpe", "pruner": "asha", "trial_timeout": None, "dataset_name": "iris.csv",
        "rows": {"train": 96, "validation": 24, "test": 30, "dropped": 2},
        "warnings": ["3 rows occur more than once"],
    } | changes  # fmt: skip


def outcome(results: Results, **changes: Any) -> dict[str, Any]:
    """The outcome of a finished study on Iris whose winner is the leaderboard's first."""
    assert results.best is not None
    return {
        "best": {**results.best, "seed": 11},
        "test": {"value": 29 / 30, "low": 0.8833, "high": 1.0, "looks": 1, "rows": 30,
                 "metrics": {"accuracy": 29 / 30, "log_loss": 0.11}},
        "baselines": {"majority": 1 / 3, "linear": 28 / 30, "boosting": 0.95},
        "leads": {"majority": (0.5, 0.8), "linear": (-0.03, 0.1), "boosting": (-0.05, 0.1)},
        "baseline_rows": 120,
        "confusion": {"classes": ["setosa", "versicolor", "virginica"],
                      "matrix": [[10, 0, 0], [0, 10, 0], [0, 1, 9]]},
        "scatter": None,
    } | changes  # fmt: skip


def identity(**changes: Any) -> dict[str, Any]:
    """Who the study is."""
    return {
        "id": "k3v9x2", "name": "iris", "state": "finished", "reason": "",
        "created_at": START, "key": "SECRET-KEY", "seconds": 39.0,
    } | changes  # fmt: skip


def study(trials: int, *, seed: int = 0, direction: str = "maximize") -> optuna.Study:
    """A study with `trials` trials, of which some were pruned, diverged and failed."""
    made = optuna.create_study(direction=direction)
    made.add_trials([_trial(number, random.Random(seed + number)) for number in range(trials)])
    if direction == "minimize":
        flipped = optuna.create_study(direction=direction)
        flipped.add_trials([_as_error(trial) for trial in made.get_trials()])
        return flipped
    return made


def results(trials: int = 50, *, finished: bool = True, **changes: Any) -> Results:
    """Results of a study on Iris; `changes` go to the plan."""
    made, of = study(trials), plan(**changes)
    state = identity() if finished else identity(state="running")
    found = results_of(study=made, plan=of, identity=state, outcome=None)
    if not finished or found.best is None:
        return found
    return results_of(study=made, plan=of, identity=state, outcome=outcome(found))


def _trial(number: int, draw: random.Random) -> optuna.trial.FrozenTrial:
    depth, width = draw.randint(1, 6), draw.choice([16, 32, 64, 128])
    rate, dropout = 10 ** draw.uniform(-3.5, -1.55), draw.uniform(0, 0.5)
    activation, residual = draw.choice(["relu", "gelu", "silu", "tanh"]), draw.random() < 0.5
    level = 0.985 - 0.04 * (math.log10(rate) + 2.4) ** 2 - 0.008 * abs(depth - 3)
    level -= 0.06 * (dropout - 0.15) ** 2 + 0.03 * draw.random()
    epochs = draw.randint(25, 60)
    curve = [level - (level - 0.35) * math.exp(-e / 7) + draw.gauss(0, 0.004)
             for e in range(1, epochs + 1)]  # fmt: skip
    state = TrialState.COMPLETE
    if number > 4 and draw.random() < 0.3:
        state, curve = TrialState.PRUNED, curve[:9]
    elif number > 4 and draw.random() < 0.06:
        state = TrialState.FAIL
    best_epoch = max(range(len(curve)), key=curve.__getitem__) + 1
    attributes: dict[str, Any] = {
        "lease": f"lease-{number}", "unit": number, "seed": number, "worker": "host-1",
        "attempts": 1,
    }  # fmt: skip
    if state == TrialState.FAIL:
        attributes |= {"reason": "slot was killed (memory above 1.5 GB)", "attempts": 3}
    else:
        attributes |= {
            "topology": f"{depth} × {width} {activation}, layer norm, "
            f"{'residual, ' if residual else ''}periodic",
            "depth": depth, "weights": 4 * width + width * width * depth + 3 * width,
            "seconds": 0.25 + 0.004 * len(curve) * depth * (1 + width / 64) + 0.2 * draw.random(),
            "epochs": len(curve), "best_epoch": best_epoch, "curve": curve,
            "losses": [1.4 - value for value in curve],
        }  # fmt: skip
    if state == TrialState.PRUNED:
        attributes["reason"] = "not among the best at step 9"
    return create_trial(
        state=state,
        value=None if state == TrialState.FAIL else max(curve),
        params={"depth": depth, "width": width, "activation": activation, "residual": residual,
                "dropout": dropout, "learning_rate": rate},
        distributions=DISTRIBUTIONS,
        user_attrs=attributes,
        intermediate_values={step: curve[step - 1] for step in (1, 3, 9) if step <= len(curve)},
    )  # fmt: skip


def _as_error(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """The same trial as a regression in thousands, the first reports very bad."""
    if trial.value is not None:
        curve = [20_000 / value**3 for value in trial.user_attrs["curve"]]
        trial.user_attrs["curve"], trial.value = curve, min(curve)
        trial.user_attrs["best_epoch"] = curve.index(min(curve)) + 1
    return trial
