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
