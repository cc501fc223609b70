"""Where the storage and this machine's data are, by the environment."""

from pathlib import Path

import platformdirs
import pytest

from topo_search.settings import Settings


def test_the_environment_says_where_things_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "STORAGE", "STORAGE_FILE"):
        monkeypatch.delenv(f"TOPO_SEARCH_{name}", raising=False)
    usual = Settings.read()
    assert (usual.storage, usual.home) == (None, Path(platformdirs.user_data_dir("topo-search")))
    monkeypatch.setenv("TOPO_SEARCH_HOME", str(tmp_path / "home"))
    (tmp_path / "url").write_text("postgresql://file/d\nmore\n")
    monkeypatch.setenv("TOPO_SEARCH_STORAGE_FILE", str(tmp_path / "url"))
    assert Settings.read() == Settings(storage="postgresql://file/d", home=tmp_path / "home")
    monkeypatch.setenv("TOPO_SEARCH_STORAGE", "postgresql://variable/d")
    assert Settings.read().storage == "postgresql://variable/d"
    assert Settings.read(storage="postgresql://option/d").storage == "postgresql://option/d"


def in_file(file: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return the storage that a file of these bytes names."""
    file.write_bytes(data)
    monkeypatch.delenv("TOPO_SEARCH_STORAGE", raising=False)
    monkeypatch.setenv("TOPO_SEARCH_STORAGE_FILE", str(file))
    return Settings.read().storage


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_url_in_a_file_may_follow_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    data = "postgresql://ü/d\r\n".encode(encoding)
    assert in_file(tmp_path / "url", data, monkeypatch) == "postgresql://ü/d"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_of_another_encoding_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    data = "postgresql://u:s3cret-ü@h/d\r\n".encode(encoding)
    with pytest.raises(ValueError, match="Expected the storage's URL in UTF-8 in ") as refusal:
        in_file(tmp_path / "url", data, monkeypatch)
    told = str(refusal.value)
    assert str(tmp_path / "url") in told and "Save it as UTF-8" in told
    assert "s3cret" not in told and "\n" not in told
