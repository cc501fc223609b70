from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
from fake_studies import FIXED, HOSTILE, identity, outcome, plan, results, study
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from objectives.topology import Topology
from topo_search import charts, summary
from topo_search.diagram import draw, topology_in_words
from topo_search.report import report_html, write_report
from topo_search.results import Results, results_of
from topo_search.study import Options, tabular_plan

COMMANDS = {"resume": "topo-search resume k3v9x2 --trials +20", "results": "topo-search results x"}
VOID = {"meta", "br", "link", "img"}
ROW = {"line": 1200, "reason": "3 cells, not 5"}
NBSP = "\u00a0"


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self.open or self.open[-1] != "style":
            self.text += data

    def close(self) -> None:
        super().close()
        assert self.open == []

    def figures(self) -> Any:
        return json.loads(next(text for attributes, text in self.scripts if attributes))

    def has(self, text: str) -> bool:
        return text in self.text.replace(NBSP, " ")


def page_of(found: Results, commands: dict[str, str] | None = None) -> Page:
    return Page(report_html(found, commands=COMMANDS if commands is None else commands))


def all_failed(trials: int) -> Results:
    made = optuna.create_study(direction="maximize")
    made.add_trials(
        [
            create_trial(state=TrialState.FAIL, user_attrs={"reason": "out of memory"})
            for _ in range(trials)
        ]
    )
    state = identity(state="finished", reason="all trials done")
    return results_of(study=made, plan=plan(), identity=state, outcome=None)


def scored(trials: int = 20, *, own: dict[str, Any] | None = None, **changes: Any) -> Results:
    own = own or plan()
    made = study(trials, direction=own["direction"])
    before = results_of(study=made, plan=own, identity=identity(), outcome=None)
    told = outcome(before, **changes)
    return results_of(study=made, plan=own, identity=identity(), outcome=told)


def hostile() -> Results:
    rules = [
        {"name": name, "position": place, "kind": ("numeric", "identifier")[place % 2]}
        for place, name in enumerate(HOSTILE)
    ]
    reading = {"encoding": HOSTILE[1], "separator": HOSTILE[2], "header": True, "columns": rules}
    own = plan(
        target=HOSTILE[0], classes=HOSTILE, dataset_name=HOSTILE[4], reading=reading,
        drop=[HOSTILE[2]], warnings=HOSTILE, dropped_rows=[{"line": 7, "reason": HOSTILE[1]}],
    )  # fmt: skip
    made = optuna.create_study(direction="maximize")
    made.add_trials(study(20).get_trials())
    made.add_trials(
        [
            create_trial(state=TrialState.FAIL, user_attrs={"reason": text, "topology": text})
            for text in HOSTILE
        ]
    )
    who = identity(name=HOSTILE[0], id=HOSTILE[2], reason=HOSTILE[1], state=HOSTILE[7])
    before = results_of(study=made, plan=own, identity=who, outcome=None)
    matrix = [[3 if i == j else 1 for j in range(len(HOSTILE))] for i in range(len(HOSTILE))]
    told = outcome(
        before,
        baselines={HOSTILE[1]: 0.5, HOSTILE[6]: 0.4},
        confusion={"classes": HOSTILE, "matrix": matrix},
    )
    return results_of(study=made, plan=own, identity=who, outcome=told)


def test_a_page_is_written_where_asked(tmp_path: Path) -> None:
    path = write_report(results(3), tmp_path / "new folder" / "r.html", commands=COMMANDS)
    assert path == tmp_path / "new folder" / "r.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_answer_comes_first_in_plain_words() -> None:
    page = page_of(scored())
    assert page.has("The best network found: ")
    assert page.has("It gets 96.7 % of unseen rows right (95 % interval 88.3–100 %), against ")
    assert page.has(
        "33.3 % for always guessing the most common class, 93.3 % for a linear model and 95.0 % "
        "for gradient boosting."
    )
    assert page.text.index("The best network found") < page.text.index("Leaderboard")


