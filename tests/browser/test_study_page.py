"""A study in a browser: watched live, used, changed, and seen by its operator."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from sites import (
    DEADLINE,
    HOSTILE,
    PHONE,
    Site,
    Visitors,
    all_drawn,
    fits,
    hostile_table,
    looked_at,
    serious_violations,
    shot,
    started,
    tab_to,
)

IRIS = Path(__file__).parents[2] / "examples" / "iris.csv"
PASSWORD = "open sesame"
NO_STUDY = "/s/AAAAAAAAAAAAAAAAAAAAAA"
TRAINED = 400_000  # Milliseconds until a small study is through; tests share their cores.
LAID_OUT = """(all) => all.map((one) => [".main-svg", ".legend"].map((part) => {
    const box = one.querySelector(part)?.getBoundingClientRect();
    return box && [Math.round(box.y - one.getBoundingClientRect().y), Math.round(box.height)];
}))"""
FEW_SHAPES = {"depth": "1:2", "width": "16", "activation": "relu", "embedding": "none"}
QUICK = {"trials": 8, "epochs": 12, "pruner": "none", "limits": FEW_SHAPES}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with a worker."""
    home = tmp_path_factory.mktemp("site") / "home"
    with started(home, "--with-worker", password=PASSWORD) as site:
        yield site


def create(page: Page, **changes: Any) -> str:
    """Create a study of iris as the page does, and return its address."""
    called = page.request.post("/v1/uploads?name=iris.csv", data=IRIS.read_bytes())
    asked = {"upload": called.json()["upload"], "target": "species", **QUICK, **changes}
    return str(page.request.post("/v1/studies", data=asked).json()["page"])


@pytest.fixture(scope="module")
def finished(site: Site, browser: Any) -> str:
    """The address of a study that is through."""
    context = browser.new_context(base_url=site.url)
    context.set_default_timeout(DEADLINE)
    page = context.new_page()
    address = create(page)
    page.goto(address)
    expect(page.locator(".badge")).to_have_text("finished", timeout=TRAINED)
    context.close()
    return address


def test_results_arrive_without_reload_for_all_who_watch(visitors: Visitors, page: Page) -> None:
    address = create(page, name="watched", trials=24)
    page.goto(address)
    other = visitors.open(address, dark=True)
    page.evaluate("window.mark = 'the same page'")
    for one in (page, other):
        expect(one.locator("#counts")).to_have_text(
            re.compile("^([1-9]|1[0-9]|2[0-3]) of 24 trials"), timeout=TRAINED
        )
    shot(page, "study-running")
    for one in (page, other):
        expect(one.locator("#counts")).to_have_text("24 of 24 trials", timeout=TRAINED)
        expect(one.locator(".badge")).to_have_text("finished", timeout=TRAINED)
        expect(one.locator("#trials tbody tr")).to_have_count(20)
        expect(one.locator("h3", has_text="Beside simple models")).to_be_visible()
        expect(one.locator("svg.network")).to_be_visible()
    assert page.evaluate("window.mark") == "the same page"
    expect(page.locator("#importances-reason")).to_be_empty()  # The chart is there instead.
    for one in (page, other):
        titles = all_drawn(one)
        assert {"Which choices mattered", "Score by size of the network"} <= set(titles)
        assert any(re.match("Score by (?!size|number|training)", title) for title in titles), titles
        front = one.locator("[data-name=score-by-weights] .legendtext")
        expect(front.filter(has_text="none smaller is better")).to_be_visible()
        assert fits(one)
        assert serious_violations(one) == []
        shot(one, f"study-long-{'dark' if one is other else 'light'}")


def test_charts_are_drawn_with_text_beside_them(visitors: Visitors, finished: str) -> None:
    page = visitors.open(finished)
    titles = all_drawn(page)
    laid_out = page.locator(".chart").evaluate_all(LAID_OUT)
    for width in (PHONE, 1100):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            """() => [...document.querySelectorAll(".chart")].every(
                (one) => one.querySelector(".main-svg").clientWidth === one.clientWidth)"""
        )
    assert page.locator(".chart").evaluate_all(LAID_OUT) == laid_out
    assert titles[:3] == [
        "Score of each trial, in order",
        "Which class was taken for which",
        "Learning curves of the best",
    ]
    assert "Score by number of hidden layers" in titles
    assert "Training time by number of hidden layers" in titles
    expect(page.locator("#importances-reason")).to_have_text(
        "Which choices mattered, and the score by each of them: needs 15 complete trials, has 8; "
        "pruned and failed ones do not count, so about 7 more would do."
    )
    shot(page, "study-finished")


