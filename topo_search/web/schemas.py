"""What requests may hold: one definition, checked on the way in and written to OpenAPI.

What the command line knows too is taken from its own options.
"""

from __future__ import annotations

from typing import Any

import click
from marshmallow import ValidationError, validates_schema

from objectives.reading import QUOTES
from topo_search.choices import KINDS, LIMITS
from topo_search.cli_search import create
from topo_search.study import HIGHEST_SEED, MOST_TRIALS
from topo_search.web.wording import (
    REQUIRED,
    Boolean,
    Dict,
    Float,
    Integer,
    Length,
    List,
    Nested,
    OneOf,
    Range,
    Strict,
    String,
)

LONGEST = 1_000  # Characters of a short text, such as a column's name.
SHORT = Length(max=LONGEST)
UPLOAD = Length(max=4_000)
NAMED = Length(max=100_000)  # A table's own names may be of any length.
OPTIONS = {option.name: option for option in create.params if isinstance(option, click.Option)}
ENDS = ("complete", "pruned", "failed")
SORTS = ("trial", "state", "value", "topology", "depth", "weights", "seconds", "epochs")


def _field(name: str, **more: Any) -> Any:
    """Return an option of the command line as a field."""
    option = OPTIONS[name]
    metadata = {"description": option.help or ""}
    default = option.default if isinstance(option.default, int | float | str) else None
    same: dict[str, Any] = {"metadata": metadata, "load_default": default, "allow_none": True}
    kind = option.type
    if isinstance(kind, click.Choice):
        return String(validate=OneOf(list(kind.choices)), **same)
    if isinstance(kind, click.IntRange):
        bounds = Range(min=kind.min, max=more.get("high"))
        return Integer(strict=True, validate=bounds, **same)
    if isinstance(kind, click.types.FloatParamType):
        return Float(**same)
    if isinstance(kind, click.types.IntParamType):
        bounds = Range(min=0, max=more.get("high"))
        return Integer(strict=True, validate=bounds, **same)
    return String(validate=SHORT, **same)


def _maybe(kind: Any, text: str, **more: Any) -> Any:
    return kind(allow_none=True, metadata={"description": text}, **more)


def _said(text: str) -> dict[str, str]:
    return {"description": text}


_Limits = Strict.from_dict(
    {
        name: _maybe(String, f"{limit.text} As {limit.example}.", validate=SHORT)
        for name, limit in LIMITS.items()
    },
    name="Limits",
)


class Reading(Strict):
    """How a table is read, where the user knows better."""

    encoding = _maybe(String, "As utf-8 or latin-1.", validate=Length(max=40))
    separator = _maybe(String, "Between columns.", validate=Length(equal=1))
    quote = _maybe(String, "Around cells.", validate=OneOf(QUOTES))
    decimal = _maybe(String, "Decimal sign.", validate=OneOf([".", ","]))
    header = _maybe(Boolean, "Whether the first row has the columns' names.")
    skip = _maybe(Integer, "Lines above the header.", validate=Range(0, 10_000))
    day_first = _maybe(Boolean, "Of dates such as 3/4/2024.")
    missing = List(
        String(validate=SHORT),
        validate=Length(max=100),
        metadata=_said("Texts that stand for nothing, besides the usual ones."),
    )
    present = List(
        String(validate=SHORT),
        validate=Length(max=100),
        metadata=_said("Texts that usually stand for nothing and here do not."),
    )
    kinds = Dict(
        keys=String(validate=NAMED),
        values=String(validate=OneOf(KINDS)),
        metadata=_said(f"Kinds of columns, by name: {', '.join(KINDS)}."),
    )


READING = "How the table is written, where you know better."


class InspectIn(Strict):
    """A table to look at again."""

    reading = Nested(Reading, load_default=dict, metadata=_said(READING))


class ChoicesIn(Strict):
    """A table and what is known of the study to be."""

    target = String(required=True, validate=NAMED, metadata=_said("Name of the column to predict."))
    task = _field("task")
    space = _field("space")
    test_share = _field("test_share")
    validation = _field("validation")
    epochs = _field("epochs", high=100_000)
    drop = List(
        String(validate=NAMED),
        validate=Length(max=20_000),
        metadata=_said("Names of columns to leave out."),
    )
    reading = Nested(Reading, load_default=dict, metadata=_said(READING))
    test_upload = _maybe(
        String,
        "What names a table with the test rows, as its upload was answered; it is read as the "
        "other is. Without one a share of the rows is set aside.",
        validate=UPLOAD,
    )


