"""What is assumed in turning bytes into typed columns, in words that last as `reading.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from string import ascii_lowercase
from typing import Any, Literal, get_args

Kind = Literal[
    "numeric", "categorical", "boolean", "datetime", "text", "identifier", "constant", "empty"
]

# Cells that hold nothing. "None" is not among them: many tables use it as a level.
MISSING = (
    "", "?", "-", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "null", "NULL", "Null", "<NA>",
    "#N/A", "#NA", "#DIV/0!", "#VALUE!", "#REF!", "inf", "-inf", "Inf", "-Inf",
    "INF", "-INF", "Infinity", "-Infinity", "infinity", "-infinity", "n.a.", "N.A.", "#NULL!",
    "#NUM!", "#NAME?", "\\N", "NaT", "0000-00-00", "0000-00-00 00:00:00", "–", "—", "#NV",
    "#WERT!", "#BEZUG!", "#ZAHL!", "#VALEUR!", "#NOMBRE!", "#VALOR!", "#N/D", "#VALORE!", "#RIF!",
    "#REF", "#VALUE", "#DIV/0", "#NAME", "#NULL", "#NUM", "Err:501", "Err:502", "Err:503",
    "Err:504", "Err:508", "Err:509", "Err:510", "Err:511", "Err:512", "Err:522", "Err:523",
)  # fmt: skip
# Cells that hold nothing where all other texts of their column are numbers or dates.
MISSING_NUMBERS = (
    ".", "..", "...", "…", ":", "*", "None", "none", "NONE", "unknown", "Unknown", "UNKNOWN",
    "missing", "Missing", "MISSING", "not available", "Not available", "Not Available", "n.d.",
    "nd", "ND", "n/d", "N/D", "k.A.", "k. A.", "k.a.", "keine Angabe", "unbekannt", "Unbekannt",
    *(f".{letter}" for letter in ascii_lowercase),  # Stata's
    ": c", ": n", ": u", ": z", ":c", ":n", ":u", ":z",  # Eurostat's
)  # fmt: skip
QUOTES = ("", '"', "'", '\\"')  # the last: a quote within a cell has a backslash before it


class ReadingError(ValueError):
    """The bytes cannot be read as the table that is asked for."""


class LayoutError(ReadingError):
    """The rows cannot be made out as they seem to be written; whoever knows better may say so."""


class NoSuchReadingError(ReadingError):
    """No table can be read as was asked for."""


class NoSuchColumnError(ReadingError):
    """The table has no column of the name or position that was given."""


@dataclass(frozen=True, kw_only=True)
class DroppedRow:
    """A row that was left out."""

    line: int  # physical line of the file on which the row begins, from 1
    reason: str


@dataclass(frozen=True, kw_only=True)
class ColumnRule:
    """How one column's text becomes values."""

    name: str
    position: int  # from 0
    kind: Kind
    decimal: str = ""  # decimal sign of the column's numbers; "" where its text is not numbers
    thousands: str = ""  # what separates groups of three digits
    unit: str = ""  # behind the numbers, as kg; or what `units` calls such words and signs
    percent: bool = False  # whether some of the numbers have %, which is ignored
    words: tuple[str, ...] = ()  # the false and the true word of a boolean, in lower case
    dates: str = ""  # order of a date's parts: a key of dates.PATTERNS
    parts: tuple[str, ...] = ()  # parts of a datetime that became features, as they vary
    origin: str = ""  # ISO date that the part "days" counts from

    @property
    def holds_values(self) -> bool:
        """Whether its texts are read as numbers or dates."""
        return bool(self.decimal or self.dates) and self.kind not in ("categorical", "text")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything assumed in turning bytes into typed columns; enough to read a later file."""

    encoding: str
    separator: str
    quote: str
    decimal: str
    thousands: str
    header: bool
    skip: int  # physical lines above the header, or above the first row where there is none
    columns: tuple[ColumnRule, ...]
    units: bool = False  # whether rows of units stand below the header
    missing: tuple[str, ...] = MISSING
    missing_numbers: tuple[str, ...] = MISSING_NUMBERS  # besides, in columns of numbers and dates
    encoding_given: bool = False  # by the user: not to be found out for a later file either

    def missing_texts(self) -> list[frozenset[str]]:
        """Return for each column the texts that stand for nothing in it."""
        always, both = frozenset(self.missing), frozenset((*self.missing, *self.missing_numbers))
        return [both if rule.holds_values else always for rule in self.columns]

    def to_json(self) -> dict[str, Any]:
        """Return the reading as JSON-ready dictionaries and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reading:
        """Return the reading that `to_json` wrote; raises ReadingError for anything else."""
        try:
            columns = tuple(ColumnRule(**_tuples(rule)) for rule in value["columns"])
            return cls(**{**_tuples(value), "columns": columns})
        except (KeyError, TypeError) as error:
            raise ReadingError(f"Expected the JSON of a reading. Received: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user knows better than the file shows; None means: find out."""

    encoding: str | None = None
    separator: str | None = None
    quote: str | None = None  # "" for a file without quoting
    decimal: str | None = None
    header: bool | None = None
    skip: int | None = None
    day_first: bool | None = None  # of dates such as 3/4/2024
    missing: tuple[str, ...] = ()  # texts that stand for nothing, besides the usual ones
    present: tuple[str, ...] = ()  # usual ones that are values here
    kinds: Mapping[str, Kind] = field(default_factory=dict)  # by column name or position

    def __post_init__(self) -> None:
        if self.separator is not None and not re.fullmatch(r"[^\w\r\n\"]|\t", self.separator):
            raise NoSuchReadingError(
                f"Expected one sign as separator, such as ';'. Received: {self.separator!r}."
            )
        if self.quote is not None and self.quote not in QUOTES:
            raise NoSuchReadingError(
                f'Expected one of ", \', \\" or nothing as quote. Received: {self.quote!r}.'
            )
        if self.decimal not in (None, ".", ","):
            raise NoSuchReadingError(
                f"Expected . or , as decimal sign. Received: {self.decimal!r}."
            )
        for name, kind in self.kinds.items():
            if kind not in get_args(Kind):
                raise NoSuchReadingError(
                    f"Expected a kind for column {name!r}: {', '.join(get_args(Kind))}. "
                    f"Received: {kind!r}."
                )

    def missing_texts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what stands for nothing, always and besides in columns of numbers or dates."""
        usual = dict.fromkeys((*MISSING, *(text.strip() for text in self.missing)))
        present = {text.strip() for text in self.present}
        always, besides = (
            tuple(text for text in texts if text not in present)
            for texts in (usual, MISSING_NUMBERS)
        )
        return always, besides


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary with its lists as tuples, as frozen dataclasses hold them."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
