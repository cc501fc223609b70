"""A study's page in states that come seldom: failed, very large, changed while it is read."""

import importlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_studies import IRIS, begun, complete, left_to_do, new
from playwright.sync_api import Browser, Page, Route, expect
from sites import (
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

from storage import embedded, studies, trials, workers
from storage.clock import LEASE
from storage.connection import Storage, connect
from storage.failures import pause_failing
from storage.leases import release
from storage.workers import Worker

ROOT = Path(__file__).parents[2]
KILLED = "gave up after 3 attempts: the slot was ended by SIGKILL"
MANY = 3_000
COLUMNS = 5_000
WIDE = 1280


@pytest.fixture(scope="module")
def failed(storage: Storage) -> str:
    """The address of a study that was paused as ten trials failed, and two were handed back."""
    row, address = new(storage)
    for _ in range(10):
        lease = begun(storage, row)
        assert trials.end(storage, lease, state="failed", attributes={"reason": KILLED})
    left = [begun(storage, row) for _ in range(2)]
    assert pause_failing(storage, row.id)
    assert all(release(storage, lease) for lease in left)
    return address


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_failed_study_says_what_to_change(
    visitors: Visitors, failed: str, width: int, dark: bool
) -> None:
    page = visitors.open(failed, width=width, dark=dark)
    told = page.locator("header .verdict.loses")
    expect(told).to_contain_text(f"The study is paused: the last 10 trials all failed: {KILLED}.")
    expect(told).to_contain_text("Search again for smaller networks")
    expect(page.locator("header .lead")).to_have_text(
        "No trial is complete yet: 2 begun and waiting for a machine, 10 failed."
    )
    expect(page.locator("#trials .state.waiting")).to_have_count(2)
    expect(page.locator("#trials .state.running")).to_have_count(0)
    expect(page.get_by_role("button", name="Resume")).not_to_have_class(re.compile("btn-primary"))
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"study-failed-{width}-{'dark' if dark else 'light'}")
    page.get_by_label("State").select_option("waiting")
    expect(page.locator("#found")).to_have_text("2 trials")


@pytest.fixture
def served(storage: Storage) -> Iterator[Storage]:
    """What studies are kept in, with a worker that is there."""
    here = Worker(name="w", host="h", version="1", device="2 cores", slots=2)
    workers.heard(storage, here, lease=600.0)
    yield storage
    workers.heard(storage, here, lease=600.0, state="left")


def test_a_study_in_training_has_no_serious_fault_and_asks_before_it_is_cancelled(
    visitors: Visitors, served: Storage
) -> None:
    row, address = new(served)
    for value in (0.6, 0.8, 0.7):
        complete(served, row, value)
    begun(served, row)
    page = visitors.open(address)
    expect(page.locator("#detail")).to_contain_text("1 in training")
    expect(page.locator("#unserved")).to_be_hidden()
    all_drawn(page)
    looked_at(page, "study-running")
    page.get_by_role("button", name="Cancel").click()
    looked_at(page, "dialog-cancel")
    page.get_by_role("button", name="Leave it").click()
    expect(page.locator(".badge")).to_have_text("running")


def test_a_study_of_very_many_columns_can_be_used(visitors: Visitors, storage: Storage) -> None:
    _, address = new(storage, data=hostile_table(COLUMNS), target="target")
    page = visitors.open(address)
    expect(page.locator("[data-fragment=reading]")).to_contain_text("4,999")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("#use")).to_be_hidden()  # There is no network yet.
    assert page.locator("main :is(b, img, script:not([type]), svg a)").count() == 0
    looked_at(page, "study-columns")


