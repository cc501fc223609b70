"""The operator's pages in a browser: nothing there yet, tokens, optuna-dashboard, the way out."""

import re
from collections.abc import Iterator

import pytest
from made_studies import complete, new
from playwright.sync_api import Page, expect
from sites import Site, Visitors, looked_at, started, tab_to

from storage.connection import Storage

PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service without a worker, with a password, which keeps studies for a while."""
    home = tmp_path_factory.mktemp("site") / "home"
    with started(home, "--retain", "30d", password=PASSWORD) as site:
        yield site


def logged_in(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Overview")


def test_who_begins_and_who_operates_read_how_long_studies_are_kept(visitors: Visitors) -> None:
    page = visitors.open()
    expect(page.locator("footer")).to_contain_text(
        "Studies and their tables are deleted 30 days after they were last worked at"
    )
    page.goto("/operator")
    logged_in(page)
    stored = page.get_by_role("region", name="Storage", exact=True)
    expect(stored).to_contain_text("deleted 30 days after they were last worked at")


def test_an_operator_finds_a_way_in_and_what_to_do_first(visitors: Visitors, site: Site) -> None:
    page = visitors.open("/operator")
    looked_at(page, "login")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the operator's password")
    visitors.wrong.clear()  # The browser says that it was refused.
    looked_at(page, "login-refused")
    logged_in(page)
    expect(page.locator("main")).to_contain_text("There is no study yet.")
    expect(page.locator("main")).to_contain_text("No worker is here")
    expect(page.locator("main")).to_contain_text("There is no token yet.")
    looked_at(page, "operator-empty")


def test_a_token_is_shown_once_copied_and_revoked(visitors: Visitors) -> None:
    page = visitors.open("/operator", permissions=["clipboard-read", "clipboard-write"])
    logged_in(page)
    page.get_by_label("A new token for").fill("nightly")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("h1")).to_have_text("Token “nightly”")
    token = page.locator("#token").inner_text()
    page.get_by_role("button", name="Copy the token").click()
    expect(page.locator("#told")).to_contain_text("The token is in the clipboard.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    looked_at(page, "token")
    sent = {"Authorization": f"Bearer {token}"}
    program = visitors.open()  # Which is not logged in.
    assert program.request.get("/v1/studies", headers=sent).status == 200
    page.get_by_role("link", name="Done").click()
    row = page.get_by_role("region", name="Table: tokens").locator("tr", has_text="nightly")
    expect(row).to_be_visible()
    assert token not in page.content()
    row.get_by_text("Revoke …").click()
    row.get_by_role("button", name="Revoke it now").click()
    expect(page.get_by_role("status").first).to_contain_text("The token nightly is revoked")
    expect(page.locator("main")).to_contain_text("There is no token yet.")
    assert program.request.get("/v1/studies", headers=sent).status == 404  # As without one.


def test_the_dashboard_draws_and_is_read_only_unless_opened(
    visitors: Visitors, storage: Storage
) -> None:
    row, _ = new(storage)
    for value in (0.6, 0.8, 0.7):
        complete(storage, row, value)
    page = visitors.open("/operator")
    logged_in(page)
    page.goto("/dashboard/studies/1")
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    assert visitors.wrong == []  # Nothing that its policy forbids was tried.

    page.goto("/dashboard")
    page.get_by_role("button", name="delete study").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_text(re.compile("Failed to delete study"))).to_be_visible()
    assert all("403" in error for error in visitors.wrong), visitors.wrong
    visitors.wrong.clear()
    page.goto("/operator")
    expect(page.get_by_role("region", name="Studies", exact=True)).to_contain_text(row.id)

    page.get_by_role("button", name="Let it change things for 15 minutes").click()
    expect(page.locator("main")).to_contain_text("It can change and delete studies until")
    page.get_by_role("button", name="Make it read-only again").click()
    expect(page.locator("main")).to_contain_text("It is read-only.")


def test_the_keyboard_leads_to_the_way_out(visitors: Visitors) -> None:
    page = visitors.open("/operator")
    logged_in(page)
    page.goto("/operator")
    tab_to(page, "[action='/operator/logout'] button", most=10)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("You are logged out.")
    page.goto("/operator")
    expect(page.get_by_label("Password")).to_be_visible()
