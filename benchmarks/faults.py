"""Faults at random, over many studies at once, and what they cost: nothing lost, nothing twice.

Workers are killed, frozen, cut off, drained, born with wrong clocks, full disks and spoilt caches,
and die between two statements; slots are killed and take too much memory; the database crashes,
stays away and cuts its connections, and fifty open another at once; people pause, resume, extend
and cancel studies. All of it follows from the seed, but for what the kernel makes of it.
Prints an event a line, and a Markdown table. It needs no server: it starts one of its own.

    python benchmarks/faults.py [--minutes 10] [--seed 0] [--workers 8] [--json FILE]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "acceptance" / "fleet"))

from fault_report import figures, table
from fault_world import DATABASE, MEMORY, World
from fleet_crowd import COUNT, WELL, open_at_once
from fleet_harness import LEASE, passes, wait_until
from surroundings import environment, takes_json, write_json

from storage import studies
from storage.errors import StorageError
from topo_search.machine import usable_cores

HOUR = 3600.0
SHORT = 1.0  # Minutes, below which there is no time for a crowd.
OUTAGE = 120.0  # Seconds that the database stays away once; less in a short run.

EXPECTED = (0, 9, -signal.SIGKILL)  # Exit codes of workers: drained, dead at a step, killed.
STRANGE = {
    "clock": "join with a wrong clock",
    "barred": "join with a file where datasets belong",
    "full": "join with a full disk",
    "spoilt": "join with a spoilt cache",
    "step": "die between two statements",
}


class Faults(World):
    """All that happens to one fleet."""

    def __init__(
        self, seed: int, stack: ExitStack, folder: Path, *, workers: int, minutes: float
    ) -> None:
        super().__init__(seed, stack, folder)
        self.most, self.minutes = workers, minutes
        self.outage = min(OUTAGE, 60 * minutes / 5)
        self.happened = Counter[str]()
        self.broken: list[str] = []  # Promises, as they were seen not to be kept.
        self.kinds: dict[Callable[[], str | None], float] = {
            self.join: 6,
            self.kill: 5,
            self.power_cut: 2,
            self.kill_slot: 3,
            self.kill_fork_server: 1,
            self.freeze: 2,
            self.cut_off: 2,
            self.drain: 1,
            self.crash_database: 0.7,
            self.cut_connections: 3,
            self.pause: 1,
            self.extend: 1,
            self.cancel: 0.3,
        }

    def run(self) -> None:
        """Let things happen for so long, then put everything right and wait for the end."""
        until = self.began + 60 * self.minutes
        crowd = self.began + 60 * self.minutes * self.chance.uniform(0.1, 0.2)
        if self.minutes < SHORT:  # It takes some seconds of its own.
            crowd = float("inf")
        long_outage = self.began + 60 * self.minutes * self.chance.uniform(0.3, 0.6)
        for _ in range(4):
            self.tell(self.join)
        while time.monotonic() < until:
            self.keep_studies_open()
            if time.monotonic() > crowd:
                crowd, before = float("inf"), time.monotonic()
                self.tell(self.crowd)
                until += time.monotonic() - before
            if time.monotonic() > long_outage:
                long_outage = float("inf")
                self.tell(self.long_outage)
            event = self.chance.choices([*self.kinds], [*self.kinds.values()])[0]
            self.tell(event)
            moment = passes(self.chance.uniform(0.1, 1.2))
            wait_until(moment, "a moment passes")
            self.come_back()
        self.put_right()

    def tell(self, event: Callable[[], str | None]) -> None:
        """Let something happen, count it and print it."""
        try:
            said = event()
        except (StorageError, ValueError):  # It is away, or the study has just ended.
            return
        if said is not None:
            kind = event.__name__.replace("_", " ")
            self.happened[kind] += 1
            print(f"{time.monotonic() - self.began:6.1f} s  {kind}: {said}", flush=True)

    # Workers.

    def join(self) -> str | None:
        """Start a worker, now and then a strange one."""
        if len(self.fleet.alive) >= self.most:
            return None
        strange = self.chance.choice(("", "", "", "", "clock", "barred", "full", "spoilt", "step"))
        slots, clock, cache, dies_at = self.chance.choice((1, 1, 2)), 0.0, None, None
        if strange == "clock":
            clock = self.chance.choice((HOUR, -HOUR))
        elif strange == "step":
            dies_at = self.chance.randint(20, 400)
        elif strange:
            cache = self.cache(strange)
            if cache is None:
                return None
        relay, running = self.relay()
        url = self.server.url(DATABASE, port=relay.port)
        odd = {"clock": clock, "cache": cache, "dies_at": dies_at}
        member = self.fleet.start(slots=slots, until_idle=False, url=url, memory=MEMORY, **odd)
        self.relays[member.label] = relay, running
        if strange:
            self.happened[STRANGE[strange]] += 1
        words = {"clock": f"clock off by {clock:+g} s", "step": f"dies at its statement {dies_at}"}
        said = words.get(strange, STRANGE.get(strange, "").removeprefix("join "))
        return f"{member.label}, {slots} slots" + (f", {said}" if said else "")

    def kill(self) -> str | None:
        """Kill -9 a supervisor."""
        member = self.victim(leave=1)
        return None if member is None else self.killed(member, with_slots=False)

    def power_cut(self) -> str | None:
        """Kill -9 all processes of a worker at once."""
        member = self.victim(leave=1)
        return None if member is None else self.killed(member, with_slots=True)

    def kill_slot(self) -> str | None:
        """Kill -9 a slot."""
        member = self.victim()
        return None if member is None else self.killed_one(member, member.slots)

    def kill_fork_server(self) -> str | None:
        """Kill -9 what slots are forked from."""
        member = self.victim()
        return None if member is None else self.killed_one(member, member.fork_servers)

    def drain(self) -> str | None:
        """Ask a worker to end."""
        member = self.victim(leave=1)
        if member is None:
            return None
        member.process.send_signal(signal.SIGTERM)
        return member.label

    def freeze(self) -> str | None:
        """Stop a worker for up to three leases."""
        member = self.victim(leave=2)
        return None if member is None else self.silence(member, member.freeze, member.wake)

    def cut_off(self) -> str | None:
        """Drop a worker's packets for up to three leases."""
        member = self.victim(leave=2)
        if member is None:
            return None
        relay, _ = self.relays[member.label]
        return self.silence(member, relay.cut, relay.heal)

    # The database.

    def crash_database(self) -> str:
        """Crash it and start it again."""
        with self.away_database():
            pass
        return "immediate restart"

    def long_outage(self) -> str:
        """Crash it and start it again much later."""
        with self.away_database():
            wait_until(passes(self.outage), "the outage ends", 2 * self.outage)
        return f"{self.outage:.0f} s"

    def crowd(self) -> str:
        """Have fifty processes open a new database in the same second."""
        before = time.time()
        if (found := open_at_once(self.server, "crowd")) != WELL:
            self.broken.append(f"{COUNT} processes opened a new database, which came to {found}.")
        self.disturbed.append((before, time.time() + LEASE))
        return f"{COUNT} processes open a new database"

    def cut_connections(self) -> str:
        """End all connections."""
        return f"{self.server.cut_connections(DATABASE)} connections"

    # People.

    def pause(self) -> str | None:
        """Pause a study, for a while."""
        study = self.an_open_study()
        if study is None:
            return None
        studies.pause(self.storage, study, "paused by hand")
        self.disturb(LEASE)
        self.later.append((time.monotonic() + LEASE / 2, lambda: self.resume(study)))
        return study

    def extend(self) -> str | None:
        """Add to a study's budget."""
        study = self.an_open_study()
        if study is None:
            return None
        studies.resume(self.storage, study, trials=3)
        return f"{study}, 3 more trials"

    def cancel(self) -> str | None:
        """Cancel a study."""
        study = self.an_open_study()
        if study is None:
            return None
        studies.cancel(self.storage, study, "cancelled by hand")
        return study


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=8, help="At most, at any time.")
    takes_json(parser)
    given = parser.parse_args()
    about = environment(usable_cores())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that what was mounted is let go.
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = {"workers": given.workers, "minutes": given.minutes}
        faults = Faults(given.seed, stack, folder, **options)
        faults.run()
        faults.fleet.close()
        report = (list(faults.lasting), faults.happened, faults.lost, faults.disturbed)
        found, broken = figures(faults.storage, *report)
        broken += faults.broken
        for member in faults.fleet.members:
            if (code := member.process.returncode) not in EXPECTED:
                broken.append(f"{member.label} ended with {code}: {member.log[-1000:]}")
    print(f"\n{given.minutes:g} minutes, seed {given.seed}\n\n{table(found)}")
    print("\n".join(broken))
    asked = {name: getattr(given, name) for name in ("minutes", "seed", "workers")}
    write_json(given, {"about": about, **asked, "figures": found, "broken": broken})
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
