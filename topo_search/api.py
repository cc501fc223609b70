"""The main job from Python: `topo_search.search`."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import optuna
from rich.console import Console

from objectives.frames import csv_bytes, frame_overrides
from objectives.table import Overrides, Task
from storage import studies, trials
from storage.connection import Storage
from storage.private_files import claim_home
from topo_search import delivery, forking, next_steps, own_worker, predictor, retries, study
from topo_search.charts import charts_of
from topo_search.choices import LIMITS
from topo_search.files import table_bytes
from topo_search.live import View
from topo_search.machine import Serving
from topo_search.report import write_report
from topo_search.results import Results
from topo_search.settings import Settings, opened
from topo_search.writing import check_file

if TYPE_CHECKING:
    import keras
    import pandas as pd
    import plotly.graph_objects as go


# What options are called elsewhere, where a likeness of names would not tell.
MEANT = {"timeout": "seconds", "test_file": "test", "csv": "table", "data": "table"}


class SearchOptions(TypedDict, total=False):
    """What may be asked of a search beside its table; `topo_search.study.Options` says more."""

    task: Task  # By default as the target's values suggest.
    metric: str  # By default accuracy, or RMSE for a regression.
    trials: int  # By default 50, or every point of a space that enumerates itself.
    seconds: float  # Time the trials may use.
    space: Literal["mlp", "layers", "depth"]
    limits: Mapping[str, str]  # Of the space, by parameter, as {"depth": "1:6"}.
    epochs: int  # At most, for every trial.
    seed: int
    test_share: float  # Of the rows, where there is no `test`.
    validation: Literal["auto", "holdout", "cv"]
    overrides: Overrides  # Of how the table is read.
    drop: tuple[str, ...]  # Columns that are left out.
    pruner: Literal["asha", "none"]
    sampler: Literal["tpe", "random"]
    name: str
    tags: tuple[str, ...]  # For workers that are limited to some.
    parent: str  # A study to begin with.
    objective: str  # Your own, as package.module:function,
    space_file: Path  # its parameters,
    direction: Literal["maximize", "minimize"]  # and where its value is to go.


class Result:
    """What a search found. Holds its storage open until `close`, or the end of a `with` block."""

    def __init__(self, storage: Storage, study_id: str, key: str, holding: ExitStack) -> None:
        """Make a result; `topo_search.search` does."""
        self._storage, self._holding = storage, holding
        self.id, self.key = study_id, key

    @cached_property
    def results(self) -> Results:
        """Every frame and number, as the report has them."""
        return delivery.results(self._storage, studies.get(self._storage, self.id))

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The complete trials, best first: score, topology, weights, seconds, parameters."""
        return self.results.leaderboard

    @property
    def summary(self) -> dict[str, Any]:
        """What `topo-search search --json` prints."""
        row = studies.get(self._storage, self.id)
        return delivery.to_json(self._storage, row, self.key, None)

    @cached_property
    def figures(self) -> dict[str, go.Figure]:
        """The report's charts by name."""
        return charts_of(self.results)

    @cached_property
    def network(self) -> keras.Model:
        """The winner, refitted: takes typed columns by name, gives probabilities or values.

        Raises:
            LookupError: Where the study has none, as when it was interrupted.
        """
        from objectives.finishing import loaded

        with tempfile.TemporaryDirectory() as folder:
            return loaded(self.export(folder) / predictor.NETWORK)

    @property
    def study(self) -> optuna.Study:
        """The plain Optuna study."""
        return trials.optuna_study(self._storage, studies.get(self._storage, self.id))

    def predict(self, table: str | Path | pd.DataFrame) -> pd.DataFrame:
        """Return a table's rows with `prediction`, and for classes their probabilities."""
        with tempfile.TemporaryDirectory() as folder:
            network = self.export(folder)
            if isinstance(table, str | Path):
                return predictor.predict(network, table_bytes(Path(table))).frame
            return predictor.predict_frame(network, table).frame

    def export(self, folder: str | Path) -> Path:
        """Write the network, its reading rules and how to use them into a folder."""
        row = studies.get(self._storage, self.id)
        return predictor.export(self._storage, row, Path(folder))

    def report(self, path: str | Path) -> Path:
        """Write the report page."""
        row = studies.get(self._storage, self.id)
        return write_report(self.results, Path(path), commands=next_steps.commands(row))

    def close(self) -> None:
        """Leave the storage; the study stays there."""
        self._holding.close()

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def search(
    table: str | Path | pd.DataFrame | None = None,
    target: str | int | None = None,
    *,
    test: str | Path | pd.DataFrame | None = None,
    slots: int | None = None,
    slots_per_gpu: int = 1,
    trial_timeout: float | None = None,
    allow_objective: Collection[str] = (),
    report: str | Path | None = None,
    storage: str | None = None,
    progress: bool = True,
    **options: Unpack[SearchOptions],
) -> Result:
    """Search networks for a table, on this machine, and return what was found.

    Args:
        table: A CSV's path, or a DataFrame, whose index is left out; None for an own objective
            without one.
        target: The column to predict, by name or position (from 1; -1 is the last).
        test: A table with the test rows, given as `table` is; by default a share of `table` is set
            aside.
        slots: Training processes; by default one for each GPU, or without one for each core.
        slots_per_gpu: Training processes on each GPU, where there are any.
        trial_timeout: Seconds after which a trial is failed.
        allow_objective: Names of own objectives that may run here, beside the one in `options`.
        report: Where to write the report page, if anywhere.
        storage: URL of a PostgreSQL server; by default what the environment says, or a private one.
        progress: Whether to show a live view, or a line for every trial where there is no terminal.
        **options: As on the command line, by the names of `SearchOptions`.

    Raises:
        TypeError: There is no such option, and names one that may be meant; or of `table` and
            `test` one is a file and the other a DataFrame.
        ValueError: Where the table cannot be read, or an option does not fit.
        ConnectionError: Where the storage cannot be reached.
        UnwritableError: Where the report cannot be written.
    """
    _refuse_unknown(options)
    settings = Settings.read(storage=storage)
    asked = study.Options(**_tables(table, test, options), target=target)
    serving = Serving(
        slots=slots,
        slots_per_gpu=slots_per_gpu,
        objectives={asked.objective, *allow_objective},
        trial_timeout=trial_timeout,
    )
    if report is not None:
        check_file(Path(report))  # Before anything is trained.
    claim_home(settings.home)
    forking.warm_up(settings.log)
    with ExitStack() as stack:
        opened_storage = stack.enter_context(opened(settings))
        row, key = study.create(opened_storage, asked)
        view = View(Console(quiet=not progress), row)
        with view.shown():
            own_worker.serve(opened_storage, settings.home, row.id, serving, on_tick=view.tick)
        if report is not None:
            retry = retries.patient(opened_storage)
            row = retry(studies.get, opened_storage, row.id)
            next_ = next_steps.commands(row, next_steps.Asked(storage=storage))
            results = retry(delivery.results, opened_storage, row)
            write_report(results, Path(report), commands=next_)
        return Result(opened_storage, row.id, key, stack.pop_all())


