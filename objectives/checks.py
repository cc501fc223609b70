"""What in a table deserves a warning."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from objectives.cells import SAMPLE, Cells
from objectives.columns import Flags
from objectives.dates import are_seasons, find_order
from objectives.explained import explained
from objectives.identifiers import padded_warnings
from objectives.mixtures import mixture_warnings
from objectives.numerals import is_code, to_numbers
from objectives.reading import ColumnRule
from objectives.scales import has_percent
from objectives.units import may_have_late_minus, without_unit

if TYPE_CHECKING:
    from objectives.table import Table
    from objectives.target import Target

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

GIVEN_AWAY = 0.999  # share of the target that one column explains, from which it gives it away
SMALL_CLASS = 5  # rows
LARGE_CLASS = 0.9  # share of the rows, from which accuracy says little
USUAL_SENTINELS = {-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0}
NEARLY = 0.5  # share of numbers or dates, from which other texts of a column are odd
SUM = re.compile(
    r"(\w+ )?(grand|sub|sous)?[ -]?totals?( \w+)?:?|totale|(eind|sub)totaal"
    r"|(zwischen|gesamt|end)?summe|gesamt(ergebnis)?|sum|suma|somme"
    r"|итого|合计|合計",
    re.IGNORECASE,
)
SUMMARY = re.compile(  # Ordinary words elsewhere, so in the last rows only.
    r"(averages?|avg\.?|means?|medians?|std\.? ?dev\.?|count|min|max|minimum|maximum|mittelwert"
    r"|durchschnitt|moyenne|media|среднее):?",
    re.IGNORECASE,
)
FOOT = 6  # Rows
SUMS = 0.1  # of the rows that may be sums
SENTINEL_ROWS = 3  # that hold the value, at least
SENTINEL_OTHERS = 10  # distinct other values, at least
LEFT_OUT = {
    "identifier": "only tells rows apart",
    "constant": "holds one value only",
    "empty": "is empty",
}
FEW_NUMBERS = 6  # distinct numbers or dates, at least, that odd texts are odd among
BOUND = re.compile(r"[<>≤≥]=?\s*0?[.,]\d")  # as < .001, of measures rather than of levels
ODD = 3  # odd texts written out
FAR, MARK = 10, 99  # of a mark such as -999 among few values: their ranges away, its size at least
LISTED = 10  # lines or names written out in a warning


def listed(items: Iterable[object], most: int = LISTED) -> str:
    """Return items as text, the first of them and how many there are more."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def column_warnings(
    cells: Cells,
    rule: ColumnRule,
    unreadable: Flags,
    lines: Integers | None,
) -> list[str]:
    """Return what is doubtful about one column, in whichever file.

    Args:
        cells: the column's text.
        rule: how it is read.
        unreadable: for each distinct text whether the rule cannot read it.
        lines: the physical line of each row, None where they come from no file.
    """
    if rule.kind in LEFT_OUT:
        example = f" ({cells.values[0]!r} and so on)" if len(cells.values) > 1 else ""
        kind = "numeric" if rule.decimal else "categorical"
        remedy = (
            f" If it tells more, say so with --column {shlex.quote(f'{rule.name}={kind}')}"
            if rule.kind == "identifier"
            else ""
        )
        return [f"Column {rule.name!r} {LEFT_OUT[rule.kind]}{example}; it is left out.{remedy}"]
    warnings = []
    if unreadable.any():
        first = int(np.argmax(np.append(unreadable, False)[cells.codes]))
        what = {"datetime": "date", "boolean": "truth value"}.get(rule.kind, "number")
        text = repr(cells.values[cells.codes[first]])
        if lines is not None:
            text += f" on line {lines[first]}"
        count = int(cells.counts[unreadable].sum())
        warnings.append(
            f"Column {rule.name!r}: {text} is no {what} and counts as missing."
            if count == 1
            else f"Column {rule.name!r}: {count:,} cells are no {what}s and count as missing, the "
            f"first of them {text}."
        )
    return warnings


