"""What one may choose is the same on the command line, over REST and on the pages."""

import re
from pathlib import Path
from typing import Any

import pytest
from apiflask.validators import OneOf, Range

from topo_search.choices import LIMITS
from topo_search.cli_options import FREE_WITH_A_PARENT
from topo_search.web import pages
from topo_search.web.schemas import OPTIONS, Reading, StudyIn

TEMPLATES = Path(pages.__file__).parent / "templates"
RENAMED = {"parent": "parent_key", "test_file": "test_upload"}
# Of a user's own code, of the machine that trains, and of how the command line answers.
COMMAND_LINE_ONLY = {
    *("objective", "space_file", "direction", "allow_objective"),
    *("slots", "slots_per_gpu", "trial_timeout", "storage", "report", "json_"),
}
REST_ONLY = {"upload", "reading", "limits"}  # The table itself, and two that hold others.
SHOWN_AS = {"test_upload": "test_file", "limits": "parameters", "drop": "columns"}
READ = set(Reading().fields)
LIMITED = {name.replace("-", "_") for name in LIMITS}
FIELDS = set(StudyIn().fields)


def test_rest_takes_what_the_command_line_does() -> None:
    asked = {RENAMED.get(name, name) for name in OPTIONS.keys() - COMMAND_LINE_ONLY}
    assert COMMAND_LINE_ONLY <= OPTIONS.keys()
    assert (FIELDS - REST_ONLY) | READ | LIMITED == asked
    assert REST_ONLY <= FIELDS
    limits: Any = StudyIn().fields["limits"]
    assert limits.schema.fields.keys() == LIMITS.keys()


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() & FIELDS))
def test_defaults_choices_and_bounds_are_those_of_the_command_line(name: str) -> None:
    option, field = OPTIONS[name], StudyIn().fields[name]
    default = option.default if isinstance(option.default, str | int | float) else None
    assert (field.load_default or None) == (default or None)
    for check in field.validators:
        if isinstance(check, OneOf):
            assert list(check.choices) == list(option.type.choices)  # type: ignore[attr-defined]
        if isinstance(check, Range) and (least := getattr(option.type, "min", None)) is not None:
            assert check.min == least


def controls(name: str) -> set[str]:
    """Return what a page's template has a control, or a place for some, for."""
    text = (TEMPLATES / name).read_text()
    for included in re.findall(r'include "([\w.]+)"', text):
        text += (TEMPLATES / included).read_text()
    return set(re.findall(r'field\("(\w+)"', text)) | set(
        re.findall(r'\b(?:id|name)="(\w+)"', text)
    )


def test_every_choice_has_a_control_on_the_page_where_a_study_is_made() -> None:
    wanted = {SHOWN_AS.get(name, name) for name in (FIELDS - {"upload", "parent_key"}) | READ}
    assert wanted - {"kinds"} <= controls("configure.html")  # Kinds stand in the list of columns.


def test_every_choice_of_a_further_study_has_a_control_there() -> None:
    free = FREE_WITH_A_PARENT - COMMAND_LINE_ONLY - {"parent"} | {SHOWN_AS["limits"]}
    shown = controls("again.html")
    assert free <= shown
    assert not (FIELDS - {"limits"} | READ) - free & shown, (
        "the other study's, and not to be chosen"
    )
