"""A finished study of iris, with a network that was really trained."""

import functools
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from objectives.objective import Final, Finish
from storage import claiming, studies, trials
from storage.connection import Storage
from storage.rows import StudyRow, Taker
from topo_search import finish, study
from topo_search.serving import ServedStudy
from topo_search.study import Options

IRIS = Path("examples/iris.csv")
EPOCHS = 3


def finished(storage: Storage) -> tuple[StudyRow, str]:
    """Make a study, train its only trial as far as the database knows, and finish it in earnest."""
    options = Options(
        data=IRIS.read_bytes(),
        file="iris.csv",
        target="species",
        trials=1,
        limits={"depth": "1", "width": "8"},
    )
    row, key = study.create(storage, options)
    train(storage, row)
    served = ServedStudy(storage=storage, row=row, cache=Path())
    last = claiming.claim(storage, row.id, Taker(owner="w"), served)
    assert last is not None and last.kind == "finish"
    winner = finish.best_of(storage, row)
    assert winner is not None
    asked = {"plan": dict(row.plan), "winner": winner}
    assert finish.keep(served, last, _trained(json.dumps(asked)))
    return studies.get(storage, row.id), key


def train(storage: Storage, row: StudyRow, value: float = 0.9) -> None:
    """Train a study's next trial, as far as the database knows."""
    served = ServedStudy(storage=storage, row=row, cache=Path())
    lease = claiming.claim(storage, row.id, Taker(owner="w"), served)
    assert lease is not None
    trials.begin(storage, lease, served.distributions)
    topology, _ = served.space.decode(lease.parameters)
    said: dict[str, Any] = {"topology": str(topology), "depth": topology.depth, "weights": 99}
    said |= {"seconds": 1.0, "epochs": EPOCHS, "best_epoch": EPOCHS, "curve": [0.5, 0.6, value]}
    assert trials.end(storage, lease, state="complete", value=value, attributes=said)


@functools.cache  # All these studies are alike, and so are their networks.
def _trained(asked: str) -> Final:
    """Train the winner in a process of its own: TensorFlow stays out of this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(_train, asked).result()


def _train(asked: str) -> Final:
    from objectives.finishing import finish as finish_here

    return finish_here(Finish(trial="", looks=1, dataset=IRIS, **json.loads(asked)))
