"""What the web service does beside answering goes on after a failure."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from topo_search.web import server, worker_process
from topo_search.web.worker_process import WorkerProcess

DEADLINE = 60.0


def test_a_worker_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[Any] = []
    started, ended = threading.Event(), threading.Event()
    running = SimpleNamespace(poll=lambda: None, terminate=ended.set, wait=lambda seconds: 0)

    def start(*given: Any, **options: Any) -> Any:
        tries.append(given)
        if len(tries) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.set()
        return running

    monkeypatch.setattr(worker_process.subprocess, "Popen", start)
    monkeypatch.setattr(worker_process, "RESTART", 0.01)
    one = WorkerProcess({}, log_json=False)
    try:
        assert started.wait(DEADLINE)
    finally:
        one.close()
    assert len(tries) == 2 and ended.is_set()
    assert "No worker can be started: [Errno 11]" in caplog.text


def test_a_sweep_that_fails_is_followed_by_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweeps: list[None] = []
    again = threading.Event()

    def sweep() -> None:
        sweeps.append(None)
        if len(sweeps) == 1:
            raise KeyError("what nobody expected")
        again.set()

    monkeypatch.setattr(server, "SWEEP", 0.01)
    service: Any = SimpleNamespace(sweep=sweep)
    with server._swept(service):
        assert again.wait(DEADLINE)
    (record,) = caplog.records
    assert record.message == "What has expired cannot be deleted." and record.exc_info
