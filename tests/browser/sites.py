"""The real web service in a real process, and a real browser's pages on it."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Response, expect

COMMAND = Path(sys.executable).with_name("topo-search")
SCREENSHOTS = Path(__file__).with_name("screenshots")
OPENED = re.compile(r"Open (http\S+) in a browser")
STARTING = 300.0  # Seconds until the service must have said where it is.
DEADLINE = 180_000  # Milliseconds for anything on a page; tests share their cores.
WIDE, PHONE = 1100, 360  # Pixels.
HOSTILE = (  # Names of columns.
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    '"><img src=x onerror=alert(1)>',
    "a \u202elive\u202c name",
    "x" * 3000,
    "{{ 7 * 7 }}",
)
FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"
REFUSED = "Failed to load resource"  # What a browser says of every answer from 400 on.


@dataclass(frozen=True, kw_only=True)
class Site:
    """A service of its own, with its own database."""

    url: str
    home: Path
    process: subprocess.Popen[str]


@contextmanager
def started(home: Path, *options: str, password: str = "") -> Iterator[Site]:
    """Run `topo-search web` with a home of its own while the block does."""
    kept = {name: value for name, value in os.environ.items() if name[:5] != "TOPO_"}
    with subprocess.Popen(
        [COMMAND, "web", "--port", "0", *options],
        env=kept | {"TOPO_SEARCH_HOME": str(home), "TOPO_SEARCH_OPERATOR_PASSWORD": password},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said: list[str] = []
        found, opened = threading.Event(), []

        def listen() -> None:  # To its end, so that it never waits for a reader.
            for line in process.stderr or ():
                said.append(line)
                if not opened and (match := OPENED.search(line)):
                    opened.append(match[1].rstrip("/"))
                    found.set()
            found.set()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            assert found.wait(STARTING), "waited in vain for the service"
            assert opened, f"the service did not start: {''.join(said)}"
            yield Site(url=opened[0], home=home, process=process)
        finally:
            process.terminate()
            try:
                process.wait(STARTING)
            finally:
                process.kill()
                listener.join()
                # As root the server's data lies elsewhere, behind a link.
                shutil.rmtree((home / "server").resolve(), ignore_errors=True)


def hostile_table(columns: int, rows: int = 40) -> bytes:
    """Return a CSV whose names and classes are as hostile as those of a table can be."""
    names = [*HOSTILE, *(f"measure {n}" for n in range(len(HOSTILE), columns - 1)), "target"]
    head = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    lines = [
        ",".join(str((row * 7 + n * 3) % 31) for n in range(columns - 1))
        + f",{('<b>yes</b>', '=1+1')[row % 2]}"
        for row in range(rows)
    ]
    return "\n".join([head, *lines]).encode()


@dataclass
class Visitors:
    """Opens pages, and keeps what went wrong on any of them."""

    browser: Browser
    site: Site
    name: str  # Of the test.
    wrong: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)  # Paths of pages that there are not.
    closers: list[Callable[[], None]] = field(default_factory=list)

    def open(self, path: str = "/", *, width: int = WIDE, dark: bool = False, **more: Any) -> Page:
        """Return a page of a new visitor, who shares nothing with the others.

        Args:
            path: On the site.
            width: In pixels.
            dark: Whether the visitor's system is dark.
            more: Further options of Playwright's contexts.
        """
        scheme: Any = "dark" if dark else "light"
        context = self.browser.new_context(
            base_url=self.site.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            locale="en-GB",
            **more,
        )
        self.closers.append(context.close)
        context.set_default_timeout(DEADLINE)
        page = context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._heard(page, message))
        page.on("response", self._answered)
        page.on("dialog", lambda dialog: self._asked(page, dialog))
        page.goto(path)
        return page

    def _heard(self, page: Page, message: ConsoleMessage) -> None:
        # A refusal is the service's business, and asked for by some tests; of pages and their
        # parts every one is an error.
        address = message.location.get("url", "")
        expected = "/v1/" in address or urlsplit(address).path in self.missing
        refusal = REFUSED in message.text and expected
        if message.type == "error" and not refusal:
            self.wrong.append(f"{page.url}: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.wrong.append(f"{response.url} was answered {response.status}")

    def _asked(self, page: Page, dialog: Dialog) -> None:
        self.wrong.append(f"{page.url}: a dialog said {dialog.message!r}")
        dialog.dismiss()


def shot(page: Page, name: str) -> None:
    """Keep a picture of the whole page for looking at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def cleared(folder: Path, run: str) -> None:
    """Remove an earlier run's pictures; those of this run, also by its other processes, stay."""
    folder.mkdir(exist_ok=True)
    with (folder / ".run").open("a+") as last:
        fcntl.flock(last, fcntl.LOCK_EX)
        last.seek(0)
        if last.read() == run:
            return
        for picture in folder.glob("*.png"):
            picture.unlink()
        last.truncate(0)
        last.write(run)


def all_drawn(page: Page) -> list[str]:
    """Scroll to every chart of a study that changes no more, until each is drawn.

    Returns:
        The charts' titles, in the order of reading.
    """
    cards = page.locator("#chart-cards figure")
    expect(cards.first).to_be_visible()
    for place in range(cards.count()):
        card = cards.nth(place)
        card.scroll_into_view_if_needed()
        expect(card.locator(".main-svg").first).to_be_visible()
        expect(card.locator("figcaption")).not_to_be_empty()
    page.evaluate("window.scrollTo({ top: 0, behavior: 'instant' })")
    return cards.locator("h3").all_inner_texts()


def fits(page: Page) -> bool:
    """Tell whether a page is no wider than its window."""
    return bool(page.evaluate(FITS))


def serious_violations(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds wrong with a page, of the graver kinds; by these rules, or all."""
    only = {"runOnly": list(rules)} if rules else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **only}).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def looked_at(page: Page, name: str) -> None:
    """Assert that a page is no wider than its window, and has no serious fault, by day and night.

    A picture is kept of each of its four looks: on a phone and on a desk, light and dark.
    """
    for width in (PHONE, WIDE):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            # Without motion no colour is caught half way to another.
            wanted: Any = scheme
            page.emulate_media(color_scheme=wanted, reduced_motion="reduce")
            page.wait_for_function(FITS)  # Charts take their new width a moment later.
            changed = ("color-contrast",) if scheme == "dark" else ()  # Nothing else can have.
            assert serious_violations(page, *changed) == [], f"{name}, {width}, {scheme}"
            shot(page, f"{name}-{width}-{scheme}")


def tab_to(page: Page, selector: str, most: int = 300) -> None:
    """Press the tab key until something has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"The keyboard never comes to {selector}.")
