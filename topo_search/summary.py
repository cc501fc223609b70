"""What a study found, in sentences for people who do not build networks for a living.

Plain text: names in it are someone else's, and need escaping where it goes into HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from topo_search.diagram import topology_in_words
from topo_search.formats import (
    BASELINE_NAMES,
    NBSP,
    format_count,
    format_metric,
    format_name,
    format_parameters,
    format_range,
    format_times,
    format_value,
    listed,
)
from topo_search.results import Results

_SCORES = {
    "accuracy": "gets {value} of {rows} right",
    "balanced_accuracy": "gets {value} of {rows} right, averaged over the classes",
    "rmse": "is off by {value} on {rows}",
    "mae": "is off by {value} on average on {rows}",
}
_NOTES = {
    "macro_f1": "A macro F1 of 1 is perfect.",
    "roc_auc": "A ROC AUC of 1 is perfect, 0.5 is guessing.",
    "log_loss": "Of log loss, lower is better.",
    "rmse": "That is the root mean squared error, in the units of {target}: lower is better.",
    "mae": "That is in the units of {target}: lower is better.",
    "r2": "An R² of 1 is perfect, 0 is always guessing the mean.",
}
GUESSES = ("majority", "mean", "median")  # Baselines that look at no column.


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the network compares with models that are simpler to have."""

    text: str
    result: Literal["wins", "close", "loses"]  # close: it wins, perhaps by chance.


@dataclass(frozen=True, kw_only=True)
class Failure:
    """That a study came to nothing."""

    text: str
    remedy: str  # What to change.


# What to change, by what the reason holds; the first that fits.
_REMEDIES = {
    "(?i)SIGKILL|memory|exhausted|OOM": "Most often the machine ran out of memory, and training "
    "was ended for it. Search again for smaller networks (fewer hidden layers, less width, a "
    "smaller batch size) or with fewer columns, or let a machine with more memory serve it.",
    "took longer than": "Training takes longer than the machines allow. Search again for smaller "
    "networks or with fewer epochs, or let a worker give each trial more time: --trial-timeout.",
    "vanished": "The machines that trained it went away, or it takes them down. See that one is "
    "there and stays (topo-search worker), then resume.",
    "finishing": "Only the last step is missing, to train the winner once more; all trials are "
    "kept. Resume to try it again.",
    "diverged": "Search again with a lower learning rate or other limits.",
}
_ELSE = (
    "To resume is to try the same again. If the reason lies in the table or in the limits, search "
    "again with others; whoever runs the machines finds the whole error in their logs."
)
_OF_AN_OWN_OBJECTIVE = (
    "The error comes from the objective's own code. Mend it there, start the workers again, "
    "then resume."
)


def answer(results: Results) -> str:
    """Return what was found, or why nothing was, in a few sentences."""
    best = results.best
    if best is None:
        return _nothing(results)
    so_far = "" if results.over else " so far"
    network = (
        topology_in_words(results.topology)
        if results.topology
        else f"trial {best['trial']}, with {format_parameters(best.get('parameters') or {})}"
    )
    test = results.part("test")
    note = _NOTES.get(results.metric, "").format(target=_target(results))
    if test:
        score = f"{_score(results, test, 'unseen rows')}{_against(results)}"
        return f"The best network found: {network}. It {score}. {note}".rstrip()
    if not results.topology:
        score = f"{format_metric(results.metric)} {format_value(results.metric, best['value'])}"
        return f"The best{so_far}: {network}. It scored {score}."
    score = _score(results, {"value": best["value"]}, "the validation rows")
    sealed = (
        "The study ended before the test rows were looked at."
        if results.over
        else "The test rows are still sealed: the honest score comes when the study is finished."
    )
    return " ".join(
        filter(None, [f"The best network{so_far}: {network}. It {score}.", note, sealed])
    )


