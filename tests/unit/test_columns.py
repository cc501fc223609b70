"""Kinds of columns, and how a column's text becomes values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from objectives.cells import Cells
from objectives.checks import find_sentinels
from objectives.columns import values_of
from objectives.dates import PARTS, find_order, to_moments
from objectives.numerals import decimal_evidence, to_numbers
from objectives.reading import MISSING, Kind
from objectives.row_checks import count_duplicates
from objectives.table import Overrides, ReadingError, Table, read_table


def strings(*values: str) -> np.ndarray[Any, np.dtype[np.object_]]:
    return np.array(values, dtype=object)


def table_of(
    column: Sequence[str],
    name: str = "it",
    separator: str = ";",
    overrides: Overrides | None = None,
) -> Table:
    rows = [[f'"{cell}"', f"{'xy'[i % 2]}{i % 3}", "pqr"[i % 3]] for i, cell in enumerate(column)]
    data = "\n".join(separator.join(row) for row in [[name, "other", "third"], *rows, []])
    return read_table(data.encode(), overrides=overrides)


def kind_of(column: Sequence[str], name: str = "it", separator: str = ",") -> Kind:
    return table_of(column, name, separator).columns[0].kind


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("12", ".", 12),
        ("-3.5", ".", -3.5),
        ("−3.5", ".", -3.5),
        ("–3.5", ".", -3.5),
        ("$ –3", ".", -3),
        ("5.50–", ".", -5.5),
        ("٣٫٧٥", ".", 3.75),
        ("٦٬٥٠٠", ".", 6500),
        ("９．９", ".", 9.9),
        (".5", ".", 0.5),
        ("5.", ".", 5),
        ("1e-3", ".", 0.001),
        ("$32,458", ".", 32458),
        ("-$5", ".", -5),
        ("$-5", ".", -5),
        ("€ 3", ".", 3),
        ("3 €", ".", 3),
        ("68,641.00", ".", 68641),
        ("12,34,567", ".", 1234567),
        ("1 234", ".", 1234),
        ("1'234.5", ".", 1234.5),
        ("45%", ".", 45),
        ("(1,200)", ".", -1200),
        ("12.50-", ".", -12.5),
        ("1,234.500-", ".", -1234.5),
        ("12.50- EUR", ".", -12.5),
        ("$ (1.50)", ".", -1.5),
        ("($1.50)", ".", -1.5),
        ("12.-", ".", 12),
        ("12,-", ",", 12),
        ("1.234,-- €", ",", 1234),
        ("Rs. 1,200", ".", 1200),
        ("1 200 ₽", ".", 1200),
        ("HK$5", ".", 5),
        ("$-", ".", 0),
        ("$  -", ".", 0),
        ("- €", ",", 0),
        ("RM 1000.50", ".", 1000.5),
        ("Rp10.000", ",", 10000),
        ("R 1,200", ".", 1200),
        ("-AED 5", ".", -5),
        ("1.200,50 TL", ",", 1200.5),
        ("PKR 1,200", ".", 1200),
        ("S/ 12.50", ".", 12.5),
        ("2,6", ",", 2.6),
        ("1.234,56", ",", 1234.56),
        ("1.234", ",", 1234),
        ("0,757", ",", 0.757),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, decimal: str, number: float) -> None:
    for beside in ("7", "$7"):  # the quick way and the thorough one
        assert to_numbers(strings(text, beside), decimal).tolist() == [number, 7]


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("1_000", "."),
        ("1-2", "."),
        ("0,123", "."),
        ("1,23", "."),
        ("1,2345", "."),
        ("12a", "."),
        ("2-", "."),  # a mark at school
        ("(1.50-", "."),
        ("$ (1.50", "."),
        ("<0.1", "."),
        ("12*", "."),
        ("R5", "."),
        ("RM101", "."),
        ("TOP 10", "."),
        ("1.2.3", "."),
        ("(5", "."),
        ("inf", "."),
        ("1e999", "."),
        ("١٢x", "."),
        ("0.123", ","),
        ("1,2,3", ","),
        ("1\n2", "."),
    ],
)
def test_what_is_no_number_is_missing(text: str, decimal: str) -> None:
    assert np.isnan(to_numbers(strings(text), decimal)).all()
    assert np.isnan(to_numbers(strings(text, "7"), decimal)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("texts", "evidence"),
    [
        (("1.5", "2"), "."),
        (("1,5", "2"), ","),
        (("1,234", "5.67"), "."),
        (("1,234", "2,345"), "either"),
        (("1", "2"), "both"),
        (("a", "b"), ""),
    ],
)
def test_a_column_shows_its_decimal_sign_or_not(texts: tuple[str, ...], evidence: str) -> None:
    assert decimal_evidence(strings(*texts)) == evidence


def test_the_file_decides_what_a_column_leaves_open() -> None:
    lines = "a;b\n" + "1,234;2,5\n5,678;1,25\n" * 10
    table = read_table(lines.encode())
    assert (table.reading.decimal, table.frame["a"][0]) == (",", 1.234)
    table = read_table(lines.replace("2,5\n", "2.5\n").replace("1,25", "1.25").encode())
    assert (table.reading.decimal, table.frame["a"][0], table.frame["b"][0]) == (".", 1234, 2.5)
    assert table.reading.thousands == ","


def test_a_column_unlike_the_file_is_read_by_its_own_sign_with_a_warning() -> None:
    table = read_table(("a;b;c\n" + "1,5;2.5;0.5\n2,25;3.75;1.5\n" * 10).encode())
    assert table.frame["a"].to_list()[:2] == [1.5, 2.25]
    assert any("'a' is read with the decimal sign ','" in text for text in table.warnings)


def test_columns_of_both_decimal_signs_leave_the_others_in_doubt() -> None:
    table = read_table(("a;b;c\n" + "1,5;52.0001;52.182\n2,5;52.0002;51.091\n" * 10).encode())
    assert any("'52.182' is read as" in text for text in table.warnings)


def test_numbers_that_nothing_decides_are_read_with_a_warning_and_can_be_overridden() -> None:
    rows = "a,b\n" + '"1,234",x\n"2,345",y\n' * 10
    table = read_table(rows.encode())
    assert table.frame["a"][0] == 1234
    assert any("'1,234' is read as 1234" in text for text in table.warnings)
    told = read_table(rows.encode(), overrides=Overrides(decimal=","))
    assert told.frame["a"][0] == 1.234
    assert not any("is read as" in text for text in told.warnings)
    semicolons = "a;b\n" + "1,234;x\n2,345;y\n" * 10
    table = read_table(semicolons.encode())
    assert (table.reading.decimal, table.frame["a"][0]) == (",", 1.234)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["1.5", "2.5", "", "4"] * 8, "numeric"),
        (["1", "2", "3", "3+"] * 8, "categorical"),
        (["red", "green"] * 15, "categorical"),
        (["yes", "No", "YES", ""] * 8, "boolean"),
        (["TRUE", "false"] * 15, "boolean"),
        (["0", "1", "1"] * 10, "boolean"),
        (["0.0", "1.0"] * 15, "boolean"),
        (["p", "e"] * 15, "categorical"),
        (["2024-01-31", "2023-02-28"] * 15, "datetime"),
        (["18:30", "07:15"] * 15, "datetime"),
        (["same"] * 30, "constant"),
        (["", "NA", "?", "-", "N/A", "null"] * 5, "empty"),
        (["Y", ""] * 15, "categorical"),
        (["01234", "00123", "99999"] * 10, "categorical"),
        (["1234567890123456", "1234567890123457", "6543210987654321"] * 10, "categorical"),
        ([f"word{i} and some more of it" for i in range(30)], "text"),
        ([f"{i:04x}-KEY{i}" for i in range(30)], "identifier"),
        ([str(i) for i in range(1, 31)], "identifier"),
        ([str(i * 7 % 31) for i in range(31)], "identifier"),
        ([str(3 * i + i % 2) for i in range(30)], "identifier"),
        ([f"{i * 1.1:.3f}" for i in range(30)], "numeric"),
        ([str(i * i % 97 * 31) for i in range(30)], "numeric"),
    ],
)
def test_kinds_are_found(column: list[str], kind: Kind) -> None:
    assert kind_of(column) == kind


def test_names_help_to_tell_identifiers_from_numbers() -> None:
    column = [str(7919 * i % 10007) for i in range(40)]
    assert kind_of(column, "customerID") == "identifier"
    assert kind_of(column, "Case #") == "identifier"
    for name in ("income", "Number of employees", "case_count", "price index", "Keynes"):
        assert kind_of(column, name) == "numeric"
    for name in ("No.", "house_number", "id_buyer", "row index"):
        assert kind_of(column, name) == "identifier"
    assert kind_of([str(1980 + i) for i in range(40)], "year") == "numeric"


@pytest.mark.parametrize("name", ["wavelength", "CO2", "it", "Jahr"])
def test_whole_measures_in_steps_are_no_row_numbers(name: str) -> None:
    assert kind_of([str(400 + i) for i in range(40)], name) == "numeric"
    assert kind_of([str(400 + i * 7 % 40) for i in range(40)], name) == "numeric"


@pytest.mark.parametrize("name", ["age", "days", "Année", "x", "week no"])
def test_measures_may_count_from_nought_where_their_name_says_so(name: str) -> None:
    assert kind_of([str(i) for i in range(40)], name) == "numeric"


@pytest.mark.parametrize("odd", ["", "137", "Total"])
@pytest.mark.parametrize("name", ["Id", "Unnamed: 0", ""])
def test_one_odd_cell_does_not_make_row_numbers_features(name: str, odd: str) -> None:
    column = [str(i * 137 % 6101) for i in range(200)]
    column[100] = odd
    assert kind_of(column, name) == "identifier"


def test_a_first_column_without_a_name_is_an_index_only_where_the_others_have_names() -> None:
    column = [str(i * 137 % 6101) for i in range(60)]
    assert kind_of(column, "column_1") == "numeric"
    halves = [f"{i * 137 % 6101}.5" for i in range(60)]
    assert kind_of(halves, "") == "numeric"


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([*[f"{i % 90:05d}" for i in range(400)], "12345-6789"], "categorical"),
        ([*[f"{i % 90:05d}" for i in range(400)], "-1"], "numeric"),
        (["030", "089", "0341", "0711"] * 10, "categorical"),
        (["030", "089", "34.1"] * 10, "numeric"),
        (["007", "12", "345"] * 10, "numeric"),
        ([f"{i % 24:02d}" for i in range(100)], "numeric"),
        ([f"{i % 103:02d}" for i in range(400)], "numeric"),
    ],
)
def test_codes_begin_with_noughts_whatever_their_length(column: list[str], kind: Kind) -> None:
    assert kind_of(column) == kind


def test_odd_texts_among_many_numbers_are_missing_and_counted() -> None:
    column = [f"{i * 1.1:.2f}" for i in range(400)]
    column[123] = "broken"
    table = table_of(column)
    assert table.columns[0].kind == "numeric"
    assert np.isnan(table.frame["it"][123])
    assert table.columns[0].missing == 1 / 400
    assert any(
        "'broken' on line 125 is no number and counts as missing" in text for text in table.warnings
    )


def test_missing_texts_are_missing_in_every_kind() -> None:
    table = table_of(["5.5", "?", " ", "NA", "1.5"] * 6)
    assert np.isnan(table.frame["it"][1:4]).all()
    assert table.columns[0].missing == 0.6
    table = table_of(["red", "?", "blue"] * 10)
    assert table.frame["it"].to_list()[:3] == ["red", "", "blue"]
    assert table.frame["it"].dtype == object


def test_texts_that_stand_for_nothing_among_words_are_said_and_may_be_values() -> None:
    column = ["EU", "NA", "AS", "-"] * 10
    table = table_of(column)
    assert table.columns[0].missing == 0.5
    assert any("'NA' among" in said and "--present=NA" in said for said in table.warnings)
    assert any("'-' among" in said and "10 cells of 'it'" in said for said in table.warnings)
    kept = table_of(column, overrides=Overrides(present=("NA", "-")))
    assert kept.frame["it"].to_list()[:4] == column[:4]
    assert not any("among words" in said for said in kept.warnings)
    numbers = table_of(["1.5", "NA", "2.5"] * 10)
    assert not any("among words" in said for said in numbers.warnings)


def test_more_texts_can_be_called_missing() -> None:
    column = [*map(str, range(50, 90)), "-200", "-200"]
    table = table_of(column, overrides=Overrides(missing=("-200",)))
    assert table.frame["it"].isna().sum() == 2
    assert set(MISSING) < set(table.reading.missing)


@pytest.mark.parametrize(
    ("texts", "order", "first"),
    [
        (("2024-02-29", "2023-01-05"), "ymd", [2024, 2, 29, 0, 0, 0]),
        (("2024-02-29T18:05:07Z", "2024-03-01T00:00:00Z"), "ymd", [2024, 2, 29, 18, 5, 7]),
        (("2024-02-29 18:05:07.25+01:00",), "ymd", [2024, 2, 29, 18, 5, 7.25]),
        (("2024/2/9", "2024/12/10"), "ymd", [2024, 2, 9, 0, 0, 0]),
        (("2024-02", "2024-03"), "ymd", [2024, 2, 1, 0, 0, 0]),
        (("1/12/2017", "30/11/2018"), "dmy", [2017, 12, 1, 0, 0, 0]),
        (("1/12/2017", "11/30/2018"), "mdy", [2017, 1, 12, 0, 0, 0]),
        (("1.2.99", "3.4.01"), "dmy", [1999, 2, 1, 0, 0, 0]),
        (("12 Jan 2020", "3 March 2021"), "dmy", [2020, 1, 12, 0, 0, 0]),
        (("Sun, 12-Jan-20 6:30 PM",), "dmy", [2020, 1, 12, 18, 30, 0]),
        (("Jan 5, 2004", "February 6, 2005"), "mdy", [2004, 1, 5, 0, 0, 0]),
        (("99-12-31", "98-01-02"), "yy", [1999, 12, 31, 0, 0, 0]),
        (("20231120", "20231121"), "digits", [2023, 11, 20, 0, 0, 0]),
        (("20231120T220507Z",), "digits", [2023, 11, 20, 22, 5, 7]),
        (("Nov 2023", "Dec 2023"), "my", [2023, 11, 1, 0, 0, 0]),
        (("01/2020", "12/2021"), "my", [2020, 1, 1, 0, 0, 0]),
        (("1-2020",), "my", [2020, 1, 1, 0, 0, 0]),
        (("1. Januar 2020", "31. Dezember 2021"), "dmy", [2020, 1, 1, 0, 0, 0]),
        (("15 mai 2020", "1er août 2020", "3 juillet 2020"), "dmy", [2020, 5, 15, 0, 0, 0]),
        (("2 février 2020", "3 juin 2020"), "dmy", [2020, 2, 2, 0, 0, 0]),
        (("3 de marzo de 2020", "1 de enero de 2021"), "dmy", [2020, 3, 3, 0, 0, 0]),
        (("4 luglio 2020", "5 gennaio 2020"), "dmy", [2020, 7, 4, 0, 0, 0]),
        (("5 de outubro de 2020", "6 de março de 2020"), "dmy", [2020, 10, 5, 0, 0, 0]),
        (("6 mei 2020", "7 maart 2021"), "dmy", [2020, 5, 6, 0, 0, 0]),
        (("07-MRZ-20", "08-OKT-21"), "dmy", [2020, 3, 7, 0, 0, 0]),
        (("März 2020", "Dez. 2021"), "my", [2020, 3, 1, 0, 0, 0]),
        (("1. 12. 2020", "30. 1. 2021"), "dmy", [2020, 12, 1, 0, 0, 0]),
        (("Wed Aug 27 13:08:45 +0000 2008",), "ctime", [2008, 8, 27, 13, 8, 45]),
        (
            ("Wed Aug  6 13:08:45 2008", "Thu Jul 3 01:00:00 UTC 2008"),
            "ctime",
            [2008, 8, 6, 13, 8, 45],
        ),
        (("2023/05/28 2:08:30 PM GMT+2",), "ymd", [2023, 5, 28, 14, 8, 30]),
        (("2023/05/28 2:08:30 UTC+02:00",), "ymd", [2023, 5, 28, 2, 8, 30]),
        (("2023-04-12 02:00:00 CEST", "2023-01-12 02:00:00 CET"), "ymd", [2023, 4, 12, 2, 0, 0]),
        (("2023-03-19T18:00:00+02:00[Europe/Berlin]",), "ymd", [2023, 3, 19, 18, 0, 0]),
        (
            ("Wed Mar 10 2021 04:48:49 GMT+0100 (Central European Time)",),
            "mdy",
            [2021, 3, 10, 4, 48, 49],
        ),
        (("25.6.2021 18.26", "15.12.2021 0.40"), "dmy", [2021, 6, 25, 18, 26, 0]),
        (("26JAN14", "15OCT13"), "log", [2014, 1, 26, 0, 0, 0]),
        (("18MAR2021",), "log", [2021, 3, 18, 0, 0, 0]),
        (("14MAR2021:23:22:49",), "log", [2021, 3, 14, 23, 22, 49]),
        (("[10/Oct/2000:13:55:36 -0700]",), "log", [2000, 10, 10, 13, 55, 36]),
        (("2021080205",), "digits", [2021, 8, 2, 5, 0, 0]),
        (("201912", "202001"), "months", [2019, 12, 1, 0, 0, 0]),
        (("2023-12-31 24:00", "2023-12-31 23:00"), "ymd", [2024, 1, 1, 0, 0, 0]),
        (("28/02/2024 24:00:00",), "dmy", [2024, 2, 29, 0, 0, 0]),
        (("24:00", "1:00"), "time", [1970, 1, 1, 24, 0, 0]),
        (("lundi 3 janvier 2022", "mar. 16 juil. 2022"), "dmy", [2022, 1, 3, 0, 0, 0]),
        (("Mo, 28.02.2022", "Sonntag, 5. März 2022"), "dmy", [2022, 2, 28, 0, 0, 0]),
        (("miércoles, 3 de enero de 2022",), "dmy", [2022, 1, 3, 0, 0, 0]),
        (("mercoledì 5 gennaio 2022",), "dmy", [2022, 1, 5, 0, 0, 0]),
        (("terça-feira, 1 de março de 2022",), "dmy", [2022, 3, 1, 0, 0, 0]),
        (("za 5 maart 2022",), "dmy", [2022, 3, 5, 0, 0, 0]),
        (("2021. 12. 3. 오후 5:37:11",), "ymd", [2021, 12, 3, 17, 37, 11]),
        (("2021/12/3 上午 12:07",), "ymd", [2021, 12, 3, 0, 7, 0]),
        (("18.00.00", "07.30.15"), "time", [1970, 1, 1, 18, 0, 0]),
        (("12:05 AM", "1:00 pm"), "time", [1970, 1, 1, 0, 5, 0]),
    ],
)
def test_dates_are_read_by_the_order_the_whole_column_shows(
    texts: tuple[str, ...], order: str, first: list[float]
) -> None:
    found, share, guess = find_order(strings(*texts), None)
    assert (found, share, guess) == (order, 1.0, False)
    assert to_moments(strings(*texts), found)[0].tolist() == first


@pytest.mark.parametrize(
    "text", ["31/02/2024", "2023-02-29", "25:00", "13/13/2024", "0001-01-01", "13:00 PM", "24:01"]
)
def test_impossible_dates_are_missing(text: str) -> None:
    for order in ("ymd", "dmy", "mdy", "time"):
        assert np.isnan(to_moments(strings(text), order)).all()


@pytest.mark.parametrize(
    "texts",
    [
        ("set 10", "out 12"),
        ("13/2020", "14/2020"),
        ("12.2020",),
        ("1set10",),
        ("Martin 3.4.2020", "Segment 1.2.20"),
        ("18.26", "17.05"),
        ("[10/Oct/2000:13:55:36",),
        ("1677996272", "201913"),
    ],
)
def test_what_only_looks_like_a_date_is_none(texts: tuple[str, ...]) -> None:
    assert find_order(strings(*texts), None)[1] == 0


def test_ambiguous_dates_are_said_to_be_and_can_be_overridden() -> None:
    column = [f"{i % 12 + 1}/{i % 7 + 2}/2024" for i in range(30)]
    table = table_of(column)
    assert table.reading.columns[0].dates == "mdy"
    assert any("month first" in text for text in table.warnings)
    table = table_of(column, overrides=Overrides(day_first=True))
    assert table.reading.columns[0].dates == "dmy"
    assert not any("first" in text for text in table.warnings)


@pytest.mark.parametrize(
    ("texts", "order", "says"),
    [
        (["23-11-20", "23-11-22", "23-12-23"], "yy", "year first"),
        (["20-11-23", "22-11-23", "23-12-23"], "dmy", ""),
        (["Nov-23", "Dec-23", "Jan-24"], "my", "--column it=categorical"),
        (["03/14/55", "12/30/68", "07/08/71"], "mdy", "'12/30/68' is read as a date of 2068"),
        (["03/14/2055", "12/30/2068"], "mdy", ""),
        (["2024-01-01T10:00:00+05:30", "2024-01-02T10:00:00-08:00"], "ymd", "+05:30, -08:00"),
        (["2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z"], "ymd", ""),
        (["2024-01-01 10:00:00Z", "2024-01-02 10:00:00UTC"], "ymd", ""),
        (["2024/01/01 1:00:00 AM GMT+1", "2024/07/01 1:00:00 AM GMT+2"], "ymd", "GMT+1, GMT+2"),
        (["2024-01-01 10:00:00 CET", "2024-07-02 10:00:00 CEST"], "ymd", "CEST, CET"),
        (["2018-4", "2019-1", "2019-2"], "ymd", "If they are quarters"),
        (["4/2018", "1/2019", "2/2019"], "my", "If they are quarters"),
        (["2018-4", "2019-1", "2019-12"], "ymd", ""),
        (["2018-04", "2019-01", "2019-02"], "ymd", ""),
    ],
)
def test_doubtful_dates_are_said(texts: list[str], order: str, says: str) -> None:
    table = table_of(texts * 10)
    assert table.reading.columns[0].dates == order
    about = [text for text in table.warnings if text.startswith("Column 'it'")]
    assert (len(about), says in "".join(about)) == (bool(says), True)
    given = table_of(texts * 10, overrides=Overrides(day_first=True))
    assert given.reading.columns[0].dates != "yy"


def test_eight_digits_are_dates_where_the_name_or_the_user_says_so() -> None:
    column = [f"202311{i % 28 + 1:02d}" for i in range(60)]
    assert kind_of(column, "it") == "numeric"
    assert kind_of(column, "start_date") == "datetime"
    assert kind_of(["20231199", *column], "start_date") == "numeric"
    forced = table_of(column, overrides=Overrides(kinds={"it": "datetime"}))
    assert forced.frame["it.day"].to_list()[:2] == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "order"),
    [
        ("Datum", "202311{:02}", "digits"),
        ("Geburtsdatum", "202311{:02}", "digits"),
        ("fecha", "202311{:02}", "digits"),
        ("dt", "202311{:02}", "digits"),
        ("MESS_DATUM", "20231120{:02}", "digits"),
        ("YYYYMMDD", "202311{:02}", "digits"),
        ("time", "202311{:02}1200", "digits"),
        ("period", "2023{:02}", "months"),
        ("Monat", "2023{:02}", "months"),
        ("order_date", "2023{:02}", "months"),
        ("week", "2023{:02}", ""),
        ("quarter", "2023{:02}", ""),
        ("price", "2023{:02}", ""),
        ("price", "202311{:02}", ""),
        ("price", "3023{:02}", ""),
    ],
)
def test_names_tell_dates_that_are_written_as_numbers(name: str, text: str, order: str) -> None:
    texts = [text.format(i % 12 + 1) for i in range(60)]
    table = table_of(texts, name)
    assert table.reading.columns[0].dates == order
    doubted = name == "price" and text.startswith("2")
    assert any(f"--column {name}=datetime" in said for said in table.warnings) == doubted
    told = table_of(texts, name, overrides=Overrides(kinds={name: "numeric"}))
    assert told.columns[0].kind == "numeric"
    assert not any("datetime" in said for said in told.warnings)


def test_days_as_excel_counts_them_are_told() -> None:
    serials = [str(44294 + 3 * i) for i in range(60)]
    [told] = table_of(serials, "Date").warnings
    assert "'44294' is 2021-04-08" in told
    for name in ("price", "day_sales", "data_mb"):
        assert not table_of(serials, name).warnings
    assert not table_of([*serials, "12"], "Date").warnings


@pytest.mark.parametrize(
    ("name", "codes", "doubted"),
    [
        ("zip", ["1002", "60601", "601"], True),
        ("PLZ", ["4109", "80331"], True),
        ("zip", ["10002", "60601"], False),
        ("PLZ", ["1010", "8020"], False),
        ("price", ["1002", "60601"], False),
    ],
)
def test_postal_codes_without_their_noughts_are_told(
    name: str, codes: list[str], doubted: bool
) -> None:
    table = table_of(codes * 9, name)
    said = [text for text in table.warnings if f"--column {name}=categorical" in text]
    assert (table.columns[0].kind, len(said)) == ("numeric", doubted)


def test_sas_says_nothing_of_how_other_dates_are_read() -> None:
    rows = [f"{i % 12 + 1}/{i % 7 + 2}/2024,{i % 28 + 1:02}MAR2023,{i % 2}" for i in range(60)]
    table = read_table("\n".join(["a,b,c", *rows]).encode())
    assert [rule.dates for rule in table.reading.columns[:2]] == ["mdy", "log"]
    assert any("month first" in text for text in table.warnings)


@pytest.mark.parametrize(
    ("texts", "weekday"),
    [
        (["Jan-20", "Mar-21"], False),
        (["2018-03", "2019-04"], False),
        (["2018-03-01", "2019-04-01"], False),
        (["2018-03-01", "2019-04-02"], True),
    ],
)
def test_months_have_no_weekday(texts: list[str], weekday: bool) -> None:
    [rule, *_] = table_of(texts * 9).reading.columns
    assert {"year", "month", "days"} <= {*rule.parts}
    assert ("weekday" in rule.parts) == weekday
    earlier = replace(rule, parts=("weekday",))  # as of a network that took it
    values, _ = values_of(Cells.of("it", 0, texts[:1], frozenset()), earlier)
    assert values["weekday"].tolist() == [{"Ja": 2, "20": 3}[texts[0][:2]]]


def test_another_column_decides_which_way_ambiguous_dates_are_read() -> None:
    rows = [f"{i % 12 + 1}/{i % 7 + 2}/2024,{i % 28 + 1}/3/2023,{i % 2}" for i in range(60)]
    table = read_table("\n".join(["a,b,c", *rows]).encode())
    assert [rule.dates for rule in table.reading.columns[:2]] == ["dmy", "dmy"]


def test_dates_become_the_numbers_that_vary() -> None:
    table = table_of(["2024-02-28 12:00", "2024-03-01 18:30", ""] * 10, name="when")
    names = [feature.name for feature in table.features if feature.column == "when"]
    assert names == [f"when.{part}" for part in PARTS if part not in ("year", "second")]
    assert table.frame["when.days"].to_list()[:2] == pytest.approx([0.5, 2 + 18.5 / 24])
    assert table.frame["when.weekday"].to_list()[:2] == [2, 4]
    assert table.frame.loc[2, names].isna().all()
    times = table_of(["18.00.00", "19.00.00"] * 15, name="time")
    assert [feature.name for feature in times.features][:1] == ["time.hour"]


def test_a_kind_can_be_overridden_where_it_fits() -> None:
    column = ["1", "2", "3"] * 10
    for kind in ("categorical", "text"):
        table = table_of(column, overrides=Overrides(kinds={"it": kind}))
        assert table.frame["it"].to_list()[:3] == ["1", "2", "3"]
    table = table_of(["in", "out"] * 15, overrides=Overrides(kinds={"1": "boolean"}))
    assert table.frame["it"].to_list()[:2] == [0.0, 1.0]
    keys = [str(i) for i in range(30)]
    table = table_of(keys, overrides=Overrides(kinds={"it": "numeric"}))
    assert table.frame["it"].to_list() == list(range(30))
    mixed = table_of(["1", "2", "oops"] * 10, overrides=Overrides(kinds={"it": "numeric"}))
    assert mixed.columns[0].missing == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["numeric", "datetime", "boolean"])
def test_a_kind_that_fits_no_cell_is_refused_with_the_column(kind: Kind) -> None:
    with pytest.raises(ReadingError, match="column 'it'"):
        table_of(["a", "b", "c"] * 10, overrides=Overrides(kinds={"it": kind}))


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([*range(20), -999, -999, -999], (-999,)),
        ([*np.linspace(600, 2000, 50), *[-200] * 5], (-200,)),
        ([*range(20), *[9999] * 3], (9999,)),
        ([*range(-40, 40), *[-200] * 3], (-200,)),
        ([*range(20), -999], ()),
        ([*range(100), *[99] * 30], ()),
        ([0, 1, 2, 50, 50, 50], ()),
        ([*range(20)], ()),
        ([np.nan, np.nan], ()),
    ],
)
def test_sentinels_stand_apart_and_recur(numbers: list[float], found: tuple[float, ...]) -> None:
    assert find_sentinels(np.array(numbers, dtype=float)) == found


def test_duplicate_rows_are_counted_over_all_columns() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-1, 3, size=(200, 3)).astype(np.int32)
    expected = 200 - len({tuple(row) for row in codes.tolist()})
    assert count_duplicates(codes.T) == expected > 0
    assert count_duplicates([np.arange(5, dtype=np.int32), np.zeros(5, dtype=np.int32)]) == 0


def test_cells_that_excel_is_to_take_as_they_stand_are_read_without_their_equals_sign() -> None:
    texts = ['="a"', "a", '="NA"', '=" 2 "', "=1", 'b ="a"']
    assert Cells.of("it", 0, texts, frozenset(MISSING)).values.tolist() == ["a", "2", *texts[4:]]
    rows = "".join(f'="{i}.5",="{i % 9:05d}",{"xy"[i % 2]}\n' for i in range(60))
    table = read_table(f"a,zip,y\n{rows}".encode())
    assert [column.kind for column in table.columns][:2] == ["numeric", "categorical"]
    assert table.frame["a"].to_list()[:2] == [0.5, 1.5]


def test_cells_know_equal_texts_by_their_meaning() -> None:
    cells = Cells.of("it", 0, ["a", " a ", "?", "b", ",,"], frozenset(MISSING))
    assert cells.values.tolist() == ["a", "b"]
    assert cells.codes.tolist() == [0, 0, -1, 1, -1]
    assert cells.counts.tolist() == [2, 1]
    assert cells.texts().tolist() == ["a", "a", "", "b", ""]


def test_seasons_are_no_months() -> None:
    seasons = [f"{year}/{(year + 1) % 100:02}" for year in range(1995, 2011)]
    assert kind_of(seasons * 3) == kind_of([s.replace("/", "-") for s in seasons] * 3)
    assert kind_of(seasons * 3) == "categorical"
    assert not table_of(seasons * 3).warnings
    assert kind_of(["2001/02", "2001/03", "2001/04", "2002/02"] * 9) == "datetime"
    said = Overrides(kinds={"it": "datetime"})
    assert table_of(seasons[6:] * 3, overrides=said).columns[0].kind == "datetime"


def test_versions_are_no_dates_by_their_name() -> None:
    texts = [f"{1 + i % 3}.{i % 12 + 1}.{10 + i}" for i in range(19)] * 3
    assert kind_of(texts, name="app_version") == "categorical"
    assert kind_of(texts, name="seen") == "datetime"
    assert kind_of([f"{text[:-2]}20{text[-2:]}" for text in texts], name="version") == "datetime"
    assert kind_of(texts, name="build_date") == "datetime"


def test_versions_do_not_say_how_dates_are_read() -> None:
    rows = [f"{i % 12 + 1}/{i % 7 + 1}/2024,{13 + i % 9}.1.{i % 9 + 10},{i}" for i in range(60)]
    for name, order in (("app_version", "mdy"), ("seen", "dmy")):
        table = read_table("\n".join([f"day,{name},x", *rows]).encode())
        assert table.reading.columns[0].dates == order


def test_durations_among_times_of_day_are_told() -> None:
    clocks = [f"{i % 24}:{i % 60:02}" for i in range(60)]
    assert not table_of(clocks).warnings
    [told] = table_of([*clocks, "1:05:59", "0:59:12"]).warnings
    assert "write them as numbers of seconds" in told


def test_telephone_numbers_are_no_quantities() -> None:
    assert kind_of([f"+49 {100 + i} {300 + 7 * i}" for i in range(50)]) == "identifier"
    assert kind_of([f"{100 + i} {300 + 7 * i}" for i in range(50)]) == "numeric"
    assert kind_of([f"{'+-'[i % 2]}{1 + i} {300 + 7 * i}" for i in range(50)]) == "numeric"


def test_one_number_among_reviews_leaves_them_text() -> None:
    reviews = [f"The number {i} of these many words was good enough for me" for i in range(300)]
    assert kind_of([*reviews, "007", "1234567890123456789"]) == "text"


def test_numbers_that_are_all_in_brackets_are_told() -> None:
    years = [f"({1950 + i % 50})" for i in range(99)]
    [told] = table_of(years).warnings
    assert "'(1950)' is read as -1950" in told
    assert not table_of([*years, "12"]).warnings
    [told] = [text for text in table_of(["(0)", *years]).warnings if "brackets" in text]
    assert "'(1950)' is read as -1950" in told


def test_what_nobody_sees_is_no_part_of_a_cell() -> None:
    column = [f"\u200e{i / 7:.3f}\u200b" for i in range(60)]
    table = table_of(column, name="\u2066it\u2069\ufeff")
    assert (table.columns[0].name, table.columns[0].kind) == ("it", "numeric")


def test_dates_may_be_written_as_in_china_japan_and_korea() -> None:
    for text in ("2021年5月12日", "2021년 5월 12일", "２０２１年５月１２日"):
        assert to_moments(strings(text), "ymd")[0, :3].tolist() == [2021, 5, 12]
    assert to_moments(strings("2021年5月"), "ymd")[0, :3].tolist() == [2021, 5, 1]
    assert (
        kind_of([f"20{10 + i % 9}年{i % 12 + 1}月{i % 28 + 1}日" for i in range(60)]) == "datetime"
    )