def test_a_regression_is_told_in_the_units_of_its_target() -> None:
    own = plan(task="regression", classes=[], metric="rmse", direction="minimize", target="price")
    found = scored(
        own=own,
        test={"value": 47439.2, "low": 46100.0, "high": 48766.0, "looks": 2, "rows": 4128},
        baselines={"mean": 115_000.0, "linear": 68_698.0, "boosting": 46_844.0},
        confusion=None,
        scatter={"true": [1.0, 2.0], "predicted": [1.0, 3.0]},
    )
    page = page_of(found)
    assert page.has("off by 47,439 on unseen rows (95 % interval 46,100–48,766), against 115,000")
    assert page.has("in the units of price: lower is better")
    assert page.has("It does not beat gradient boosting (46,844).")
    assert page.has("looked at twice")
    assert "predictions" in page.figures()


@pytest.mark.parametrize(
    ("value", "lead", "result", "words"),
    [
        (0.99, (0.01, 0.07), "wins", "It beats every simple model tried"),
        (0.96, (-0.01, 0.03), "close", "the lead is small enough to be chance"),
        (0.95, (-0.01, 0.01), "close", "as well as gradient boosting (95.0 %), and no better"),
        (0.94, (-0.03, 0.01), "loses", "difference is small enough to be chance"),
        (0.80, (-0.2, -0.1), "loses", "that simpler model is the better choice"),
        (0.30, (-0.8, -0.5), "loses", "It does not beat always guessing the most common class"),
    ],
)
def test_the_verdict_is_honest(
    value: float, lead: tuple[float, float], result: str, words: str
) -> None:
    test = {"value": value, "low": 0.2, "high": 1.0, "rows": 30}
    found = summary.verdict(scored(test=test, leads={"boosting": lead, "linear": (-1, 1)}))
    assert found is not None
    assert found.result == result
    assert words in found.text.replace(NBSP, " ")


def test_how_the_score_was_obtained_names_splits_and_looks() -> None:
    page = page_of(scored())
    assert page.has("30 rows were set aside as test rows before anything was fitted.")
    assert page.has("in cross-validation on the other 120 rows")
    assert page.has("looked at once")
    assert not page.has("The simple models were fitted on") and not page.has("it had another")
    sampled = page_of(scored(baseline_rows=50))
    assert sampled.has("The simple models were fitted on 50 rows of them, a sample")
    held_out = page_of(scored(own=plan(validation="holdout")))
    assert held_out.has("on 24 validation rows, after training on 96 others")


@pytest.mark.parametrize(
    ("failed", "collapsed", "words"),
    [
        (["diverged"], False, "With the seed of its trial that training diverged; it had another."),
        (["collapsed"], False, "With the seed of its trial that training collapsed (it lost most"),
        (["collapsed"], False, "was better by than guessing); it had another."),
        (["diverged"] * 2, False, "With 2 seeds, its trial's first, that training diverged; it"),
        (["collapsed", "diverged"], False, "that training diverged or collapsed (it lost"),
        (["collapsed"] * 5, True, "With each of 5 seeds that training collapsed (it lost"),
        (["collapsed"] * 5, True, "The best of them is kept: it may be far worse than its trial"),
        (None, False, "that training diverged or collapsed; it had another."),
    ],
)
def test_what_became_of_the_last_training_is_said(
    failed: list[str] | None, collapsed: bool, words: str
) -> None:
    said = {} if failed is None else {"refit": {"failed": failed, "collapsed": collapsed}}
    # Of those that collapsed from everywhere, the best may have the seed of the trial.
    found = scored(**said) if collapsed else scored(refit_seed=99, **said)
    assert page_of(found).has(words)


def test_of_a_last_training_that_was_begun_once_nothing_is_said() -> None:
    for said in ({}, {"refit": {"failed": [], "collapsed": False}}):
        page = page_of(scored(**said))
        assert not page.has("it had another") and not page.has("that training")


