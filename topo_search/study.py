"""A study from what its user asked for: the table read, the target chosen, the space laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from objectives import metrics, splits
from objectives.checks import target_warnings
from objectives.defaults import TableFacts
from objectives.named_spaces import named_space
from objectives.preprocessing import Layout
from objectives.row_checks import count_shared, drop_warnings
from objectives.space import Space
from objectives.split_checks import share_warnings, split_warnings
from objectives.sweep import Sweep, swept
from objectives.table import (
    Examples,
    Overrides,
    Table,
    Target,
    Task,
    apply_reading,
    choose_target,
    find_column,
    read_table,
    split_target,
)
from objectives.target import check_size
from storage import datasets, studies
from storage.connection import Storage
from storage.rows import StudyRow
from topo_search import inheritance
from topo_search.settings import VERSION

FEWEST_LEFT = 10  # Rows beside the test rows; with fewer nothing can be trained and validated.
TRIALS = 50  # Where nothing is asked for, and the space has no end of its own.
MOST_TRIALS = 1_000_000
HIGHEST_SEED = 2**31 - 1
EPOCHS = 100  # At most, where nothing is asked for.
LISTED_ROWS = 100  # Rows left out that a plan names; the rest it counts.
# What a study that begins with another's trials cannot have of its own.
THE_PARENTS = (
    *("data", "target", "task", "metric", "seed", "test_data", "test_share", "validation"),
    *("overrides", "drop", "objective", "space_file", "direction"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user asks of a study; the same on the command line and in Python."""

    data: bytes | None  # The table's; None for an own objective without one.
    file: str = ""  # The table's name, shown.
    target: str | int | None = None  # Name of a column, or its position from 1 (-1: the last).
    task: Task | None = None  # By default as the target's values suggest.
    metric: str | None = None  # By default accuracy, or RMSE for a regression.
    trials: int | None = None  # By default 50, or every point of a space that enumerates itself.
    seconds: float | None = None  # Time the study may use.
    space: str | None = None  # By default the parent's, or `mlp`.
    limits: Mapping[str, str] = field(default_factory=dict)  # Of the space, by parameter.
    epochs: int | None = None  # At most, for every trial; by default the parent's, or 100.
    seed: int = 0
    test_data: bytes | None = None  # A table with the test rows; else a share is set aside.
    test_share: float = 0.2
    validation: Literal["auto", "holdout", "cv"] = "auto"
    overrides: Overrides = field(default_factory=Overrides)
    drop: tuple[str, ...] = ()
    pruner: Literal["asha", "none"] = "asha"
    sampler: Literal["tpe", "random"] = "tpe"
    name: str | None = None
    objective: str = "tabular"
    space_file: Path | None = None  # Of an own objective.
    direction: Literal["maximize", "minimize"] = "maximize"  # Of an own objective's value.
    tags: tuple[str, ...] = ()  # For workers that are limited to some.
    parent: str | None = None  # A study to begin with: its table, target, split and trials.
    keep: timedelta | None = None  # After its last activity; for ever by default.
    most: tuple[int, int] | None = None  # Rows and columns that the table may have.
    sweep: Sweep | None = None  # Over the depths of the space `depth`, instead of a budget.


def create(storage: Storage, options: Options) -> tuple[StudyRow, str]:
    """Create a study and return it with the secret key to its page.

    Raises:
        ValueError: Where the table cannot be read, has no such target, or an option does not fit;
            the message names the remedy.
    """
    if not 0 <= options.seed <= HIGHEST_SEED:
        raise ValueError(f"Expected a seed from 0 to {HIGHEST_SEED}. Received: {options.seed}.")
    if options.trials is not None and options.trials > MOST_TRIALS:
        raise ValueError(f"Expected at most {MOST_TRIALS:,} trials. Received: {options.trials:,}.")
    if options.parent is not None:
        return _create_child(storage, options, studies.get(storage, options.parent))
    plan = own_plan(options) if options.objective != "tabular" else tabular_plan(options)
    dataset, test = (
        None if data is None else datasets.put(storage, data, options.file)
        for data in (options.data, options.test_data)
    )
    return _store(storage, options, plan, dataset=dataset, test_dataset=test)


