"""The dashboard that one machine has for itself."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from topo_search.dashboard import serve


class Going:
    """Where Python drops what is raised."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_is_heard_at_any_moment(
    number: int, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optuna_dashboard.wsgi", lambda storage: None)
    storage: Any = SimpleNamespace(optuna=None)
    before = signal.getsignal(number)
    with pytest.raises(raised):
        serve(storage, 0, lambda url: Going(number) and None)
    assert signal.getsignal(number) is before