def test_the_leaderboard_holds_the_best_twenty() -> None:
    found = results(50)
    html = report_html(found, commands={})
    table = re.search(r'aria-label="Leaderboard">.*?</table>', html, re.S)
    assert table is not None
    numbers = re.findall(r'<tr[^>]*><td class="number"><bdi>(\d+)<', table[0])
    assert [int(number) for number in numbers] == list(found.leaderboard["trial"].head(20))
    assert page_of(found).has("The best 20 of 35 complete trials")


def test_each_chart_stands_beside_its_sentence() -> None:
    found = results(50)
    page, figures = page_of(found), charts.charts_of(found)
    assert list(page.figures()) == list(figures)
    ids = {attributes.get("id") for _, attributes in page.tags}
    for name, figure in figures.items():
        assert f"chart-{name}" in ids
        assert charts.text_of(figure) in page.text


def test_what_was_read_and_left_out_is_said() -> None:
    page = page_of(scored(own=plan(dropped_rows=[ROW])))
    for text in ("sepal width (cm)", "left out as asked", "looks like an identifier", "comma",
                 "3 rows occur more than once", "line 1,200: 3 cells, not 5"):  # fmt: skip
        assert page.has(text)


def test_only_beside_commands_do_warnings_name_options() -> None:
    text = "The encoding is taken to be cp1252. If that looks wrong, name it with --encoding"
    found = scored(own=plan(warnings=[text]))
    assert page_of(found).has("name it with --encoding")
    bare = page_of(found, commands={})
    assert bare.has("The encoding is taken to be cp1252.")
    assert not bare.has("--encoding")


def test_rows_of_a_part_are_counted_only_where_there_are_such_parts() -> None:
    assert page_of(scored()).has("120 to learn from, 30 test, 2 dropped")
    held_out = page_of(scored(own=plan(validation="holdout")))
    assert held_out.has("96 train, 24 validation, 30 test, 2 dropped")


def test_rows_left_out_beyond_those_listed_are_counted() -> None:
    part = "a,b,y\n" + "".join(f"{i},{i % 5},{'xy'[i % 2]}\n" for i in range(9))
    made = tabular_plan(Options(data=(part * 151).encode(), target="y"))  # 150 headers amid it.
    page = page_of(scored(own=plan(**{n: made[n] for n in ("reading", "dropped", "dropped_rows")})))
    assert page.has("line 1,001: ") and not page.has("line 1,011: ")
    assert page.has("and 50 more")
    whole = page_of(scored(own=plan(dropped=1, dropped_rows=[ROW])))
    assert not re.search(r"and \S+ more", whole.text)


def test_what_is_unusual_in_how_a_table_is_read_is_said() -> None:
    lines = [f"'{i % 7},5';1.{i:03d},25;'{i % 28 + 1}.3.2024';{'xy'[i % 2]}" for i in range(60)]
    data = "\n".join(["Sales of a shop", "", "a;b;when;y", *lines]).encode()
    reading = tabular_plan(Options(data=data, target="y"))["reading"]
    page = page_of(scored(own=plan(reading=reading)))
    told = re.sub(r"\s+", " ", page.text[page.text.index("What was read") :])
    for text in ("Separator semicolon", "Decimal sign comma", "Between thousands point",
                 "Quotes single", "Skipped 2 lines above", "Dates day first"):  # fmt: skip
        assert text.replace(" ", "") in told.replace(" ", "").replace(NBSP, ""), text
    usual = page_of(scored())
    for name in ("Decimal sign", "Between thousands", "Quotes", "Skipped", "Dates"):
        assert name not in usual.text


def test_commands_versions_and_seed_are_there() -> None:
    page = page_of(scored())
    for command in COMMANDS.values():
        assert page.has(command)
    assert page.has(f"optuna {optuna.__version__}")
    assert page.has("k3v9x2")
    assert "SECRET-KEY" not in page.text


def test_an_unfinished_study_says_that_the_test_rows_are_sealed() -> None:
    page = page_of(results(20, finished=False))
    assert page.has("The best network so far: ")
    assert page.has("of the validation rows right")
    assert page.has("The test rows are still sealed")
    assert not page.has("Beside simple models")