def test_warnings_name_no_options_of_commands(visitors: Visitors, storage: Storage) -> None:
    head, *lines = IRIS.read_text().splitlines()
    rows = [f"K{place:04}," + line for place, line in enumerate(lines)]
    table = "\n".join(["Measured by hand", f"plant,{head}", *rows]).encode()
    row, address = new(storage, data=table)
    assert sum("--" in warning for warning in row.plan["warnings"]) == 2
    said = visitors.open(address).locator("[data-fragment=reading]")
    expect(said).to_contain_text(
        "'plant' only tells rows apart ('K0000' and so on); it is left out."
    )
    expect(said).to_contain_text("Line 1 above the table: 'Measured by hand'. Left out.")
    assert "--" not in said.inner_text()


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (PHONE, True)])
def test_a_failed_study_is_searched_again_with_other_networks(
    visitors: Visitors, storage: Storage, width: int, dark: bool
) -> None:
    row, address = new(storage, limits={"depth": "2:4", "activation": "relu,gelu"})
    lease = begun(storage, row)
    assert trials.end(storage, lease, state="failed", attributes={"reason": KILLED})
    page = visitors.open(address, width=width, dark=dark)
    page.get_by_role("button", name="Search again").click()
    page.wait_for_url("**/again")  # With no key in it.
    expect(page.locator("#summary")).to_contain_text(
        "Predicting species: 120 rows to learn from, 30 kept for the final test."
    )
    expect(page.locator("#estimate")).to_contain_text("No machine is serving now")
    expect(page.get_by_label("Hidden layers, to")).to_have_value("4")
    expect(page.get_by_label("mish")).not_to_be_checked()
    page.get_by_role("button", name="Activation: as offered").click()
    expect(page.get_by_label("mish")).to_be_checked()
    page.get_by_label("Hidden layers, to").fill("2")
    page.get_by_label("Hidden layers, to").press("Enter")
    assert serious_violations(page) == []
    assert fits(page)
    shot(page, f"again-{width}-{'dark' if dark else 'light'}")
    page.get_by_label("Trials").fill("5")
    page.get_by_text("Advanced: ").click()
    page.get_by_label("Tags").fill("night, attic,")
    page.get_by_label("Minutes, at most").press_sequentially("1e")
    page.get_by_role("button", name="Start the search").click()
    expect(page.locator("#timeout-error")).to_be_visible()
    page.get_by_label("Minutes, at most").fill("2.5")
    page.get_by_role("button", name="Start the search").click()
    page.wait_for_url("**/s/*")
    made = studies.get(
        storage, page.request.get(page.url.replace("/s/", "/v1/studies/")).json()["study"]
    )
    assert (made.parent, set(made.tags)) == (row.id, {"night", "attic"})
    assert (made.trials, made.seconds) == (5, 150)
    assert made.plan["limits"] == {"depth": "2", "activation": "relu,gelu,silu,selu,tanh,mish"}
    page.get_by_role("link", name="this study").click()
    expect(page.locator("#kin")).to_contain_text("Its trials are known to this study.")
    page.get_by_role("link", name="this study").click()
    expect(page.locator("#kin")).to_contain_text("It began with the trials of this study.")
    visitors.open(address)  # Another visitor's browser knows no other keys.
    lonely = visitors.open("/again")
    expect(lonely.get_by_role("alert").first).to_contain_text("Open its page")


