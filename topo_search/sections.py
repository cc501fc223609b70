"""The sections of a report, each empty where a study has nothing to say in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from topo_search import charts, dialect, summary
from topo_search.advice import without_advice
from topo_search.comparison import comparison
from topo_search.diagram import draw
from topo_search.formats import (
    format_count,
    format_metric,
    format_name,
    format_seconds,
    format_value,
)
from topo_search.markup import EMPTY, Cell, capital, pairs, section, shown, table, words
from topo_search.plain import plain
from topo_search.results import Results

UNTOLD = "Which choices mattered, and the score by each of them"  # Charts that there are not yet.
TOP = 20  # Trials of the leaderboard that are shown.
MOST_COLUMNS = 200  # Columns listed; the rest are counted.
PACKAGES = ("topo-search", "optuna", "keras", "tensorflow", "scikit-learn", "numpy")
COMMANDS = {
    "storage": "First name the storage, with its password",
    "resume": "Try more networks",
    "create": "Go on with these trials in a new study",
    "search": "Try networks of another space",
    "worker": "Start a worker",
    "export": "Take the network away",
    "predict": "Predict for new rows",
    "results": "See these results in the terminal",
    "dashboard": "Look at every trial in optuna-dashboard",
}


def head(results: Results) -> Markup:
    """Return the answer in plain words, with how it compares."""
    dataset = results.plan.get("dataset_name") or results.name or results.study
    names = dict.fromkeys(filter(None, (format_name(dataset), format_name(results.name))))
    parts = [
        Markup('<p class="kicker">topo-search{} <span class="badge">{}</span></p>').format(
            EMPTY.join(Markup(" · <bdi>{}</bdi>").format(name) for name in names),
            format_name(results.state or "unknown"),
        ),
        Markup("<h1>{}</h1>").format(subject(results)),
        Markup('<p class="lead">{}</p>').format(summary.answer(results)),
    ]
    found = summary.verdict(results)
    if found:
        parts.append(Markup('<p class="verdict {}">{}</p>').format(found.result, found.text))
    failed = summary.failure(results)
    if failed:
        parts.append(
            Markup('<div class="verdict loses"><p><strong>{}</strong></p><p>{}</p></div>').format(
                failed.text, failed.remedy
            )
        )
    elif results.reason:
        parts.append(
            Markup('<p class="note">The study is {}: {}.</p>').format(
                format_name(results.state), format_name(results.reason, 300).rstrip(".")
            )
        )
    return Markup("<header>{}</header>").format(EMPTY.join(parts))


def winner(results: Results) -> Markup:
    """Return the best network's picture and its score beside those of simple models."""
    cards = [_picture(results), comparison(results)]
    return Markup('<div class="pair">{}</div>').format(EMPTY.join(cards)) if any(cards) else EMPTY


def method(results: Results) -> Markup:
    """Return how the score was obtained."""
    sentences = summary.method(results)
    title = "How the score was obtained" if results.part("test") else "How networks are scored"
    return section(title, Markup("<p>{}</p>").format(" ".join(sentences)) if sentences else EMPTY)


def leaderboard(results: Results) -> Markup:
    """Return the best trials as a table."""
    board = results.leaderboard.head(TOP)
    if board.empty:
        return EMPTY
    names = (capital(format_metric(results.metric)), "Weights", "Time", "Epochs")
    headings = [Cell("Trial", "number"), Cell("Network"), *(Cell(name, "number") for name in names)]
    rows = [
        (
            Cell(str(row["trial"]), "number"),
            Cell(format_name(row["topology"] or _parameters(row), 160), "name"),
            Cell(format_value(results.metric, row["value"]), "number"),
            Cell(format_count(plain(row["weights"])), "number"),
            Cell(format_seconds(plain(row["seconds"])), "number"),
            Cell(format_count(plain(row["epochs"])), "number"),
        )
        for row in board.to_dict("records")
    ]
    total = len(results.leaderboard)
    note = Markup('<p class="note">{}, by score on validation rows; ties by loss.</p>').format(
        f"The best {TOP} of {total:,} complete trials" if total > TOP else "All complete trials"
    )
    return section("Leaderboard", table("Leaderboard", headings, rows, first=True), note)


