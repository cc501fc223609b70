"""What a search from Python takes; tests of the examples in the README run it."""

from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import topo_search
from objectives.reading import Overrides
from topo_search import api, study


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("timeout", "seconds"),
        ("trail_timeout", "trial_timeout"),
        ("test_file", "test"),
        ("data", "table"),
        ("validate", "validation"),
        ("depth", "limits={'depth': …}"),
        ("learning_rate", "limits={'learning-rate': …}"),
        ("qqqq", None),
    ],
)
def test_an_option_that_there_is_not_is_refused_with_the_one_that_is_meant(
    option: str, meant: str | None
) -> None:
    with pytest.raises(TypeError) as refused:
        topo_search.search(Path("unread.csv"), "y", **{option: 5})
    assert str(refused.value) == (
        f"Expected an option that topo_search.search has. Received: {option}."
        + (f" Did you mean {meant}?" if meant else "")
    )


@pytest.mark.parametrize("file_first", [True, False])
def test_a_file_and_a_frame_are_not_taken_together(tmp_path: Path, file_first: bool) -> None:
    given: list[Any] = [tmp_path / "t.csv", pd.DataFrame({"x": [1], "y": [2]})]
    table, test = given if file_first else reversed(given)
    with pytest.raises(TypeError, match="two files or two DataFrames"):
        topo_search.search(table, "y", test=test)


def test_a_frame_is_read_as_it_is_written_and_as_its_user_says() -> None:
    frame = pd.DataFrame({0: [1.5, 2.5], 1: [1, 2]})
    asked = api._tables(frame, frame, {"overrides": Overrides(missing=("9",))})
    assert asked["overrides"] == Overrides(
        encoding="utf-8",
        separator=",",
        quote='"',
        decimal=".",
        header=True,
        skip=0,
        missing=("9",),
    )
    assert asked["data"] == asked["test_data"] == b"0,1\n1.5,1\n2.5,2\n"
    assert "file" not in api._tables(None, None, {})


def test_what_is_asked_of_those_who_serve_arrives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setenv("TOPO_SEARCH_HOME", str(tmp_path))
    monkeypatch.setattr(api.forking, "warm_up", lambda _: None)
    monkeypatch.setattr(api, "opened", lambda _: nullcontext())
    monkeypatch.setattr(api, "View", lambda *_: SimpleNamespace(shown=nullcontext, tick=None))
    monkeypatch.setattr(api.study, "create", lambda *_: (SimpleNamespace(id="k3v9x2"), "key"))
    monkeypatch.setattr(api.own_worker, "serve", lambda *given, **_: served.update(vars(given[-1])))
    asked = {"slots": 2, "slots_per_gpu": 3, "trial_timeout": 60.0}
    topo_search.search(objective="mine:score", allow_objective=["other:score"], **asked)
    assert served == asked | {"objectives": {"mine:score", "other:score"}}


def test_every_option_of_a_study_that_a_user_may_set_is_an_option_of_a_search() -> None:
    given_otherwise = {"data", "file", "target", "test_data"}
    not_for_users = {"keep", "most", "sweep"}
    own = {field.name for field in fields(study.Options)} - given_otherwise - not_for_users
    assert set(api.SearchOptions.__annotations__) == own
