"""This machine, and what of it slots may use: cores, memory, GPUs; found without TensorFlow."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from objectives.cgroups import CGROUPS, OWN, groups, number
from objectives.memory import available_memory

FREE_SHARE = 0.9  # Of the memory that is free, for all slots together.
NEEDED = 512 * 2**20  # Bytes of its own that a slot needs for a table of ordinary size.


@dataclass(frozen=True, kw_only=True)
class Serving:
    """With what of a machine studies are served, whichever command does it."""

    slots: int | None = None  # Training processes; by default one for each GPU, or else each core.
    slots_per_gpu: int = 1  # Where there are any GPUs.
    objectives: Collection[str] = ()  # Own ones that may run here, beside the built-in one.
    trial_timeout: float | None = None  # Seconds after which a trial is failed.


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return how many cores this process may keep busy: its affinity and its cgroups' quotas."""
    cores = len(os.sched_getaffinity(0))
    for folder, unified in groups("cpu", cgroups, own):
        quota, period = _quota(folder, unified)
        if quota is not None and quota > 0 and period:
            cores = min(cores, quota // period)
    return max(1, cores)


def usable_slots(per_gpu: int = 1) -> int:
    """Return how many slots this machine has room for: `per_gpu` a GPU, or without one a core.

    No more than there are times `NEEDED` in the memory that is free.
    """
    room = max(1, int(FREE_SHARE * available_memory()) // NEEDED)
    return min(per_gpu * len(usable_gpus()) or usable_cores(), room)


def memory_for_each(count: int) -> int:
    """Return the bytes each of `count` slots may have of what this machine has free."""
    return max(NEEDED, int(FREE_SHARE * available_memory() / count))


def device() -> str:
    """Return what slots work with here, as "2 cores" or "1 GPU"."""
    gpus = len(usable_gpus())
    count, what = (gpus, "GPU") if gpus else (usable_cores(), "core")
    return f"{count} {what}" + "s" * (count > 1)


def boot_id() -> str:
    """Return the kernel's boot id, which every start of a machine has anew; "" where unknown.

    Containers have their machine's.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def usable_gpus() -> list[str]:
    """Return the GPUs that TensorFlow can use here, as CUDA_VISIBLE_DEVICES names them.

    None without TensorFlow's CUDA libraries (the extra `gpu`): it would use the cores all the same.
    """
    if importlib.util.find_spec("nvidia") is None:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    numbers = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(numbers, key=int)


def _quota(folder: Path, unified: bool) -> tuple[int | None, int | None]:
    """Return how many microseconds of the cores a group has in a period of so many."""
    if not unified:
        return number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None, None
    return (None if quota == "max" else int(quota)), int(period)
