"""Running the web service: one process with threads enough for all who watch."""

from __future__ import annotations

import logging
import multiprocessing.util
import resource
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import waitress
from waitress import wasyncore

from storage import signing
from storage.connection import Storage
from storage.errors import StorageError
from topo_search.signals import asked_to_end
from topo_search.web.access_log import logged
from topo_search.web.address import is_loopback, local_names, url_of
from topo_search.web.app import create_app
from topo_search.web.children import WAITING
from topo_search.web.quota import Limits, too_large
from topo_search.web.request_parser import HEADERS, RequestLimits
from topo_search.web.service import Service
from topo_search.web.watching import STREAMS
from topo_search.web.worker_process import WorkerProcess, worker_process

logger = logging.getLogger(__name__)

THREADS = STREAMS + 2 * WAITING + 32  # However many watch or wait, calls are answered.
CONNECTIONS = 1024  # At once; most of them are idle, or send something.
FILES = 4096  # Connections, bodies that come in, and what the process has open besides.
REST = 100e-6  # Seconds, for each connection, between two looks at all of them.
LONGEST_REST = 0.025
SILENCE = 60  # Seconds until a connection is closed on which nothing was said or answered.
GRACE = 5.0  # Seconds that answers have to end when the service does.
SWEEP = 3600.0  # Seconds between looks for what has expired.


def serve(
    storage: Storage,
    home: Path,
    *,
    listening: socket.socket,
    password_hash: str | None,
    proxied: bool = False,
    keep: timedelta | None = None,
    limits: Limits | None = None,
    worker: Mapping[str, str] | None = None,
    log_json: bool = False,
    told: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        storage: Where the studies are.
        home: Folder of this machine's data.
        listening: What `address.bound` returned.
        password_hash: Argon2's, of the operator's password.
        proxied: Whether a proxy before it says who asks, and speaks TLS.
        keep: How long after its last activity a study is kept.
        limits: On what users may ask.
        worker: The environment of a worker to be kept running beside it.
        log_json: Whether that worker logs JSON.
        told: Called with the URL when it listens.

    Raises:
        KeyboardInterrupt: It was ended by Ctrl-C.
    """
    limits = limits or Limits()
    _prepare(home)
    service = Service(
        storage, home, limits=limits, signing_key=signing.signing_key(storage), keep=keep
    )
    with ExitStack() as stack:
        stack.callback(service.close)
        public = proxied or not is_loopback(listening)
        app = create_app(
            service,
            secure=public,
            proxied=proxied,
            password_hash=password_hash,
            hosts=() if public else local_names(listening),
        )
        requests = RequestLimits(
            limit=app.config["MAX_CONTENT_LENGTH"], too_large=too_large(limits.upload)
        )
        sockets: dict[int, Any] = {}
        server = waitress.create_server(
            logged(app.wsgi_app),
            sockets,
            sockets=[listening],
            threads=THREADS,
            channel_timeout=SILENCE,
            cleanup_interval=5,
            # Reads on while it answers, which shows that a client has gone.
            channel_request_lookahead=1,
            recv_bytes=256 * 1024,
            max_request_header_size=HEADERS,
            max_request_body_size=requests.hard_limit,
            connection_limit=CONNECTIONS,
            ident=None,
            clear_untrusted_proxy_headers=not proxied,
        )
        requests.tend(server)
        stack.enter_context(_swept(service))
        beside = stack.enter_context(worker_process(worker, log_json=log_json))
        with asked_to_end(server.pull_trigger) as asked:
            told(url_of(listening))
            while not asked:
                _turn(sockets, 1.0)
                # Each turn goes over all connections: many of them get fewer turns, which do more.
                time.sleep(min(LONGEST_REST, REST * len(sockets)))
            _end(server, sockets, service, beside, asked)
    if asked[0] == signal.SIGINT:
        raise KeyboardInterrupt


def _prepare(home: Path) -> None:
    """Let this process have many files open, and put those of requests where there is room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    multiprocessing.util.get_temp_dir()  # Stays in /tmp: a socket's path must be short.
    # /tmp may be memory, as in the containers of docker-compose.yml.
    folder = home / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)


def _turn(sockets: dict[int, Any], seconds: float) -> None:
    """Do what there is to do for all connections, waiting for some time at most."""
    # Not `select`, which takes file descriptors up to 1,023.
    wasyncore.loop(timeout=seconds, use_poll=True, map=sockets, count=1)


def _end(
    server: Any,
    sockets: dict[int, Any],
    service: Service,
    beside: WorkerProcess | None,
    asked: list[int],
) -> None:
    """Take nothing new, and let answers end; a second signal skips the wait."""
    wasyncore.dispatcher.close(server)  # Not its trigger, which threads still pull.
    if beside is not None:
        beside.end()
    # Streams end, and what children do for others: they are told to try again.
    closing = threading.Thread(target=service.close, name="closing", daemon=True)
    closing.start()
    until = time.monotonic() + GRACE
    while closing.is_alive() or any(one.requests for one in server.active_channels.values()):
        if time.monotonic() > until or len(asked) > 1:
            logger.warning("Some answers did not end in time.")
            break
        _turn(sockets, 0.1)
    if beside is not None and len(asked) > 1:
        beside.end()


@contextmanager
def _swept(service: Service) -> Iterator[None]:
    """Delete now and then what has expired, while the block runs."""
    ended = threading.Event()

    def sweep() -> None:
        while True:
            try:
                service.sweep()
            except StorageError as error:
                logger.warning("%s", error)
            except Exception:  # This sweep's trouble is not to be the end of all later ones.
                logger.exception("What has expired cannot be deleted.")
            if ended.wait(SWEEP):
                return

    thread = threading.Thread(target=sweep, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
