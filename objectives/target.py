"""The column to predict: which, as what, and the examples that have it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from objectives.metrics import Task
from objectives.numerals import Floats, decimal_evidence
from objectives.reading import ColumnRule, NoSuchColumnError, Reading, ReadingError
from objectives.shape import plain_name
from objectives.units import to_quantities

if TYPE_CHECKING:
    import pandas as pd

    from objectives.table import Feature, Table

Strings = np.ndarray[Any, np.dtype[np.object_]]

FEWEST_ROWS = 20  # with a target, to search anything
MOST_CLASSES = 20  # different whole numbers that are still taken as classes
ROWS_PER_CLASS = 2  # on average, at least
LARGEST = 1e100  # number of a regression, and the inverse of how little they may be apart


@dataclass(frozen=True, kw_only=True)
class Target:
    """The column to predict."""

    column: str
    task: Task
    classes: tuple[str, ...]  # as in the file, sorted, by number where they are; () for regression


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The rows that have a target, and what a network may know about them."""

    features: tuple[Feature, ...]
    frame: pd.DataFrame  # one column per feature
    y: np.ndarray[Any, Any]  # int64 class codes, or float64 values
    rows_dropped: int  # rows without a target


def find_column(names: Sequence[str], wanted: str | int) -> str:
    """Return the name of a column given by name or position.

    Positions count from 1, negative ones from the end (-1 is the last); a column whose name
    is that number comes first.

    Raises:
        NoSuchColumnError: The message suggests the nearest name.
    """
    text = plain_name(str(wanted))
    if text in names:
        return text
    if re.fullmatch(r"[-+]?\d{1,9}", text):
        position = int(text)
        if 0 < abs(position) <= len(names):
            return names[position - 1 if position > 0 else position]
        raise NoSuchColumnError(
            f"Expected a column's name or a position from 1 to {len(names)} (-1 is the last). "
            f"Received: {wanted!r}."
        )
    lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(text.lower(), list(lower), n=1, cutoff=0.5)
    hint = f"Did you mean {lower[near[0]]!r}?" if near else f"Columns: {', '.join(names[:30])}."
    raise NoSuchColumnError(f"There is no column {wanted!r}. {hint}")


def choose_target(table: Table, target: str | int, task: Task | None = None) -> Target:
    """Return the column to predict, and as what.

    Numbers are predicted as numbers if there are more than 20 different ones or some are not
    whole; anything else is predicted as classes.

    Args:
        table: the table.
        target: the column's name or position (from 1; negative from the end).
        task: what to predict it as; found out if not given.

    Raises:
        ReadingError: there is no such column, or several have its name, fewer than 20 rows have
            it, it holds one class or hardly a class twice, or it does not fit the task.
    """
    rule = _rule(table.reading, _named_once(table, target))
    texts = table.labels[rule.name].to_numpy()
    keys, distinct = _keys(texts, rule)
    rows = int((keys >= 0).sum())
    if rows < FEWEST_ROWS:
        raise ReadingError(
            f"Expected at least {FEWEST_ROWS} rows with a value in the target column "
            f"{rule.name!r}. Received {rows}. Give more rows or another target."
            f"{_without(table, rule, rows)}"
        )
    if len(distinct) == 1:
        raise ReadingError(
            f"The target column {rule.name!r} holds one value only ({distinct[0]!r} in {rows} "
            f"rows), so there is nothing to predict. Give another target."
            f"{_without(table, rule, rows)}"
        )
    if task == "regression" or (task is None and _is_measured(distinct, rule)):
        if not rule.decimal:
            raise ReadingError(
                f"Expected numbers in the target column {rule.name!r}, as the task is regression. "
                f"Received {distinct[0]!r} and the like. Leave --task out, to predict classes."
            )
        return Target(column=rule.name, task="regression", classes=())
    if rows < ROWS_PER_CLASS * len(distinct):
        raise ReadingError(
            f"The target column {rule.name!r} holds {len(distinct)} different values in {rows} "
            f"rows, too many to be classes. Give another target{_numeric(distinct, rule)}"
        )
    if task == "binary" and len(distinct) > 2:
        raise ReadingError(
            f"Expected two classes in the target column {rule.name!r}. Received "
            f"{len(distinct)}. Let the task be multiclass: leave --task out."
        )
    named: Task = "binary" if len(distinct) == 2 else "multiclass"
    return Target(column=rule.name, task=named, classes=tuple(distinct))


def _named_once(table: Table, target: str | int) -> str:
    """Return the name of the column to predict, which nobody may have taken for another."""
    name = find_column(tuple(table.labels.columns), target)
    places = table.repeated.get(name)
    if places is None or plain_name(str(target)) != name:
        return name
    raise NoSuchColumnError(
        f"Expected a target that is one column. Received {name!r}, which {len(places)} columns are "
        f"named. Give its position, {' or '.join(map(str, places[:10]))}, or rename one in the "
        "file."
    )


def _numeric(distinct: Strings, rule: ColumnRule) -> str:
    """Return how to predict a target as a number, if all or nearly all of its texts are numbers."""
    if rule.decimal:
        return ", or predict it as a number with --task regression."
    if not decimal_evidence(distinct):
        return "."
    remedy = shlex.quote(f"{rule.name}=numeric")
    return f", or, as nearly all are numbers, read it as such with --column {remedy}"


def _without(table: Table, rule: ColumnRule, rows: int) -> str:
    """Return what to do if rows that seem to lack the target are of a class."""
    absent = table.columns[rule.position].absent
    for text, cells in absent.items():
        return (
            f" {cells} cells {text!r} count as missing; if that is a value, say so with "
            f"--present={shlex.quote(text)}"
        )
    blank = len(table.labels) - rows
    return f" If the {blank} cells without one are a class, write its name there." if blank else ""


