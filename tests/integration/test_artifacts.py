import pytest
from stored_studies import make_study

from storage import artifacts, studies
from storage.connection import Storage


def test_a_file_comes_back_as_it_was_and_is_replaced(storage: Storage) -> None:
    study = make_study(storage)
    artifacts.put(storage, study.id, "weights/0", b"\x00one")
    artifacts.put(storage, study.id, "report.html", b"<p>", "text/html")
    artifacts.put(storage, study.id, "weights/0", b"\x00second")
    assert artifacts.get(storage, study.id, "weights/0") == b"\x00second"
    listed = artifacts.list_artifacts(storage, study.id)
    assert [(found.name, found.media_type, found.size) for found in listed] == [
        ("report.html", "text/html", 3),
        ("weights/0", "application/octet-stream", 7),
    ]


def test_a_file_that_is_not_there_is_refused_with_those_that_are(storage: Storage) -> None:
    study = make_study(storage)
    with pytest.raises(LookupError, match="it has none. Received 'x'"):
        artifacts.get(storage, study.id, "x")
    artifacts.put(storage, study.id, "weights/0", b"1")
    with pytest.raises(LookupError, match="weights/0"):
        artifacts.get(storage, study.id, "x")
    with pytest.raises(LookupError, match="nothing0"):
        artifacts.put(storage, "nothing0", "x", b"1")


def test_files_are_deleted_by_name_and_with_their_study(storage: Storage) -> None:
    study, other = make_study(storage), make_study(storage)
    for name in "abc":
        artifacts.put(storage, study.id, name, b"1")
        artifacts.put(storage, other.id, name, b"1")
    artifacts.delete(storage, study.id, ["a", "none"])
    artifacts.delete(storage, study.id, [])
    assert [found.name for found in artifacts.list_artifacts(storage, study.id)] == ["b", "c"]
    studies.delete(storage, study.id)
    assert artifacts.list_artifacts(storage, study.id) == []
    assert len(artifacts.list_artifacts(storage, other.id)) == 3


def test_the_best_are_kept_and_so_is_what_the_caller_does_not_know(storage: Storage) -> None:
    study = make_study(storage)
    for number in range(6):
        artifacts.put(storage, study.id, f"weights/{number}", b"1")
    artifacts.keep_best(
        storage, study.id, ["weights/4", "weights/1", "weights/0", "weights/3"], count=2
    )
    names = {found.name for found in artifacts.list_artifacts(storage, study.id)}
    assert names == {"weights/4", "weights/1", "weights/2", "weights/5"}


def test_more_than_the_database_takes_is_refused(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match="at most 1 MiB. Received w with 2 MiB"):
        artifacts.put(storage, make_study(storage).id, "w", b"x" * 2**21)
