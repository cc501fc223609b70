"""A worker's monitoring port: `/metrics` for Prometheus, `/healthz` for whoever watches it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from topo_search.worker import Worker

LONGEST_SILENCE = 60.0  # Seconds without a turn of the worker, or an answer of the database.
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


class WorkerMetrics(Collector):
    """Reads a worker's state when asked for it."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def collect(self) -> Iterator[Metric]:
        """Yield what there is to know."""
        worker, slots = self.worker, list(self.worker.pool.slots)
        gauges = {
            "slots": ("Training processes.", worker.count),
            "slots_busy": ("Slots that train.", sum(not slot.idle for slot in slots)),
            "leases": ("Trials and finishings that this worker has leases of.", len(worker.held)),
            "studies": ("Open studies that it serves.", len(worker.scheduler.serving)),
            "draining": ("Whether it takes nothing new.", int(worker.draining)),
            "database_silence_seconds": (
                "Time since the database last answered.",
                time.monotonic() - worker.retry.answered_at,
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"topo_search_{name}", text, value=value)
        trials = CounterMetricFamily(
            "topo_search_trials", "Trials ended here, by how.", labels=["outcome"]
        )
        for outcome in ("complete", "pruned", "failed"):
            trials.add_metric([outcome], worker.runner.outcomes[outcome])
        yield trials
        yield CounterMetricFamily(
            "topo_search_slots_lost", "Slots that died at work.", value=worker.runner.slots_lost
        )
        yield CounterMetricFamily(
            "topo_search_leases_lost",
            "Leases that others took over or ended while a slot here was at work.",
            value=worker.runner.leases_lost,
        )


def sickness(worker: Worker) -> str | None:
    """Return what is wrong with a worker; None where nothing is."""
    now = time.monotonic()
    if now - worker.retry.answered_at > LONGEST_SILENCE:
        return f"The database has not answered for {now - worker.retry.answered_at:.0f} s."
    if now - worker.turned_at > LONGEST_SILENCE:
        return f"The worker has not taken a turn for {now - worker.turned_at:.0f} s."
    return None


@contextmanager
def monitored(worker: Worker, port: int | None) -> Iterator[str]:
    """Answer on a port, of every address of this machine, while the block runs; yields its URL.

    Raises:
        OSError: The port is taken.
    """
    if port is None:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(worker))
    ProcessCollector(registry=registry)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, generate_latest(registry), PLAIN)
            elif path == "/healthz":
                wrong = sickness(worker)
                self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), "text/plain")
            else:
                self._answer(404, b"Here are /metrics and /healthz.\n", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: it is asked every few seconds."""

    try:
        server = ThreadingHTTPServer(("", port), Handler)
    except OSError as error:
        raise OSError(f"Port {port} cannot be used: {error.strerror}. Name another.") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