def verdict(results: Results) -> Verdict | None:
    """Return an honest comparison with the baselines; None where there is no test score."""
    test, baselines = results.part("test"), _baselines(results)
    if not test or not baselines:
        return None
    sign = 1 if results.direction == "maximize" else -1
    value = test["value"]
    ahead = {name: score for name, score in baselines.items() if sign * (score - value) >= 0}
    rival = max(baselines, key=lambda name: sign * baselines[name])
    lead = results.part("leads").get(rival)  # On the same test rows drawn again.
    close = lead is not None and lead[0] <= 0 <= lead[1]
    if not ahead:
        text = f"It beats every simple model tried; the next best is {_baseline(results, rival)}."
        if close:
            text += " But the lead is small enough to be chance."
        return Verdict(text=text, result="close" if close else "wins")
    guess = next((name for name in GUESSES if name in ahead), None)
    if guess:
        text = f"It does not beat {_baseline(results, guess)}. "
        validated = (results.best or {}).get("value")
        if validated is not None and sign * (validated - baselines[guess]) > 0:
            score = format_value(results.metric, validated)
            text += (
                f"In validation it scored {score}: either that was luck, or the test rows are "
                "unlike the others."
            )
        else:
            text += (
                f"Either the other columns say little about {_target(results)}, or the search was "
                "too short."
            )
        return Verdict(text=text, result="loses")
    unless = "the better choice unless you need a network."
    if baselines[rival] == value:
        text = f"It does as well as {_baseline(results, rival)}, and no better: the simpler model"
        return Verdict(text=f"{text} is {unless}", result="close")
    text = f"It does not beat {_baseline(results, rival)}."
    if close:
        text += " The difference is small enough to be chance, but the simpler model is"
    else:
        text += " For this table, as searched so far, that simpler model is"
    return Verdict(text=f"{text} {unless}", result="loses")


def method(results: Results) -> list[str]:
    """Return how the score was obtained, a sentence each; [] where there are no rows to split."""
    rows, best, test = results.rows, results.best or {}, results.part("test")
    if not rows.get("test"):
        return []
    outcome = results.outcome or {}
    rest = (rows.get("train") or 0) + (rows.get("validation") or 0)
    sentences = [
        f"{format_count(rows['test'], 'row')} were set aside as test rows before anything "
        "was fitted."
    ]
    how = (
        f"in cross-validation on the other {format_count(rest, 'row')}"
        if results.plan.get("validation") == "cv"
        else f"on {format_count(rows.get('validation'), 'validation row')}, after training on "
        f"{format_count(rows.get('train'), 'other')}"
    )
    sentences.append(f"Networks are compared by {format_metric(results.metric)} {how}.")
    if not test:
        return sentences
    looks = test.get("looks") or 1
    sentences.append(
        f"The winner was trained once more on all {format_count(rest, 'row')} for "
        f"{format_count(best.get('epochs'), 'epoch')} and scored on the test rows, which have "
        f"been looked at {format_times(looks)}."
    )
    if refitted := _refitted(results):
        sentences.append(refitted)
    fitted = outcome.get("baseline_rows") or rest
    if fitted < rest:
        sentences.append(
            f"The simple models were fitted on {format_count(fitted, 'row')} of them, a sample, so "
            "that they take no longer than the network."
        )
    if looks > 1:
        sentences.append("With every look, their score is a little less that of unseen rows.")
    complete = results.counts["complete"]
    if complete > 1:
        value = format_value(results.metric, best.get("value"))
        sentences.append(
            f"Its validation score, {value}, is the best of {complete:,}, and the best of several "
            "had luck, too: quote the test score."
        )
    return sentences


def _refitted(results: Results) -> str:
    """Return what became of the winner's last training, where it was begun more than once."""
    outcome, best = results.outcome or {}, results.best or {}
    if outcome.get("refit_seed", best.get("seed")) == best.get("seed") and "refit" not in outcome:
        return ""
    # An older outcome does not say which of both it was.
    failed = outcome.get("refit", {"failed": ["diverged or collapsed"]})["failed"]
    what = " or ".join(sorted(set(failed), reverse=True))
    if "collapsed" in failed:
        what += " (it lost most of what its trial was better by than guessing)"
    if results.part("refit").get("collapsed"):
        return (
            f"With each of {len(failed)} seeds that training {what}. The best of them is kept: it "
            "may be far worse than its trial was. Search again, with a lower learning rate or "
            "other limits."
        )
    if len(failed) > 1:
        return f"With {len(failed)} seeds, its trial's first, that training {what}; it had another."
    return f"With the seed of its trial that training {what}; it had another." if failed else ""


