"""Studies as workers leave them, without training: what a page shows of each is known."""

from pathlib import Path
from typing import Any

from objectives.space import Space
from storage import claiming, trials
from storage.connection import Storage
from storage.rows import Lease, StudyRow, Taker
from topo_search import study
from topo_search.serving import ServedStudy
from topo_search.study import Options

IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"


def new(storage: Storage, **options: Any) -> tuple[StudyRow, str]:
    """Make a study of iris; return it, and the address of its page."""
    given: dict[str, Any] = {"file": "iris.csv", "target": "species", "trials": 30, **options}
    row, key = study.create(storage, Options(**{"data": IRIS.read_bytes(), **given}))
    return row, f"/s/{key}"


def begun(storage: Storage, row: StudyRow) -> Lease:
    """Let worker w begin a trial."""
    lease = left_to_do(storage, row)
    assert lease is not None
    trials.begin(storage, lease, Space.from_json(row.plan["space"]).distributions())
    return lease


def left_to_do(storage: Storage, row: StudyRow) -> Lease | None:
    """Let worker w claim what there is to do."""
    served = ServedStudy(storage=storage, row=row, cache=Path())
    return claiming.claim(storage, row.id, Taker(owner="w"), served)


def complete(storage: Storage, row: StudyRow, value: float) -> None:
    """Train a trial, as far as the database knows."""
    lease = begun(storage, row)
    topology, _ = Space.from_json(row.plan["space"]).decode(lease.parameters)
    told = {"topology": str(topology), "depth": topology.depth, "weights": 1234, "seconds": 1.0}
    told |= {"epochs": 9, "best_epoch": 9, "curve": [0.5, value]}
    assert trials.end(storage, lease, state="complete", value=value, attributes=told)
