"""One service and one browser for all tests; whatever goes wrong in a page fails its test."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sites import DEADLINE, SCREENSHOTS, Site, Visitors, cleared, shot, started

from storage import embedded
from storage.connection import Storage, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

expect.set_options(timeout=DEADLINE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder, so that they can be left out where there is no browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep a picture of every page of a test that failed."""
    report = yield
    if report.when == "call" and report.failed:
        visitors = getattr(item, "funcargs", {}).get("visitors")
        pages = [page for c in visitors.browser.contexts for page in c.pages] if visitors else []
        for number, page in enumerate(pages):
            shot(page, f"failed-{re.sub(r'[^a-z0-9_]+', '-', item.name)}-{number}")
    return report


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service without a worker, for all tests."""
    with started(tmp_path_factory.mktemp("site") / "home") as site:
        yield site


@pytest.fixture(scope="module")
def storage(site: Site) -> Iterator[Storage]:
    """What the service keeps its studies in: no worker disturbs it."""
    with embedded.serve(site.home) as url:
        opened = connect(url)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def browser(testrun_uid: str) -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    given = os.environ.get("CHROMIUM")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, (
        "Expected Chromium. Install it (Debian: apt-get install chromium), name it in CHROMIUM, "
        'or leave these tests out with -m "not browser".'
    )
    cleared(SCREENSHOTS, testrun_uid)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visitors(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Visitors]:
    """Opens pages; errors on any of them, of scripts or on the console, fail the test."""
    made = Visitors(browser=browser, site=site, name=request.node.name)
    yield made
    for close in made.closers:
        close()
    assert made.wrong == []


@pytest.fixture
def page(visitors: Visitors) -> Page:
    """The start page, on a desk, in daylight."""
    return visitors.open()