class AgainIn(Strict):
    """What is known of a study that is to begin with another's trials."""

    space = _field("space")
    epochs = _field("epochs", high=100_000)


class StudyIn(ChoicesIn):
    """A study to be created: of an upload and its target, or beginning with another's trials."""

    parent_key = _maybe(
        String,
        "Key of a study to begin with: its table, target, split and trials. Leave out `upload`, "
        "`target` and what else is its own.",
        validate=Length(max=100),
    )
    target = String(validate=NAMED, metadata=_said("Name of the column to predict."))
    upload = String(
        validate=UPLOAD,
        metadata=_said("What names the table, as its upload was answered."),
    )
    trials = _field("trials", high=MOST_TRIALS)
    timeout = _maybe(Float, "Seconds the trials may use.", validate=Range(min=1, max=1e8))
    metric = _field("metric")
    seed = _field("seed", high=HIGHEST_SEED)
    pruner = _field("pruner")
    sampler = _field("sampler")
    name = _field("name")
    tags = List(
        String(validate=Length(min=1, max=LONGEST)),
        validate=Length(max=100),
        metadata=_said("For workers limited to some tags; a worker without tags serves it, too."),
    )
    limits = Nested(
        _Limits, load_default=dict, metadata=_said("What networks may be tried, by parameter.")
    )

    @validates_schema
    def _of_something(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("parent_key") is None:
            lacking = [name for name in ("upload", "target") if name not in data]
            if lacking:
                raise ValidationError({name: [REQUIRED] for name in lacking})
        elif own := [name for name in ("upload", "test_upload") if data.get(name) is not None]:
            words = (
                "Expected none, as the study has the tables of the one it begins with. Received "
                "one. Leave it out."
            )
            raise ValidationError({name: [words] for name in own})


class MoreIn(Strict):
    """How much more a study may use."""

    trials = Integer(
        strict=True,
        load_default=0,
        validate=Range(min=0, max=MOST_TRIALS),
        metadata=_said("How many more networks are tried."),
    )
    timeout = Float(
        load_default=0,
        validate=Range(min=0, max=1e8),
        metadata=_said("Seconds more, of a study with a limit in time."),
    )


class NameIn(Strict):
    """A study's new name."""

    name = String(
        required=True,
        allow_none=True,
        validate=SHORT,
        metadata=_said("Unlike every other study's; `null` for none."),
    )


class TrialsQuery(Strict):
    """Which trials, in which order."""

    page = Integer(load_default=1, validate=Range(1, 1_000_000), metadata=_said("From 1."))
    size = Integer(load_default=20, validate=Range(1, 500), metadata=_said("Trials a page."))
    sort = String(
        load_default="rank",
        validate=OneOf(["rank", *SORTS]),
        metadata=_said("`rank`: complete trials first, the best first of all."),
    )
    order = String(
        load_default="asc",
        validate=OneOf(["asc", "desc"]),
        metadata=_said("Rising or falling."),
    )
    state = String(
        load_default="",
        validate=OneOf(["", *ENDS, "running", "waiting"]),
        metadata=_said("Only these; `waiting` have begun, and nobody is at them now."),
    )
    search = String(
        load_default="",
        validate=Length(max=200),
        metadata=_said("Only those with this text in the network or the reason."),
    )


class FigureQuery(Strict):
    """What a viewer has of a chart."""

    had = String(
        load_default="",
        validate=Length(max=40),
        metadata=_said("Digest of the chart that the caller has: the answer tells what is new."),
    )


class RowsIn(Strict):
    """Rows to predict: by column, as they would stand in the table."""

    rows = List(
        Dict(
            keys=String(validate=NAMED),
            values=String(allow_none=True, validate=Length(max=10_000)),
        ),
        required=True,
        validate=Length(min=1, max=1_000),
        metadata=_said("Each by column, as text; columns that are left out count as missing."),
    )
