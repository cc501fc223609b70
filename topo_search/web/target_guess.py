"""Which column of a table most likely is to be predicted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from objectives.reading import ReadingError
from objectives.table import Column, Table, choose_target

# The surer a name, the earlier it stands.
NAMES = (
    "target", "y", "class", "label", "outcome", "response", "diagnosis", "attrition", "churn",
    "churned", "exited", "survived", "default", "fraud", "species", "quality", "price", "salary",
    "income", "charges", "medv", "strength", "type",
)  # fmt: skip
# As a name's last word: `SalePrice`, `median_house_value`; `(GT)` is the ground truth.
LAST_WORDS = (
    "target", "label", "outcome", "response", "diagnosis", "attrition", "churn", "fraud", "price",
    "value", "payment", "gt",
)  # fmt: skip
UNFIT = ("identifier", "constant", "empty", "text", "datetime")  # To be predicted.
TELL_APART = ("id", "index")  # Last words of columns that only name their rows.
MOST_MISSING = 0.5  # Share of the rows.


def guess(table: Table) -> str | None:
    """Return the column that most likely is to be predicted, None where none can be.

    A known name goes first, wherever it stands, then a known last word; else it is the last column
    that may be predicted.
    """
    fit = [column for column in table.columns if _fits(column)]
    return next((column.name for column in _likely(fit) if _possible(table, column)), None)


def _fits(column: Column) -> bool:
    words = _words(column.name)
    return (
        column.kind not in UNFIT
        and column.missing < MOST_MISSING
        and not (words and words[-1] in TELL_APART)
    )


def _likely(columns: list[Column]) -> Iterator[Column]:
    """Yield the columns, the likeliest first."""
    for name in NAMES:
        yield from (column for column in columns if _words(column.name) == [name])
    for word in LAST_WORDS:
        yield from (
            column for column in columns if _words(column.name)[-1:] in ([word], [f"{word}s"])
        )
    yield from reversed(columns)


def _words(name: str) -> list[str]:
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return re.findall(r"[^\W_]+", apart.casefold())


def _possible(table: Table, column: Column) -> bool:
    try:
        choose_target(table, column.name)
    except ReadingError:
        return False
    return True