def _create_child(storage: Storage, options: Options, parent: StudyRow) -> tuple[StudyRow, str]:
    """Create a study that begins with the trials of another, on the same rows."""
    for name in THE_PARENTS:
        if getattr(options, name) != getattr(Options(data=None), name):
            raise ValueError(
                f"A study that begins with another's trials has its table, target and split, or "
                f"their scores would not compare. Leave out {name}."
            )
    epochs = options.epochs or int(parent.plan["epochs"])
    space, limits = inheritance.space_of(parent, options.space, options.limits, epochs)
    known = inheritance.known_trials(storage, parent, space, epochs)
    own = {"version": VERSION, "epochs": epochs, "sampler": options.sampler, "limits": dict(limits)}
    known_of = len(inheritance.scored_trials(storage, parent, epochs))
    own |= {"known": len(known), "known_of": known_of}
    pruner = "none" if space.enumerates else options.pruner
    plan = {**inheritance.plan_of(parent, known, space, epochs), **own, "pruner": pruner}
    same = {"dataset": parent.dataset, "test_dataset": parent.test_dataset}
    return _store(storage, options, plan, **same, parent=parent.id, known=known)


def _store(
    storage: Storage, options: Options, plan: dict[str, Any], **given: Any
) -> tuple[StudyRow, str]:
    points = Space.from_json(plan["space"]).enumerated
    units = None if points is None else len(points)
    trials = options.trials if options.trials is not None else units or TRIALS
    return studies.create(
        storage,
        plan=plan,
        direction=plan["direction"],
        name=options.name,
        trials=trials,
        units=units,
        seconds=options.seconds,
        tags=options.tags,
        keep=options.keep,
        **given,
    )


def tabular_plan(options: Options) -> dict[str, Any]:
    """Return the plan of a study of a table; every slot reads the table by it."""
    if options.data is None or options.target is None:
        raise ValueError("Expected a table and its target. Name the column with --target.")
    table = read_table(options.data, overrides=options.overrides, most=options.most)
    target = choose_target(table, options.target, options.task)
    names = [column.name for column in table.columns]
    drop = tuple(find_column(names, name) for name in options.drop)
    if target.column in drop:
        raise ValueError(
            f"Expected columns to leave out besides the target. Received the target "
            f"{target.column!r}. Give another --target, or do not --drop it."
        )
    examples = split_target(table, target, drop)
    check_size(target, examples.y)
    metric = (
        metrics.metric_for(options.metric, target.task)
        if options.metric
        else metrics.default_metric(target.task)
    )
    dropped = len(table.dropped) + examples.rows_dropped
    if options.test_data is not None:
        told, tested, dropped_too = _told_of_test_rows(options, table, target, drop, examples)
        dropped += dropped_too
        y, frame = examples.y, examples.frame
    else:
        told = split_warnings(table, target, drop)
        if drop:
            told += drop_warnings(table, target, drop)
        y, frame = _beside_a_share(options, target, examples)
        tested = len(examples.y) - len(y)
        told += share_warnings(target, tested, round(len(examples.y) * options.test_share))
    rows = len(y)
    if rows < FEWEST_LEFT:
        raise ValueError(
            f"Expected at least {FEWEST_LEFT} rows beside the test rows. Received {rows} of "
            f"{len(examples.y)}. Give a smaller --test-share than {options.test_share}."
        )
    validation = splits.kind(rows, options.validation)
    valid = len(splits.validation(y, target.task, validation, options.seed)[0].held_out)
    sizes = Layout.of(frame, examples.features).sizes
    kinds = [feature.kind for feature in examples.features]
    facts = TableFacts(
        task=target.task,
        rows=rows * 4 // 5,
        numeric=kinds.count("numeric"),
        categorical=kinds.count("categorical"),
        inputs=sizes.numeric + sizes.dense + len(sizes.codes),
        classes=len(target.classes),
        metric=metric.name,
    )
    name = options.space or "mlp"
    space = named_space(name, limits=options.limits, facts=facts, epochs=options.epochs or EPOCHS)
    if options.sweep is not None:
        space = swept(space, options.sweep)
    return {
        **_common(options, space),
        "facts": asdict(facts),
        "sizes": sizes.to_json(),
        "limits": dict(options.limits),
        "dataset_name": options.file,
        "target": target.column,
        "task": target.task,
        "classes": list(target.classes),
        "metric": metric.name,
        "direction": metric.direction,
        "reading": table.reading.to_json(),
        "columns": [
            {"name": column.name, "kind": column.kind, "missing": column.missing}
            for column in table.columns
        ],
        "warnings": [*table.warnings, *target_warnings(table, target, drop), *told],
        "dropped": len(table.dropped),  # Rows left out as they could not be read.
        "dropped_rows": [
            {"line": row.line, "reason": row.reason} for row in table.dropped[:LISTED_ROWS]
        ],
        "drop": list(drop),
        "validation": validation,
        # Train and validate a trial (the first fold's), test the winner, are left out.
        "rows": {"train": rows - valid, "validation": valid, "test": tested, "dropped": dropped},
        "test_share": options.test_share,
    }


