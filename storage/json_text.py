"""JSON as the database is to keep it."""

import json
import math
import re
from typing import Any

# In JSON: NUL, and half a surrogate pair.
_UNREADABLE = re.compile(r"\\u0000|\\ud[89ab]..(?!\\ud[c-f]..)|(?<!\\ud[89ab]..)\\ud[c-f]..")


def to_json(value: Any) -> str:
    """Write JSON that every reader takes: numbers that are not finite become null.

    Raises:
        ValueError: A text has NUL or half a surrogate pair: PostgreSQL would take it, and fail on
            every later look into the value.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False)
    # Backslashes of the text itself are doubled; those that are left begin what is escaped.
    if found := _UNREADABLE.search(text.replace(r"\\", "  ")):
        received = json.loads(f'"{found[0]}"')
        raise ValueError(
            "Expected text of characters that UTF-8 can write, without NUL. "
            f"Received: {received!r}. Leave that character out."
        )
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
