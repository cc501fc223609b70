"""Which features a reading's columns give, and which columns of a file those are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from objectives.checks import listed
from objectives.reading import Reading, ReadingError


class MissingColumnsError(ReadingError):
    """A file lacks columns that a reading needs.

    Attributes:
        columns: names of the columns that are missing.
        unknown: names in the file that the reading does not know.
    """

    def __init__(self, columns: Collection[str], unknown: Collection[str]) -> None:
        self.columns, self.unknown = tuple(columns), tuple(unknown)
        hints = []
        for name in self.columns:
            near = get_close_matches(name, self.unknown, n=1)
            hints.append(f"{name!r}" + (f" (is it {near[0]!r}?)" if near else ""))
        also = f" Unknown columns: {', '.join(map(repr, unknown))}." if unknown else ""
        super().__init__(
            f"Columns are missing: {', '.join(hints)}.{also} Name the columns as in the table "
            "that was searched."
        )


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One typed column that a network takes, by name."""

    name: str
    kind: Literal["numeric", "boolean", "categorical", "text"]
    column: str  # name of the column it comes from


def features_of(reading: Reading) -> tuple[Feature, ...]:
    """Return the features that a reading's columns give, in their order."""
    features: dict[str, Feature] = {}
    taken = {rule.name for rule in reading.columns}
    for rule in reading.columns:
        if rule.kind == "datetime":
            for part in rule.parts:
                name = f"{rule.name}.{part}"
                while name in taken:
                    name += "_"
                taken.add(name)
                features[name] = Feature(name=name, kind="numeric", column=rule.name)
        elif rule.kind in ("numeric", "boolean", "categorical", "text"):
            features[rule.name] = Feature(name=rule.name, kind=rule.kind, column=rule.name)
    return tuple(features.values())


def find_columns(
    names: Sequence[str], reading: Reading, optional: Collection[str]
) -> tuple[list[tuple[int, str]], list[str]]:
    """Return the place of each of a reading's columns (-1: absent) with its name, and warnings.

    Raises:
        MissingColumnsError: a column that gives features is absent.
    """
    places = {name: place for place, name in enumerate(names)}
    needed = {feature.column for feature in features_of(reading)} - set(optional)
    known = {rule.name for rule in reading.columns}
    unknown = [name for name in names if name not in known]
    absent = needed - places.keys()
    if lacking := [rule.name for rule in reading.columns if rule.name in absent]:
        raise MissingColumnsError(lacking, unknown)
    warnings = []
    if unknown:
        warnings.append(f"Unknown columns are not used: {listed(map(repr, unknown))}.")
    return [(places.get(rule.name, -1), rule.name) for rule in reading.columns], warnings