def test_whoever_reads_keeps_the_place_when_results_arrive(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    complete(storage, row, 0.7)
    page = visitors.open(address)
    row_of = page.locator('#trials [data-key="trial-0"]')
    expect(row_of).to_be_visible()
    tab_to(page, '#trials [data-key="trial-0"] > summary')
    page.keyboard.press("Enter")
    expect(row_of).to_have_attribute("open", "")
    page.get_by_text("Its parameters").click()
    row_of.locator("summary").focus()
    for value in (0.8, 0.9):  # Better ones: the row goes down, and the network is another.
        complete(storage, row, value)
        expect(page.locator("#trials tbody tr td").nth(3)).to_have_text(
            f"{value:.1%}".replace("%", "\u00a0%")
        )
        expect(row_of).to_have_attribute("open", "")
        expect(row_of.locator("summary")).to_be_focused()
    expect(page.locator('[data-key="Its parameters"]')).to_have_attribute("open", "")


def test_the_keyboard_keeps_its_place_and_ears_are_told_how_the_study_stands(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    page = visitors.open(address)
    said = page.locator("#announced")
    tab_to(page, "[data-act=pause]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    expect(said).to_have_text("The study is paused.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    expect(said).to_have_text("The study is open, and waits for a machine.")
    complete(storage, row, 0.7)
    expect(said).to_have_text("The study is running.")
    complete(storage, row, 0.8)
    expect(page.locator("#found")).to_have_text("2 trials")
    expect(said).to_have_text("The study is running.")
    assert page.locator("[aria-live] #found, [role=status] #found, #found[aria-live]").count() == 0
    page.get_by_label("Find in networks").fill("no such network")
    expect(said).to_have_text("0 trials found, page 1 of 1.")
    studies.cancel(storage, row.id)
    expect(said).to_have_text("The study is cancelled.")


def test_a_connection_that_is_lost_and_comes_back_is_told(
    visitors: Visitors, storage: Storage
) -> None:
    _, address = new(storage)
    page = visitors.open()
    page.route("**/events?*", lambda route: route.abort())
    page.goto(address)
    expect(page.locator("#announced")).to_contain_text("The connection to the service is lost")
    expect(page.locator("#offline")).to_be_visible()
    page.unroute("**/events?*")
    expect(page.locator("#announced")).to_have_text("The connection is there again.")
    expect(page.locator("#offline")).to_be_hidden()


def test_a_study_that_is_refused_where_somebody_is_says_why(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    there = Worker(name="w", host="h", version="0", device="2 cores", slots=2)
    workers.heard(storage, there, lease=LEASE)
    page = visitors.open(address)
    expect(page.locator("#unserved")).to_be_hidden()
    why = "runs <b>mine</b>, which this worker may not. Allow it here: --allow-objective mine"
    workers.refuse(storage, "w", row.id, why)
    expect(page.locator("#unserved")).to_be_visible()
    expect(page.locator("#refusal")).to_have_text(f"One that is there does not: {why}")
    looked_at(page, "study-refused")
    workers.heard(storage, there, lease=LEASE, state="left")
    expect(page.locator("#refusal")).to_be_hidden()


def test_a_tab_that_was_away_when_its_study_was_deleted_says_so_and_asks_no_more(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    page = visitors.open()
    page.clock.install()
    page.route("**/events?*", lambda route: route.abort())
    page.goto(address)
    expect(page.locator("#offline")).to_be_visible()
    studies.delete(storage, row.id)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.unroute("**/events?*")
    expect(page.get_by_text("No study has this key.")).to_be_visible()
    expect(page.locator("#offline")).to_be_hidden()
    expect(page.locator("#controls button")).to_have_count(0)
    assert asked[-1].endswith(f"/v1/studies/{address.rpartition('/')[2]}")
    last = len(asked)
    page.clock.fast_forward(600_000)
    page.evaluate("() => 0")
    assert len(asked) == last


def test_a_login_that_there_is_not_says_what_it_takes(visitors: Visitors) -> None:
    page = visitors.open("/operator/login")
    told = page.locator(".login .verdict").bounding_box()
    after = page.get_by_text("A study needs no login").bounding_box()
    assert told and after and after["y"] - (told["y"] + told["height"]) > 12
    looked_at(page, "login-closed")


def test_the_table_of_trials_follows_the_head_within_a_second(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    page = visitors.open()
    page.clock.install()
    page.goto(address)
    expect(page.locator("#trials tbody")).to_have_text("No trial has begun yet.")
    page.clock.pause_at(time.time() + 60)
    with page.expect_response("**/trials?*"):
        page.get_by_label("State").select_option("complete")  # It has looked just now.
        page.clock.fast_forward(250)
    complete(storage, row, 0.8)
    expect(page.locator("header .lead")).to_contain_text("The best network so far")
    page.clock.fast_forward(1000)
    expect(page.locator("#trials tbody .state.complete")).to_have_count(1)


def test_a_name_is_seen_at_once(visitors: Visitors, storage: Storage) -> None:
    _, address = new(storage)
    page = visitors.open(address)
    expect(page).to_have_title("0/30 Predicting species · topo-search")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name, unlike").fill("<b>flowers</b>")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.locator(".kicker")).to_contain_text("iris.csv · <b>flowers</b>")
    expect(page).to_have_title("0/30 <b>flowers</b> · topo-search")
    page.reload()
    expect(page).to_have_title("0/30 <b>flowers</b> · topo-search")


def test_scores_are_seen_on_a_phone_and_the_best_come_first(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    for value in (0.5, 0.9, 0.7):
        complete(storage, row, value)
    page = visitors.open(address, width=PHONE)
    score = page.locator("#trials tbody td").nth(3)
    expect(score).to_have_text("90.0\u00a0%")
    # Asked in one go: the rows are made anew when something comes.
    page.wait_for_function(
        "width => document.querySelectorAll('#trials tbody td')[3]"
        ".getBoundingClientRect().right <= width",
        arg=PHONE,
    )
    assert page.locator("#trials").evaluate("(table) => table.scrollWidth <= table.clientWidth")
    page.get_by_role("button", name="Accuracy").click()
    expect(page.locator('th[aria-sort="descending"]')).to_have_text(re.compile("Accuracy"))
    expect(score).to_have_text("90.0\u00a0%")
    page.get_by_role("button", name="Accuracy").click()
    expect(score).to_have_text("50.0\u00a0%")
    expect(page.locator("#detail")).not_to_contain_text("left")  # Nobody serves it.
    shot(page, "study-trials-phone")


def test_without_scripts_nothing_is_offered_that_does_not_work(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage)
    complete(storage, row, 0.7)
    page = visitors.open(address, java_script_enabled=False)
    deadline = time.monotonic() + 120
    while page.locator("#trials tbody tr").count() != 1 and time.monotonic() < deadline:
        page.reload()  # Nothing comes by itself here, and the first look may find it gathering.
    expect(page.locator("#counts")).to_have_text("1 of 30 trials")
    expect(page.locator("#trials tbody tr")).to_have_count(1)
    expect(page.locator("#trials tbody")).to_contain_text("70.0")
    expect(page.locator("#controls")).to_be_hidden()
    expect(page.locator("#filter input")).to_be_hidden()
    expect(page.locator("noscript").first).to_be_visible()
    shot(page, "study-nojs")


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, str]]:
    """A service of its own with a study of very many trials, and the address of that."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with started(tmp_path / "home") as site, embedded.serve(site.home) as url:
        storage = connect(url)
        _, key, _ = importlib.import_module("web_world").large_study(storage, MANY)
        storage.close()
        yield site, f"/s/{key}"


def test_a_study_of_very_many_trials_is_gathered_and_shown(
    browser: Browser, large: tuple[Site, str], request: pytest.FixtureRequest
) -> None:
    site, address = large
    visitors = Visitors(browser=browser, site=site, name=request.node.name)
    page: Page = visitors.open(width=WIDE)
    held: list[Route] = []  # Else what is gathered might come before it is looked at.
    page.route("**/events?*", lambda route: held.append(route))
    page.goto(address)
    expect(page.get_by_role("status").filter(has_text="Gathering what 3,000")).to_be_visible()
    looked_at(page, "study-gathering")
    page.set_viewport_size({"width": WIDE, "height": 900})
    page.unroute("**/events?*")  # What was held goes on.
    expect(page.get_by_role("heading", name="The network", exact=True)).to_be_visible()
    expect(page.locator("#trials tbody tr")).to_have_count(20)
    expect(page.locator("#page")).to_have_text("Page 1 of 150")
    all_drawn(page)
    looked_at(page, "study-large")
    for close in visitors.closers:
        close()
    assert visitors.wrong == []


def test_refusals_name_what_is_on_the_page_and_can_be_closed(
    visitors: Visitors, storage: Storage
) -> None:
    row, address = new(storage, trials=1)
    timed, timed_address = new(storage, trials=1, seconds=60.0)
    other, other_address = new(storage, name="taken")
    for one in (row, timed):  # They end with none complete, as whoever asks for more work finds.
        assert trials.end(storage, begun(storage, one), state="failed")
        assert left_to_do(storage, one) is None
    studies.cancel(storage, other.id)
    page = visitors.open(address)
    told = page.locator("#told")
    said = {
        ("POST", "/resume", "{}"): "Add to its budget: “How many more”",
        ("POST", "/resume", "{ timeout: 60 }"): "Leave out “Minutes more”.",
        ("POST", "/resume", "{ trials: -1 }"): "Expected a number from 0",
        ("POST", "/pause", "undefined"): "is finished",
        ("POST", "/cancel", "undefined"): "is finished",
        ("PATCH", "", '{ name: "taken" }'): "choose another, or go on with that study.",
        ("PATCH", "", '{ name: " " }'): "Expected a name",
    }
    for (method, path, body), words in said.items():
        assert_refused(page, method, path, body, words)
    shot(page, "study-refusal")
    close = told.get_by_role("button", name="Close")
    box = close.bounding_box()
    assert box and box["height"] < box["width"]  # In one line.
    close.focus()
    page.keyboard.press("Enter")
    expect(told).to_be_empty()
    page.set_viewport_size({"width": PHONE, "height": 900})
    page.get_by_role("button", name="More trials").click()
    expect(page.get_by_label("How many more")).to_have_js_property("min", "1")
    page.get_by_label("How many more").fill("0")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("dialog")).to_be_visible()  # There would be nothing to add.
    page.keyboard.press("Escape")
    assert_refused(page, "POST", "/pause", "undefined", "is finished")
    looked_at(page, "study-refusal")
    page.evaluate("act('PATCH', '', { name: 'mine' })")  # What succeeds takes it away.
    expect(told).to_be_empty()

    page.goto(timed_address)
    expect(page.locator("#more-trials")).to_have_js_property("min", "0")
    both = "Add to its budget: “How many more”, and time: “Minutes more”"
    assert_refused(page, "POST", "/resume", "{}", both)
    page.goto(other_address)
    for path in ("/resume", "/pause"):
        anew = "in a new study: “Search again with other networks”"
        assert_refused(page, "POST", path, "{}", anew)


def assert_refused(page: Page, method: str, path: str, body: str, words: str) -> None:
    """Assert that what cannot be done is refused in words of the page."""
    assert not page.evaluate(f"act({method!r}, {path!r}, {body})")
    line = page.locator("#told .error")
    expect(line).to_contain_text(words)
    assert "--" not in line.inner_text() and "topo-search" not in line.inner_text()