def learned(results: Results, figures: Mapping[str, go.Figure]) -> Markup:
    """Return places for the charts, each with its title and the sentence that says it all."""
    if not figures:
        return EMPTY
    card = Markup(
        '<figure class="card"><h3 id="title-{0}">{1}</h3><div class="chart" id="chart-{0}" '
        'role="img" aria-labelledby="title-{0}" aria-describedby="text-{0}"></div>'
        '<figcaption id="text-{0}">{2}</figcaption></figure>'
    )
    cards = [
        card.format(name, charts.title_of(figure), charts.text_of(figure))
        for name, figure in figures.items()
    ]
    return section(
        "What the search learned",
        Markup(
            '<noscript><p class="note">The charts need JavaScript; the sentences below say what '
            "they show.</p></noscript>"
        ),
        Markup('<div class="charts">{}</div>').format(EMPTY.join(cards)),
        Markup('<p class="note">{}: {}.</p>').format(UNTOLD, results.importances_reason)
        if results.importances_reason
        else EMPTY,
    )


def endings(results: Results) -> Markup:
    """Return why trials ended before they were complete."""
    rows = [
        (Cell(state), Cell(format_name(reason, 300), "name"), Cell(format_count(count), "number"))
        for state, reason, count in summary.reasons(results)[:TOP]
    ]
    title = "Trials that ended early"
    headings = [Cell("Ended"), Cell("Reason"), Cell("Trials", "number")]
    return section(title, table(title, headings, rows) if rows else EMPTY)


def reading(results: Results, *, advice: bool = True) -> Markup:
    """Return what was read of the table, and what was left out.

    Args:
        results: Of the study.
        advice: Whether the warnings say with which options of a command to read it otherwise.
    """
    rules, columns = results.plan.get("reading"), results.columns
    if not rules:
        return EMPTY
    used = columns[(columns["why"] == "") & (columns["kind"] != "target")]
    kinds = used["kind"].value_counts().items()
    warnings = [text if advice else without_advice(text) for text in results.warnings]
    facts = {
        **dialect.described(rules),
        "Rows": _rows(results),
        "Columns used": ", ".join(f"{count:,} {format_name(kind)}" for kind, count in kinds),
        "Columns left out": format_count(len(results.left_out)),
    }
    return section(
        "What was read, and what was left out",
        pairs(facts),
        _listing("Warnings", warnings),
        _columns("Left out", results.left_out, "Why"),
        _folded("Columns used", _columns("", used)),
        _folded("Rows left out", _dropped(results)),
    )


def _rows(results: Results) -> str:
    """Return how many rows there are of which kind; with folds, all train and validate by turns."""
    rows = dict(results.rows)
    if results.plan.get("validation") == "cv":
        rows["to learn from"] = (rows.pop("train", 0) or 0) + (rows.pop("validation", 0) or 0)
    named = ("to learn from", "train", "validation", "test", "dropped")
    return ", ".join(f"{format_count(rows[name])} {name}" for name in named if rows.get(name))


def commands(typed: Mapping[str, str]) -> Markup:
    """Return what to type to go on."""
    items = [
        Markup("<dt>{}</dt><dd><pre><code>{}</code></pre></dd>").format(
            COMMANDS.get(purpose) or capital(format_name(purpose)), command
        )
        for purpose, command in typed.items()
    ]
    listing = Markup('<dl class="commands">{}</dl>').format(EMPTY.join(items))
    return section("To go on", listing if items else EMPTY)


