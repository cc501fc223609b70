"""A worker that dies, or loses its connection, between any two steps of its life.

The walk itself, and what a step is, is in fleet_walk.py: it calls objectives in the worker's own
process, as real slots would make it last for an hour.
"""

import json
import subprocess
import sys

import pytest
from fleet_harness import DEADLINE, HERE, environment
from fleet_lives import LIVES, TRIALS
from fleet_server import Server

# What a worker does in the database, by the functions that do it.
WALKED = {
    "claim": {"claiming._take_unit", "claiming._draw", "trials.begin"},
    "report": {"trials.report"},
    "take over": {"claiming._take_over"},
    "end": {"trials.end"},
    "finish": {"claiming._take_finish", "finishing.finish"},
}
OF_A_TABLE = {"give up": {"trials.close"}, "finish in a slot": {"finish.keep"}}
HARDEST = ("killed-before", "broken-after")  # A change is lost; one is not known of.
LEAST_STEPS = {"killed-before": 20, "killed-after": 10, "broken-before": 60, "broken-after": 20}


LIVED = [*((kind, "own") for kind in LEAST_STEPS), *((k, "table") for k in HARDEST)]


@pytest.mark.parametrize(("kind", "life"), LIVED)
def test_a_life_broken_at_any_step_is_healed(
    server: Server, database: str, kind: str, life: str
) -> None:
    walk = [str(HERE / "fleet_walk.py"), server.url(database), kind, life]
    command, expected = [sys.executable, "-P", *walk], LIVES[life].attempts
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    undisturbed, *walked = [json.loads(line) for line in done.stdout.splitlines()]
    assert undisturbed["attempts"] == expected and len(undisturbed["trials"]) == TRIALS
    assert len(walked) > LEAST_STEPS[kind]
    # On a slow machine the first life may have taken a few steps more than a later one does.
    unbroken = [life for life in walked if not life["broke"]]
    assert len(unbroken) <= len(walked) // 10, unbroken
    through = {name for life in walked if life["broke"] for name in life["through"]}
    walked_there = WALKED | (OF_A_TABLE if life == "table" else {})
    if kind.endswith("after"):  # Its COMMIT is that of `_take_over`.
        walked_there.pop("give up", None)
    for what, functions in walked_there.items():
        assert functions <= through, what
    for broken in [undisturbed, *walked]:
        assert broken["wrong"] is None, broken
        assert broken["values_as_drawn"], broken
        assert broken["trials"] == undisturbed["trials"], broken
        # The first trial had been lost before, the second before it began; what only lost its
        # connection loses nothing.
        more = [now - before for now, before in zip(broken["attempts"], expected, strict=True)]
        if kind.startswith("killed"):
            assert min(more) >= 0 and sum(more) <= 1, broken
        else:
            assert sum(more) == 0, broken
