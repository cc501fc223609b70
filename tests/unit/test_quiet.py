"""What libraries print while a network is loaded stays out of the way, unless it may tell why."""

import os

import pytest

from topo_search.predictor import _quiet


def test_what_is_printed_while_a_network_is_loaded_is_not_shown(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with _quiet():
        os.write(2, b"oneDNN custom operations are on.\n")
    os.write(2, b"Note: ours\n")
    assert capfd.readouterr().err == "Note: ours\n"


def test_what_is_printed_before_it_fails_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError, match="a library"), _quiet():
        os.write(2, b"undefined symbol\n")
        raise ImportError("a library")
    assert capfd.readouterr().err == "undefined symbol\n"