def test_a_cancelled_study_says_that_nothing_more_will_come() -> None:
    state = identity(state="cancelled", reason="by its owner")
    found = results_of(study=study(20), plan=plan(), identity=state, outcome=None)
    page = page_of(found)
    assert page.has("The study ended before the test rows were looked at.")
    assert page.has("The study is cancelled: by its owner.")


def test_a_study_that_was_cancelled_untouched_waits_for_no_worker() -> None:
    state = identity(state="cancelled", reason="by its owner")
    page = page_of(results_of(study=study(0), plan=plan(), identity=state, outcome=None))
    assert page.has("Nothing was trained: the study was cancelled before a worker took it up.")
    assert not page.has("no worker has")


def test_an_empty_study_says_so_and_needs_no_script() -> None:
    page = page_of(results(0))
    assert page.has("Nothing has been trained yet")
    assert page.figures() == {}
    assert len(page.scripts) == 1
    assert not page.has("Leaderboard")


@pytest.mark.parametrize(("trials", "words"), [(1, "The only trial failed"), (8, "All 8 trials")])
def test_a_study_of_failures_says_why(trials: int, words: str) -> None:
    page = page_of(all_failed(trials))
    assert page.has(f"No network could be trained. {words}")
    assert page.has("because: out of memory")
    assert page.has("Trials that ended early")


@pytest.mark.parametrize(
    ("state", "reason", "remedy"),
    [
        ("paused", "the last 10 trials all failed: the slot was ended by SIGKILL", "smaller"),
        ("paused", "26 of the last 50 trials failed, most of them: its worker vanished", "stays"),
        ("paused", "finishing failed: ValueError: too large", "train the winner once more"),
        ("paused", "finishing gave up after 3 attempts: took longer than 5 s", "--trial-timeout"),
        ("finished", "all 8 trials have ended, none complete", "ran out of memory"),
        ("paused", "the last 10 trials all failed: ValueError: odd", "ran out of memory"),
    ],
)
def test_a_study_that_failed_says_what_to_change(state: str, reason: str, remedy: str) -> None:
    found = replace(all_failed(8), state=state, reason=reason, failed=True)
    page = page_of(found)
    assert page.has(f"The study is {state}: {reason}.")
    assert page.has(remedy)
    assert '<div class="verdict loses">' in report_html(found, commands={})
    own = replace(found, plan={**found.plan, "objective": "module:function"})
    assert page_of(own).has("the objective's own code")


@pytest.mark.parametrize("reason", ["by its owner", "half of it, none complete", ""])
def test_a_study_that_somebody_paused_has_not_failed(reason: str) -> None:
    found = replace(results(20, finished=False), state="paused", reason=reason)
    assert '"verdict loses"' not in report_html(found, commands={})
    assert page_of(found).has(f"The study is paused: {reason}.") == bool(reason)


def test_trials_in_work_are_counted_where_none_is_complete() -> None:
    made = optuna.create_study()
    made.add_trials([create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.1})])
    for _ in range(2):
        made.ask()
    found = results_of(study=made, plan=plan(), identity=identity(state="running"), outcome=None)
    assert page_of(found).has("No trial is complete yet: 2 running, 1 pruned.")


def test_one_trial_is_a_whole_report() -> None:
    page = page_of(results(1))
    assert page.has("The best network found")
    assert "flatters" not in page.text
    assert set(page.figures()) == {"confusion", "learning-curves"}


def test_an_own_objective_needs_neither_table_nor_topology() -> None:
    made = optuna.create_study(direction="maximize")
    made.add_trials(
        [
            create_trial(value=0.1 * n, params={"filters": n},
                         distributions={"filters": IntDistribution(1, 9)})
            for n in (2, 7, 3)
        ]
    )  # fmt: skip
    own = {"objective": "images:train", "metric": "value", "direction": "maximize", "seed": 1,
           "target": None, "space": {"name": "own"}}  # fmt: skip
    state = identity(name=None)
    page = page_of(results_of(study=made, plan=own, identity=state, outcome=None))
    assert page.has("The best: trial 1, with filters 7. It scored value 0.700.")
    assert page.has("Study k3v9x2")
    assert "None" not in page.text


