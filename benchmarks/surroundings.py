"""On what a benchmark was measured, and what the processes around it use."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from storage.connection import Storage

# For NumPy, where a core is measured; read when it is imported.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
VERSIONS = ("tensorflow", "keras", "optuna", "SQLAlchemy", "keras-tuner", "numpy", "topo-search")


def environment(cores: int) -> dict[str, Any]:
    """Say on what all this is measured."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((one.partition(":")[2] for one in lines if one.startswith("model name")), "")
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    here = Path(__file__).parent
    commit = subprocess.run(git, cwd=here, capture_output=True, text=True).stdout.strip()
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cpu": model.strip() or platform.machine(),
        "cores": cores,
        "memory": psutil.virtual_memory().total,
        "versions": versions,
        "commit": commit,
        "date": time.strftime("%F %T %Z"),
        "load_before": os.getloadavg(),
    }


def heading(about: dict[str, Any]) -> str:
    """Return the line above all tables."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['memory'] / 2**30:.0f} GiB; {versions}; "
        f"commit {about['commit']}, {about['date']}, load before {about['load_before'][0]:.1f}."
    )


def takes_json(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be asked for its raw numbers."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the raw numbers there.")


def write_json(given: argparse.Namespace, raw: dict[str, Any]) -> None:
    """Write the raw numbers where they were asked for."""
    if given.json:
        given.json.write_text(json.dumps(raw, indent=1), encoding="utf-8")


def remove_server(home: Path) -> None:
    """Remove the private server, which for root lies outside its home."""
    shutil.rmtree((home / "server").resolve(), ignore_errors=True)


def postmaster(storage: Storage) -> psutil.Process:
    """Return the first process of a server on this machine."""
    with storage.transaction() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


def server_version(storage: Storage) -> str:
    """Return PostgreSQL's version."""
    with storage.transaction() as connection:
        return str(connection.exec_driver_sql("SHOW server_version").scalar_one())


def own_cpu(process: psutil.Process) -> float:
    """Return the processor time of a process alone."""
    times = process.cpu_times()
    return float(times.user + times.system)


def family_cpu(process: psutil.Process) -> float:
    """Return the processor time of a process, of its descendants, and of those that have ended."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue  # It has just ended; its parent's times have it.
        total += times.user + times.system + times.children_user + times.children_system
    return total
