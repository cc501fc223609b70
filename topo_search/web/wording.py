"""Schemas that say what does not fit as all else is said: expected, received, what to do."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from apiflask import Schema, fields
from marshmallow import RAISE, ValidationError, validate

from topo_search.formats import format_count, format_name

LONGEST = 80  # Characters of a value that is shown.
REQUIRED = "Expected a value. Received none. Give this field one."


class Strict(Schema):
    """Refuses what it does not know."""

    class Meta:
        """Of marshmallow."""

        unknown = RAISE

    error_messages = {
        "type": "Expected an object with fields. Received something else. Write {…} around them."
    }

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        known = ", ".join(sorted(self.fields))
        self.error_messages["unknown"] = (
            f"Expected no field but {known}. Received this one, too. Check its name, or leave it "
            "out."
        )


class _Told(fields.Field[Any]):
    """A field that says which kind of value it takes, and what it was given."""

    expected: ClassVar[str]
    default_error_messages = {
        "required": REQUIRED,
        "null": "Expected a value. Received null. Give one, or leave the field out.",
    }

    def _deserialize(self, value: Any, *given: Any, **options: Any) -> Any:
        try:
            return super()._deserialize(value, *given, **options)
        except ValidationError as error:
            if not isinstance(error.messages, list):
                raise  # Of what it holds, and in our words.
            raise ValidationError(_unlike(self.expected, value)) from error


class String(_Told, fields.String):
    """Text."""

    expected = "text"


class Integer(_Told, fields.Integer):
    """A whole number."""

    expected = "a whole number"


class Float(_Told, fields.Float):
    """A number."""

    expected = "a number"


class Boolean(_Told, fields.Boolean):
    """Yes or no."""

    expected = "true or false"


class List(_Told, fields.List[Any]):
    """Values of one kind."""

    expected = "a list"


class Dict(_Told, fields.Dict):
    """Values by name."""

    expected = "an object with values by name"


class Nested(_Told, fields.Nested):
    """The fields of another schema."""

    expected = "an object with fields"


class Range(validate.Range):
    """A number from `min` to `max`, or of at least `min`."""

    def _format_error(self, value: Any, message: str) -> str:
        least = f"{self.min:,}"
        if self.max is None:
            return _unlike(f"a number of at least {least}", value)
        return _unlike(f"a number from {least} to {self.max:,.15g}", value)


class Length(validate.Length):
    """So many characters or values."""

    def _format_error(self, value: Any, message: str) -> str:
        unit = "character" if isinstance(value, str) else "value"
        if self.equal is not None:
            expected = format_count(self.equal, unit)
        else:
            bounds = f"{self.min:,} to " if self.min else "at most "
            expected = bounds + format_count(self.max, unit)
        return f"Expected {expected}. Received {len(value):,}."


class OneOf(validate.OneOf):
    """One of a few texts; the empty one, where it may be, is shown as `''`."""

    def _format_error(self, value: Any) -> str:
        return _unlike(f"one of {', '.join(text or repr(text) for text in self.choices)}", value)


def _unlike(expected: str, value: Any) -> str:
    shown = format_name(json.dumps(value, ensure_ascii=False, default=str), LONGEST)
    return f"Expected {expected}. Received: {shown}."
