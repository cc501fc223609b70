"""What is done with an uploaded table, in a child process: hostile bytes stay out of the server.

Each function is run by `Children`, takes and returns plain values, and opens the database itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from objectives import metrics
from objectives.defaults import USUAL, TableFacts, without_effect
from objectives.parameters import Choice, Parameter, Range
from objectives.reading import LayoutError, Overrides, Reading
from objectives.table import Column, Feature, Table, apply_reading, describe, read_table
from storage import datasets
from storage.connection import Storage, connect
from topo_search import examples, study
from topo_search.choices import LIMITS
from topo_search.plain import plain
from topo_search.study import Options
from topo_search.web.target_guess import guess

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = 100  # Of a very wide table the first are shown.
BINS = 12
LONGEST_CELL = 200  # Characters of a cell that a preview shows.
LEVELS = 100  # Of a categorical column, offered in the form for a prediction.
LEVELLED = ("categorical", "boolean")
# A name as `repr` writes it.
_OF_COLUMN = re.compile(r"""Column ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a child finds an uploaded table, and what it may hold."""

    url: str = field(repr=False)  # Of the storage.
    cache: Path  # Folder of datasets on this machine.
    most: tuple[int, int]  # Rows and columns of a table.
    memory: int  # Bytes that reading it may use.


def keep(where: Where, path: Path, name: str) -> dict[str, Any]:
    """Read an upload and, where it is a table, keep it; return its SHA-256 and how it was read.

    One whose rows cannot be made out is kept, too, as someone may know how: it has no `table`, and
    what it was `refused` for.

    Raises:
        ReadingError: It is no table, or too large a one.
    """
    return _keep(where, path.read_bytes(), name)


def keep_example(where: Where, name: str) -> dict[str, Any]:
    """Keep a table that comes with topo-search, as `keep` does; return its `size`, too."""
    data = examples.get(name).read()
    return {**_keep(where, data, f"{name}.csv"), "size": len(data)}


def _keep(where: Where, data: bytes, name: str) -> dict[str, Any]:
    described, refused = None, ""
    try:
        described = _describe(_read(where, data, Overrides()))
    except LayoutError as error:
        refused = str(error)
    with closing(connect(where.url)) as storage:
        sha256 = datasets.put(storage, data, name)
    return {"dataset": sha256, "table": described, "refused": refused}


def inspect(where: Where, sha256: str, reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a table is read, with a few of its rows."""
    return _describe(_read(where, _bytes(where, sha256), overrides_of(reading)))


def choices(where: Where, sha256: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what there is to choose for a table and its target: task, metrics, ranges.

    Args:
        where: Where the table is.
        sha256: Of the table.
        given: Its target, reading and space as far as chosen, as `options_of` takes them, and the
            SHA-256 of the `test` table, if there is one.
    """
    options = options_of(given, keep=None)
    options = _with_tables(options, where, sha256, given["test"])
    plan = study.tabular_plan(options)
    facts = TableFacts(**plan["facts"])
    fitting = [metric for metric in metrics.METRICS.values() if plan["task"] in metric.tasks]
    return {
        "target": plan["target"],
        "task": plan["task"],
        "classes": plan["classes"],
        "rows": facts.rows,
        **study.learnt_and_tested(plan),
        "inputs": facts.inputs,
        "metric": plan["metric"],
        "metrics": [{"name": metric.name, "label": metric.label} for metric in fitting],
        "validation": plan["validation"],
        "warnings": plan["warnings"],
        "parameters": offered(options.space or "mlp", facts),
    }


def offered(space: str, facts: TableFacts) -> list[dict[str, Any]]:
    """Return what a space varies for such a table, and how far unasked."""
    usual, without = USUAL[space](facts), without_effect(facts)
    return [
        {
            "name": name,
            **limit._asdict(),
            **_offered(usual[key]),
            "without": f"No effect: {without[key][1]}." if key in without else "",
        }
        for name, limit in LIMITS.items()
        if (key := name.replace("-", "_")) in usual
    ]


def columns(where: Where, sha256: str, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the columns that a study's network takes, each with what it may hold."""
    reading = Reading.from_json(plan["reading"])
    table = apply_reading(_bytes(where, sha256), reading, limit=where.memory)
    used = {feature.column for feature in table.features} - {plan["target"], *plan["drop"]}
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "example": next((text for text in table.labels[column.name] if text), ""),
            "levels": _levels(table, column),
            "all_levels": 0 < column.distinct <= LEVELS and column.kind in LEVELLED,
        }
        for column in table.columns
        if column.name in used
    ]


def create(where: Where, sha256: str | None, test: str | None, options: Options) -> dict[str, str]:
    """Create a study and return its `study` and `key`.

    Args:
        where: Where the table is.
        sha256: Of the uploaded table; None for the table of the study that it begins with.
        test: SHA-256 of the table with the test rows, where they have one of their own.
        options: What was asked of it.
    """
    options = _with_tables(options, where, sha256, test)
    with closing(connect(where.url)) as storage:
        row, key = study.create(storage, options)
    return {"study": row.id, "key": key}


def _with_tables(options: Options, where: Where, sha256: str | None, test: str | None) -> Options:
    """Return what was asked of a study with the bytes of its tables."""
    data, test_data = (None if one is None else _bytes(where, one) for one in (sha256, test))
    return replace(options, data=data, test_data=test_data, most=where.most)


