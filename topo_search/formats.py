"""How numbers and names read, in the terminal, in charts and on pages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from objectives.metrics import METRICS

NBSP = "\u00a0"
NOTHING = "–"  # Stands for a number that is not there.
PERCENT = frozenset({"accuracy", "balanced_accuracy"})
BASELINE_NAMES = {
    "majority": "always guessing the most common class",
    "mean": "always guessing the mean",
    "median": "always guessing the median",
    "linear": "a linear model",
    "boosting": "gradient boosting",
}
# Control characters drive a terminal; direction overrides make a name read as another
# (https://trojansource.codes). Joiners stay: Persian and emoji need them.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def format_metric(metric: str) -> str:
    """Return a metric's name as people write it; unknown names lose their underscores."""
    known = METRICS.get(metric)
    return known.label if known else format_name(metric.replace("_", " "))


def format_value(metric: str, value: float | None) -> str:
    """Return a score for reading: shares as percent, others to three significant digits.

    Args:
        metric: Name of the metric, such as `accuracy` or `rmse`.
        value: The score; None and NaN read as a dash.
    """
    if value is None or math.isnan(value):
        return NOTHING
    return format_share(value) if metric in PERCENT else format_number(value)


def format_range(metric: str, low: float | None, high: float | None) -> str:
    """Return an interval for reading, such as `88.2–100 %`, or a dash where it is unknown."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NOTHING
    first, last = format_value(metric, low), format_value(metric, high)
    dash = " to " if low < 0 else "–"
    return f"{first.removesuffix(f'{NBSP}%')}{dash}{last}"


def format_share(share: float) -> str:
    """Return a share as percent with one decimal, with more where it would falsely read 0 or 100.

    Args:
        share: A share of one; not finite reads as a dash.
    """
    if not math.isfinite(share):
        return NOTHING
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", f"{NBSP}%")
    text = next(
        (text for n in (1, 2, 3) if float(text := f"{share * 100:.{n}f}") not in (0.0, 100.0)),
        "over 99.999" if share > 0.5 else "below 0.001",
    )
    return f"{text}{NBSP}%"


def format_number(value: float | None) -> str:
    """Return a number to three significant digits, whole with separators from 1,000."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size == 0:
        return "0"
    if not 1e-4 <= size < 1e12:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def format_seconds(seconds: float | None) -> str:
    """Return a duration for reading: `40 ms`, `0.4 s`, `1 min 15 s`, `1 h 2 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f}{NBSP}s" if seconds >= 0.1 else f"{seconds * 1000:.0f}{NBSP}ms"
    whole = round(seconds)
    for size, unit, small_size, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small_size
            text = f"{whole // size}{NBSP}{unit}"
            return f"{text} {rest}{NBSP}{small_unit}" if rest else text
    return f"{whole}{NBSP}s"


def format_left(seconds: float) -> str:
    """Return for how long something goes on yet, which nobody knows exactly: `about 2 min`."""
    return "a few seconds" if seconds < 10 else f"about {format_seconds(seconds)}"


def format_days(span: timedelta) -> str:
    """Return for how long something is kept: `30 days`, or `36 hours` where those are no days."""
    seconds = span.total_seconds()
    if seconds >= 172_800 and not seconds % 86_400:
        return format_count(seconds / 86_400, "day")
    return format_count(seconds / 3600, "hour") if not seconds % 3600 else format_seconds(seconds)


def format_count(count: float | None, noun: str = "", plural: str = "") -> str:
    """Return a whole number with separators, with its noun in the number that fits.

    Args:
        count: The number; None and NaN read as a dash.
        noun: What is counted, in the singular, such as `row`.
        plural: The plural where it is not the noun and an s.
    """
    if count is None or math.isnan(count):
        return NOTHING
    number = f"{count:,.0f}"
    if not noun:
        return number
    return f"{number} {noun if count == 1 else plural or noun + 's'}"


def format_bytes(size: float) -> str:
    """Return a size for reading: `0 B`, `512 B`, `3.4 KiB`, `200 MiB`, `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 999.5 or unit == "TiB":
            break
        size /= 1024
    whole = unit == "B" or size >= 99.95
    return f"{size:,.{0 if whole else 1}f}{NBSP}{unit}"


def format_times(times: int) -> str:
    """Return how often: `once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(times, f"{times:,} times")


def format_name(text: object, limit: int = 80) -> str:
    """Return someone else's text as one harmless line; it still needs escaping for HTML.

    Control characters and direction overrides become `�`; what is longer than `limit`
    characters ends in an ellipsis.
    """
    line = _UNSAFE.sub("�", str(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def format_parameters(parameters: Mapping[str, Any]) -> str:
    """Return a point of a space on one line: `filters 32, dropout 0.3335`."""
    shown = [
        f"{format_name(name, 40)} "
        + (f"{value:.4g}" if isinstance(value, float) else format_name(value, 40))
        for name, value in parameters.items()
    ]
    return ", ".join(shown) or "no parameters"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
