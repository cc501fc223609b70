"""Running the web service: one process with threads enough for all who watch."""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import argon2
import waitress

from storage import retention, signing
from storage.connection import Storage, StorageError
from topo_search.web.access import masked
from topo_search.web.app import create_app
from topo_search.web.service import Limits, Service

logger = logging.getLogger(__name__)

THREADS = 256  # 200 open event streams, and the calls beside them.
SILENCE = 120  # Seconds until a connection is closed on which nothing was said.
SWEEP = 3600.0  # Seconds between looks for what has expired.
RESTART = 5.0  # Seconds until a worker that ended by itself is started again.
DRAIN = "10s"  # What a worker's running trials have when the service ends.
_PR_SET_PDEATHSIG = 1


def serve(
    storage: Storage,
    home: Path,
    *,
    host: str,
    port: int,
    password: str | None,
    proxied: bool = False,
    keep: timedelta | None = None,
    limits: Limits | None = None,
    worker: bool = False,
    told: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        storage: Where the studies are.
        home: Folder of this machine's data.
        host: Address to listen on.
        port: Port; 0 takes any that is free.
        password: The operator's, or its Argon2 hash.
        proxied: Whether a proxy before it says who asks, and speaks TLS.
        keep: How long after its last activity a study is kept.
        limits: On what users may ask.
        worker: Whether to start a worker beside it.
        told: Called with the URL when it listens.

    Raises:
        ValueError: A public address without a password.
        OSError: The address cannot be listened on.
    """
    public = not is_loopback(host)
    if public and not password:
        raise ValueError(
            f"Expected an operator's password to serve on {host}, which others can reach. Set "
            "TOPO_SEARCH_OPERATOR_PASSWORD_FILE (or TOPO_SEARCH_OPERATOR_PASSWORD), or serve on "
            "127.0.0.1."
        )
    service = Service(
        storage,
        home,
        limits=limits or Limits(),
        signing_key=signing.signing_key(storage),
        keep=keep,
    )
    with ExitStack() as stack:
        stack.callback(service.close)
        # A proxy speaks TLS, wherever this listens.
        app = create_app(
            service,
            secure=public or proxied,
            proxied=proxied,
            password_hash=hashed(password),
        )
        try:
            server = waitress.create_server(
                logged(app.wsgi_app),
                host=host,
                port=port,
                threads=THREADS,
                channel_timeout=SILENCE,
                max_request_body_size=app.config["MAX_CONTENT_LENGTH"],
                connection_limit=4 * THREADS,
                ident=None,
                clear_untrusted_proxy_headers=not proxied,
            )
        except OSError as error:
            raise OSError(
                f"Port {port} of {host} cannot be used: {error.strerror}. Name another with --port."
            ) from error
        stack.enter_context(_swept(storage))
        if worker:
            stack.enter_context(_worker())
        signal.signal(signal.SIGTERM, _end)
        place = f"[{host}]" if ":" in host else host
        told(f"http://{place}:{server.effective_port}/")
        try:
            server.run()
        finally:
            service.watches.end()
            server.close()


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def logged(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that logs every request, the keys in its path hidden."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = time.monotonic()

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            path = masked(environ.get("PATH_INFO", ""))
            took = (time.monotonic() - began) * 1000
            level = logging.DEBUG if path.startswith(("/assets", "/bootstrap")) else logging.INFO
            logger.log(
                level,
                "%s %s %s %.0f ms",
                environ.get("REQUEST_METHOD"),
                ascii(path)[1:-1],
                status.partition(" ")[0],
                took,
            )
            return start_response(status, headers, *rest)

        return app(environ, started)

    return answer


def hashed(password: str | None) -> str | None:
    """Return the Argon2 hash of a password; of one that is a hash already, itself.

    Raises:
        ValueError: A hash that is not whole.
    """
    if not password:
        return None
    if not password.startswith("$argon2"):
        return argon2.PasswordHasher().hash(password)
    try:
        argon2.extract_parameters(password)
    except argon2.exceptions.InvalidHashError as error:
        raise ValueError(
            "Expected a password or its Argon2 hash, as argon2-cffi writes it. Received what "
            "begins as a hash and is none (not shown). In a shell, put it in single quotes: it "
            "holds dollar signs."
        ) from error
    return password


def _end(number: int, frame: Any) -> None:
    raise SystemExit(0)


@contextmanager
def _swept(storage: Storage) -> Iterator[None]:
    """Delete now and then what has expired, while the block runs."""
    ended = threading.Event()

    def sweep() -> None:
        while True:
            try:
                swept = retention.sweep(storage)
                if swept.studies or swept.datasets:
                    logger.info("Expired: %s", swept)
            except StorageError as error:
                logger.warning("%s", error)
            if ended.wait(SWEEP):
                return

    thread = threading.Thread(target=sweep, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def _worker() -> Iterator[None]:
    """Keep a worker running while the block runs; it ends with this process, however that ends."""
    ended = threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    libc = ctypes.CDLL(None)

    def die_too() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "topo_search.cli", "worker", "--drain", DRAIN]
        # In a group of its own: Ctrl-C is for the server, which then ends it.
        return subprocess.Popen(command, start_new_session=True, preexec_fn=die_too)

    def watch() -> None:
        while not ended.wait(1.0):
            if running[-1].poll() is not None:
                logger.error("The worker ended with %s.", running[-1].returncode)
                if ended.wait(RESTART):
                    return
                running.append(start())

    running.append(start())
    thread = threading.Thread(target=watch, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        running[-1].terminate()
        running[-1].wait()


def read_password() -> str | None:
    """Return the operator's password from the environment, or from the file that it names.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is empty, or not text.
    """
    path = os.environ.get("TOPO_SEARCH_OPERATOR_PASSWORD_FILE")
    if not path:
        return os.environ.get("TOPO_SEARCH_OPERATOR_PASSWORD") or None
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise OSError(
            f"Expected a file with the operator's password. TOPO_SEARCH_OPERATOR_PASSWORD_FILE "
            f"names {path}, which cannot be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected the operator's password in {path}, as UTF-8. Received other bytes; write "
            "the file again."
        ) from error
    if not text.strip():
        raise ValueError(f"Expected the operator's password in {path}. Received an empty file.")
    return text