def learnt_and_tested(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows of a plan's table there are to learn from, and for the final test."""
    if "split" in plan:  # Of an older version.
        return dict(plan["split"])
    rows = plan["rows"]
    return {"rest": rows["train"] + rows["validation"], "test": rows["test"]}


def own_plan(options: Options) -> dict[str, Any]:
    """Return the plan of a study of a user's own objective."""
    if options.space_file is None:
        raise ValueError("Expected a space for the own objective: --space-file FILE.toml.")
    return {
        **_common(options, Space.from_toml(options.space_file)),
        "dataset_name": options.file,
        "target": options.target,
        "metric": options.metric or "value",
        "direction": options.direction,
    }


def _common(options: Options, space: Space) -> dict[str, Any]:
    return {
        "version": VERSION,
        "objective": options.objective,
        "space": space.to_json(),
        "epochs": options.epochs or EPOCHS,
        "seed": options.seed,
        # Depths are tried to their end, one after the other: that is the study.
        "pruner": "none" if space.enumerates else options.pruner,
        "sampler": options.sampler,
    }


def _told_of_test_rows(
    options: Options, table: Table, target: Target, drop: tuple[str, ...], examples: Examples
) -> tuple[list[str], int, int]:
    """Return what is doubtful about a table of test rows, how many, and how many are left out.

    It is read as the other is.

    Raises:
        ValueError: It cannot be, or has no row with a target that a network could give.
    """
    assert options.test_data is not None
    try:
        test = apply_reading(options.test_data, table.reading, optional=drop, most=options.most)
        found = split_target(test, target, drop)
        check_size(target, found.y, examples.y)
    except ValueError as error:
        raise ValueError(f"Expected a --test-file that is as the table is. {error}") from error
    if not len(found.y):
        raise ValueError("Expected rows with a target in the --test-file. Received none.")
    told = [*test.warnings]
    if shared := count_shared(found, examples):
        told.append(
            f"{shared:,} of its {len(found.y):,} rows are in the table too, with the same target. "
            "They make the test score too good; leave them out of one of the two."
        )
    dropped = len(test.dropped) + found.rows_dropped
    return [f"Test file: {warning}" for warning in told], len(found.y), dropped


def _beside_a_share(options: Options, target: Target, examples: Examples) -> tuple[Any, Any]:
    """Return the target and the typed columns of what is left beside the share of test rows."""
    if not 0 < options.test_share < 1:
        raise ValueError(
            f"Expected a share of test rows between 0 and 1. Received: {options.test_share}. "
            "Give another --test-share."
        )
    split = splits.test_split(examples.y, target.task, options.test_share, options.seed)
    return examples.y[split.train], examples.frame.iloc[split.train]
