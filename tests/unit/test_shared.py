"""Arrays that the slots of a machine have in common."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from numpy.typing import NDArray

from objectives import shared as shared_module
from objectives.preprocessing import Arrays
from objectives.shared import packed, shared, unpacked
from objectives.training import resident

MB = 2**20


def ones(size: int = 4) -> dict[str, NDArray[np.float32]]:
    return {"numbers": np.ones(size, np.float32), "none": np.zeros((3, 0), np.int32)}


def never() -> dict[str, NDArray[np.float32]]:
    raise AssertionError("it was made before")


def test_arrays_are_made_once_and_the_same_for_all(tmp_path: Path) -> None:
    first = shared(tmp_path, "what", ones)
    again = shared(tmp_path, "what", never)
    for found in (first, again):
        assert {*found} == {"numbers", "none"}
        assert found["numbers"].dtype == np.float32
        np.testing.assert_array_equal(found["numbers"], np.ones(4))
        assert found["none"].shape == (3, 0)


def test_others_have_arrays_of_their_own(tmp_path: Path) -> None:
    shared(tmp_path, "what", ones)
    other = shared(tmp_path, "another", lambda: {"numbers": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(other["numbers"], np.zeros(2))


def test_who_writes_changes_nothing_for_others(tmp_path: Path) -> None:
    shared(tmp_path, "what", ones)["numbers"][:] = 7
    np.testing.assert_array_equal(shared(tmp_path, "what", never)["numbers"], np.ones(4))


def test_nothing_is_shared_without_a_folder() -> None:
    assert shared(None, "what", ones)["numbers"] is not shared(None, "what", ones)["numbers"]


def test_what_cannot_be_written_is_made_by_each(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    np.testing.assert_array_equal(shared(gone, "what", ones)["numbers"], np.ones(4))
    assert not gone.exists()


def test_a_full_disk_costs_the_sharing_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def save(*given: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    np.testing.assert_array_equal(shared(tmp_path, "what", ones)["numbers"], np.ones(4))
    assert "No space left" in caplog.text
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def die(*given: object, **options: object) -> dict[str, NDArray[np.float32]]:
    os._exit(3)


def killed(folder: Path, what: str, make: Callable[[], dict[str, NDArray[np.float32]]]) -> None:
    """Share arrays in a process that is killed meanwhile."""
    maker = multiprocessing.get_context("fork").Process(target=shared, args=(folder, what, make))
    maker.start()
    maker.join()
    assert maker.exitcode == 3


def folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def test_whoever_dies_while_making_them_is_replaced(tmp_path: Path) -> None:
    killed(tmp_path, "what", die)
    np.testing.assert_array_equal(shared(tmp_path, "what", ones)["numbers"], np.ones(4))


@pytest.mark.parametrize("next_one", ["what", "another"])
def test_what_a_slot_that_was_killed_had_written_is_removed(
    next_one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", die)
        killed(tmp_path, "what", ones)
    assert len(folders(tmp_path)) == 1
    assert {*shared(tmp_path, next_one, ones)} == {"numbers", "none"}
    (place,) = folders(tmp_path)
    assert place.name[0] != "."


def test_what_a_slot_is_writing_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = np.save

    def meanwhile(*given: Any, **options: Any) -> None:
        monkeypatch.setattr(np, "save", save)
        shared(tmp_path, "another", ones)
        save(*given, **options)

    monkeypatch.setattr(np, "save", meanwhile)
    shared(tmp_path, "what", ones)
    for what in ("what", "another"):
        assert {*shared(tmp_path, what, never)} == {"numbers", "none"}


def test_of_what_is_dropped_nobody_finds_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot is killed when it has removed one of the files."""
    monkeypatch.setattr(shared_module, "MOST", 100)
    remove = shutil.rmtree

    def half(path: Path, **options: Any) -> None:
        if path.exists():
            next(path.iterdir()).unlink()
            os._exit(3)
        remove(path, **options)

    shared(tmp_path, "what", ones)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", half)
        killed(tmp_path, "another", ones)
    assert {*shared(tmp_path, "what", ones)} == {"numbers", "none"}
    assert [path.name[0] for path in folders(tmp_path)].count(".") == 0


def test_what_is_in_use_is_not_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "MOST", 100)
    load = np.load

    def meanwhile(*given: Any, **options: Any) -> Any:
        monkeypatch.setattr(np, "load", load)
        shared(tmp_path, "another", ones)
        return load(*given, **options)

    shared(tmp_path, "what", ones)
    monkeypatch.setattr(np, "load", meanwhile)
    assert {*shared(tmp_path, "what", never)} == {"numbers", "none"}


def test_what_was_used_longest_ago_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_module, "MOST", 10_000)
    size = 1_000  # Of 4 bytes each, and what files have besides.
    for name in ("first", "second"):
        shared(tmp_path, name, lambda: ones(size))
    before = shared(tmp_path, "first", never)
    shared(tmp_path, "third", lambda: ones(size))
    shared(tmp_path, "first", never)
    with pytest.raises(AssertionError, match="it was made before"):
        shared(tmp_path, "second", never)
    np.testing.assert_array_equal(before["numbers"], np.ones(size))


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_a_frame_comes_back_as_it_was(rows: int) -> None:
    columns = {
        "size": pd.Series([1.5, np.nan, -0.0, 1e300]),
        "notes\ud800": pd.Series(["", "a", "<b>", "a"], dtype=object),  # As tables are read.
        "said": pd.Series([0.0, 1.0, 2.0, 3.0]),
        "kind": pd.Series(["x", "", "y", "é\n"], dtype=object),
    }
    frame = pd.DataFrame(columns)[:rows]
    found = unpacked(packed(frame))
    pd.testing.assert_frame_equal(found, frame)
    assert [type(text) for text in found["kind"]] == [str] * rows


def test_tensors_of_shared_arrays_take_no_memory_of_their_own(tmp_path: Path) -> None:
    def make() -> dict[str, NDArray[np.generic]]:
        numeric = np.ones((64, MB // 4), np.float32)
        return {"numeric": numeric, "dense": numeric[:, :0], "codes": np.ones((64, 1), np.int32)}

    shared(tmp_path, "what", make)
    before = psutil.Process().memory_full_info().uss
    tensors = resident(Arrays(**shared(tmp_path, "what", make)))
    assert float(tensors["numeric"][63, -1]) == 1.0
    assert psutil.Process().memory_full_info().uss - before < 32 * MB
    assert {*tensors} == {"numeric", "codes"}
