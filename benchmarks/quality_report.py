"""The report of `quality.py`: Markdown tables of a list of runs, medians over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quality_curves import (
    NEVER,
    Pruning,
    Run,
    cut,
    final,
    final_test,
    median,
    noise,
    pruning,
    time_to,
)
from quality_world import SOURCES

PEERS = ("hyperband", "bayesian", "optuna")
SIDES = {
    "hyperband": "KerasTuner, Hyperband",
    "bayesian": "KerasTuner, BayesianOptimization",
    "optuna": "Optuna, TPE and median pruner",
    "topo-search": "topo-search",
    "holdout": "topo-search, `--validation holdout`",
    "unpruned": "topo-search, `--pruner none`",
}
PRUNED_SHARE = 0.4  # Of the training time without pruning, at most.
BySide = dict[str, dict[int, Run]]  # Runs of one table and length: by side, then by seed.


def report(runs: Sequence[Run]) -> str:
    """Return all tables."""
    if not runs:
        return "There are no runs."
    parts = [heading(runs)]
    lengths = sorted({run.minutes for run in runs})
    tables = [table for table in SOURCES if any(run.table == table for run in runs)]
    for table in tables:
        for minutes in lengths:
            sides = of_length(runs, table, minutes)
            if len(sides) > 1 or minutes == lengths[-1]:
                parts.append(scores(table, minutes, sides))
    longest = {table: of_length(runs, table, lengths[-1]) for table in tables}
    parts.append(targets(longest, lengths[-1]))
    parts.append(prunings(longest))
    return "\n\n".join(part for part in parts if part)


def heading(runs: Sequence[Run]) -> str:
    """Say on what all this was measured."""

    def all_of(words: Callable[[Run], str]) -> str:
        return "; ".join(sorted({words(run) for run in runs}))

    machines = all_of(
        lambda run: (
            f"{run.about['cpu']}, {run.about['cores']} cores, {run.about['memory'] / 2**30:.0f} GiB"
        )
    )
    versions = all_of(
        lambda run: ", ".join(f"{name} {one}" for name, one in run.about["versions"].items())
    )
    dates = sorted(run.about["date"] for run in runs)
    others = sorted(run.about["others"] for run in runs)
    return (
        f"{machines}. {versions}. Commit {all_of(lambda run: run.about['commit'])}. "
        f"{dates[0]} to {dates[-1]}. "
        f"Other work took {others[0]:.1f} to {others[-1]:.1f} cores before a run."
    )


def of_length(runs: Sequence[Run], table: str, minutes: float) -> BySide:
    """Return the runs of a table that took so long; of the peers, also from longer ones."""
    found: BySide = {}
    for side in SIDES:
        mine = [run for run in runs if (run.table, run.side) == (table, side)]
        for run in sorted(mine, key=lambda run: run.minutes):
            fits = run.minutes >= minutes if side in PEERS else run.minutes == minutes
            if fits and run.seed not in found.get(side, {}):
                found.setdefault(side, {})[run.seed] = cut(run, minutes)
    return found


def scores(table: str, minutes: float, sides: BySide) -> str:
    """Return what each side came to, and how long it took to the others' final scores."""
    some = next(iter(next(iter(sides.values())).values()))
    rows = " + ".join(f"{some.rows[name]:,}" for name in ("train", "valid", "test"))
    lines = [
        f"## {table}, {length(minutes)}: {some.metric}, {rows} rows (training, validation, test)",
        "",
        "| side | seeds | trials | validation | test | wall s "
        + "".join(f"| s to {short(other)} " for other in sides)
        + "|",
        "|---|---|---|---|---|---|" + "---|" * len(sides),
    ]
    for side, by_seed in sides.items():
        mine = list(by_seed.values())
        cells = [
            SIDES[side],
            str(len(mine)),
            number(median([len(run.ended) for run in mine])),
            score(median([final(run) for run in mine])),
            score(median([final_test(run) for run in mine])),
            number(median([run.wall for run in mine])),
            *(number(median(reached(by_seed, sides[other]))) for other in sides),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reached(by_seed: dict[int, Run], other: dict[int, Run]) -> list[float | None]:
    """Return the seconds to another side's final score of the same seed, a seed each."""
    return [
        time_to(run, final(other[seed])) if final(other[seed]) is not None else None
        for seed, run in by_seed.items()
        if seed in other
    ]


def targets(tables: dict[str, BySide], minutes: float) -> str:
    """Return topo-search's times to the best peer's final score beside what was asked for."""
    lines = [
        f"## Time to the best peer's score of {length(minutes)}",
        "",
        "| table | side | seeds | best peer | its validation | its test "
        "| own validation | own test | s to reach it | of the time | asked for "
        "| of the peer's time to it |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for table, sides in tables.items():
        for side in ("topo-search", "holdout"):
            seeds = [seed for seed in sides.get(side, {}) if best_peer(sides, seed)]
            if not seeds:
                continue
            pairs = [(sides[side][seed], best_peer(sides, seed)) for seed in seeds]
            here, there = [run for run, _ in pairs], [peer for _, peer in pairs if peer]
            times = [time_to(run, final(peer)) for run, peer in zip(here, there, strict=True)]
            own = [time_to(peer, final(peer)) for peer in there]
            share = median([time / (60 * minutes) for time in times])
            asked = SOURCES[table].share
            cells = [
                table,
                SIDES[side],
                str(len(seeds)),
                ", ".join(sorted({short(peer.side) for peer in there})),
                score(median([final(peer) for peer in there])),
                score(median([final_test(peer) for peer in there])),
                score(median([final(run) for run in here])),
                score(median([final_test(run) for run in here])),
                number(median(times)),
                percent(share, bold=share is not None and share <= asked),
                f"≤ {100 * asked:.3g} %",
                percent(median([one / other for one, other in zip(times, own, strict=True)])),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 4 else ""


def best_peer(sides: BySide, seed: int) -> Run | None:
    """Return the peer that ended with the best validation score, of one seed."""
    best: Run | None = None
    for side in PEERS:
        run = sides.get(side, {}).get(seed)
        if run is None or (own := final(run)) is None:
            continue
        other = final(best) if best else None
        if other is None or run.is_better(own, other):
            best = run
    return best


def prunings(tables: dict[str, BySide]) -> str:
    """Return pruning against none: scores at equal trials, and shares of the training time."""
    lines = [
        "## Pruning against none",
        "",
        "| table | seeds | trials | validation without | with, as many trials | noise "
        "| training time | asked for | to the same score | without, to it |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for table, sides in tables.items():
        without = sides.get("unpruned", {})
        apart = noise(list(without.values()))
        pairs = [(run, without[seed]) for seed, run in sides.get("topo-search", {}).items()
                 if seed in without]  # fmt: skip
        found = [one for pair in pairs if (one := pruning(*pair, apart))]
        if not found:
            continue

        def middle(what: Callable[[Pruning], float], found: list[Pruning] = found) -> float | None:
            return median([what(one) for one in found])

        one_run = pairs[0][1]
        with_, bare = middle(lambda one: one.pruned), middle(lambda one: one.unpruned)
        same = with_ is not None and bare is not None and one_run.reaches(with_, bare, apart)
        share = middle(lambda one: one.share)
        cells = [
            table,
            str(len(found)),
            number(middle(lambda one: one.trials)),
            score(bare),
            score(with_),
            f"{apart:.2g}" if len(without) > 1 else "–",
            percent(share, bold=same and share is not None and share <= PRUNED_SHARE),
            f"≤ {100 * PRUNED_SHARE:.0f} %",
            percent(middle(lambda one: one.reach)),
            percent(middle(lambda one: one.own_reach)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 4 else ""


def short(side: str) -> str:
    """Return a side's name for the head of a column."""
    return "TPE" if side == "optuna" else side


def length(minutes: float) -> str:
    return f"{60 * minutes:.0f} s" if minutes < 1 else f"{minutes:g} min"


def score(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return "never" if value == NEVER else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def percent(value: float | None, *, bold: bool = False) -> str:
    """Return a share; bold where it is as good as asked for."""
    if value is None or value == NEVER:
        return number(value)
    return f"**{100 * value:.0f} %**" if bold else f"{100 * value:.0f} %"
