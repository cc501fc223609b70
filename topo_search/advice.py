"""What warnings advise: options that can be given where a search begins, and nowhere else."""

from __future__ import annotations

import re

_ADVICE = re.compile(r"[.;] (?:If|if|Leave it out|Compare by|Give|Name) [^\n]*?--[a-z][^\n]*")


def without_advice(warning: str) -> str:
    """Return a warning without its last sentence where that names an option, as `--column`."""
    return _ADVICE.sub(".", warning)
