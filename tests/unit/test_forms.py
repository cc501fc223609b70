"""Fields of the pages' forms have the command line's words, without its syntax."""

import pytest

from topo_search.choices import FIRST, LIMITS, SPACE_NAMES, SPACES, VALUES
from topo_search.web.forms import field
from topo_search.web.schemas import OPTIONS

SHOWN = (
    *("trials", "timeout", "task", "metric", "test_share", "validation", "sampler", "pruner"),
    *("seed", "epochs", "name", "encoding", "separator", "decimal", "quote", "header", "skip"),
    *("day_first", "missing", "present"),
)


@pytest.mark.parametrize("name", SHOWN)
def test_words_are_those_of_the_command_line(name: str) -> None:
    shown = field(name)
    assert shown.help.rstrip(".") in (OPTIONS[name].help or "").replace(", as 10m", "")
    for syntax in ("--", "[default", "epeated", "\\t", "10m", "''"):
        assert syntax not in shown.help


def test_defaults_and_choices_are_those_of_the_command_line() -> None:
    trials, seed, epochs = field("trials"), field("seed"), field("epochs")
    assert (trials.kind, trials.value, trials.least, trials.step) == ("number", "50", 1, 1)
    assert (seed.value, epochs.value, epochs.unless) == ("0", "", "100")
    share = field("test_share", "Share")
    assert (share.label, share.kind, share.value, share.step) == ("Share", "number", "0.2", "any")
    pruner = field("pruner")
    assert (pruner.kind, pruner.value, list(pruner.choices)) == ("choice", "asha", ["asha", "none"])
    task = field("task")
    assert (task.value, task.unless) == ("", "as the target's values suggest")
    assert field("name").kind == "text"


def test_words_are_there_for_all_that_may_be_chosen() -> None:
    for name, words in VALUES.items():
        assert list(words) == list(OPTIONS[name].type.choices)  # type: ignore[attr-defined]
    assert list(SPACE_NAMES) == list(SPACES)
    assert set(FIRST) <= set(LIMITS)
