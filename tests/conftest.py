"""Fixtures every ring of tests shares."""

import os
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # As a slot has.
# Tests run side by side: with more threads than cores, those of OpenMP mostly wait in loops.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest  # noqa: E402

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables that lies beside a checkout on the project's own machines."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real tables in ../shared/data, which are not part of the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def fork_server() -> Callable[[str], None]:
    """Have this process's one fork server be one for a purpose, started anew for another.

    It keeps to what it has loaded and to its first environment, and to start it costs a second.
    """
    current = ""

    def use(purpose: str) -> None:
        nonlocal current
        if purpose != current:
            forkserver._forkserver._stop()  # type: ignore[attr-defined]
        current = purpose

    return use