def test_what_charts_show_is_said_before_they_are_drawn(visitors: Visitors, finished: str) -> None:
    page = visitors.open()
    page.route("**/figures/*", lambda route: None)  # Never answered.
    page.goto(finished)
    cards = page.locator("#chart-cards figure")
    expect(cards.first).to_be_visible()
    assert "Score by number of hidden layers" in cards.locator("h3").all_inner_texts()
    assert all(cards.locator("figcaption").all_inner_texts())
    assert page.locator("#chart-cards .main-svg").count() == 0
    page.emulate_media(media="print")
    expect(cards.locator(".chart").first).to_be_hidden()


def test_the_network_predicts_a_row_and_a_table(
    visitors: Visitors, finished: str, tmp_path: Path
) -> None:
    page = visitors.open(finished)
    expect(page.locator("#row-form")).to_contain_text("Filled in with examples from your table")
    page.get_by_label("petal_length").fill("5.9")
    page.get_by_label("petal_width").fill("2.2")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#row-answer .lead")).to_have_text(
        re.compile("^species: (setosa|versicolor|virginica)$"), timeout=TRAINED
    )
    expect(page.locator("#row-answer thead th")).to_have_text(["species", "Probability"])
    expect(page.locator("#row-answer tbody tr")).to_have_count(3)
    page.get_by_label("petal_width").fill("wide")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#row-answer")).to_contain_text(
        "Column 'petal_width': 'wide' is no number and counts as missing."
    )
    page.set_input_files("#table-file", IRIS)
    with page.expect_download() as begun:
        page.get_by_role("button", name="Predict and download").click()
    rows = list(csv.DictReader(begun.value.path().read_text().splitlines()))
    assert len(rows) == 150
    assert {row["prediction"] for row in rows} <= {"setosa", "versicolor", "virginica"}
    expect(page.locator("#table-doubts")).to_contain_text("Rows that equal an earlier row")
    odd = tmp_path / "odd.csv"
    text = IRIS.read_text().splitlines()
    text[3] += ",one,too,many"
    odd.write_text("\n".join([f"Straße,{text[0]}", *(f"7,{line}" for line in text[1:])]))
    page.set_input_files("#table-file", odd)
    with page.expect_download() as begun:
        page.get_by_role("button", name="Predict and download").click()
    rows = list(csv.DictReader(begun.value.path().read_text().splitlines()))
    assert {row["Straße"] for row in rows} == {"7"}
    assert [row["line"] for row in rows[:3]] == ["2", "3", "5"]
    expect(page.locator("#table-doubts li")).to_contain_text(
        ["Unknown columns are not used: 'Straße'", "Rows left out (1): line 4"]
    )
    shot(page, "study-predicted")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("sepal_length\n5.1\n")
    page.set_input_files("#table-file", wrong)
    page.get_by_role("button", name="Predict and download").click()
    expect(page.locator("#table-answer")).to_contain_text("Columns are missing")


def test_words_that_a_column_may_hold_are_offered_as_they_are(
    visitors: Visitors, finished: str
) -> None:
    page = visitors.open()
    words = ["red", "<b>green</b>", "=1+1"]
    column = {"name": "__proto__", "kind": "categorical", "example": "red", "levels": words}
    page.route("**/v1/studies/*/columns", lambda route: route.fulfill(json={"columns": [column]}))
    page.goto(finished)
    field = page.get_by_label("__proto__")
    expect(field).to_have_value("red")
    offered = page.locator(f"#{field.get_attribute('list')} option")
    assert offered.evaluate_all("(all) => all.map((one) => one.value)") == words
    field.fill("=1+1")
    with page.expect_request("**/predict") as sent:
        page.get_by_role("button", name="Predict", exact=True).click()
    assert sent.value.post_data_json["rows"] == [{"__proto__": "=1+1"}]
    expect(page.locator("#row-answer")).to_contain_text("Columns are missing")


