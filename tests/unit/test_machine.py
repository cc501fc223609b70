"""What of a machine its slots may use."""

import importlib.util
import os
from pathlib import Path

import psutil
import pytest

from topo_search import machine


def test_cores_are_those_this_process_may_run_on() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= machine.usable_cores() <= len(before)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        (
            "0::/system.slice/worker.service",
            {"system.slice/worker.service/cpu.max": "100000 100000"},
        ),
        (
            "0::/a/b",
            {"a/cpu.max": "100000 50000", "a/b/cpu.max": "max 100000", "cpu.max": "50 100"},
        ),
        (
            "4:cpu,cpuacct:/docker/x",
            {"cpu/docker/x/cpu.cfs_quota_us": "150000", "cpu/docker/x/cpu.cfs_period_us": "100000"},
        ),
    ],
)
def test_a_group_of_any_height_limits_the_cores(
    tmp_path: Path, own: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "own").write_text(f"{own}\n")
    assert machine.usable_cores(tmp_path, tmp_path / "own") == 8
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert machine.usable_cores(tmp_path, tmp_path / "own") == 1


def test_slots_share_what_memory_is_free() -> None:
    one, four = machine.memory_for_each(1), machine.memory_for_each(4)
    assert 0 < one <= psutil.virtual_memory().total
    assert four == pytest.approx(one / 4, rel=0.2)


@pytest.mark.parametrize(("free", "slots"), [(64.0, 8), (1.5, 2), (1.2, 2), (1.1, 1), (0.1, 1)])
@pytest.mark.parametrize("gpus", [[], ["0", "1"]])
def test_there_are_no_more_slots_than_fit_into_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: float, slots: int, gpus: list[str]
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(machine, "usable_gpus", lambda: gpus)
    monkeypatch.setattr(machine, "available_memory", lambda: int(free * 2**30))
    assert machine.usable_slots(per_gpu=4) == slots


@pytest.mark.parametrize(
    ("visible", "expected"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-a", ["GPU-a"])]
)
def test_gpus_are_those_the_environment_shows(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "nvidia" or None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.usable_gpus() == expected


def test_without_a_choice_all_gpus_of_the_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "nvidia" or None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices = [Path(f"/dev/nvidia{number}") for number in (10, 0, 2)]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(devices))
    assert machine.usable_gpus() == ["0", "2", "10"]


def test_gpus_without_cuda_libraries_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.usable_gpus() == []


def test_a_gpu_has_as_many_slots_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 64 * 2**30)
    monkeypatch.setattr(machine, "usable_gpus", lambda: ["0", "1"])
    assert (machine.usable_slots(), machine.usable_slots(3)) == (2, 6)
    assert machine.device() == "2 GPUs"
    monkeypatch.setattr(machine, "usable_gpus", lambda: [])
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    assert (machine.usable_slots(3), machine.device()) == (1, "1 core")