def foot(results: Results) -> Markup:
    """Return what identifies the study, and the versions installed here."""
    counts = results.counts
    ended = ", ".join(f"{counts[s]:,} {s}" for s in ("complete", "pruned", "failed") if counts[s])
    name = f" ({format_name(results.name)})" if results.name else ""
    facts = {
        "Study": f"{format_name(results.study)}{name}",
        **({"Began with": f"the trials of study {results.parent}"} if results.parent else {}),
        **({"Goes on in": f"study {', '.join(results.children)}"} if results.children else {}),
        "Created": _moment(results.created_at),
        "Trials": f"{counts['finished']:,} ended: {ended}" if ended else "none ended",
        "Time": format_seconds(results.seconds or None),
        "Seed": shown(results.plan.get("seed", "")),
        "Versions": ", ".join(f"{name} {version}" for name, version in _versions().items()),
    }
    return Markup('<footer class="note">{}</footer>').format(pairs(facts))


def subject(results: Results) -> str:
    """Return what the study is about in a few words; not escaped."""
    target = results.plan.get("target")
    if target:
        return f"Predicting {format_name(target)}"
    return f"Study {format_name(results.name or results.study)}"


def _picture(results: Results) -> Markup:
    best = results.best
    if results.topology is None or best is None:
        return EMPTY
    facts = [f"trial {best['trial']}"]
    facts += [f"{format_count(best['weights'], 'weight')}"] if best.get("weights") else []
    facts += [f"best after {format_count(best['epochs'], 'epoch')}"] if best.get("epochs") else []
    parameters = {words(name): shown(value) for name, value in best["parameters"].items()}
    return Markup(
        '<figure class="card"><h3>The network</h3>{}<figcaption>{}: {}.</figcaption>{}</figure>'
    ).format(
        draw(
            results.topology,
            inputs=summary.inputs_of(results),
            outputs=summary.outputs_of(results),
        ),
        str(results.topology),
        ", ".join(facts),
        _folded("Its parameters", pairs(parameters)),
    )


def _parameters(row: Mapping[Any, Any]) -> str:
    """Return the parameters in a row of a frame; what a trial without a topology is."""
    return ", ".join(
        f"{words(str(name).removeprefix('param.'))} {shown(plain(value))}"
        for name, value in row.items()
        if str(name).startswith("param.") and plain(value) is not None
    )


def _columns(title: str, columns: pd.DataFrame, why: str = "") -> Markup:
    if columns.empty:
        return EMPTY
    headings = [Cell("Column"), Cell("Kind"), *([Cell(why)] if why else [])]
    rows = [
        (
            Cell(format_name(row["column"]), "name"),
            Cell(format_name(row["kind"])),
            *([Cell(format_name(row["why"], 300))] if why else []),
        )
        for row in columns.head(MOST_COLUMNS).to_dict("records")
    ]
    heading = Markup('<h3 class="list">{}</h3>').format(title) if title else EMPTY
    listing = table(title or "Columns", headings, rows)
    return heading + listing + _more(len(columns) - MOST_COLUMNS)


def _dropped(results: Results) -> Markup:
    rows = results.plan.get("dropped_rows") or ()
    texts = [f"line {format_count(row['line'])}: {row['reason']}" for row in rows]
    return _listing("", texts) + _more(results.plan.get("dropped", 0) - len(rows))


def _more(count: int) -> Markup:
    """Return how many more there are than a list shows; nothing where it shows all."""
    rest = Markup('<p class="note">and {} more</p>').format(format_count(count))
    return rest if count > 0 else EMPTY


def _listing(title: str, texts: Sequence[str]) -> Markup:
    if not texts:
        return EMPTY
    heading = Markup('<h3 class="list">{}</h3>').format(title) if title else EMPTY
    items = (Markup("<li><bdi>{}</bdi></li>").format(format_name(text, 300)) for text in texts)
    return heading + Markup('<ul class="plain">{}</ul>').format(EMPTY.join(items))


def _folded(title: str, content: Markup) -> Markup:
    folded = Markup('<details data-key="{0}"><summary>{0}</summary>{1}</details>')
    return folded.format(title, content) if content else EMPTY


def _moment(iso: str) -> Markup:
    """Return a moment, which pages with a script show in the reader's zone."""
    shown_as = iso.replace("T", " ")[:16]
    return Markup('<time datetime="{}">{} UTC</time>').format(iso, shown_as) if iso else EMPTY


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
