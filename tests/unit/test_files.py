"""Files that are too large are refused before they are read."""

from pathlib import Path

import pytest

import topo_search
from objectives.table import TooLargeError
from storage.datasets import MAX_BYTES
from topo_search import files
from topo_search.files import table_bytes


def sparse(folder: Path, size: int) -> Path:
    """Return a file of so many bytes that takes no room."""
    path = folder / "large.csv"
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_file_above_the_free_memory_is_refused_unread(tmp_path: Path) -> None:
    path = sparse(tmp_path, 2**40)
    with pytest.raises(TooLargeError, match=r"GiB\. Received large.csv with 1,024 GiB\. Leave out"):
        table_bytes(path)


def test_a_file_that_is_to_be_stored_may_have_what_a_dataset_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "available_memory", lambda: 2**60)
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    assert len(table_bytes(sparse(tmp_path, 1000), stored=True)) == 1000
    with pytest.raises(TooLargeError, match="which is what the database keeps"):
        table_bytes(sparse(tmp_path, 1001), stored=True)
    assert len(table_bytes(sparse(tmp_path, 1001))) == 1001


def test_a_search_from_python_refuses_such_a_file_too(tmp_path: Path) -> None:
    with pytest.raises(TooLargeError, match=r"at most 0.391 GiB.*Received large.csv"):
        topo_search.search(sparse(tmp_path, MAX_BYTES + 1), "y")
