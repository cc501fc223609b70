"""Values as other programs take them: JSON without NaN, CSV that no spreadsheet runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

_PLAIN = (str, int, bool, NoneType)
# What a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
# The same amid a cell: a spreadsheet that takes semicolons or tabs to separate, as those of many
# countries do, begins a cell there. Quotes and blanks between are no part of what it reads.
_FORMULA_AFTER = re.compile(
    r"""([;\t\r\n][\s;"']*)"""
    r"([=@＝＠]|[-+＋－](?![.,]?[0-9][0-9.,]*(?:[;\t\r\n]|$)))"  # Numbers may have a sign.
)
_NUMERAL = re.compile(r"[-+][.,]?[0-9][0-9.,]*([eE][-+]?[0-9]+)?")


def plain(value: Any) -> Any:
    """Return a value as JSON allows it: numpy and pandas scalars unpacked, NaN as None."""
    if type(value) in _PLAIN:  # As most are; what follows takes ten times as long.
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float | bool) else str(value)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON values."""
    return [plain(row) for row in frame.to_dict("records")]


def csv_text(frame: pd.DataFrame, *, numerals: bool = False) -> str:
    """Return a frame as CSV text; cells and names that a spreadsheet would run begin with `'`.

    Args:
        frame: What to write.
        numerals: Whether texts such as `-1,5` are a table's numbers, to be left as they are.
    """

    def guard(cell: Any) -> Any:
        spared = numerals and isinstance(cell, str) and _NUMERAL.fullmatch(cell)
        return cell if spared else _harmless(cell)

    guarded = frame.map(guard).rename(columns=_harmless)
    # Cells are quoted for what is in the line end: a lone \r would start a new line elsewhere.
    return guarded.to_csv(index=False, lineterminator="\r\n")


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = _FORMULA_AFTER.sub(r"\1'\2", cell)
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
