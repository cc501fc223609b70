"""Pictures of a run are of that run."""

from pathlib import Path

from sites import cleared


def test_only_pictures_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "screenshots"

    def taken(name: str) -> None:
        (folder / f"{name}.png").write_bytes(b"")

    cleared(folder, "first")
    taken("old")
    cleared(folder, "first")  # Another process of the same run.
    assert [*folder.glob("*.png")] == [folder / "old.png"]
    cleared(folder, "second")
    taken("new")
    cleared(folder, "second")
    assert [*folder.glob("*.png")] == [folder / "new.png"]
