"""Whatever is installed with topo-search has its version written down."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def written_down() -> set[str]:
    lines = CONSTRAINTS.read_text().splitlines()
    assert all(re.fullmatch(r"\S+==\S+", line) for line in lines)
    return {canonicalize_name(line.split("==")[0]) for line in lines}


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """Return what a distribution needs here, and what that needs, as far as it is installed."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    try:
        said = distribution(name).requires or []
    except PackageNotFoundError:  # Of an extra that is not installed here.
        return set()
    found = set()
    for requirement in map(Requirement, said):
        environments = [{"extra": extra} for extra in (*extras, "")]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            name = canonicalize_name(requirement.name)
            found |= {name} | needed(name, frozenset(requirement.extras), seen)
    return found


def test_all_that_is_needed_is_constrained() -> None:
    found = needed("topo-search", frozenset({"gpu", "test", "bench"}), set())
    assert {"tensorflow", "setuptools", "nvidia-cudnn-cu12", "keras-tuner"} <= found
    assert found - {"topo-search"} <= written_down()
