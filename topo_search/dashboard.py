"""optuna-dashboard over the same storage, for whoever sits at this machine."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from storage.connection import Storage
from storage.removal import delete_of_optuna
from topo_search.signals import asked_to_end

HOST = "127.0.0.1"  # It has no login: whoever reaches it can delete studies.
_STUDY = re.compile(r"/api/studies/(\d+)", re.ASCII)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    asked: Sequence[int] = ()  # Signals that asked it to end.

    def service_actions(self) -> None:  # After each request, and twice a second.
        """End it where it was asked to."""
        if self.asked:
            raise KeyboardInterrupt if self.asked[0] == signal.SIGINT else SystemExit(0)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep the terminal free of a line for every request."""


def serve(storage: Storage, port: int, ready: Callable[[str], None]) -> None:
    """Serve until asked to end; `ready` is called with the address.

    Raises:
        OSError: Where the port is taken.
        KeyboardInterrupt: It was ended by Ctrl-C.
        SystemExit: It was ended by SIGTERM.
    """
    try:
        server = make_server(HOST, port, application(storage), _Server, _Quiet)
    except OSError as error:
        raise OSError(
            f"Port {port} of {HOST} is not free ({error.strerror}). Choose another: --port 0"
        ) from error
    with server, asked_to_end() as server.asked:
        ready(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()


def application(storage: Storage) -> Application:
    """Return optuna-dashboard, but for whom it answers and how it deletes studies."""
    from optuna_dashboard import wsgi

    dashboard: Application = wsgi(storage.optuna)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        # Not for a page elsewhere whose name was made to resolve to here (DNS rebinding).
        if environ.get("HTTP_HOST", "").rpartition(":")[0] not in (HOST, "localhost"):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Open it as http://127.0.0.1 or http://localhost."]
        study = _STUDY.fullmatch(environ["PATH_INFO"])
        deletes = environ["REQUEST_METHOD"] == "DELETE"
        if deletes and study and delete_of_optuna(storage, int(study[1])):
            start("204 No Content", [])
            return []
        return dashboard(environ, start)

    return answer