def test_a_column_of_a_few_values_is_chosen_from_and_a_number_is_rounded(
    visitors: Visitors, finished: str
) -> None:
    page = visitors.open()
    column = {"name": "colour", "kind": "categorical", "example": "red", "all_levels": True}
    columns = [{**column, "levels": ["red", "<b>green</b>"]}]
    columns += [
        {"name": f"n{n}", "kind": "numeric", "example": "1", "levels": []} for n in range(64)
    ]
    said = {
        "predicted": ["prediction"],
        "rows": [{"prediction": 702.5773756216636}],
        "warnings": [],
    }
    page.route("**/v1/studies/*/columns", lambda route: route.fulfill(json={"columns": columns}))
    page.route("**/v1/studies/*/predict", lambda route: route.fulfill(json=said))
    page.goto(finished)
    chosen = page.get_by_label("colour")
    expect(chosen).to_have_value("red")
    expect(chosen.locator("option")).to_have_text(["red", "<b>green</b>", "missing"])
    chosen.select_option("<b>green</b>")
    expect(page.locator("#row-form input")).to_have_count(59)
    expect(page.locator("#row-form")).to_contain_text(
        "The first 60 of 65 columns; the others count as missing."
    )
    with page.expect_request("**/predict") as sent:
        page.get_by_role("button", name="Predict", exact=True).click()
    (row,) = sent.value.post_data_json["rows"]
    assert (row["colour"], row["n58"], row["n59"], len(row)) == ("<b>green</b>", "1", "", 65)
    expect(page.locator("#row-answer")).to_have_text("species: 702.6")
    shares = {"a": 0.9999, "b": 0.00009, "c": 0.00001, "d": 0.0}
    said["predicted"] = ["prediction", *(f"probability {name}" for name in shares)]
    said["rows"] = [{"prediction": "a", **{f"probability {n}": s for n, s in shares.items()}}]
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#row-answer .number:not(th)")).to_have_text(
        [f"{text}\u00a0%" for text in ("99.99", "0.01", "0.001", "below 0.001")]
    )


def test_downloads(visitors: Visitors, finished: str) -> None:
    page = visitors.open(finished)
    files = {}
    for link in page.locator("a[download]").all():
        with page.expect_download() as begun:
            link.click()
        files[begun.value.suggested_filename.partition("-")[2]] = begun.value.path()
    tables = {"trials.csv", "predictions.csv"}
    assert set(files) == tables | {"model.keras", "reading.json", "trials.json", "report.html"}
    assert all(path.stat().st_size > 100 for path in files.values())
    trials, predictions = (
        list(csv.DictReader(files[name].read_text().splitlines())) for name in sorted(tables)[::-1]
    )
    assert len(trials) == 8
    right = [row["species"] == row["prediction"] for row in predictions]
    assert len(right) == 150 and sum(right) > 100


def test_trials_are_sorted_and_filtered(visitors: Visitors, finished: str) -> None:
    page = visitors.open(finished)
    first = page.locator("#trials tbody tr td").first
    page.get_by_role("button", name="Trial", exact=True).click()
    expect(first).to_have_text("0")
    page.get_by_role("button", name="Trial", exact=True).click()
    expect(first).to_have_text("7")
    expect(page.locator('th[aria-sort="descending"]')).to_have_text(re.compile("Trial"))
    page.get_by_label("Find in networks").fill("no such network")
    expect(page.locator("#trials tbody")).to_have_text("No such trials.")
    page.get_by_label("Find in networks").fill("")
    page.get_by_label("State").select_option("complete")
    expect(page.locator("#found")).to_have_text("8 trials")


