"""Tables whose rows a random split does not keep apart: rows of one group, or in order of time."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from objectives.identifiers import name_words

if TYPE_CHECKING:
    from objectives.table import Column, Table
    from objectives.target import Target

IDS = frozenset("id ids uid uuid guid key #".split())
WHO = frozenset(  # of whom a table may hold several rows each
    "patient subject person participant customer client user member student household donor "
    "speaker".split()
)
GROUPS, DATES = 10, 20  # different ones, at least
LEAST, MOST = 1.5, 50  # rows of a group on average; more share a "category_id" than an individual
FEWER = 1 / 3  # of the test rows asked for, at least, that could not be set aside
ORDERED = 0.99  # of the steps from row to row go one way in time, if the rows are ordered by it


def split_warnings(table: Table, target: Target, drop: Collection[str] = ()) -> list[str]:
    """Return warnings where test rows that are drawn at random are likely to be easier than new."""
    columns = [c for c in table.columns if c.name != target.column and c.name not in drop]
    return [
        *(_groups(table, column) for column in columns if _names_groups(table, column)),
        *(_time(column) for column in columns if _orders_rows(table, column)),
    ]


def share_warnings(target: Target, set_aside: int, asked: int) -> list[str]:
    """Return a warning where far fewer rows were set aside for the test than asked for."""
    if asked - set_aside < asked * FEWER:
        return []
    return [
        f"Only {set_aside:,} of the {asked:,} test rows asked for are set aside, as classes of "
        f"{target.column!r} with one row stay in training. To test on more, give a --test-file or "
        "merge rare classes."
    ]


def _groups(table: Table, column: Column) -> str:
    return (
        f"Column {column.name!r} names {column.distinct:,} groups of about "
        f"{_rows_per_value(table, column):.3g} rows, which are split into training and test at "
        "random. If new rows are to be of other groups, set whole groups aside as a --test-file "
        f"and leave the column out with --drop {shlex.quote(column.name)}"
    )


def _time(column: Column) -> str:
    return (
        f"The rows are in the order of {column.name!r} and split into training and test at random. "
        "If later rows are to be predicted, set the latest aside as a --test-file."
    )


def _rows_per_value(table: Table, column: Column) -> float:
    return len(table.labels) * (1 - column.missing) / max(1, column.distinct)


def _names_groups(table: Table, column: Column) -> bool:
    """Return whether a column is named as a key, and its values as often recur as keys do."""
    words = name_words(column.name)
    who = not WHO.isdisjoint(words)
    if not words or words[-1] not in IDS | WHO or column.distinct < GROUPS:
        return False
    if not LEAST <= _rows_per_value(table, column) <= (np.inf if who else MOST):
        return False
    if column.kind == "numeric":
        numbers = table.frame[column.name].to_numpy()
        return not (numbers[np.isfinite(numbers)] % 1).any()
    return column.kind in ("categorical", "identifier")


def _orders_rows(table: Table, column: Column) -> bool:
    """Return whether a column holds dates that go up, or down, from row to row."""
    if column.kind != "datetime" or column.distinct < DATES:
        return False
    parts = [feature.name for feature in table.features if feature.column == column.name]
    days = next((name for name in parts if name.startswith(f"{column.name}.days")), None)
    if days is None:
        return False
    moments = table.frame[days].to_numpy()
    steps = np.diff(moments[np.isfinite(moments)])
    return bool(max(np.mean(steps >= 0), np.mean(steps <= 0)) >= ORDERED)