def _bytes(where: Where, sha256: str) -> bytes:
    with closing(connect(where.url)) as storage:
        require_kept(storage, sha256)
        return datasets.fetch(storage, sha256, where.cache).read_bytes()


def require_kept(storage: Storage, sha256: str) -> None:
    """Refuse a table that was deleted, whatever this machine still has of it.

    Raises:
        LookupError: It was.
    """
    if not datasets.is_kept(storage, sha256):
        raise LookupError("This table is not here any more. Upload it again.")


def _read(where: Where, data: bytes, overrides: Overrides) -> Table:
    return read_table(data, overrides=overrides, limit=where.memory, most=where.most)


def _describe(table: Table) -> dict[str, Any]:
    """Return how a table was read: what `inspect --json` prints, and what shows it to people.

    What is doubtful about one column is told with it, the rest as the table's warnings.
    """
    described = plain(describe(table))
    names = [column["name"] for column in described["columns"]]
    by_column, rest = _sorted_warnings(described["warnings"], names)
    features: dict[str, list[Feature]] = {}
    for feature in table.features:
        features.setdefault(feature.column, []).append(feature)
    for column in described["columns"]:
        name = column["name"]
        column["examples"] = [_short(text) for text in column["examples"]]
        column["histogram"] = _histogram(table, name, features.get(name, ()))
        column["warnings"] = by_column.get(name, [])
    shown = table.labels.iloc[:PREVIEW_ROWS, :PREVIEW_COLUMNS]
    return {
        **described,
        "warnings": rest,
        "preview": [[_short(str(text)) for text in row] for row in shown.to_numpy()],
        "guess": guess(table),
    }


def _sorted_warnings(
    warnings: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the warnings about one column by its name, and those about the table."""
    written = {repr(name): name for name in names}
    by_column: dict[str, list[str]] = {}
    rest = []
    for text in warnings:
        found = _OF_COLUMN.match(text)
        if found is not None and found[1] in written:
            by_column.setdefault(written[found[1]], []).append(text)
        else:
            rest.append(text)
    return by_column, rest


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _histogram(table: Table, name: str, features: Sequence[Feature]) -> dict[str, Any]:
    """Return how often values occur: of many numbers in bins, else the commonest ones.

    Where each text occurs once there is nothing to count.
    """
    if len(features) == 1 and features[0].kind == "numeric":
        values = table.frame[features[0].name].to_numpy()
        values = values[np.isfinite(values)]
        distinct, times = np.unique(values, return_counts=True)
        if 1 < len(distinct) <= BINS:
            return {"counts": times.tolist(), "labels": [f"{value:.12g}" for value in distinct]}
        if len(distinct) > BINS:
            counts, edges = np.histogram(values, bins=BINS)
            return {"counts": counts.tolist(), "labels": [f"{edge:.4g}" for edge in edges]}
    texts = table.labels[name]
    held = texts[texts != ""]
    counted: pd.Series[int] = held.value_counts()
    top = counted.head(BINS)
    if len(top) > 1 and top.iloc[0] == 1:
        return {"counts": [], "labels": []}
    return {"counts": top.tolist(), "labels": [str(text)[:40] for text in top.index]}


def _levels(table: Table, column: Column) -> list[str]:
    """Return the commonest values of a column that has a few."""
    if column.kind not in LEVELLED:
        return []
    texts = table.labels[column.name]
    counted: pd.Series[int] = texts[texts != ""].value_counts()
    return [str(text) for text in counted.index[:LEVELS]]


def _offered(usual: Parameter | Any) -> dict[str, Any]:
    """Return what is tried of a parameter unasked."""
    if isinstance(usual, Range):
        whole = isinstance(usual.low, int)
        return {"kind": "range", "low": usual.low, "high": usual.high, "whole": whole}
    if isinstance(usual, Choice):
        words = [
            str(value).lower() if isinstance(value, bool) else value for value in usual.choices
        ]
        return {"kind": "choice", "values": words}
    value = str(usual).lower() if isinstance(usual, bool) else usual
    return {"kind": "fixed", "value": value}


def overrides_of(given: Mapping[str, Any]) -> Overrides:
    """Return what a request says of how its table is to be read."""
    known = {name: value for name, value in given.items() if value is not None}
    for name in {"missing", "present"} & known.keys():
        known[name] = tuple(known[name])
    return Overrides(**known)


def options_of(given: Mapping[str, Any], *, keep: timedelta | None) -> Options:
    """Return what a request asks of a study, but for the table's bytes."""
    same = ("target", "task", "metric", "trials", "space", "epochs", "seed", "test_share")
    also = ("validation", "pruner", "sampler", "name", "tags")
    known = {name: given[name] for name in (*same, *also) if given.get(name) is not None}
    return Options(
        data=None,
        file=given.get("file", ""),
        seconds=given.get("timeout"),
        limits={name: text for name, text in (given.get("limits") or {}).items() if text},
        overrides=overrides_of(given.get("reading") or {}),
        drop=tuple(given.get("drop") or ()),
        parent=given.get("parent"),
        keep=keep,
        **known,
    )