@pytest.mark.parametrize("found", [results(50), all_failed(3), hostile()])
def test_a_page_needs_nothing_but_itself(found: Results) -> None:
    page = page_of(found)
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "srcset", "action", "style"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    style = report_html(found, commands={}).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_the_policy_names_exactly_the_scripts_on_the_page() -> None:
    page = page_of(results(20))
    (policy,) = (a["content"] or "" for _, a in page.tags if "http-equiv" in a)
    code = [text for attributes, text in page.scripts if not attributes]
    hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in code]
    assert len(code) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy


def test_hostile_text_stays_text() -> None:
    found = hostile()
    page = page_of(found, {HOSTILE[0]: HOSTILE[1], HOSTILE[6]: HOSTILE[2]})
    harmless = page_of(results(50))
    assert len(page.scripts) == len(harmless.scripts) == 3
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in harmless.tags} | {"ul", "li"}
    for text in HOSTILE[:4]:
        assert text in page.text
    assert "\u202e" not in page.text and "\x1b" not in page.text and "\x00" not in page.text
    assert "{{7*7}}${7*7}$missing" in page.text
    assert len(max(page.text.split("\n"), key=len)) < 30_000
    assert page.figures().keys() == charts.charts_of(found).keys()


def test_embedded_json_cannot_end_its_script() -> None:
    html = report_html(hostile(), commands={})
    figures = html.split('id="figures">')[1].split("</script>")[0]
    assert json.loads(figures)["confusion"]["data"]
    assert not set("<>&\u2028\u2029") & set(figures)


def test_five_thousand_columns_are_counted_but_not_all_listed() -> None:
    rules = [{"name": f"column {n}", "position": n, "kind": "numeric"} for n in range(5000)]
    found = scored(5, own=plan(reading={"encoding": "utf-8", "separator": ",", "columns": rules}))
    page = page_of(found)
    assert page.has("4,800 more")
    assert page.has("5,000 numeric")
    assert "column 4999" not in page.text


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        (Topology(depth=1, width=8, activation="relu"), "1 hidden layer of 8 units (relu)"),
        (
            Topology(depth=3, width=128, activation="gelu", normalisation="layer", residual=True,
                     embedding="periodic"),
            "3 hidden layers of 128 units (gelu), with layer normalisation, residual links and "
            "periodic embedding of numbers",
        ),
        (
            Topology(depth=2, width=(64, 16), activation=("relu", "tanh")),
            "2 hidden layers: 64 relu, 16 tanh",
        ),
        (
            Topology(depth=9, width=tuple(range(8, 17)), activation="relu"),
            "9 hidden layers of 8 to 16 units",
        ),
    ],
)  # fmt: skip
def test_topologies_read_as_words(topology: Topology, words: str) -> None:
    assert topology_in_words(topology) == words


def test_a_network_is_drawn_whole_and_a_deep_one_abbreviated() -> None:
    small = Page(draw(Topology(depth=2, width=4, activation="relu"), inputs=4, outputs=3))
    nodes = [a.get("class") for tag, a in small.tags if tag == "circle"]
    assert nodes.count("node input") == 4
    assert nodes.count("node hidden") == 6
    assert nodes.count("node output") == 3
    deep = Topology(depth=1000, width=64, activation="mish", residual=True)
    drawn = draw(deep, inputs=30_000, outputs=1)
    assert len(drawn) < 10_000
    assert {"+997", "30,000", "value"} <= set(re.findall(r">([^<>]+)</text>", drawn))
    assert 'aria-label="Picture of the network: 1,000 hidden layers of 64 units (mish)' in drawn


def test_fixed_parameters_are_part_of_the_topology() -> None:
    found = results(20)
    assert found.topology is not None
    assert found.topology.normalisation == FIXED["normalisation"]
