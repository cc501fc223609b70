"""A study as a worker serves it: what to try next, what to hand to a slot, what to prune."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from objectives.objective import Assignment
from objectives.space import Space
from storage import datasets, trials
from storage.connection import Storage
from storage.leases import Lease
from storage.rows import Drawn, StudyRow
from topo_search.sampling import Sampler, judge

REPORTS_KEPT = 1.0  # Seconds until the reports of other workers are looked at again.


@dataclass
class _Reports:
    """What the trials of a study reported, as far as known here: values by step, by number."""

    values: dict[int, dict[int, float]] = field(default_factory=dict)
    until: float = 0.0  # On this machine's monotonic clock.


@dataclass(frozen=True, kw_only=True)
class Served:
    """One study, with all that does not change while it runs."""

    storage: Storage
    row: StudyRow
    cache: Path  # Folder of datasets on this machine.

    @property
    def plan(self) -> Mapping[str, Any]:
        """What the study is to do, as `study.tabular_plan` and `own_plan` write it."""
        return self.row.plan

    @cached_property
    def space(self) -> Space:
        """What the study may try."""
        return Space.from_json(self.plan["space"])

    @cached_property
    def study(self) -> optuna.Study:
        """The Optuna study."""
        return trials.optuna_study(self.storage, self.row)

    @cached_property
    def _sampler(self) -> Sampler:
        plan = self.plan
        seed = plan.get("sampling_seed", plan["seed"])
        return Sampler(self.space, plan["direction"], plan["sampler"], seed)

    def look(self) -> None:
        """Read the trials that later draws go by."""
        self._seen[:] = self.study.get_trials(deepcopy=False)

    def draw(self, unit: int) -> Drawn | None:
        """Return what the unit is to try, without a look; None where the space is through."""
        return self._sampler.draw(self._seen, unit)

    def assignment(self, lease: Lease) -> Assignment:
        """Return what a slot needs to know of the leased trial; fetches the dataset if need be."""
        dataset, test = self.datasets
        return Assignment(
            trial=str(lease.token),
            parameters=lease.parameters,
            seed=lease.seed,
            plan=self.plan,
            dataset=dataset,
            test_dataset=test,
        )

    @property
    def datasets(self) -> tuple[Path | None, Path | None]:
        """Return the files with the dataset's bytes and with those of a test file, if any."""
        dataset, test = (
            None if sha256 is None else datasets.fetch(self.storage, sha256, self.cache)
            for sha256 in (self.row.dataset, self.row.test_dataset)
        )
        return dataset, test

    def described(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that a trial has from the start."""
        if self.space.name == "own":
            return {}
        topology, _ = self.space.decode(parameters)
        return {"topology": str(topology), "depth": topology.depth}

    def prunes(self, number: int, step: int, value: float) -> bool:
        """Judge a trial at a step it reported.

        Others' reports are as old as `REPORTS_KEPT` at most; a verdict needs no more.
        """
        if time.monotonic() > self._reports.until:
            try:
                self._reports.values = {
                    trial.number: dict(trial.intermediate_values)
                    for trial in self.study.get_trials(deepcopy=False)
                }
            except LookupError:
                return False  # Deleted meanwhile; the next report will hear of it.
            self._reports.until = time.monotonic() + REPORTS_KEPT
        plan, reports = self.plan, self._reports.values
        of_space = {"step": step, "value": value, "epochs": plan["epochs"]}
        verdict = judge(plan["pruner"], plan["direction"], reports, number, **of_space)
        reports.setdefault(number, {})[step] = value
        return verdict

    @cached_property
    def _seen(self) -> list[FrozenTrial]:
        return []

    @cached_property
    def _reports(self) -> _Reports:
        return _Reports()