def test_a_study_is_paused_renamed_resumed_extended_and_deleted(page: Page) -> None:
    address = create(page, trials=500)
    page.goto(address)
    expect(page.locator("#counts")).not_to_have_text("0 of 500 trials", timeout=TRAINED)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".badge")).to_have_text("paused")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name, unlike").fill("<b>my</b> study")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.locator("footer")).to_contain_text("<b>my</b> study")
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator(".badge")).to_have_text("running")
    page.get_by_role("button", name="More trials").click()
    page.get_by_label("How many more").fill("3")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#counts")).to_have_text(re.compile("of 503 trials"))
    expect(page.locator(".badge")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the study").click()
    expect(page.locator(".badge")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Resume")).to_be_hidden()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url(re.compile("/$"))
    assert page.request.get(address).status == 404


def test_a_person_walks_from_a_file_to_a_prediction(visitors: Visitors) -> None:
    page = visitors.open()
    page.set_input_files("#file", IRIS)
    page.wait_for_url("**/tables/*")
    expect(page.locator("#columns svg.histogram")).to_have_count(5)
    expect(page.locator("#estimate")).not_to_be_empty()
    page.get_by_label("Trials").fill("2")
    page.get_by_label("Hidden layers, to").fill("1")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    page.evaluate("window.mark = 'the same page'")
    expect(page.locator("#trials tbody .state.complete").first).to_be_visible(timeout=TRAINED)
    expect(page.locator(".badge")).to_have_text("finished", timeout=TRAINED)
    assert page.evaluate("window.mark") == "the same page"
    with page.expect_download() as begun:
        page.get_by_role("link", name="The network", exact=True).click()
    assert begun.value.path().stat().st_size > 1000
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#row-answer .lead")).to_have_text(
        re.compile("setosa|versicolor|virginica"), timeout=TRAINED
    )


def test_times_are_in_the_zone_of_who_reads(visitors: Visitors, finished: str) -> None:
    def events(zone: str) -> tuple[str, str]:
        time = visitors.open(finished, timezone_id=zone).locator("time").first
        expect(time).to_have_text(re.compile(r"\d\d:\d\d"))
        return str(time.get_attribute("datetime")), time.inner_text()[-5:]

    (moment, tokyo), (same, lagos) = events("Asia/Tokyo"), events("Africa/Lagos")
    assert moment == same
    hours = [int(shown.partition(":")[0]) for shown in (tokyo, lagos)]
    assert (hours[0] - hours[1]) % 24 == 8


def test_a_hostile_table_is_searched_shown_and_predicted_as_text(
    visitors: Visitors, page: Page
) -> None:
    table = hostile_table(len(HOSTILE) + 2).replace(b'"target"', b'"<b>target</b>"', 1)
    called = page.request.post("/v1/uploads?name=<u>x.csv", data=table)
    asked = {"upload": called.json()["upload"], "target": "<b>target</b>", **QUICK, "trials": 3}
    page.goto(page.request.post("/v1/studies", data=asked).json()["page"])
    expect(page.locator(".badge")).to_have_text("finished", timeout=TRAINED)
    expect(page.locator("body")).to_contain_text("<b>target</b>")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#row-answer .lead")).to_have_text(
        re.compile(r"<b>yes</b>|=1\+1"), timeout=TRAINED
    )
    all_drawn(page)
    assert page.locator("main :is(i, b, u, img, script:not([type]), svg a)").count() == 0
    expect(page.get_by_label("a �live� name")).to_have_count(1)
    said = page.locator("body").inner_text() + page.title()
    assert re.findall("[\u202a-\u202e\u2066-\u2069]", said) == []
    assert fits(page)
    assert serious_violations(page) == []
    tallest = page.locator("#row-form label").evaluate_all(
        "labels => Math.max(...labels.map((label) => label.offsetHeight))"
    )
    assert tallest < 100
    shot(page, "study-hostile")


def test_dialogs_and_refusals_have_no_serious_fault(visitors: Visitors, finished: str) -> None:
    page = visitors.open(finished)
    for name in ("more", "rename", "delete"):
        page.locator(f"[data-open={name}]").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        looked_at(page, f"dialog-{name}")
        page.keyboard.press("Escape")
    visitors.missing.add(NO_STUDY)
    looked_at(visitors.open(NO_STUDY), "problem")


def test_a_wrong_key_opens_nothing(visitors: Visitors) -> None:
    visitors.missing.add(NO_STUDY)
    page = visitors.open(NO_STUDY)
    expect(page.locator("h1")).to_have_text("There is nothing here")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_study_on_a_phone_is_no_wider_and_has_no_serious_fault(
    visitors: Visitors, finished: str, dark: bool
) -> None:
    page = visitors.open(finished, width=PHONE, dark=dark)
    expect(page.locator("#row-form button")).to_be_visible()
    expect(page.locator("#trials tbody tr")).to_have_count(8)
    heads = page.locator("#trials thead tr")
    said = "(row) => getComputedStyle(row, '::before').content"
    assert heads.evaluate(said) == '"Sort by"'
    search, table = page.locator("#search").bounding_box(), page.locator("#trials").bounding_box()
    assert search and table and search["width"] >= table["width"]  # Its hint is read whole.
    all_drawn(page)
    assert fits(page)
    assert serious_violations(page) == []
    shot(page, f"study-phone-{'dark' if dark else 'light'}")
    wide = visitors.open(finished, dark=dark)
    expect(wide.locator("#row-form button")).to_be_visible()
    expect(wide.locator("#trials tbody tr")).to_have_count(8)
    all_drawn(wide)
    assert fits(wide)
    assert serious_violations(wide) == []
    shot(wide, f"study-wide-{'dark' if dark else 'light'}")