def _refuse_unknown(options: Collection[str]) -> None:
    """Refuse options that there are not.

    Raises:
        TypeError: There is one.
    """
    known = SearchOptions.__annotations__
    meant = {name.replace("-", "_"): f"limits={{'{name}': …}}" for name in LIMITS} | MEANT
    meant |= {name: name for name in (*known, *inspect.signature(search).parameters)}
    for name in options:
        if name not in known:
            near = [name] if name in meant else get_close_matches(name, meant, n=1)
            hint = f" Did you mean {meant[near[0]]}?" if near else ""
            raise TypeError(
                f"Expected an option that topo_search.search has. Received: {name}.{hint}"
            )


def _tables(
    table: str | Path | pd.DataFrame | None,
    test: str | Path | pd.DataFrame | None,
    options: SearchOptions,
) -> dict[str, Any]:
    """Return the options with the tables' bytes, and how DataFrames are to be read.

    Raises:
        TypeError: One is a file, and one a DataFrame: each is written in a way of its own.
    """
    files = [isinstance(one, str | Path) for one in (table, test) if one is not None]
    if len(set(files)) > 1:
        raise TypeError(
            "Expected two files or two DataFrames. Received one of each: read the file."
        )
    given: dict[str, Any] = {**options, "data": None, "test_data": None}
    for name, one in (("data", table), ("test_data", test)):
        if isinstance(one, str | Path):
            given[name] = table_bytes(Path(one), stored=True)
        elif one is not None:
            given[name] = csv_bytes(one)
    if isinstance(table, str | Path):
        given["file"] = Path(table).name
    elif table is not None:
        given["file"] = "a DataFrame"
        given["overrides"] = frame_overrides(table, options.get("overrides", Overrides()))
    return given
