"""What the web service's log shows of requests, and what it never shows."""

import json
import logging
from datetime import datetime

import pytest

from topo_search.logs import JsonLines, PlainLines
from topo_search.web import access_log
from topo_search.web.access_log import masked, shown

KEY = "r7Qm_Zk2-VbT0xLwPq9sYA"
UPLOAD = "WyI5Y2MxYzM0NWM3MWJjYzk.S1v47OPwfDbvUE5osScMF7XJ9W0"
TOKEN = "topo_r7Qm_Zk2-VbT0xLwPq9sYA"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        (f"/s/{KEY}", "/s/…"),
        (f"/s/{KEY}/", "/s/…/"),
        (f"//s//{KEY}", "//s//…"),
        (f"/S/{KEY}", "/S/…"),
        ("/s/short", "/s/…"),
        (f"/{KEY}", "/…"),
        (f"/study/{KEY}", "/study/…"),
        (f"/v1/studies/{KEY}/figures/depth", "/v1/studies/…/figures/depth"),
        (f"/v1//studies/{KEY}", "/v1//studies/…"),
        (f"/v1/uploads/{UPLOAD}/inspect", "/v1/uploads/…/inspect"),
        (f"/tables/{UPLOAD}", "/tables/…"),
        (f"/?key={KEY}", "/"),
        ("/operator/fleet", "/operator/fleet"),
    ],
)
def test_a_path_is_shown_without_its_key(path: str, expected: str) -> None:
    assert shown(path) == expected


@pytest.mark.parametrize(
    "path",
    ["/a\nGET /b 200", "/\x1b[2J\x1b[31m", "/\x00\x7f\x9b", "/\u202egnp", "/é", "/" + "a/" * 9_999],
)
def test_a_hostile_path_stays_a_short_line(path: str) -> None:
    line = shown(path)
    assert line.replace("…", "").isascii()
    assert line.isprintable()
    assert len(line) <= 4 * access_log.LONGEST


@pytest.mark.parametrize(
    "text",
    [
        f"Exception while serving /s/{KEY}",
        f'File "https://host/s/{KEY}", line 3',
        f"GET https://host/v1/studies/{KEY}/events?seen=1",
        f"Authorization: Bearer {KEY}",
        f"no token {TOKEN}!",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_line_of_any_module_shows_a_key(text: str, as_json: bool) -> None:
    formatter = JsonLines("web", masked) if as_json else PlainLines(masked)
    try:
        raise ValueError(text)
    except ValueError as error:
        failed = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("waitress", logging.ERROR, "f.py", 1, "%s", (text,), failed)
    line = formatter.format(record)
    assert "…" in line and "ValueError" in line
    assert KEY not in line


def test_a_hostile_message_forges_no_line() -> None:
    said = "x\n12:00:00 POST /login 200\x1b[2J\u2028\u202e"
    try:
        raise ValueError(said)
    except ValueError as error:
        failed = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("topo_search", logging.ERROR, "f.py", 1, "%s", (said,), failed)
    first, *others = PlainLines().format(record).splitlines()
    assert "\\x0a12:00:00 POST" in first
    assert all(line.startswith("    ") for line in others)
    assert "".join([first, *others]).isprintable()
    line = JsonLines("web").format(record)
    assert "\n" not in line and "\x1b" not in line
    assert json.loads(line)["message"] == said


def test_a_plain_line_has_date_time_and_level() -> None:
    record = logging.LogRecord("topo_search", logging.WARNING, "f.py", 1, "away", (), None)
    record.created = datetime(2026, 11, 29, 7, 5, 9).timestamp()
    assert PlainLines().format(record) == "2026-11-29 07:05:09 W away"


def test_names_of_the_project_are_no_tokens() -> None:
    path = 'File "/opt/topo_search/web/server.py", line 3, in topo_search_is_a_name'
    assert masked(path.replace("topo_search_is_a_name", "f")) == path.replace(
        "topo_search_is_a_name", "f"
    )