def test_the_keyboard_is_enough(visitors: Visitors, finished: str) -> None:
    page = visitors.open(finished)
    expect(page.locator("#row-form button")).to_be_visible()
    tab_to(page, "[data-open=more]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    tab_to(page, "#row-form button")
    page.keyboard.press("Enter")
    expect(page.locator("#row-answer .lead")).to_be_visible(timeout=TRAINED)
    tab_to(page, "#trials .sort")
    page.keyboard.press("Enter")
    expect(page.locator("#trials tbody tr td").first).to_have_text("0")


@pytest.mark.parametrize(("width", "dark"), [(PHONE, False), (1100, True)])
def test_an_operator_sees_studies_fleet_and_a_dashboard_for_reading(
    visitors: Visitors, finished: str, width: int, dark: bool
) -> None:
    kind = f"{width}-{'dark' if dark else 'light'}"
    page = visitors.open("/operator", width=width, dark=dark)
    assert serious_violations(page) == []
    shot(page, f"login-{kind}")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    studies = page.get_by_role("region", name="Studies", exact=True)
    expect(studies).to_contain_text("iris.csv")
    fleet = page.get_by_role("region", name="Fleet", exact=True)
    expect(fleet).to_contain_text(re.compile(r"\d cores?|GPU"))
    expect(fleet.locator("[data-label='Last seen']")).to_have_text(
        re.compile(r"^(now|\d+\s(s|min) ago)$")
    )
    age = studies.locator("tr", has_text="iris.csv").locator("[data-label=Age]").first
    expect(age).to_have_text(re.compile(r"^\d+\s(s|min|h)$"))
    stored = page.get_by_role("region", name="Storage", exact=True)
    expect(stored.locator("p strong")).to_have_text(re.compile(r"^[1-9][\d.]*\s[KM]iB$"))
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"operator-{kind}")
    studies.locator("tr", has_text="iris.csv").locator("th a").first.click()
    expect(page.locator(".badge")).to_have_text("finished")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    expect(page.get_by_role("link", name="Overview")).to_be_visible()
    all_drawn(page)
    assert fits(page)
    assert serious_violations(page) == []
    shot(page, f"operator-study-{kind}")
    page.set_input_files("#table-file", IRIS)
    with page.expect_download() as begun:
        page.get_by_role("button", name="Predict and download").click()
    assert len(begun.value.path().read_text().splitlines()) == 151
    search_again_as_an_operator(page)
    page.goto("/docs")
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"docs-{kind}")
    page.goto("/dashboard")  # Its pages are Optuna's own.
    expect(page.locator("body")).to_contain_text("topo-")
    shot(page, f"dashboard-{kind}")
    refused = page.request.delete("/api/studies/1", headers={"Origin": visitors.site.url})
    assert refused.status == 403 and "is read-only here" in refused.text()


def search_again_as_an_operator(page: Page) -> None:
    here = page.url
    page.get_by_role("button", name="Search again").click()
    page.wait_for_url("**/operator/again")
    expect(page.locator("#summary")).to_contain_text("Predicting species")
    expect(page.get_by_role("link", name="Back to the study")).to_have_attribute(
        "href", urlsplit(here).path
    )
    assert serious_violations(page) == []
    page.get_by_label("Trials").fill("1")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")  # With its key: it is shown to the operator, to be handed on.
    page.goto(here)
    expect(page.get_by_text("Its trials are known to study")).to_be_visible()


def test_a_study_that_nobody_serves_says_how_to_serve_it(
    visitors: Visitors, tmp_path: Path
) -> None:
    with started(tmp_path / "home") as alone:
        visitors.site = alone
        page = visitors.open()
        page.goto(create(page))
        expect(page.locator("#unserved")).to_contain_text("No machine is serving this")
        looked_at(page, "study-unserved")
        for close in visitors.closers:
            close()
        visitors.closers.clear()
