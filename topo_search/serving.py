"""A study as a worker serves it: what to try next, what to hand to a slot, what to prune."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from objectives.objective import Assignment
from objectives.sizes import Sizes, count_weights
from objectives.space import Space
from storage import datasets, trials
from storage.connection import Storage
from storage.rows import Drawn, Lease, StudyRow
from storage.trial_reader import TrialReader
from topo_search.halving import Halving
from topo_search.sampling import Sampler

REPORTS_KEPT = 1.0  # Seconds until the reports of other workers are looked at again.


class ServedStudy:
    """One study at a worker: what never changes of it, and its trials as last looked at."""

    def __init__(
        self,
        *,
        storage: Storage,
        row: StudyRow,
        cache: Path,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve a study, none of whose trials have been looked at.

        Args:
            storage: Where it is.
            row: The study.
            cache: Folder of datasets on this machine.
            meanwhile: Called while a dataset is fetched, or many trials are read.
        """
        self.storage, self.row, self.cache, self.meanwhile = storage, row, cache, meanwhile
        plan = row.plan
        self._reader = TrialReader(storage, row.optuna_study_id, meanwhile=meanwhile)
        known = plan.get("known", 0)
        self._halving = Halving(plan["pruner"], plan["direction"], plan["epochs"], known)
        self._trials: list[FrozenTrial] = []  # By number, as they were at the last look.
        self._settled = 0  # How many of the first have ended, and were noted as ended.
        self._until = 0.0  # When to look again for verdicts, on this machine's monotonic clock.

    @property
    def plan(self) -> Mapping[str, Any]:
        """What the study is to do, as `study.tabular_plan` and `own_plan` write it."""
        return self.row.plan

    @cached_property
    def space(self) -> Space:
        """What the study may try."""
        return Space.from_json(self.plan["space"])

    @cached_property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """What Optuna draws each parameter from."""
        return self.space.distributions()

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
        """Read the trials that later draws and verdicts go by."""
        self._trials = self._reader.look()
        self._until = time.monotonic() + REPORTS_KEPT
        for trial in self._trials[self._settled :]:
            self._halving.note(trial.number, self._reports(trial))
        for trial in self._trials[self._settled :]:
            if not trial.state.is_finished():
                break
            self._halving.settle(trial.number)
            self._settled += 1

    def _reports(self, trial: FrozenTrial) -> Mapping[int, float]:
        """Return what a trial is judged by, and others beside it: its scores by step.

        Of one that came to its end they are the best so far. Where that was early, as it got no
        better, it is its value that others have to beat at the rungs after that.
        """
        reports = trial.intermediate_values
        if trial.state != TrialState.COMPLETE or not reports:
            return reports
        return {**reports, max(self.plan["epochs"], *reports): trial.values[0]}

    def prepare(self) -> None:
        """Read the trials that draws go by, where they go by any."""
        if self._sampler.models:
            self.look()

    def draw(self, unit: int) -> Drawn:
        """Return what the unit is to try, by the trials as last looked at."""
        return self._sampler.draw(self._trials, unit)

    def assignment(self, lease: Lease) -> Assignment:
        """Return what a slot needs to know of the leased trial; fetches the dataset if need be."""
        dataset, test = self.fetch_datasets()
        return Assignment(
            trial=str(lease.token),
            parameters=lease.parameters,
            seed=lease.seed,
            plan=self.plan,
            dataset=dataset,
            test_dataset=test,
        )

    def fetch_datasets(self) -> tuple[Path | None, Path | None]:
        """Return files of the dataset and of test rows, if any; downloads what is not there."""
        dataset, test = (
            None
            if sha256 is None
            else datasets.fetch(self.storage, sha256, self.cache, self.meanwhile)
            for sha256 in (self.row.dataset, self.row.test_dataset)
        )
        return dataset, test

    def described(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that a trial has from the start."""
        if self.space.name == "own":
            return {}
        topology, _ = self.space.decode(parameters)
        found = {"topology": str(topology), "depth": topology.depth}
        if "sizes" in self.plan:  # Older studies do not know them.
            sizes, outputs = Sizes.from_json(self.plan["sizes"]), len(self.plan["classes"]) or 1
            found["weights"] = count_weights(topology, sizes, outputs)
        return found

    def prunes(self, number: int, step: int, value: float) -> bool:
        """Judge a trial at a step it reported.

        Others' reports are as old as `REPORTS_KEPT` at most; a verdict needs no more.
        """
        if not self._halving.prunes_any:
            return False
        if time.monotonic() > self._until:
            try:
                self.look()
            except LookupError:
                return False  # Deleted meanwhile; the next report will hear of it.
        return self._halving.prunes(number, step, value)
