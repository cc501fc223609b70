import hashlib
import math
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage import datasets
from storage.connection import Storage

NOBODY = 65_534
DATA = b"a,b\r\n1,\x00\xff\n"


@contextmanager
def as_nobody() -> Iterator[Path]:
    """Have no rights of root's while the block runs; yields a folder that is one's own."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:  # Not below pytest's, where only root may look.
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_bytes_come_back_as_they_were(storage: Storage, tmp_path: Path) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert datasets.fetch(storage, sha256, tmp_path / "cache").read_bytes() == DATA


@pytest.mark.parametrize("size", [0, 7, 8, 20])
def test_bytes_are_fetched_a_part_at_a_time_and_the_caller_is_heard_of_between(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(datasets, "CHUNK", 4)
    data = bytes(range(size))
    sha256 = datasets.put(storage, data, "table.csv")
    parts: list[int] = []

    def meanwhile() -> None:
        parts.append(storage.engine.pool.checkedout())  # type: ignore[attr-defined]

    assert datasets.fetch(storage, sha256, tmp_path, meanwhile).read_bytes() == data
    assert parts == [0] * math.ceil(size / 4)


def test_a_dataset_that_is_deleted_while_it_is_fetched_leaves_nothing_behind(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "CHUNK", 4)
    sha256 = datasets.put(storage, DATA, "table.csv")

    def somebody_deletes_it() -> None:
        with storage.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM topo_dataset")

    with pytest.raises(LookupError, match=f"{sha256}: not there"):
        datasets.fetch(storage, sha256, tmp_path, somebody_deletes_it)
    assert list(tmp_path.iterdir()) == []


def test_the_same_bytes_are_kept_once(storage: Storage) -> None:
    with ThreadPoolExecutor(2) as pool:
        put = list(pool.map(lambda name: datasets.put(storage, DATA, name), ["a.csv", "b.csv"]))
    assert len(set(put)) == 1
    with storage.transaction() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM topo_dataset").scalar_one() == 1


def test_bytes_that_another_is_sending_are_kept_once(storage: Storage) -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    with ThreadPoolExecutor(1) as pool, storage.transaction() as other:
        other.exec_driver_sql(
            "INSERT INTO topo_dataset (sha256, name, bytes, size) VALUES (%s, 'a.csv', %s, 8)",
            (sha256, DATA),
        )
        put = pool.submit(datasets.put, storage, DATA, "b.csv")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not put.done() and not other.exec_driver_sql(waiting).scalar_one():
            pass
        other.commit()
        assert put.result() == sha256
    with storage.transaction() as connection:
        kept = connection.exec_driver_sql("SELECT name, waiting_since FROM topo_dataset").one()
    assert kept.name == "a.csv" and kept.waiting_since is not None


def test_a_cached_file_needs_no_database(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    first = datasets.fetch(storage, sha256, tmp_path)
    monkeypatch.setattr(Storage, "transaction", None)
    assert datasets.fetch(storage, sha256, tmp_path) == first


def test_a_corrupt_cache_heals(storage: Storage, tmp_path: Path) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    path = datasets.fetch(storage, sha256, tmp_path)
    path.write_bytes(DATA[:-1])
    assert datasets.fetch(storage, sha256, tmp_path).read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]


def test_a_cached_file_that_may_not_be_read_is_fetched_anew(storage: Storage) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    with as_nobody() as cache:
        path = datasets.fetch(storage, sha256, cache)
        assert datasets.fetch(storage, sha256, cache) == path  # Its bytes are known from now on.
        path.chmod(0)
        assert datasets.fetch(storage, sha256, cache).read_bytes() == DATA
        assert list(cache.iterdir()) == [path]


def test_a_folder_in_the_place_of_a_cached_file_is_named(storage: Storage, tmp_path: Path) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    (tmp_path / sha256).mkdir()
    with pytest.raises(IsADirectoryError, match=sha256):
        datasets.fetch(storage, sha256, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [sha256]


def test_a_file_that_could_not_be_written_whole_is_not_left_behind(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sha256 = datasets.put(storage, DATA, "table.csv")
    monkeypatch.setattr("storage.datasets.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        datasets.fetch(storage, sha256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_is_not_there_is_refused(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="abc: not there"):
        datasets.fetch(storage, "abc", tmp_path)


def test_more_than_the_database_takes_is_refused(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match="at most 1 MiB. Received big.csv with 2 MiB"):
        datasets.put(storage, b"x" * 2**21, "big.csv")


def test_the_cache_keeps_what_was_used_last(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "CACHED", 3_000)
    names = [datasets.put(storage, bytes([k]) * 1_000, f"{k}.csv") for k in range(4)]
    for name in names[:3]:
        datasets.fetch(storage, name, tmp_path)
    datasets.fetch(storage, names[0], tmp_path)
    datasets.fetch(storage, names[3], tmp_path)  # In place of the second.
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[2], names[3]}
    assert datasets.fetch(storage, names[1], tmp_path).read_bytes() == b"\x01" * 1_000


def test_one_dataset_larger_than_the_cache_is_served_all_the_same(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "CACHED", 10)
    sha256 = datasets.put(storage, DATA * 10, "table.csv")
    assert datasets.fetch(storage, sha256, tmp_path).read_bytes() == DATA * 10


def test_what_lies_in_the_way_of_a_dataset_is_an_os_error(storage: Storage, tmp_path: Path) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(OSError):
        datasets.fetch(storage, sha256, tmp_path / "cache")


def test_a_machine_fetches_a_dataset_once(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    real, fetched, start = datasets._fetch, list[str](), threading.Barrier(4)

    def counted(storage: Storage, sha256: str, *where: Any) -> None:
        fetched.append(sha256)
        real(storage, sha256, *where)

    def fetch(_: int) -> Path:
        start.wait()
        return datasets.fetch(storage, sha256, tmp_path)

    monkeypatch.setattr(datasets, "_fetch", counted)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch, range(4))) == {tmp_path / sha256}
    assert fetched == [sha256]


def test_who_is_frozen_amid_a_fetch_keeps_nobody(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    monkeypatch.setattr(datasets, "WAITED", 0.2)
    with datasets._locked(tmp_path):
        assert datasets.fetch(storage, sha256, tmp_path).read_bytes() == DATA


def test_bytes_that_changed_in_the_database_are_not_used(storage: Storage, tmp_path: Path) -> None:
    sha256 = datasets.put(storage, DATA, "table.csv")
    with storage.transaction() as connection:
        connection.exec_driver_sql("UPDATE topo_dataset SET bytes = %s", (DATA + b"2,3",))
    with pytest.raises(LookupError, match=sha256):
        datasets.fetch(storage, sha256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_drops_what_was_deleted_and_keeps_what_is_in_use(
    storage: Storage, tmp_path: Path
) -> None:
    assert datasets.drop_deleted(storage, tmp_path / "none") == 0
    files = {}
    for name in ("kept", "gone", "just used"):
        sha256 = datasets.put(storage, DATA + name.encode(), f"{name}.csv")
        files[name] = datasets.fetch(storage, sha256, tmp_path)
        assert datasets.is_kept(storage, sha256)
    other = tmp_path / "other.txt"
    other.write_text("nobody's dataset")
    for path in (files["kept"], files["gone"], other):
        os.utime(path, (0, path.stat().st_mtime))
    with storage.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM topo_dataset WHERE name <> 'kept.csv'")
    assert not datasets.is_kept(storage, files["gone"].name)
    assert datasets.drop_deleted(storage, tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted([files["kept"], files["just used"], other])
