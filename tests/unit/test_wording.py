"""What a request may not hold is said as all else is: expected, received, what to do."""

from typing import Any

import pytest
from marshmallow import ValidationError

from topo_search.web import v1_operators
from topo_search.web.schemas import FigureQuery, Reading, RowsIn, StudyIn, TrialsQuery
from topo_search.web.wording import LONGEST, Strict

STUDY = {"upload": "x", "target": "y"}


def said(schema: type[Strict], given: Any) -> list[str]:
    """Return all that is said of what does not fit."""

    def texts(found: Any) -> list[str]:
        if isinstance(found, str):
            return [found]
        inner = found.values() if isinstance(found, dict) else found
        return [text for one in inner for text in texts(one)]

    with pytest.raises(ValidationError) as refused:
        schema().load(given)
    return texts(refused.value.messages)


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        (StudyIn, STUDY | {"trials": 0}, "a number from 1 to 1,000,000. Received: 0."),
        (StudyIn, STUDY | {"trials": 10**9}, "a number from 1 to 1,000,000. Received: 1000000000."),
        (StudyIn, STUDY | {"trials": "7"}, 'a whole number. Received: "7".'),
        (StudyIn, STUDY | {"trials": 7.5}, "a whole number. Received: 7.5."),
        (StudyIn, STUDY | {"test_share": "half"}, 'a number. Received: "half".'),
        (StudyIn, STUDY | {"timeout": float("inf")}, "a number. Received: Infinity."),
        (StudyIn, STUDY | {"task": "beauty"}, "one of binary, multiclass, regression. Received: "),
        (StudyIn, STUDY | {"name": 5}, "text. Received: 5."),
        (StudyIn, STUDY | {"name": "a" * 2000}, "at most 1,000 characters. Received 2,000."),
        (StudyIn, STUDY | {"drop": "x"}, 'a list. Received: "x".'),
        (StudyIn, STUDY | {"drop": [None]}, "a value. Received null. Give one, or leave"),
        (StudyIn, STUDY | {"tags": [""]}, "1 to 1,000 characters. Received 0."),
        (StudyIn, STUDY | {"limits": {"colour": "red"}}, "no field but activation, batch-size, "),
        (StudyIn, STUDY | {"reading": "all"}, "an object with fields. Received something else."),
        (StudyIn, STUDY | {"target": None}, "a value. Received null."),
        (StudyIn, {}, "a value. Received none. Give this field one."),
        (StudyIn, [STUDY], "an object with fields."),
        (Reading, {"separator": ";;"}, "1 character. Received 2."),
        (Reading, {"header": "perhaps"}, 'true or false. Received: "perhaps".'),
        (Reading, {"kinds": []}, "an object with values by name. Received: []."),
        (Reading, {"kinds": {"a": "colour"}}, "one of numeric, categorical, "),
        (Reading, {"missing": ["a"] * 101}, "at most 100 values. Received 101."),
        (RowsIn, {}, "a value. Received none."),
        (RowsIn, {"rows": []}, "1 to 1,000 values. Received 0."),
        (TrialsQuery, {"page": "first"}, 'a whole number. Received: "first".'),
        (TrialsQuery, {"state": "x"}, "one of '', complete, pruned, "),
        (FigureQuery, {"had": "x" * 41}, "at most 40 characters. Received 41."),
        (v1_operators.EventsQuery, {"after": -1}, "a number from 0 to "),
        (v1_operators.StudiesQuery, {"size": 0}, "a number from 1 to 500. Received: 0."),
    ],
)
def test_what_does_not_fit_is_said_with_what_was_expected_and_received(
    schema: type[Strict], given: Any, words: str
) -> None:
    found = said(schema, given)
    assert found[0].startswith(f"Expected {words}"), found
    assert all(text.startswith("Expected ") and "Received" in text for text in found)


def test_what_was_received_is_shown_as_one_short_line() -> None:
    (found,) = said(StudyIn, STUDY | {"task": "<b>\n\u202e" + "x" * 5000})
    assert "\n" not in found and "\u202e" not in found
    assert len(found) < LONGEST + 100
