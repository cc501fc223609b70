"""The report of `throughput.py`: what a side did, a row of a table, and on what it was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import surroundings
from throughput_world import Trial


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a side did with a table."""

    side: str
    trials: Sequence[Trial]
    wall: float  # Seconds from the start of its command to its end.
    cpu: float  # Seconds of all its processes, user and system.
    database_cpu: float  # Of PostgreSQL meanwhile.
    peak: float  # Bytes of proportional memory of all its processes.
    database_peak: float
    flops: float  # Of all trials.
    cores: float  # That a trial has to itself.

    @property
    def span(self) -> float:
        """Seconds from the first claim to the last end."""
        return max(t.end for t in self.trials) - min(t.start for t in self.trials)

    @property
    def an_hour(self) -> float:
        """Trials an hour, from the first claim to the last end."""
        return 3600 * len(self.trials) / self.span

    @property
    def best(self) -> float:
        """The best validation score."""
        return max(trial.score for trial in self.trials)

    def share(self, peak: float, cores: int) -> float:
        """Return the share of all cores' peak in operations a second, first claim to last end."""
        return self.flops / (self.span * cores * peak)

    def share_in_trials(self, peak: float) -> float:
        """Return the share of the peak of the cores that a trial has, while it trains."""
        seconds = math.fsum(trial.seconds for trial in self.trials)
        return self.flops / (seconds * self.cores * peak)

    def share_in_epochs(self, peak: float) -> float | None:
        """Return the same while its epochs run, so without reading and tracing; if it is known."""
        known = [t.epochs * t.epoch_seconds for t in self.trials if t.epoch_seconds is not None]
        if len(known) < len(self.trials):
            return None
        return self.flops / (math.fsum(known) * self.cores * peak)

    def difference(self, other: Measured) -> str:
        """Return by how much the scores of the same networks differ, with its standard error."""
        both = zip(self.trials, other.trials, strict=False)  # Ours may take the list several times.
        pairs = [mine.score - theirs.score for mine, theirs in both]
        if self is other or len(pairs) < 2:
            return "–"
        error = statistics.stdev(pairs) / len(pairs) ** 0.5
        return f"{statistics.mean(pairs):+.3f} ± {error:.3f}"


HEAD = (
    "| side | trials | trials/h | × KerasTuner | cold wall s | best validation | mean difference "
    "| epochs | peak GB | PostgreSQL GB | CPU s | PostgreSQL s | of all cores' peak | in a trial "
    "| in its epochs |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def row(measured: Measured, first: Measured | None, peak: float, cores: int) -> str:
    """Return a side's row of a table's report; `first` is what it is compared with."""
    epochs = sorted({trial.epochs for trial in measured.trials})
    times = f"{measured.an_hour / first.an_hour:.1f}" if first else "–"
    in_epochs = measured.share_in_epochs(peak)
    cells = (
        measured.side,
        len(measured.trials),
        f"{measured.an_hour:,.0f}",
        times,
        f"{measured.wall:.1f}",
        f"{measured.best:.3f}",
        measured.difference(first) if first else "–",
        f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}",
        f"{measured.peak / 1e9:.2f}",
        f"{measured.database_peak / 1e9:.2f}",
        f"{measured.cpu:.1f}",
        f"{measured.database_cpu:.1f}",
        f"{100 * measured.share(peak, cores):.2g} %",
        f"{100 * measured.share_in_trials(peak):.2g} %",
        "–" if in_epochs is None else f"{100 * in_epochs:.2g} %",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def environment(cores: int, peaks: dict[str, float]) -> dict[str, Any]:
    """Say on what all this was measured."""
    return {**surroundings.environment(cores), "peaks": peaks}


def heading(about: dict[str, Any]) -> str:
    """Return the lines above all tables."""
    best = max(about["peaks"], key=lambda name: about["peaks"][name])
    return (
        f"{surroundings.heading(about)}\n"
        f"A core's peak: {about['peaks'][best] / 1e9:.0f} GFLOP/s ({best})."
    )
