"""A real nginx with the shipped configuration before the real web service."""

import gzip
import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from databases import Databases
from web_processes import DEADLINE, IRIS, ROOT, Web, read_until, started, wait_until

from storage import tokens
from storage.connection import connect

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
SITE = (ROOT / "deploy" / "nginx.conf").read_text()
BESIDE = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
worker_processes 2;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
pytestmark = pytest.mark.skipif(
    NGINX is None, reason="needs nginx (Debian's package of that name), which CI installs"
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The service behind nginx."""

    web: Web
    folder: Path
    http: int
    https: int
    token: str  # Of an operator.

    @property
    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "certificate.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection(
            "localhost", self.https, timeout=DEADLINE, context=self.trusting
        )
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def open(self, request: str) -> ssl.SSLSocket:
        plain = socket.create_connection(("localhost", self.https), DEADLINE)
        client = self.trusting.wrap_socket(plain, server_hostname="localhost")
        client.sendall(f"{request}\r\nHost: localhost\r\n\r\n".encode())
        return client

    def logged(self, name: str = "access.log") -> str:
        return (self.folder / name).read_text()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def put(site: str, *changes: tuple[str, str]) -> str:
    """Return the shipped site with what differs on this machine replaced."""
    for shipped, here in changes:
        assert shipped in site, shipped
        site = site.replace(shipped, here)
    return site


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert NGINX is not None
    folder = tmp_path_factory.mktemp("nginx")
    url = databases.take()
    storage = connect(url)
    token = tokens.create(storage, "program")
    storage.close()
    certificate = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", *certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    operator = {"TOPO_SEARCH_OPERATOR_PASSWORD": "not guessed"}
    with started(folder, "--proxied", storage=url, **operator) as web:
        plain, tls = free_port(), free_port()
        (folder / "site.conf").write_text(
            put(
                SITE,
                ("server web:8000;", f"server 127.0.0.1:{web.port};"),
                ("listen 80 ", f"listen 127.0.0.1:{plain} "),
                ("listen 443 ", f"listen 127.0.0.1:{tls} "),
                ("/run/secrets/tls_certificate", str(folder / "certificate.pem")),
                ("/run/secrets/tls_key", str(folder / "key.pem")),
                ("/dev/stdout", str(folder / "access.log")),
                ("/dev/stderr", str(folder / "error.log")),
            )
        )
        main = folder / "main.conf"
        main.write_text(BESIDE.format(folder=folder))
        command = [NGINX, "-p", str(folder), "-c", str(main)]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert tested.returncode == 0, tested.stderr
        folder.chmod(0o755)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
            try:
                wait_until(lambda: listens(tls), "nginx listens")
                yield Site(web=web, folder=folder, http=plain, https=tls, token=token)
            finally:
                nginx.send_signal(signal.SIGTERM)
                nginx.wait(DEADLINE)
    databases.give_back(url)


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def study(site: Site) -> dict[str, str]:
    return site.web.study()


def test_plain_http_is_sent_to_tls(site: Site) -> None:
    connection = http.client.HTTPConnection("localhost", site.http, timeout=DEADLINE)
    connection.request("GET", "/s/key?x=1", headers={"Host": "example.org"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (308, "https://example.org/s/key?x=1")
    connection.close()


def test_a_page_opens(site: Site, study: dict[str, str]) -> None:
    status, headers, body = site.request("GET", f"/s/{study['key']}")
    assert status == 200 and b"</html>" in body
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "1." not in headers["server"]


def test_texts_are_compressed_and_streams_are_not(site: Site, study: dict[str, str]) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    page, api = f"/s/{study['key']}", f"/v1/studies/{study['key']}"
    for path in (page, "/v1/openapi.json", "/assets/web.css", "/assets/plotly.js"):
        status, headers, body = site.request("GET", path, **wanted)
        assert (status, headers.get("content-encoding")) == (200, "gzip"), path
        assert len(gzip.decompress(body)) > len(body)
    with site.open(f"GET {api}/events HTTP/1.1\r\nAccept-Encoding: gzip") as stream:
        came = read_until(stream, b"event: change")
        assert b"content-encoding" not in came.lower()


def test_a_table_is_uploaded_and_one_too_large_is_refused_in_words(site: Site) -> None:
    status, _, body = site.request("POST", "/v1/uploads?name=iris.csv", IRIS.read_bytes())
    assert (status, json.loads(body)["table"]["rows"]) == (201, 150)
    with site.open(f"POST /v1/uploads HTTP/1.1\r\nContent-Length: {201 * 2**20}") as client:
        came = read_until(client, b"}")
    assert came.startswith(b"HTTP/1.1 413 ")
    head, _, body = came.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    direct = site.web.request("POST", "/v1/uploads", headers={"Content-Length": str(10**12)})
    assert json.loads(body) == json.loads(direct[2])


def test_an_upload_reaches_the_service_while_it_is_sent(site: Site) -> None:
    """Nginx keeps no copy: the service is the one that limits what is on the disk."""
    half = 4 * 2**20
    with site.open(f"POST /v1/uploads HTTP/1.1\r\nContent-Length: {2 * half}") as client:
        client.sendall(bytes(half))
        place = f"/proc/{site.web.process.pid}/fd"

        def spooled() -> bool:
            kept = site.web.log.parent / "home" / "uploads"
            try:
                sizes = [
                    file.stat().st_size
                    for file in Path(place).iterdir()
                    if file.is_symlink() and str(file.readlink()).startswith(str(kept))
                ]
            except FileNotFoundError:  # It was closed meanwhile.
                return False
            return max(sizes, default=0) > half // 2

        wait_until(spooled, "the service has what was sent")


def test_events_arrive_when_they_happen(site: Site, study: dict[str, str]) -> None:
    api = f"/v1/studies/{study['key']}"
    with site.open(f"GET {api}/events HTTP/1.1") as stream:
        assert b"text/event-stream" in read_until(stream, b"event: change")
        for act, state in (("pause", b"paused"), ("resume", b"created")):
            began = time.monotonic()
            site.request("POST", f"{api}/{act}", "{}", **{"Content-Type": "application/json"})
            read_until(stream, b'"state":"%s"' % state)
            assert time.monotonic() - began < 15


def test_two_hundred_watch_from_one_address(site: Site, study: dict[str, str]) -> None:
    api = f"/v1/studies/{study['key']}"
    with ExitStack() as stack:
        for _ in range(200):
            stream = stack.enter_context(site.open(f"GET {api}/events HTTP/1.1"))
            assert b" 200 " in read_until(stream, b"event: change").splitlines()[0]
        for _ in range(10):
            assert site.request("GET", api)[0] == 200
        status, headers, body = site.request("GET", f"{api}/events")
        assert status == 503, "others are to find a place, too"
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["detail"].startswith("Very many ask from where you are.")


@pytest.mark.parametrize("host", ["evil.example", "localhost:1", "[::1]", ""])
def test_a_strange_host_is_answered_and_named_nowhere(site: Site, host: str) -> None:
    status, headers, body = site.request("GET", "/healthz/none", Host=host)
    assert status in (400, 404)
    assert host == "" or host not in str(headers) + body.decode()


def test_no_log_of_nginx_shows_a_key(site: Site) -> None:
    made = site.web.study()
    key, upload = made["key"], made["upload"]
    paths = [
        f"/s/{key}",
        f"/s/{key}?{key}",
        f"//s//{key}",
        f"/S/{key}",
        f"/%73/{key}",
        f"/s%2f{key}",
        f"/{key}",
        f"/?{key}",
        f"/x/{key}/{key}",
        f"/tables/{upload}",
        f"/v1/studies/{key}",
        f"/v1//studies/{key}/figures/{key}",
        f"/v1/studies/{key}/trials?sort={key}",
        f"/v1/uploads/{upload}/{upload}",
        f"/v1/studies/{key}/events/{key}#{key}",
        f"https://localhost/s/{key}",
        "/" + f"{key}/" * 20,
    ]
    for path in paths:
        site.request("GET", path, Referer=f"https://localhost/s/{key}")
    bearer = {"Authorization": f"Bearer {site.token}"}
    assert site.request("GET", f"/v1/studies/{made['study']}", **bearer)[0] == 200
    with site.open(f"GET /s/{key} HTTP/9"):
        pass
    # nginx tells its error log which request found the service away.
    with site.open(
        f"POST /v1/studies/{key}/predict HTTP/1.1\r\nContent-Length: {10**12}"
    ) as client:
        read_until(client, b"}")
    site.web.process.send_signal(signal.SIGSTOP)
    with site.open(f"GET /s/{key} HTTP/1.1"):
        pass
    site.web.process.send_signal(signal.SIGCONT)
    wait_until(lambda: " 499 " in site.logged(), "a request that was given up is logged")
    logged = site.logged()
    for secret in (key, upload, site.token):
        for name in ("access.log", "error.log"):
            assert secret not in site.logged(name)
    for line in ('"GET /s/* HTTP/1.1" 200 ', '"GET /v1/studies/* HTTP/1.1" 200 ', '"GET / HTTP'):
        assert line in logged
    assert logged.count(" 413 ") >= 1


def test_the_service_hears_who_asks_and_how(site: Site) -> None:
    """What a client says of itself is not believed: guesses are counted by its true address."""
    statuses = set()
    for number in range(70):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
        statuses.add(site.request("GET", f"/v1/studies/guess{number}", **forged)[0])
    assert statuses == {404, 429}


def test_a_service_that_is_away_is_said_to_be(site: Site, study: dict[str, str]) -> None:
    """The last of the tests here: it ends the service."""
    site.web.process.send_signal(signal.SIGTERM)
    site.web.process.wait(DEADLINE)
    status, headers, body = site.request("GET", f"/v1/studies/{study['key']}")
    assert (status, headers["content-type"]) == (503, "application/problem+json")
    assert json.loads(body)["detail"] == "The service does not answer. Try again in a moment."
    status, headers, body = site.request("GET", f"/s/{study['key']}")
    assert (status, headers["content-type"]) == (503, "text/plain")
    assert body == b"The service does not answer. Try again in a moment.\n"
    assert study["key"] not in site.logged() + site.logged("error.log")