def failure(results: Results) -> Failure | None:
    """Return why a study came to nothing, and what to change; None where it did not."""
    if not results.failed:
        return None
    reason = format_name(results.reason, 300).rstrip(".")
    text = f"The study is {results.state}: {reason}."
    if results.plan.get("objective") != "tabular":
        return Failure(text=text, remedy=_OF_AN_OWN_OBJECTIVE)
    said = (results.reason, *(why for _, why, _ in reasons(results)[:1]))
    fit = (_REMEDIES[signs] for why in said for signs in _REMEDIES if re.search(signs, why))
    return Failure(text=text, remedy=next(fit, _ELSE))


def baseline_name(name: str) -> str:
    """Return a baseline's name as people say it."""
    return BASELINE_NAMES.get(name) or format_name(name)


def outputs_of(results: Results) -> int:
    """Return how many numbers the networks put out: the classes, or one value."""
    return len(results.plan.get("classes") or ()) or 1


def inputs_of(results: Results) -> int:
    """Return how many of the table's columns the networks take."""
    columns = results.columns
    return int(((columns["why"] == "") & (columns["kind"] != "target")).sum())


def reasons(results: Results) -> list[tuple[str, str, int]]:
    """Return why trials were pruned or failed: state, reason and how many, most frequent first."""
    ended = results.trials[results.trials["state"].isin(["pruned", "failed"])]
    counted = Counter(zip(ended["state"], ended["reason"], strict=True))
    return [(state, why or "no reason given", n) for (state, why), n in counted.most_common()]


def _nothing(results: Results) -> str:
    counts = results.counts
    if not len(results.trials):
        if results.state == "cancelled":
            return "Nothing was trained: the study was cancelled before a worker took it up."
        return "Nothing has been trained yet: no worker has taken up this study."
    if counts["failed"] == len(results.trials):
        failed = format_count(counts["failed"], "trial")
        reason = format_name(reasons(results)[0][1], 200)
        every = "The only trial failed" if counts["failed"] == 1 else f"All {failed} failed"
        return f"No network could be trained. {every}, most often because: {reason}"
    parts = [
        f"{counts[state]:,} {word}"
        for state, word in (
            ("running", "running"), ("waiting", "begun and waiting for a machine"),
            ("pruned", "pruned"), ("failed", "failed"),
        )
        if counts[state]
    ]  # fmt: skip
    return f"No trial is complete yet: {', '.join(parts)}."


def _score(results: Results, score: Mapping[str, Any], rows: str) -> str:
    value = format_value(results.metric, score["value"])
    phrase = _SCORES.get(results.metric)
    text = (
        phrase.format(value=value, rows=rows)
        if phrase
        else f"has a {format_metric(results.metric)} of {value} on {rows}"
    )
    if score.get("low") is None:
        return text
    span = format_range(results.metric, score["low"], score["high"])
    return f"{text} (95{NBSP}% interval {span})"


def _baselines(results: Results) -> dict[str, float]:
    return {n: value for n, value in results.part("baselines").items() if value is not None}


def _against(results: Results) -> str:
    parts = [
        f"{format_value(results.metric, value)} for {baseline_name(name)}"
        for name, value in _baselines(results).items()
    ]
    if not parts:
        return ""
    return f", against {listed(parts)}"


def _baseline(results: Results, name: str) -> str:
    return f"{baseline_name(name)} ({format_value(results.metric, _baselines(results)[name])})"


def _target(results: Results) -> str:
    return format_name(results.plan.get("target") or "the target", 40)
