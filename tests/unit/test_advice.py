"""Where no option can be given, none is advised."""

from pathlib import Path

import pytest

from objectives.checks import target_warnings
from objectives.split_checks import split_warnings
from objectives.table import choose_target, read_table
from topo_search.advice import without_advice
from topo_search.web.target_guess import guess


@pytest.mark.parametrize(
    ("warning", "left"),
    [
        (
            "Column 'id' only tells rows apart ('A1' and so on); it is left out. If it tells more, "
            "say so with --column id=categorical",
            "Column 'id' only tells rows apart ('A1' and so on); it is left out.",
        ),
        (
            "Line 1 above the table: 'Prices.'. Left out; if the table begins there, say so with "
            "--skip 0",
            "Line 1 above the table: 'Prices.'. Left out.",
        ),
        (
            "Column 'a' alone gives 'y' away (99.9%). Leave it out with --drop a unless it is "
            "known before the target is.",
            "Column 'a' alone gives 'y' away (99.9%).",
        ),
        (
            "Column 'n. a.' holds -99.5 in 9 rows, far from its other values. If it stands for a "
            "missing value, say so with --missing=-99.5",
            "Column 'n. a.' holds -99.5 in 9 rows, far from its other values.",
        ),
        (
            "Column 'share' holds numbers with % and without; the sign is ignored. If 5% is to be "
            "0.05, write it so.",
            "Column 'share' holds numbers with % and without; the sign is ignored. If 5% is to be "
            "0.05, write it so.",
        ),
        ("Unknown columns are not used: '--a b'.", "Unknown columns are not used: '--a b'."),
    ],
)
def test_a_warning_loses_what_names_an_option(warning: str, left: str) -> None:
    assert without_advice(warning) == left


def test_no_warning_of_a_real_table_keeps_an_option(shared_data: Path) -> None:
    advised = 0
    for path in sorted(shared_data.glob("*.csv")):
        table = read_table(path.read_bytes())
        target = choose_target(table, guess(table) or -1)
        warnings = (
            *table.warnings,
            *target_warnings(table, target),
            *split_warnings(table, target),
        )
        advised += sum("--" in warning for warning in warnings)
        assert [text for text in map(without_advice, warnings) if "--" in text] == []
    assert advised > 10