def doubts(cells: Cells, rule: ColumnRule, lines: Integers) -> list[str]:
    """Return what is doubtful about how one column is to be read, and how to say so."""
    if rule.kind in ("categorical", "identifier", "text") and not rule.decimal:
        told = mixture_warnings(cells, rule) or padded_warnings(cells, rule)
        told = told or _nearly(cells, rule, lines)
        return [*told, *_sums(cells, rule, lines)]
    if rule.kind != "numeric":
        return []
    numbers = cells.numbers(rule.decimal, rule.unit)
    warnings = []
    for value in find_sentinels(cells.spread(numbers, np.nan)):
        texts, rows = cells.values[numbers == value], int(cells.counts[numbers == value].sum())
        warnings.append(
            f"Column {rule.name!r} holds {value:.15g} in {rows} rows, "
            "far from its other values. If it stands for a missing value, say so with "
            f"{' '.join(f'--missing={shlex.quote(text)}' for text in texts[:3])}"
        )
    percent = [has_percent([text]) for text, n in zip(cells.values, numbers, strict=True) if n]
    if any(percent) and not all(percent):
        warnings.append(
            f"Column {rule.name!r} holds numbers with % and without; the sign is ignored. "
            "If 5% is to be 0.05, write it so."
        )
    return warnings


def _nearly(cells: Cells, rule: ColumnRule, lines: Integers) -> list[str]:
    """Return a warning where odd texts keep a column from being one of numbers or dates."""
    few = without_unit(cells.values[:SAMPLE], cells.unit)
    sign = max(".,", key=lambda sign: int(np.isfinite(to_numbers(few, sign)).sum()))
    order, share, _ = find_order(cells.values, None)
    if np.isfinite(to_numbers(few, sign)).mean() >= NEARLY and not is_code(few):
        kind, odd = "numeric", ~np.isfinite(cells.numbers(sign, cells.unit))
    elif share >= NEARLY:
        kind, odd = "datetime", ~np.isfinite(cells.moments(order)[:, 0])
    else:
        return []
    if are_seasons(cells.values):
        return []
    levels = (~odd).sum() < FEW_NUMBERS and not all(map(BOUND.match, cells.values[odd]))
    if levels or not odd.any():
        return []
    texts = [text if len(text) <= 40 else f"{text[:39]}…" for text in cells.values[odd][:LISTED]]
    first = int(np.argmax(np.append(odd, False)[cells.codes]))
    late = kind == "numeric" and may_have_late_minus(cells.values)
    return [
        f"Column {rule.name!r} is {rule.kind}, not {kind}, for {cells.counts[odd].sum()} of its "
        f"{cells.held} cells: {listed(map(repr, texts), ODD)}, first on line {lines[first]}. "
        f"If they {'are negative numbers' if late else 'stand for nothing'}, say so with "
        f"--column {shlex.quote(f'{rule.name}={kind}')}"
    ]


def _sums(cells: Cells, rule: ColumnRule, lines: Integers) -> list[str]:
    """Return a warning where a few rows are named as sums, or means and so on, of others."""
    found = np.array([bool(SUM.fullmatch(text)) for text in cells.values])
    of_foot = np.append([bool(SUMMARY.fullmatch(text)) for text in cells.values], False)
    at_foot = [code for code in cells.codes[-FOOT:] if of_foot[code]]
    found[[code for code in at_foot if cells.counts[code] == at_foot.count(code)]] = True
    rows = np.flatnonzero(np.append(found, False)[cells.codes])
    if not 0 < len(rows) <= SUMS * cells.rows:
        return []
    return [
        f"Column {rule.name!r} holds {listed(map(repr, cells.values[found]), ODD)}, first on line "
        f"{lines[rows[0]]}. If rows sum up others ({len(rows)}), remove them from the file."
    ]


