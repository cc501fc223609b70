"""A clock that is wrong by as many seconds as the environment says, for all of a process.

Imported before anything that could read the time; without the variable nothing is changed.
"""

import datetime
import os
import time
from typing import Any

OFFSET = float(os.environ.get("FLEET_CLOCK_OFFSET", "0"))

if OFFSET:
    _time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime

    class Skewed(datetime.datetime):
        """The wrong date and time."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _datetime.now(tz) + datetime.timedelta(seconds=OFFSET)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    time.time = lambda: _time() + OFFSET
    time.time_ns = lambda: _time_ns() + int(OFFSET * 1e9)
    datetime.datetime = Skewed  # type: ignore[misc]
