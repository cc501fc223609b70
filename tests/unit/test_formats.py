from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo_search.formats import (
    format_count,
    format_days,
    format_left,
    format_metric,
    format_name,
    format_range,
    format_seconds,
    format_share,
    format_times,
    format_value,
    listed,
)


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.96666, "96.7 %"),
        ("accuracy", 1.0, "100 %"),
        ("accuracy", 0.0, "0 %"),
        ("accuracy", 0.99996, "99.996 %"),
        ("accuracy", 1e-9, "below 0.001 %"),
        ("balanced_accuracy", 0.5, "50.0 %"),
        ("rmse", 47439.2, "47,439"),
        ("rmse", 999.9, "1,000"),
        ("rmse", 0.59612, "0.596"),
        ("mae", 12.345, "12.3"),
        ("log_loss", 0.0, "0"),
        ("r2", -0.0312, "-0.0312"),
        ("mine", 1e-9, "1e-09"),
        ("mine", math.inf, "∞"),
        ("accuracy", None, "–"),
        ("rmse", math.nan, "–"),
    ],
)
def test_scores_read_as_people_write_them(metric: str, value: float, expected: str) -> None:
    assert format_value(metric, value).replace("\u00a0", " ") == expected


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_reads_0_or_100_only_if_it_is(share: float) -> None:
    assert format_share(share).split("\u00a0")[0] not in ("0", "0.0", "100", "100.0")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.004, "4 ms"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (75, "1 min 15 s"),
        (3599.8, "1 h"),
        (3725, "1 h 2 min"),
        (273_700, "3 d 4 h"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, expected: str) -> None:
    assert format_seconds(seconds).replace("\u00a0", " ") == expected


def test_ranges_name_their_unit_once_and_minus_signs_do_not_run_into_dashes() -> None:
    assert format_range("accuracy", 0.8833, 1).replace("\u00a0", " ") == "88.3–100 %"
    assert format_range("r2", -0.1, 0.2) == "-0.100 to 0.200"
    assert format_range("r2", None, 0.2) == "–"


def test_counts_agree_with_their_noun() -> None:
    assert [format_count(n, "row") for n in (0, 1, 12345)] == ["0 rows", "1 row", "12,345 rows"]
    assert format_count(None) == "–"
    assert [format_times(n) for n in (1, 2, 3)] == ["once", "twice", "3 times"]


def test_lists_read_as_sentences() -> None:
    assert [listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_metrics_have_their_own_names_and_others_lose_underscores() -> None:
    assert format_metric("balanced_accuracy") == "balanced accuracy"
    assert format_metric("my_score") == "my score"


@given(st.text(), st.integers(1, 100))
def test_names_are_one_short_line_that_drives_no_terminal(text: str, limit: int) -> None:
    name = format_name(text, limit)
    assert len(name) <= limit
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in name)
    assert not set("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(name)


def test_harmless_names_stay_as_they_are() -> None:
    assert format_name("Größe (m²) – سن\u200cی") == "Größe (m²) – سن\u200cی"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(days=30), "30 days"),
        (timedelta(days=1), "24 hours"),
        (timedelta(hours=84), "84 hours"),
        (timedelta(minutes=24), "24 min"),
    ],
)
def test_spans_are_told_exactly(span: timedelta, expected: str) -> None:
    assert format_days(span).replace("\xa0", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, "a few seconds"), (9.9, "a few seconds"), (75, "about 1 min 15 s")],
)
def test_what_is_left_is_told_roughly(seconds: float, expected: str) -> None:
    assert format_left(seconds).replace("\xa0", " ") == expected
