"""What cannot be written is told in plain words, and before anything else is done."""

import errno
from pathlib import Path

import pytest

import topo_search
from topo_search.writing import UnwritableError, check_file, check_folder, writing

EXPECTED = "Expected a place that can be written. Received "


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    there = tmp_path / "there.html"
    there.write_text("kept")
    check_file(there)
    check_file(tmp_path / "new" / "report.html")
    check_folder(tmp_path / "new" / "network")
    check_folder(tmp_path)
    assert there.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "there.html"]


@pytest.mark.parametrize("check", [check_file, check_folder])
def test_a_place_below_a_file_cannot_be_written(check: object, tmp_path: Path) -> None:
    assert callable(check)
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "report.html"
    with pytest.raises(UnwritableError) as told:
        check(place)
    assert str(told.value) == f"{EXPECTED}{place}: {place.parent} is a file."


def test_a_file_in_place_of_the_networks_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "network").touch()
    with pytest.raises(UnwritableError, match=f"{tmp_path / 'network'}: Not a directory."):
        check_folder(tmp_path / "network")


def test_what_goes_wrong_while_it_is_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError) as told, writing(tmp_path / "page.html"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(told.value) == f"{EXPECTED}{tmp_path / 'page.html'}: No space left on device."


def test_a_search_from_python_finds_out_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = tmp_path / "table.csv"
    table.write_text("x,y\n1,2\n")
    with pytest.raises(UnwritableError, match=EXPECTED):
        topo_search.search(table, "y", report=tmp_path / "file" / "report.html")