def split_target(table: Table, target: Target, drop: Collection[str] = ()) -> Examples:
    """Return the rows with a target, without the features of the target and dropped columns.

    Raises:
        ReadingError: a row holds a class that the target does not have, there is no row with
            a target, or a column to drop does not exist.
    """
    names = tuple(table.labels.columns)
    rule = _rule(table.reading, target.column)
    texts = table.labels[target.column].to_numpy()
    if target.task == "regression":
        values, distinct = _factorized(texts)
        y = np.append(_numbers(distinct, rule), np.nan)[values]
        known = np.isfinite(y)
    else:
        y = _class_codes(texts, target, rule, table.lines)
        known = y >= 0
    if not known.any():
        raise ReadingError(f"Expected a value in the target column {target.column!r} in some row.")
    left_out = {target.column, *(find_column(names, name) for name in drop)}
    features = tuple(f for f in table.features if f.column not in left_out)
    if not features:
        raise ReadingError(
            f"Expected a column besides the target {target.column!r} that can be used. "
            f"Received none: all others are left out.{_kept(table.reading, left_out)}"
        )
    frame = table.frame.loc[known, [feature.name for feature in features]]
    return Examples(
        features=features,
        frame=frame.reset_index(drop=True),
        y=y[known],
        rows_dropped=int((~known).sum()),
    )


def check_size(target: Target, *parts: np.ndarray[Any, Any]) -> None:
    """Refuse numbers to predict whose squared errors would be infinite, or all 0.

    Raises:
        ReadingError: says by what to divide, or to multiply, the target.
    """
    if target.task != "regression":
        return
    y = np.concatenate(parts)
    largest = float(np.abs(y).max())
    expected = f"Expected values of the target {target.column!r} whose squares can be computed."
    if largest > LARGEST:
        raise ReadingError(
            f"{expected} Received some as large as {largest:.3g}. Divide all by "
            f"1e{np.log10(largest):.0f}."
        )
    apart = float(np.ptp(y))
    if 0 < apart < 1 / LARGEST:
        raise ReadingError(
            f"{expected} Received some that are at most {apart:.3g} apart. Multiply all by "
            f"1e{-np.log10(apart):.0f}."
        )


def _kept(reading: Reading, left_out: Collection[str]) -> str:
    """Return how to use columns that seem only to tell rows apart, if there are some."""
    found = [r for r in reading.columns if r.kind == "identifier" and r.name not in left_out]
    if not found:
        return ""
    remedy = shlex.quote(f"{found[0].name}={'numeric' if found[0].decimal else 'categorical'}")
    names = ", ".join(repr(rule.name) for rule in found[:10])
    return f" {names} seem only to tell rows apart; to use one, say so with --column {remedy}"


def _rule(reading: Reading, name: str) -> ColumnRule:
    return next(rule for rule in reading.columns if rule.name == name)


def _numbers(distinct: Strings, rule: ColumnRule) -> Floats:
    return to_quantities(distinct, rule.decimal, rule.unit)


def _is_measured(distinct: Strings, rule: ColumnRule) -> bool:
    """Return whether a target's values are measures rather than classes."""
    if not rule.decimal or rule.kind in ("categorical", "text"):
        return False
    numbers = _numbers(distinct, rule)
    return len(distinct) > MOST_CLASSES or bool((numbers % 1 != 0).any())


def _factorized(texts: Strings) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Strings]:
    """Return each row's code, -1 for "", and the distinct texts."""
    import pandas as pd

    held = texts.copy()
    held[texts == ""] = None
    codes, distinct = pd.factorize(held)
    return codes.astype(np.int64), distinct


def _meanings(distinct: Strings, rule: ColumnRule) -> list[Any]:
    """Return what each text means as a class, None if nothing: "1" and "1.0" are one class."""
    if rule.decimal:
        numbers = _numbers(distinct, rule).tolist()
        return [number if number == number else None for number in numbers]
    return [text.lower() if rule.words else text for text in distinct]


def _keys(texts: Strings, rule: ColumnRule) -> tuple[np.ndarray[Any, Any], Strings]:
    """Return each row's class code, -1 if none, and the classes' texts, sorted by meaning."""
    codes, distinct = _factorized(texts)
    names: dict[Any, str] = {}
    meanings = _meanings(distinct, rule)
    for meaning, text in zip(meanings, distinct, strict=True):
        if meaning is not None:
            names.setdefault(meaning, text)
    ordered = sorted(names)
    place = {meaning: code for code, meaning in enumerate(ordered)}
    known = np.array([*(place.get(meaning, -1) for meaning in meanings), -1], dtype=np.int64)
    return known[codes], np.array([names[meaning] for meaning in ordered], dtype=object)


def _class_codes(
    texts: Strings, target: Target, rule: ColumnRule, lines: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return each row's class code, -1 where the target is missing; `lines` are the rows'."""
    codes, distinct = _factorized(texts)
    classes = _meanings(np.array(target.classes, dtype=object), rule)
    place = {meaning: code for code, meaning in enumerate(classes)}
    found = [-1 if m is None else place.get(m, -2) for m in _meanings(distinct, rule)]
    y: np.ndarray[Any, np.dtype[np.int64]] = np.array([*found, -1], dtype=np.int64)[codes]
    if (y == -2).any():
        row = int(np.argmax(y == -2))
        raise ReadingError(
            f"Expected one of the classes {', '.join(target.classes[:20])} in the target column "
            f"{target.column!r}. Received {texts[row]!r} on line {lines[row]}. "
            "Add such rows to the table, or leave them out of the test file."
        )
    return y