def missing_words(columns: Iterable[Cells], rules: Iterable[ColumnRule]) -> list[str]:
    """Return a warning for each text that counts as missing in columns of words."""
    found: dict[str, dict[str, int]] = {}
    for cells, rule in zip(columns, rules, strict=True):
        if not rule.decimal and rule.kind not in ("empty", "datetime"):
            for text, rows in cells.absent.items():
                found.setdefault(text, {})[cells.name] = rows
    return [
        f"{text!r} among words counts as missing: {sum(rows.values())} cells of "
        f"{listed(map(repr, rows), ODD)}. If it is a value, say so with "
        f"--present={shlex.quote(text)}"
        for text, rows in found.items()
    ]


def find_sentinels(numbers: Floats) -> tuple[float, ...]:
    """Return extreme values that look like marks for "missing", such as -999.

    Such a value is the least or greatest, recurs, and stands apart from all others by more
    than their whole range; by more than a tenth of it if it is the only negative number or
    made of nines. Among few others only one such as -999 is found, ten times as far off.
    """
    values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
    found = []
    for at, rest in ((0, values[1:]), (-1, values[:-1])):
        if len(rest) < 2 or counts[at] < SENTINEL_ROWS:
            continue
        gap, spread = np.abs(rest - values[at]).min(), np.ptp(rest)
        if len(rest) < SENTINEL_OTHERS:
            usual = values[at] in USUAL_SENTINELS and abs(values[at]) >= MARK
            if usual and gap > FAR * spread:
                found.append(float(values[at]))
            continue
        telling = values[at] in USUAL_SENTINELS or values[at] < 0 <= rest.min()
        if gap > (0.1 if telling else 1.0) * spread:
            found.append(float(values[at]))
    return tuple(found)


def target_warnings(table: Table, target: Target, drop: Collection[str] = ()) -> tuple[str, ...]:
    """Return warnings about a target: small and large classes, columns that give it away alone.

    Columns to drop are not looked at.
    """
    from objectives.target import split_target

    examples = split_target(table, target, drop)
    warnings = []
    if examples.rows_dropped:
        warnings.append(
            f"Rows without a value in the target {target.column!r}: {examples.rows_dropped}. "
            "They are left out."
        )
    if alike := _alike(target.classes):
        warnings.append(
            f"Classes that look alike: {listed(map(ascii, alike))}. They are kept apart."
        )
    if target.task != "regression":
        counts = np.bincount(examples.y, minlength=len(target.classes))
        small = [
            f"{name!r} ({count})"
            for name, count in zip(target.classes, counts, strict=True)
            if count < SMALL_CLASS
        ]
        if small:
            warnings.append(
                f"Classes with fewer than {SMALL_CLASS} rows: {', '.join(small)}. "
                "Their scores mean little."
            )
        warnings += _imbalance(target, counts)
    given_away: dict[str, float] = {}
    for feature in examples.features:
        column = examples.frame[feature.name].to_numpy()
        share = explained(column, examples.y, target.task == "regression")
        if share >= GIVEN_AWAY:
            given_away[feature.column] = max(share, given_away.get(feature.column, 0.0))
    for name, share in given_away.items():
        warnings.append(
            f"Column {name!r} alone gives {target.column!r} away ({share:.1%}). Leave it out "
            f"with --drop {shlex.quote(name)} unless it is known before the target is."
        )
    return tuple(warnings)


def _imbalance(target: Target, counts: Integers) -> list[str]:
    """Return a warning where one class has nearly all rows."""
    largest = int(np.argmax(counts))
    rows = int(counts.sum())
    if counts[largest] < LARGE_CLASS * rows:
        return []
    return [
        f"Class {target.classes[largest]!r} has {counts[largest]:,} of the {rows:,} rows: always "
        "guessing it is right as often, so accuracy says little. Compare by the mean over the "
        "classes, with --metric balanced_accuracy"
    ]


def _alike(classes: tuple[str, ...]) -> list[str]:
    """Return the classes that another equals but for case, blanks, accents' form, unseen signs."""
    looks = [
        " ".join("".join(c for c in text if unicodedata.category(c) != "Cf").split())
        for text in (unicodedata.normalize("NFKC", name).casefold() for name in classes)
    ]
    times = Counter(looks)
    return [name for name, look in zip(classes, looks, strict=True) if times[look] > 1]
