"""Files as people really hand them over: exports, titles, units, footers, broken quotes."""

import json
from typing import Any

import numpy as np
import pytest

from objectives.checks import find_sentinels, target_warnings
from objectives.table import (
    Overrides,
    RaggedError,
    Reading,
    ReadingError,
    Table,
    apply_reading,
    choose_target,
    read_table,
    split_target,
)
from objectives.wrapped import without_wrapping

BODY = [f"{i % 7},{i * 1.37:.2f},{'xy'[i * 7 % 5 % 2]}" for i in range(60)]

EQUAL = (
    "Rows that equal an earlier row: {}. They are kept; equal rows may fall into training and test."
)


def csv_of(*above: str, body: list[str] = BODY, below: tuple[str, ...] = ()) -> bytes:
    return "\n".join([*above, *body, *below, ""]).encode()


def kinds_of(table: Table) -> list[str]:
    return [column.kind for column in table.columns]


def warned(table: Table, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in table.warnings)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("71.382,42 EUR", 71382.42),
        ("EUR 71.382,42", 71382.42),
        ("CHF 23'800.03", 23800.03),
        ("1.234,50 kr", 1234.5),
        ("R$ 1.234,50", 1234.5),
    ],
)
def test_a_currency_s_code_is_read_like_its_sign(cell: str, number: float) -> None:
    table = read_table(("price;y\n" + f"{cell};a\n{cell.replace('3', '6')};b\n" * 12).encode())
    assert (table.reading.separator, table.frame["price"][0]) == (";", number)


def test_an_exponent_rules_out_groups_of_thousands() -> None:
    table = read_table(("p,y\n" + "2.380e+04,a\n5.442e+04,b\n" * 12).encode())
    assert table.frame["p"].to_list()[:2] == [23800.0, 54420.0]
    assert table.warnings == (EQUAL.format(22),)


@pytest.mark.parametrize("pair", [("ja", "nein"), ("J", "N"), ("WAHR", "FALSCH")])
def test_german_words_of_truth_are_boolean(pair: tuple[str, str]) -> None:
    table = read_table(("z,paid\n" + f"1,{pair[0]}\n2,{pair[1]}\n" * 10).encode())
    assert table.frame["paid"].to_list()[:2] == [1.0, 0.0]


def test_several_lines_of_titles_as_a_spreadsheet_writes_them_are_skipped() -> None:
    table = read_table(csv_of("Report 2024,,", "As of: 01.02.2024,,", ",,", "a,b,y"))
    assert [column.name for column in table.columns] == ["a", "b", "y"]
    assert (table.reading.skip, len(table.labels)) == (3, 60)


# Names that are numbers or dates, titles, headings of groups, and names of another width


@pytest.mark.parametrize(
    ("first", "body", "header"),
    [
        ("country,2000,2005,2010", ["DE,1.5,2,3", "FR,2.5,3,4"], True),
        ("2005,2000", ["1,2", "3,2"], True),
        ("label,900,902,904", ["a,0.11,0.21,0.31", "b,0.12,0.22,0.30"], True),
        ("900.5,903,911,950,955.5,y", ["1,3,2,4,5,a", "3,1,2,5,4,b"], True),
        ("country,1/22/20,1/23/20", ["DE,1,2", "FR,3,4"], True),
        ("meter,00:30,01:00", ["m1,0.5,2", "m2,0.7,4"], True),
        ("x1,3,5,7", ["x2,1,5,5", "x3,3,4,7"], False),  # marks, which recur
        ("x1,1990,1995", ["x2,1991,1993", "x3,1985,2001"], False),
        ("x1,1,2,3,4,5", ["x2,2,3,4,5,6", "x3,4,5,6,7,8"], False),
        ("①,②,③", ["1.5,2,a", "2.5,3,b"], True),
        ("9" * 5000 + "," + "8" * 5000, ["1.5,2", "2.5,3"], False),
    ],
)
def test_numbers_and_dates_may_be_names(first: str, body: list[str], header: bool) -> None:
    assert read_table(csv_of(first, body=body * 15)).reading.header is header


@pytest.mark.parametrize(
    ("above", "names", "line"),
    [
        (["Report,,Printed 1 May", ",,", "a,b,y"], ["a", "b", "y"], 3),
        ([",2023,", "a,b,y"], ["a", "b", "y"], 2),
        (["#a,b,y"], ["a", "b", "y"], 1),
        (["# a,b,y", "# s,Jy,-"], ["a", "b", "y"], 1),
        (["# made, by hand", "# of me", "a,b,y"], ["a", "b", "y"], 3),
        (["# KNMI", "# A = all", "# a,b,y", "#"], ["a", "b", "y"], 3),
    ],
)
def test_the_names_are_found_below_titles_and_headings_of_groups(
    above: list[str], names: list[str], line: int
) -> None:
    table = read_table(csv_of(*above))
    assert [column.name for column in table.columns] == names
    assert (table.reading.skip, len(table.labels)) == (line - 1, 60)
    assert warned(table, "above the table", "--skip 0") is (line > 1)
    assert kinds_of(apply_reading(csv_of(*above), table.reading)) == kinds_of(table)


def test_rows_that_begin_with_a_hash_are_no_comments_where_all_do() -> None:
    for names in ("#rank,b,y", "rank,b,y"):
        data = csv_of(names, body=[f"#{i},{i * 7 % 50},x" for i in range(60)])
        table = read_table(data)
        assert [*table.labels] == ["rank", "b", "y"]
        assert table.labels["rank"][59] == "#59"
        assert len(apply_reading(data, table.reading).labels) == 60


def test_names_that_are_not_as_many_as_the_columns_are_refused_with_their_line() -> None:
    body = ["1,20,5,a", "2,21,7,b"] * 15  # decimal commas, perhaps
    for names in ("id,temp,y", "id,temp,rain,wind,y", "country,2019,2020"):
        for given in ({}, {"header": True}, {"skip": 0}):
            with pytest.raises(ReadingError, match="Line 1 has . fields.*have 4.*--skip 1"):
                read_table(csv_of(names, body=body), overrides=Overrides(**given))
    with pytest.raises(ReadingError, match="Line 2 has 2 fields.*--skip 2"):
        read_table(csv_of("SEP=,", "a,b", body=body))
    assert len(read_table(csv_of("a,b", body=body), overrides=Overrides(skip=1)).columns) == 4


def test_separators_behind_all_rows_but_the_header_keep_its_names() -> None:
    for names in ("a;b;y", "2019;2021;z"):
        data = csv_of(names, body=["1,5;2;x;;;", "2,5;3;y;;;"] * 15)
        table = read_table(data)
        assert [*table.labels][:3] == names.split(";")
        assert apply_reading(data, table.reading).labels.equals(table.labels)


@pytest.mark.parametrize(
    ("names", "body", "separator"),
    [
        ("genres,rating", ["Action|Drama|War,7.5", "Action|Drama|Noir,6.5"], ","),
        ("pos,y", ["52.1;13.2,a", "52.3;13.4,b"], ","),
        ("addr;preis", ["Weg 1,Bonn;1,5", "Weg 2,Bonn;2,5"], ";"),
    ],
)
def test_lists_in_cells_do_not_decide_what_separates_them(
    names: str, body: list[str], separator: str
) -> None:
    table = read_table(csv_of(names, body=body * 15))
    assert (table.reading.separator, [*table.labels]) == (separator, names.split(separator))


def test_blanks_are_suggested_where_each_line_has_some() -> None:
    with pytest.raises(ReadingError, match="--separator ' '"):
        read_table(csv_of('"len" "y"', body=[f'"{i}" 1.5 "a"' for i in range(9)]))


@pytest.mark.parametrize("sign", ["~", "^", ":", " "])
def test_the_separator_that_is_suggested_stands_in_each_line(sign: str) -> None:
    with pytest.raises(ReadingError, match=rf"--separator '\{sign}'"):
        read_table(csv_of(f"a{sign}b", body=[f"1.5{sign}x"] * 9))


@pytest.mark.parametrize("body", [["3"] * 9, ["red", "blue hue"] * 5])
def test_a_file_of_one_column_is_refused_with_that_one_is_lacking(body: list[str]) -> None:
    with pytest.raises(ReadingError, match="Received one column: 'a'. Add one to learn from"):
        read_table(csv_of("a", body=body))


@pytest.mark.parametrize("units", ["°C,hPa,-", "[m],[s],[]"])
def test_a_row_of_units_below_the_header_is_left_out_and_said(units: str) -> None:
    table = read_table(csv_of("a,b,y", units))
    assert kinds_of(table) == ["numeric", "numeric", "categorical"]
    assert [(row.line, row.reason) for row in table.dropped] == [(2, "holds units, not values")]
    assert len(table.labels) == 60


def test_one_unit_suffices_where_a_row_holds_nothing_else() -> None:
    body = [f"n{i % 9},{i}.5,{'xy'[i % 2]}" for i in range(60)]
    table = read_table(csv_of("name,val,kind", ",kg,", body=body))
    assert kinds_of(table) == ["categorical", "numeric", "categorical"]
    assert [row.line for row in table.dropped] == [2]
    assert not read_table(csv_of("name,val,kind", ",unknown,", body=body)).dropped
    assert not read_table(csv_of("name,val,kind", "n1,kg,", body=body)).dropped


def test_a_later_file_has_a_row_of_units_only_if_the_first_had() -> None:
    for units, rows in ([], 61), (["°C,hPa,-"], 60):
        reading = read_table(csv_of("a,b,y", *units)).reading
        again = Reading.from_json(json.loads(json.dumps(reading.to_json())))
        assert len(apply_reading(csv_of("a,b,y", "low,mid,x"), again).labels) == rows
    assert len(apply_reading(csv_of("a,b,y", "unknown,unknown,x"), again).labels) == 61


@pytest.mark.parametrize(
    ("above", "body", "left_out"),
    [
        (
            ["Price,Close,Volume", "Ticker,AAPL,AAPL", "Date,,"],
            [f"2024-01-{i + 1:02d},{100 + i}.5,{900 + i * 7}" for i in range(28)],
            {2: "holds units, not values", 3: "holds units, not values"},
        ),
        (
            ["ID,Satisfied?,Gender", ",Response,Response"],
            ["10,Very,M", "11,Not,F", "10,Not,M"] * 10,
            {2: "holds 'Response', not values"},
        ),
        ([",price,price", ",mean,std", "ticker,,"], [f"T{i},{i}.5,{i % 9}" for i in range(60)],
         {2: "holds units, not values", 3: "holds 'ticker', not values"}),
        (["a,b,c", "ticker,,"], [f"T{i},{i}.5,{i % 9}" for i in range(60)], {}),
        (["Title,CPIH", "CDID,L55O", "Unit,%"], [f"{1700 + i},{i % 9}.5" for i in range(60)],
         {2: "holds units, not values", 3: "holds units, not values"}),
        (["a,b", "no,no"], ["yes,yes"] * 10, {}),  # too few to say
        (["a,b", "no,no"], ["yes,no", "no,yes"] * 20, {}),
        (["a,b", "no,maybe"], ["yes,yes", "well,well"] * 20, {}),
    ],
)  # fmt: skip
def test_second_names_below_the_header_are_left_out(
    above: list[str], body: list[str], left_out: dict[int, str]
) -> None:
    table = read_table(csv_of(*above, body=body), overrides=Overrides(header=True))
    assert {row.line: row.reason for row in table.dropped} == left_out
    assert len(table.labels) == len(above) - 1 + len(body) - len(left_out)


@pytest.mark.parametrize(
    ("below", "left_out"),
    [
        ((",,", "Source: ERP,,", "Printed 1 May 2024,,"), [63, 64]),
        (("7,,",), []),
        (("Source: ERP,,x",), []),
    ],
)
def test_notes_below_the_table_are_left_out(below: tuple[str, ...], left_out: list[int]) -> None:
    table = read_table(csv_of("a,b,y", body=BODY, below=below))
    assert [row.line for row in table.dropped] == left_out
    assert warned(table, "line 63 (holds one text, as a note)") is bool(left_out)
    sparse = csv_of("a,b,y", body=["x,,", *BODY, "x,,"])
    assert not read_table(sparse).dropped


@pytest.mark.parametrize("again", ["\ufeffa,b,y", "A,B,Y", " a, b ,y"])
def test_a_header_is_repeated_whatever_its_blanks_and_case(again: str) -> None:
    table = read_table(csv_of("a,b,y", *BODY, again))
    assert [row.line for row in table.dropped] == [62]


def test_a_first_row_with_a_number_or_one_odd_text_is_no_row_of_units() -> None:
    assert len(read_table(csv_of("a,b,y", "low,3.5,x")).labels) == 61
    assert len(read_table(csv_of("a,y", "?,x", body=[f"{i},q" for i in range(30)])).labels) == 31


@pytest.mark.parametrize(
    "ruler",
    ["---,---,---", "-----+------+----", "+-----+------+", "|---|:--:|", "=======  ==", "-" * 60],
)
@pytest.mark.parametrize("separator", [",", "|"])
def test_lines_drawn_between_rows_are_left_out_however_few_rows_there_are(
    ruler: str, separator: str
) -> None:
    lines = [ruler, "a,b,y", ruler, *BODY[:15], ruler, *BODY[15:30], ruler]
    data = "\n".join(lines).replace(",", separator).encode()
    table = read_table(data)
    assert [*table.labels] == ["a", "b", "y"]
    assert kinds_of(table) == ["numeric", "numeric", "categorical"]
    assert [(row.line, row.reason) for row in table.dropped] == [
        (line, "is a ruler") for line in (3, 19, 35)
    ]
    assert len(table.labels) == 30 and not warned(table, "above the table")
    assert apply_reading(data, table.reading).labels.equals(table.labels)


def test_rows_of_marks_for_nothing_are_no_rulers() -> None:
    marks = ["-,-,-", "--,--,--", "-1,---,x", "---,+,-"]
    table = read_table(csv_of("a,b,y", body=[*BODY, *marks] * 2))
    assert len(table.labels) == 128


def test_a_header_repeated_by_joined_files_is_left_out_however_often() -> None:
    table = read_table(csv_of("a,b,y", *BODY, "a,b,y", *BODY, "a,b,y"))
    assert kinds_of(table) == ["numeric", "numeric", "categorical"]
    assert [row.line for row in table.dropped] == [62, 123]
    assert warned(table, "line 62 (repeats the header)")


def test_lines_that_an_open_quote_swallows_are_refused_with_their_first() -> None:
    broken = csv_of("y,b,a", *BODY, '"x,1,a', *BODY, '"x,1,a', *BODY)
    with pytest.raises(ReadingError, match="line 62 is closed amid a cell on line 123.*--quote ''"):
        read_table(broken)
    assert len(read_table(broken, overrides=Overrides(quote="")).labels) == 242
    last = csv_of("y,b,a", *BODY, '"x,1,a', 'x "y,1,a')
    last = last[: last.rindex(b"\n")]
    with pytest.raises(ReadingError, match="amid a cell on line 63"):
        read_table(last)


def test_quoted_line_ends_before_a_blank_are_no_broken_quote() -> None:
    body = [f'"line {i}\nsecond, {i}" ,{i * 3 % 8}' for i in range(40)]
    assert len(read_table(csv_of("a,b", body=body)).labels) == 40


def test_a_cell_of_a_megabyte_is_read() -> None:
    data = csv_of("a,b,y", '7,"' + "word " * 250_000 + '",x')
    assert len(read_table(data).labels["b"][0]) == 1_249_999


def test_blanks_may_separate_where_the_user_says_so() -> None:
    data = ("a      b   y\n" + "1      2.5 x\n22     3   y\n" * 12).encode()
    with pytest.raises(ReadingError, match="--separator ' '"):
        read_table(data)
    table = read_table(data, overrides=Overrides(separator=" "))
    assert kinds_of(table) == ["numeric", "numeric", "categorical"]


def test_skipping_the_whole_file_is_refused() -> None:
    with pytest.raises(ReadingError, match="1000 lines to skip"):
        read_table(csv_of("a,b,y"), overrides=Overrides(skip=1000))


@pytest.mark.parametrize("broken", [b"Gr\xff\xc3\xb6\xc3\x9fe", b"Gr\xc3"])
def test_utf_8_with_a_broken_byte_is_refused_with_its_line_and_not_read_as_another(
    broken: bytes,
) -> None:
    body = [f"{i % 7},Größe" for i in range(30)]
    data = csv_of("a,b", body=body) + b"3," + broken + b"\n"
    with pytest.raises(ReadingError, match="Line 32 .* --encoding latin-1"):
        read_table(data)


def test_an_encoding_that_the_user_names_is_kept_for_later_files() -> None:
    data = csv_of("a,b", body=[f"{i % 7},{'größe' if i % 2 else 'klein'}" for i in range(30)])
    reading = read_table(data, overrides=Overrides(encoding="latin-1")).reading
    again = Reading.from_json(json.loads(json.dumps(reading.to_json())))
    assert apply_reading(data, again).labels["b"][1] == "grÃ¶Ã\x9fe"
    found = read_table(data).reading
    assert apply_reading(data, found).labels["b"][1] == "größe"


def test_a_zero_byte_late_in_the_file_is_refused_with_its_line() -> None:
    with pytest.raises(ReadingError, match="zero byte on line 40002"):
        read_table(csv_of("a,b,y", body=["1,2.5,x"] * 40_000, below=("1\0,2,x",)))
    wide = csv_of("a,b,y").decode().encode("utf-16-le")
    assert len(read_table(wide, overrides=Overrides(encoding="UTF-16LE")).labels) == 60


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xef\xbb\xbf", "empty"),
        (b"\xef\xbb\xbf\r\n", "empty"),
        (b"<rows>\n<row><a>1</a></row>\n</rows>", "XML"),
        (b"<div class='x'>\n<table></table></div>", "HTML"),
        (b"\x1f\x8b\x08 rest", "Unpack it"),
    ],
)
def test_more_of_what_is_no_table_is_refused_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(ReadingError, match=what):
        read_table(data)


def test_a_name_in_angle_brackets_is_no_markup() -> None:
    assert len(read_table(csv_of("<a>,<b>,y")).labels) == 60


@pytest.mark.parametrize("odd", ["1e400", "(.)", "oops"])
def test_a_few_texts_that_keep_a_column_from_being_numeric_are_named(odd: str) -> None:
    table = read_table(csv_of("a,b,y", body=[*BODY[:30], f"3,{odd},x", *BODY[30:]]))
    assert warned(table, "'b'", f"1 of its 61 cells: '{odd}'", "line 32", "--column b=numeric")
    told = read_table(
        csv_of("a,b,y", f"3,{odd},x", "3,1,x"), overrides=Overrides(kinds={"b": "categorical"})
    )
    assert not warned(told, "not numeric")


@pytest.mark.parametrize(
    ("odd", "other", "kind"),
    [
        ("<0.{i}", "{i}.5", "numeric"),
        ("{i}.5*", "{i}.25", "numeric"),
        ("not before {i}", "2024-01-{i}", "datetime"),
    ],
)
def test_a_column_half_of_numbers_or_dates_is_warned_of_however_many_texts_are_odd(
    odd: str, other: str, kind: str
) -> None:
    body = [f"{(odd if i % 3 == 0 else other).format(i=i % 28 + 1)},x" for i in range(60)]
    table = read_table(csv_of("a,y", body=body))
    assert warned(table, f"'{odd.format(i=1)}'", "20 of its 60 cells", f"--column a={kind}")


def test_rows_that_may_be_sums_are_said() -> None:
    body = [f"s{i % 5},{i * 3},{i % 7}" for i in range(200)]
    table = read_table(csv_of("shop,sales,y", *body, "Grand Total,59700,597", body=[]))
    assert warned(table, "'Grand Total'", "line 202")
    often = [f"{('total', 'partial')[i % 2]},{i * 3}" for i in range(60)]
    assert not warned(read_table(csv_of("scope,y", body=often)), "sum up")
    means = read_table(csv_of("shop,sales,y", *body, "Average,300,3", "Std. Dev.,9,1", body=[]))
    assert warned(means, "'Average', 'Std. Dev.'", "sum up others (2)")
    media = read_table(csv_of("shop,sales,y", "media,3,4", *body, body=[]))
    assert not warned(media, "sum up")


def test_levels_among_a_few_numbers_and_codes_are_not_called_odd() -> None:
    body = [f"{('0', '1', '2', '3+')[i % 4]},{i % 90:05d},x{i % 3}" for i in range(60)]
    assert not warned(read_table(csv_of("a,zip,y", body=body)), "not numeric")


def test_infinity_in_words_is_missing() -> None:
    body = [f"{'Infinity' if i % 9 == 0 else i * 1.5},{'xy'[i % 2]}" for i in range(40)]
    assert read_table(csv_of("a,y", body=body)).columns[0].missing == pytest.approx(5 / 40)


@pytest.mark.parametrize(
    "mark",
    ["..", ".", ":", "–", "—", "…", "#NV", "#WERT!", "#VALEUR!", "#N/D", "Err:502", ".a", "None",
     "unknown", "k.A."],
)  # fmt: skip
@pytest.mark.parametrize(("value", "kind"), [("{}.5", "numeric"), ("2{:03}-01-05", "datetime")])
def test_usual_marks_for_nothing_are_missing_among_numbers_and_dates(
    mark: str, value: str, kind: str
) -> None:
    body = [f"{mark if i % 3 == 0 else value.format(i)},{i % 7},{'xy'[i % 2]}" for i in range(60)]
    table = read_table(csv_of("a,b,y", body=body))
    assert (table.columns[0].kind, table.columns[0].missing) == (kind, 20 / 60)
    again = Reading.from_json(json.loads(json.dumps(table.reading.to_json())))
    later = apply_reading(csv_of("a,b,y", body=body[:4]), again)
    assert (later.columns[0].missing, later.warnings) == (0.5, ())
    kept = read_table(csv_of("a,b,y", body=body), overrides=Overrides(present=(mark,)))
    assert kept.columns[0].kind == "categorical"


def test_marks_for_nothing_are_levels_among_words_and_codes() -> None:
    body = [f"{('None', 'a', 'b')[i % 3]},{('unknown', '01234', '99999')[i % 3]},{i}.5"
            for i in range(60)]  # fmt: skip
    table = read_table(csv_of("a,zip,y", body=body))
    assert kinds_of(table) == ["categorical", "categorical", "numeric"]
    assert [column.missing for column in table.columns] == [0, 0, 0]
    numbers = csv_of("a,b", body=[f"{('None', '1', '2')[i % 3]},{i}.5" for i in range(60)])
    kinds: dict[str, Any] = {"a": "categorical"}
    told = read_table(numbers, overrides=Overrides(kinds=kinds))
    assert set(told.frame["a"]) == {"None", "1", "2"}


def test_a_word_that_may_be_a_level_among_few_numbers_is_said_to_be_missing() -> None:
    body = [f"{i % 7},{('1', '2', 'unknown')[i % 3]}" for i in range(60)]
    said = ("'y'", "'unknown' among numbers counts as missing (20 cells)", "--present=unknown")
    assert warned(read_table(csv_of("a,y", body=body)), *said)
    kept = read_table(csv_of("a,y", body=body), overrides=Overrides(present=("unknown",)))
    assert choose_target(kept, "y").classes == ("1", "2", "unknown")
    many = [f"{i % 7},{i * 1.5 if i % 3 else 'unknown'}" for i in range(60)]
    assert not warned(read_table(csv_of("a,y", body=many)), "--present")


def test_a_target_of_nearly_only_numbers_is_refused_with_how_to_read_it_as_numbers() -> None:
    body = [f"{i % 7},{'n/d?' if i == 3 else i * 1.5}" for i in range(60)]
    table = read_table(csv_of("a,y", body=body))
    with pytest.raises(ReadingError, match="too many.*nearly all are numbers.*--column y=numeric"):
        choose_target(table, "y")


def test_percentages_among_plain_numbers_are_warned_of() -> None:
    mixed = [f"{i}%,x" if i % 2 else f"{i / 100},y" for i in range(40)]
    assert warned(read_table(csv_of("p,y", body=mixed)), "with % and without")
    alike = [f"({i / 9:.1f}%),x" if i % 2 else f"{i}%,y" for i in range(40)]
    assert not warned(read_table(csv_of("p,y", body=alike)), "without")


@pytest.mark.parametrize(
    ("first", "later", "says"),
    [
        ("{}.5%", "0.0{}", "without %, where the table that was searched has them with"),
        ("{}.5", "{}.5%", "with %, where the table that was searched has them without"),
        ("{}.5%", "{}.5%", ""),
        ("{}.5%", "0", ""),
        ("{}.5", "{}.5", ""),
    ],
)
def test_a_later_file_with_other_percent_signs_is_warned_of(
    first: str, later: str, says: str
) -> None:
    table = read_table(csv_of("p,y", body=[f"{first.format(i)},{'xy'[i % 2]}" for i in range(40)]))
    again = Reading.from_json(json.loads(json.dumps(table.reading.to_json())))
    other = apply_reading(csv_of("p,y", body=[f"{later.format(i)},x" for i in range(1, 5)]), again)
    assert warned(other, "'p'", "%", says) is bool(says)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["$5.50", "€6.25"], "$, €"),
        (["5.50 USD", "AED 6.25"], "$, AED"),
        (["$5.50", "USD 6.25", "7.5"], ""),
        (["kr 5", "6 kr."], ""),
    ],
)
def test_several_currencies_in_one_column_are_warned_of(cells: list[str], said: str) -> None:
    body = [f"{cell},{'xy'[i % 2]}" for i, cell in enumerate(cells * 20)]
    assert warned(read_table(csv_of("p,y", body=body)), "several currencies", said) is bool(said)


def test_three_decimals_among_german_prices_are_told_to_be_read_as_thousands() -> None:
    rows = [f"{50 + i}.182;{i},99;{'xy'[i % 2]}" for i in range(40)]
    data = csv_of("lat;preis;y", body=rows)
    table = read_table(data)
    assert table.frame["lat"][0] == 50182
    assert warned(table, "'lat'", "'50.182' is read as 50182", "--decimal .")
    assert not warned(read_table(data, overrides=Overrides(decimal=",")), "is read as")
    thousands = csv_of("n;preis;y", body=["950;1,5;x", *rows])
    assert not warned(read_table(thousands), "is read as")


def test_a_sentinel_is_named_as_the_file_writes_it() -> None:
    body = [f"{'-999.00' if i % 9 == 0 else i % 30 / 4},{'xy'[i % 2]}" for i in range(60)]
    assert warned(read_table(csv_of("a,y", body=body)), "--missing=-999.00")


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([0, 1, 2, 3] * 5 + [-999] * 3, (-999.0,)),
        ([0, 1, 2, 3] * 5 + [-9] * 3, ()),
        ([100, 200, 300] * 5 + [999] * 3, ()),
        ([1] * 20 + [99] * 3, ()),
    ],
)
def test_few_other_values_make_only_a_far_mark_a_sentinel(
    numbers: list[float], found: tuple[float, ...]
) -> None:
    assert find_sentinels(np.array(numbers, dtype=float)) == found


def test_pandas_unnamed_index_is_an_identifier_in_any_order() -> None:
    body = [f"{i * 137 % 6101},{i % 5},{'xy'[i % 2]}" for i in range(60)]
    assert kinds_of(read_table(csv_of("Unnamed: 0,a,y", body=body)))[0] == "identifier"


def test_row_numbers_are_kept_or_named_with_the_remedy_where_nothing_else_is_left() -> None:
    body = [f"{i},{i * 7 % 60 / 4}" for i in range(60)]
    table = read_table(csv_of("place,y", body=body))
    assert kinds_of(table) == ["numeric", "numeric"]
    assert warned(table, "'place'", "kept, as nothing else is left")
    named = read_table(csv_of("Id,y", body=body))
    with pytest.raises(ReadingError, match="'Id' seem only to tell.*--column Id=numeric"):
        split_target(named, choose_target(named, "y"))
    third = read_table(csv_of("place,b,y", body=[f"{line},{line[0]}" for line in body]))
    assert kinds_of(third)[0] == "identifier"


def test_classes_alike_and_rows_without_a_target_are_warned_of() -> None:
    alike = ("Cat", "cat", "Dog", "", "Café", "Cafe\u0301", "ab", "a\u200bb", "a b", "a  b")
    body = [f"{i % 7},{alike[i % 10]}" for i in range(150)]
    table = read_table(csv_of("a,y", body=body))
    warnings = target_warnings(table, choose_target(table, "y"))
    for pair in ("'Cat'", "'Caf\\xe9'", "'Cafe\\u0301'", "'a\\u200bb'", "'a b', 'ab'"):
        assert any(pair in text and "Dog" not in text for text in warnings)
    assert any("'y': 15. They are left out" in text for text in warnings)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["+", "-"], r"15 cells '-' count as missing.*--present=-"),
        (["Y", ""], "15 cells without one are a class, write its name"),
    ],
)
def test_the_refusal_of_a_target_says_what_its_missing_cells_may_be(
    cells: list[str], says: str
) -> None:
    data = csv_of("a,y", body=[f"{i}.5,{cells[i % 2]}" for i in range(30)])
    with pytest.raises(ReadingError, match=says):
        choose_target(read_table(data), "y")
    if "-" in cells:
        table = read_table(data, overrides=Overrides(present=("-",)))
        assert choose_target(table, "y").classes == ("+", "-")


# Units behind numbers

HALVES = [f"{n}.5" for n in range(20)]


def numbers_of(cells: list[str]) -> tuple[Table, list[float]]:
    body = "".join(f"{cell};{number};x\n" for number, cell in enumerate(cells * 5))
    table = read_table(f"a;number;label\n{body}".encode())
    numeric = kinds_of(table)[0] == "numeric"
    return table, table.frame["a"].to_list()[: len(cells)] if numeric else []


@pytest.mark.parametrize(
    ("cells", "numbers", "unit"),
    [
        (["19.67 kmpl", "21.0 kmpl", "-3 kmpl"], [19.67, 21.0, -3.0], "kmpl"),
        (["1197CC", "998CC", "1,498,000CC"], [1197.0, 998.0, 1498e3], "CC"),
        (["2 doors", "4 doors", "5 doors"], [2.0, 4.0, 5.0], "doors"),
        (["20.5°C", "19°C", "7°C"], [20.5, 19.0, 7.0], "°C"),
        (["70 km/h", "80 km/h", "90 km/h"], [70.0, 80.0, 90.0], "km/h"),
        (["12 sq. m", "13 sq. m", "15 sq. m"], [12.0, 13.0, 15.0], "sq. m"),
        (["1.234,5 kg", "0,5 kg", "3 kg"], [1234.5, 0.5, 3.0], "kg"),
    ],
)
def test_a_unit_behind_all_numbers_of_a_column_is_taken_off_and_told(
    cells: list[str], numbers: list[float], unit: str
) -> None:
    table, found = numbers_of(cells)
    assert found == numbers
    assert table.reading.columns[0].unit == unit
    assert warned(table, "'a'", repr(cells[0]), repr(unit), "--column a=categorical")


@pytest.mark.parametrize(
    "cells",
    [
        ["5 min", "2 h", "1 d", "4 h"],  # of several sizes
        ["5K", "10K", "100M", "400M"],  # races
        ["5K", "21.1K", "10K", "1M", "3.1M"],
        [*(f"{half}K" for half in HALVES), "1.5M", "270.5"],
        [*(f"{200 + n}" for n in range(20)), *(f"{half} K" for half in HALVES)],  # kelvins
        [f"{half}{width}" for half in HALVES for width in "MB"],  # shoes
        ["1.4T", "2.0", "1.6T", "1.8"],  # motors
        ["1.5m", "2.5m", "3.25k"],
        ["1.5 T", "2.5 M", "3 T"],  # days and months, in German
        ["12B", "14K", "9M"],
        ["1st", "2nd", "3rd", "4th"],
        ["007A", "012A", "113A"],  # codes
        ["12 cm x 5 cm", "13 cm x 6 cm", "9 cm x 8 cm"],
        ["A1", "B1", "C1"],
        ["57 pts", "58 pts", *(f"{n} pts" for n in range(20)), "5%"],
        ["1.5M", *(f"{n}.5M" for n in range(2, 20)), "3"],
        ["1. OG", "2. OG", "3. OG"],
        ["00123.jpg", "00124.jpg", "00125.jpg"],
        ["12 pm", "1 pm", "2 pm"],
        ["8.33 Uhr", "9.10 Uhr", "7.45 Uhr"],
        ["003.A", "012.A", "113.A"],
    ],
)
def test_other_words_behind_digits_are_left_as_they_are(cells: list[str]) -> None:
    table, found = numbers_of(cells)
    assert found == []
    assert table.columns[0].examples == tuple(cells[:3])
    assert not table.reading.columns[0].unit


def test_a_later_file_is_read_by_the_unit_and_what_has_another_counts_as_missing() -> None:
    reading = numbers_of([f"{i}.5 kg" for i in range(30)])[0].reading
    again = Reading.from_json(json.loads(json.dumps(reading.to_json())))
    later = apply_reading(b"a;number;label\n7.5 kg;1;x\n8.25;2;x\n9 lb;3;y\n", again)
    np.testing.assert_equal(later.frame["a"].to_list(), [7.5, 8.25, np.nan])
    assert warned(later, "no number", "'9 lb'", "line 4")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["€86.6K", "€83.2M", "€900", "€0"], [86600, 83200000, 900, 0]),
        (["$102k", "$99k", "-$1500k"], [102e3, 99e3, -1.5e6]),
        (["€1.5M", "€20.5K", "€3.25"], [1.5e6, 20500, 3.25]),
        (["89.83M", "19.4M", *(f"{half}K" for half in HALVES)],
         [89830000, 19400000, *(float(half) * 1000 for half in HALVES)]),
        ([*(f"{half}k" for half in HALVES), "850"], [*(float(half) * 1e3 for half in HALVES), 850]),
        (["$1.5m", "$20k", "($2bn)"], [1.5e6, 2e4, -2e9]),
        (["7,2 Tsd.", "1,5 Mio. €", "3 Mrd."], [7200, 1.5e6, 3e9]),
        (["512 MB", "2 GB", "1 TB", "32.8MB"], [512e6, 2e9, 1e12, 32800000]),
        (["1 KiB", "1.5 MiB", "12 B"], [1024, 1572864, 12]),
    ],
)  # fmt: skip
def test_words_for_thousands_and_millions_scale_the_numbers_and_are_told(
    cells: list[str], numbers: list[float]
) -> None:
    table, found = numbers_of(cells)
    assert found == numbers
    said = f"{cells[0]!r} is read as {numbers[0]:.15g}, and so on"
    assert warned(table, "'a'", said, "--column a=categorical")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["36.3 b", "74.8", "88.3 p", *HALVES], [36.3, 74.8, 88.3, *map(float, HALVES)]),
        (["872[1]", "450", "106 (e)", "414*", *HALVES], [872, 450, 106, 414, *map(float, HALVES)]),
        (["▲ 8.65%", "▼ 5.43%", "0.00%"], [8.65, -5.43, 0]),
        (["12b", "12e", *map(str, range(20))], []),  # houses
        (["4.1a", "4.1b", *HALVES], []),  # sections
        (["1.3b", "1.3c", "0.8", *HALVES], []),  # versions
        (["4.1b", "4.1", "4.2", "4.3"], []),
        ([f"{half} p" for half in HALVES[1:]] + HALVES[:5], []),
        (["12.5*", *HALVES], []),
        (["▲ 8.65%", "5.43%", "0.00%"], []),  # a minus, in Japan
    ],
)
def test_notes_and_signs_around_numbers_are_taken_off_and_told(
    cells: list[str], numbers: list[float]
) -> None:
    table, found = numbers_of(cells)
    assert found == numbers
    assert warned(table, f"{cells[0]!r} is read as", "--column a=categorical") is bool(numbers)
    later = apply_reading(f"a;number;label\n{cells[1]};1;x\n".encode(), table.reading)
    assert not numbers or later.frame["a"].to_list() == [numbers[1]]


def test_numbers_of_a_scale_may_be_larger_in_a_later_file_or_a_target() -> None:
    body = [f"{i % 7},€{i}.5{'KM'[i % 2]}" for i in range(60)]
    table = read_table(csv_of("a,y", body=body))
    again = Reading.from_json(json.loads(json.dumps(table.reading.to_json())))
    later = apply_reading(csv_of("a,y", "1,€1.2B", "2,€7", body=[]), again)
    assert later.frame["y"].to_list() == [1.2e9, 7]
    target = choose_target(table, "y")
    assert target.task == "regression"
    assert split_target(table, target).y[:2].tolist() == [500, 1.5e6]


@pytest.mark.parametrize(
    ("words", "later", "says"),
    [
        (("{} MB", "{} GB"), ["3"], "without a word such as KB, MB, GB"),
        (("{} MB", "{} GB"), ["3", "2 GB"], "'3' is read as 3. Write"),
        (("{}K", "{}M"), ["1.5", "2.5"], "'1.5' is read as 1.5"),
        (("{}K", "{}M"), ["1.5", "2.5K"], "'1.5' is read as 1.5"),
        (("€{}M", "€{}B"), ["€1.5", "€2.5M"], "'€1.5' is read as 1.5"),
        (("{} MB", "{} GB"), ["0", "2 GB"], ""),
        (("{}K", "{}M"), ["900", "2.5K"], ""),
        (("€{}K", "€{}M"), ["€900.5", "€2.5K"], ""),
        (("{} kg", "{} kg"), ["3"], ""),
    ],
)
def test_numbers_that_lack_the_words_of_a_scale_in_a_later_file_are_told(
    words: tuple[str, str], later: list[str], says: str
) -> None:
    table = numbers_of([words[n % 2].format(f"{n}.5") for n in range(30)])[0]
    again = Reading.from_json(json.loads(json.dumps(table.reading.to_json())))
    other = apply_reading(csv_of("a;number;label", body=[f"{it};1;x" for it in later]), again)
    assert warned(other, "Column 'a' holds numbers without", says) is bool(says)


def test_letters_that_mean_millions_beside_money_only_count_as_missing_in_a_later_file() -> None:
    for money, numbers in (("", [np.nan, np.nan, 3e9]), ("€", [1.5e6, 2.5e12, 3e9])):
        table = numbers_of([f"{money}{n}.5{'KM'[n % 2]}" for n in range(30)])[0]
        rows = [f"{money}{cell};1;x" for cell in ("1.5m", "2.5T", "3B")]
        later = apply_reading(csv_of("a;number;label", body=rows), table.reading)
        np.testing.assert_equal(later.frame["a"].to_list(), numbers)
        assert warned(later, "'1.5m'", "missing") is not bool(money)


def test_texts_that_keep_a_column_from_being_of_a_scale_are_named_with_the_remedy() -> None:
    body = [f"{f'{i}.5' + 'KM'[i % 2] if i % 5 else 'varies'},x{i % 2}" for i in range(60)]
    assert warned(read_table(csv_of("a,y", body=body)), "'varies'", "--column a=numeric")
    told = read_table(csv_of("a,y", body=body), overrides=Overrides(kinds={"a": "numeric"}))
    np.testing.assert_equal(told.frame["a"].to_list()[:3], [np.nan, 1.5e6, 2500])


def test_a_minus_behind_whole_numbers_is_one_where_another_column_has_it_behind_decimals() -> None:
    cells = [f"{100 + i}{'-' if i % 3 == 0 else ''}" for i in range(40)]
    for amount, kind in (("1.779,{:02}-", "numeric"), ("1.779,{:02}", "identifier")):
        rows = [f"{cell};{amount.format(i)};{'xy'[i % 2]}" for i, cell in enumerate(cells)]
        data = csv_of("n;p;y", body=rows)
        table = read_table(data)
        assert kinds_of(table)[0] == kind
        told = read_table(data, overrides=Overrides(kinds={"n": "numeric"}))
        assert told.frame["n"].to_list()[:3] == [-100, 101, 102]
        if kind == "numeric":
            assert warned(table, "'100-' is read as -100", "--column n=categorical")
            assert apply_reading(data, table.reading).frame.equals(told.frame)
        else:
            assert warned(table, "If they are negative numbers", "--column n=numeric")
    marks = csv_of("n,y", body=[f"{('1', '2-', '3', '4-')[i % 4]},{i}.50" for i in range(40)])
    assert kinds_of(read_table(marks))[0] == "categorical"


@pytest.mark.parametrize("odd", ["~5K", "about 5 thousand", "10-20 kB", "c. 3 Tsd.", "1a2-"])
def test_a_word_or_a_minus_behind_what_is_no_number_is_none_of_the_column(odd: str) -> None:
    rows = [f"{i * i / 2},{i}.50{'-' if i % 3 else ''},x{i % 2}" for i in range(300)]
    rows[7] = f"{odd},7.50,x1"
    table = read_table(csv_of("a,p,y", body=rows))
    assert kinds_of(table) == ["numeric", "numeric", "categorical"]
    assert warned(table, "'a'", repr(odd), "line 9 is no number")
    assert not table.reading.columns[0].unit


def test_a_column_of_units_is_names_where_the_user_says_so() -> None:
    data = ("a,y\n" + "1 kg,x\n2 kg,y\n3 kg,x\n" * 9).encode()
    table = read_table(data, overrides=Overrides(kinds={"a": "categorical"}))
    assert table.frame["a"].to_list()[:3] == ["1 kg", "2 kg", "3 kg"]
    assert table.warnings == (EQUAL.format(24),)


def test_codes_that_end_with_a_letter_stay_identifiers() -> None:
    body = [f"{8744043 + 971 * n}X,{n * 1.5},{'xy'[n % 2]}" for n in range(60)]
    assert kinds_of(read_table(csv_of("code,a,y", body=body)))[0] == "identifier"


def test_ordinals_say_nothing_of_the_decimal_sign() -> None:
    body = [f"{n % 4 + 1}. OG;{n % 9 + 1},{n % 7}75;{'xy'[n % 2]}" for n in range(60)]
    table = read_table(csv_of("etage;gewicht;y", body=body))
    assert table.frame["gewicht"][1] == 2.175
    assert warned(table, "gewicht", "--decimal .")


def test_the_warning_of_a_unit_quotes_what_has_it() -> None:
    table, numbers = numbers_of(["one day", *(f"{n} days" for n in range(2, 120))])
    assert np.isnan(numbers[0]) and numbers[1] == 2
    assert warned(table, "'2 days' and the like") and warned(table, "'one day'", "missing")


@pytest.mark.parametrize(
    ("cell", "task", "classes"),
    [
        ("{n}.5 kg", "regression", ()),
        ("{m} stars", "multiclass", ("0 stars", "1 stars", "2 stars")),
        ("{b} pts", "binary", ("0 pts", "1 pts")),
    ],
)
@pytest.mark.parametrize("kinds", [{}, {"y": "categorical"}])
def test_a_target_may_have_a_unit(
    cell: str, task: str, classes: tuple[str, ...], kinds: dict[str, Any]
) -> None:
    if kinds and task == "regression":
        return
    body = [f"{n % 7},{cell.format(n=n % 90, m=n % 3, b=n % 2)}" for n in range(200)]
    table = read_table(csv_of("a,y", body=body), overrides=Overrides(kinds=kinds))
    target = choose_target(table, "y")
    assert (target.task, target.classes) == (task, classes)
    examples = split_target(table, target)
    assert (len(examples.y), examples.rows_dropped) == (200, 0)
    assert examples.y[:2].tolist() == ([0.5, 1.5] if task == "regression" else [0, 1])


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["90 min", "2 Seasons", "1 Season", "85 min"], "several units (min, Seasons)"),
        (["640 cm", "7.5 m", "6.5 m"], "several units (cm, m)"),
        (["98,765.25 Dr", "1,23,456.50 Cr", "5.5 Dr"], "several units (Dr, Cr)"),
        (["6.54 ± 0.43", "6.16 ± 0.40"], "two numbers each, as '6.54 ± 0.43'"),
        (["$47K-$83K (est.)", "$53K-$67K (est.)"], "two numbers each, as '$47K-$83K (est.)'"),
        (["<.001", ".032", ".45"], "not numeric, for 15 of its 45 cells: '<.001'"),
        (["red, blue", "red", "blue", "green", "blue, green", "red, green", "red, blue, green",
          "blue, red", "green, red"], "several answers each, as 'red, blue'"),
        (["1 year", "2 years", "3 years"], ""),
        (["12 A", "13 B", "14 A"], ""),
        (["12 Main", "5 Oak", "7 Main"], ""),
        (["1st", "2nd", "3rd"], ""),
        (["5 am", "6 am", "6 pm"], ""),
        (["10-20", "20-30"], ""),
        (["0", "1", "<2"], ""),
        (["Bonn, West", "Bonn, East", "Trier, West", "Trier, East"] * 3, ""),
        ([f"{name}, Inc" for name in "abcdefghi"], ""),
    ],
)  # fmt: skip
def test_texts_that_hold_numbers_or_several_answers_are_told(cells: list[str], said: str) -> None:
    body = [f'"{cell}",{"xy"[i % 2]}' for i, cell in enumerate(cells * (45 // len(cells)))]
    table = read_table(csv_of("a,y", body=body))
    about = [text for text in table.warnings if text.startswith("Column 'a' is")]
    assert len(about) == bool(said) and said in "".join(about)


# Quotes and missing values as databases write them


ESCAPED = "n,what,path,y\n" + "".join(
    f'{i * 1.5},"she said \\"hi, {i}\\", twice",C:\\new\\,{chr(92)}N\n' for i in range(40)
) + "7,\"a \"\"b\"\"\",D:\\,k\n8,c,D:\\,l\n"  # fmt: skip


def test_quotes_behind_backslashes_are_read_and_other_backslashes_stay() -> None:
    table = read_table(ESCAPED.encode())
    assert table.reading.quote == '\\"'
    assert not table.dropped
    assert table.labels["what"].to_list()[::40] == ['she said "hi, 0", twice', 'a "b"']
    assert table.labels["path"].to_list()[::40] == ["C:\\new\\", "D:\\"]
    assert table.labels["y"].to_list()[39:] == ["", "k", "l"]
    again = Reading.from_json(json.loads(json.dumps(table.reading.to_json())))
    later = apply_reading(ESCAPED.encode(), again)
    assert later.labels.equals(table.labels)


def test_a_path_before_a_closing_quote_escapes_nothing() -> None:
    data = "n,path,y\n" + "".join(f'{i * 1.5},"C:\\a {i % 9}\\",{i % 2}\n' for i in range(40))
    table = read_table(data.encode())
    assert table.reading.quote == '"'
    assert table.labels["path"][0] == "C:\\a 0\\"


def test_a_quote_behind_a_backslash_that_is_never_closed_is_refused() -> None:
    data = ESCAPED + '9,"open \\",D,k\n10,c,D,l\n'
    with pytest.raises(ReadingError, match="line 44 is never closed"):
        read_table(data.encode())


@pytest.mark.parametrize(
    ("kept", "ragged", "read"), [(99, 1, True), (198, 2, True), (98, 2, False)]
)
def test_one_row_in_a_hundred_may_be_ragged_and_no_more(kept: int, ragged: int, read: bool) -> None:
    body = [f"{i},{i % 7},{'xy'[i % 2]}" for i in range(kept)]
    for place in range(ragged):
        body.insert(20 * place + 5, "1,2,x,4")
    if not read:
        with pytest.raises(RaggedError, match="Line 7 has 4 fields where 3 are expected"):
            read_table(csv_of("a,b,y", body=body))
        return
    table = read_table(csv_of("a,b,y", body=body))
    assert len(table.labels) == kept
    assert [row.line for row in table.dropped] == [7 + 20 * place for place in range(ragged)]


@pytest.mark.parametrize("rows", [60, 15])
@pytest.mark.parametrize("note", ["(50 rows)", "Last Updated: 2024-05-01", '"Source: a, b"'])
def test_a_line_below_a_small_table_is_a_note_and_not_a_row(rows: int, note: str) -> None:
    table = read_table(csv_of("a,b,y", body=BODY[:rows], below=("", note)))
    assert len(table.labels) == rows and kinds_of(table)[:2] == ["numeric", "numeric"]
    assert [(row.line, row.reason) for row in table.dropped] == [
        (rows + 3, "holds one text, as a note")
    ]
    assert warned(table, "Rows left out (1)", "as a note")
    later = apply_reading(csv_of("a,b", body=["1,2.5", "2,3.5"]), table.reading, optional=["y"])
    assert len(later.labels) == 2


def test_comments_amid_a_small_table_are_left_out_unless_rows_begin_so_too() -> None:
    body = [*BODY[:20], "# recalibrated", *BODY[20:40], "# moved, and cleaned", *BODY[40:]]
    table = read_table(csv_of("a,b,y", body=body))
    assert len(table.labels) == len(BODY)
    assert [row.line for row in table.dropped] == [22, 43]
    assert warned(table, "Rows left out (2)", "line 22 (begins with #, as a comment)")
    tags = [f"#{line}" for line in BODY]
    with pytest.raises(RaggedError, match="Line 2 has 1 fields"):
        read_table(csv_of("a,b,y", body=["# recalibrated", *tags]))


def test_one_field_amid_the_rows_or_many_below_them_are_no_notes() -> None:
    for body in ([*BODY[:20], "1", *BODY[20:]], [*BODY, *["1"] * 30]):
        with pytest.raises(RaggedError, match="has 1 fields where 3 are expected"):
            read_table(csv_of("a,b,y", body=body))


def spared(line: str) -> str:
    """A row as programs write it that spare the separators behind its last value."""
    return line.rstrip(",")


def test_rows_without_their_last_empty_cells_are_filled_up() -> None:
    full = [f"{line},{k if k % 3 else ''},{'' if k % 4 else 'seen'}" for k, line in enumerate(BODY)]
    mixed = [spared(line) if k % 2 else line for k, line in enumerate(full)]
    table = read_table(csv_of("a,b,y,n,note", body=mixed))
    assert table.frame.equals(read_table(csv_of("a,b,y,n,note", body=full)).frame)
    assert table.lines.tolist() == list(range(2, 62)) and not table.dropped
    short = sum(line != whole for line, whole in zip(mixed, full, strict=True))
    assert warned(
        table, f"Rows without their last cells, which are taken to be empty ({short}): line 3"
    )


def test_names_are_as_many_as_columns_where_most_rows_lack_their_last_cells() -> None:
    body = [["{},{}.5", "{},{}.5,x", "{},{}.5,y,{}", "{},{}.5"][i % 4] for i in range(60)]
    data = csv_of("a,b,c,d", body=[row.format(i % 7, i, i % 5) for i, row in enumerate(body)])
    table = read_table(data)
    assert [*table.labels] == ["a", "b", "c", "d"]
    assert [column.missing for column in table.columns] == [0, 0, 0.5, 0.75]
    assert warned(table, "taken to be empty (45): line 2, line 3, line 5")
    assert apply_reading(data, table.reading).frame.equals(table.frame)


@pytest.mark.parametrize(
    "rows",
    [
        ["1,2.5,x,y", "1,2.5,x,y", "1,2.5,x"],  # any cell may lack, in each the same
        ["1,2.5,x,y", "1,2.5,x,y", "1", "2.5,x,y"],  # a line break in a text
        ["1,2.5,x,y", "1,2.5,x", "x,y"],  # amid a cell
    ],
)
def test_rows_that_may_lack_any_cell_or_are_torn_are_not_filled_up(rows: list[str]) -> None:
    with pytest.raises(RaggedError, match="fields where 4 are expected"):
        read_table(csv_of("a,b,c,d", body=rows * 30))


def test_a_title_with_as_many_commas_as_some_odd_rows_gives_no_names() -> None:
    title = "Population,by region,and class,in thousands,from the office"
    body = [f"r{i},c{i % 3},{i},{i % 4}" + ",odd" * (i % 100 == 50) for i in range(300)]
    table = read_table(csv_of(title, "name,class,n,y", body=body))
    assert [*table.labels] == ["name", "class", "n", "y"]


def test_a_long_cell_of_blanks_takes_no_time() -> None:
    blanks = " " * 200_000  # To split it by blanks and signs took minutes.
    body = [f'"{["red, blue", "red", "blue", f"x{blanks}y"][i % 4]}",{i}' for i in range(60)]
    assert len(read_table(csv_of("a,y", body=body)).labels) == 60


def test_a_second_table_below_of_fewer_columns_is_not_filled_up() -> None:
    body = [*(f"{i % 7},{i}.5,x" for i in range(30)), *(f"{i % 5},{i}.25" for i in range(30))]
    with pytest.raises(RaggedError, match="Line 32 has 2 fields where 3 are expected"):
        read_table(csv_of("a,b,c", body=body))


@pytest.mark.parametrize(
    "broken",
    [
        [*BODY[:30], "1,2.5", *BODY[30:]],  # no full row has an empty last cell
        [*BODY[:20], "1,2.5,", *BODY[20:30], "1,2.5", "1,2.5,x,y", *BODY[30:]],  # a longer row
        [*BODY[:20], "1,,x", "1,2.5", *BODY[20:]],  # the empty cell is not the last
        [*BODY[:20], "1,2.5,", *BODY[20:30], "1,x", *BODY[30:]],  # a cell amid the row is lacking
        [*BODY[:20], "1,2.5,", *BODY[20:], "Source: the office, 2020"],  # a note with a comma
    ],
)
def test_rows_that_lack_other_cells_are_not_filled_up(broken: list[str]) -> None:
    with pytest.raises(RaggedError, match="has 2 fields where 3 are expected"):
        read_table(csv_of("a,b,y", body=broken))
    table = read_table(csv_of("a,b,y", body=[*broken, *BODY * 3]))
    assert len(table.labels) == len(broken) + 3 * len(BODY) - len(table.dropped)
    assert [len(broken[row.line - 2].split(",")) for row in table.dropped] in ([2], [2, 4])


def wrapped(line: str) -> str:
    """A line as one cell."""
    return '"' + line.replace('"', '""') + '"'


@pytest.mark.parametrize("header", [wrapped, str])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_lines_in_quotes_as_a_whole_are_read_without_them(
    header: Any, encoding: str, separator: str
) -> None:
    body = [line.replace(",", separator) + f'{separator}"é, {k}; z"' for k, line in enumerate(BODY)]
    head = separator.join(["a", "b", "y", "note"])
    data = "\r\n".join([header(head), *map(wrapped, body), ""]).encode(encoding)
    table = read_table(data)
    plain = read_table("\r\n".join([head, *body, ""]).encode(encoding))
    assert table.reading == plain.reading and table.frame.equals(plain.frame)
    assert table.labels["note"][7] == "é, 7; z" and warned(table, "in quotes as a whole")
    assert not warned(plain, "in quotes as a whole")
    for later in ([wrapped(head), wrapped(body[3])], [head, body[3]]):
        again = apply_reading("\n".join(later).encode(), table.reading)
        assert again.frame.iloc[0].equals(table.frame.iloc[3])


@pytest.mark.parametrize(
    "lines",
    [
        [f'"{line}"' for line in ("a text", "one, two", "no, not, at all", "end") * 9],
        [f'"{k}";"{k % 3}"' for k in range(30)],
        ['""', '" "'],
        ['"a,b"', *(f'"{k}","{k % 3}"' for k in range(30))],
    ],
)
def test_quotes_around_cells_are_not_taken_for_quotes_around_lines(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    assert without_wrapping(data, None, None, None) == (data, ())


def test_quotes_amid_quoted_cells_are_told_with_their_lines() -> None:
    body = [*BODY[:20], '1,2.5,"O"Brien"', *BODY[20:], '2,"3".5,x', *BODY]
    table = read_table(csv_of("a,b,y", body=body))
    assert warned(table, "amid a quoted cell (2): line 22, line 63. Such quotes are left out")
    fine = [*BODY, '1,2.5,"so ""quoted"", and\nlong"', '2,3.5,5" wide', '3,4.5,"x" ', *BODY]
    assert not warned(read_table(csv_of("a,b,y", body=fine)), "amid")


def test_quotes_around_lines_stay_where_quotes_are_but_signs() -> None:
    data = "\n".join(wrapped(line) for line in ("a,b,y", *BODY)).encode()
    table = read_table(data, overrides=Overrides(quote=""))
    assert table.labels.iloc[0, 0] == f'"{BODY[0].split(",")[0]}'
    assert apply_reading(data, table.reading).labels.equals(table.labels)


@pytest.mark.parametrize("half", ["a. m.", "a.\xa0m.", "a.m.", "a. m", "AM"])
def test_halves_of_a_day_may_be_written_with_points_and_blanks(half: str) -> None:
    other = half.replace("a", "p").replace("A", "P")
    body = [f"{d}/01/2024 {h}:30 {m},{d}" for d in (13, 20) for h in (1, 9) for m in (half, other)]
    table = read_table(csv_of("when,n", body=body * 4))
    assert kinds_of(table)[0] == "datetime"
    assert table.frame["when.hour"].to_list()[:4] == [1, 13, 9, 21]


@pytest.mark.parametrize(
    "cell",
    [
        "2024-01-05 10:00:{:02} +0000 UTC",
        "0 days 01:23:{:02}",
        "1 h {} min",
        "06 12 34 56 {:02}",
        "POINT (13.4 52.{})",
        "40° 26' {}\" N",
    ],
)
def test_pieces_that_are_no_words_make_no_texts(cell: str) -> None:
    body = ['"{}",{}'.format(cell.format(i % 60).replace('"', '""'), i % 7) for i in range(80)]
    table = read_table(csv_of("it,n", body=body))
    assert kinds_of(table)[0] in ("categorical", "identifier", "datetime")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("₪ 1,234.50", "₪ 99.00"), [1234.5, 99]),
        (("₸12.50", "₸8.25"), [12.5, 8.25]),
        (("￥1,200.5", "￥300"), [1200.5, 300]),
        (("AU$12.50", "AU$7.25"), [12.5, 7.25]),
        (("NZ$ 12.50", "MX$ 7.25"), [12.5, 7.25]),
        (("１２．５％", "－７．２５％"), [12.5, -7.25]),
        (("%12.5", "%7.25"), [12.5, 7.25]),
        (("-%12.5", "%7.25"), [-12.5, 7.25]),
        (("20.5℃", "21.25℃"), [20.5, 21.25]),
        (("20.5 ㎡", "21.25 ㎡"), [20.5, 21.25]),
        (("3.5‰", "4.25‰"), [3.5, 4.25]),
    ],
)
def test_signs_of_other_places_stand_around_numbers(
    cells: tuple[str, ...], numbers: list[float]
) -> None:
    table = read_table(csv_of("it,y", body=[f'"{cell}",{i}' for i, cell in enumerate(cells * 9)]))
    assert table.frame["it"].to_list()[:2] == numbers
    assert warned(table, "several currencies") is (cells[0][:2] == "NZ")


def test_fractions_are_no_numbers_with_units() -> None:
    table = read_table(csv_of("it,y", body=[f"{i % 9}/12,{i}" for i in range(40)]))
    assert kinds_of(table)[0] != "numeric"


def test_addresses_of_computers_say_nothing_of_the_decimal_sign() -> None:
    numbers = ['"2,137"', "211", '"1,904"', "87"]
    body = [f"192.168.{10 + i % 3}.{100 + i},{numbers[i % 4]},{'xy'[i % 2]}" for i in range(40)]
    table = read_table(csv_of("host,n,y", body=body))
    assert table.frame["n"].to_list()[:4] == [2137, 211, 1904, 87]
    assert kinds_of(table)[0] == "identifier"


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (("17.2.2024.", "3.12.2024."), [17, 2, 0]),
        (("17. 2. 2024. 10:00", "3. 12. 2024. 11:00"), [17, 2, 10]),
        (("2024/1/5(金)", "2024/12/6(土)"), [5, 1, 0]),
        (("2024年1月5日（金） 9:30", "2024年12月6日（土） 10:30"), [5, 1, 9]),
        (("2024.1.5(월)", "2024.12.6 (화)"), [5, 1, 0]),
        (("Mar  7 2024  9:31PM", "Dec 17 2024 10:31AM"), [7, 3, 21]),
        (("20240105 10:00", "20241206 11:00"), [5, 1, 10]),
        (("20240105 10:00:30", "20241206 11:00:00"), [5, 1, 10]),
        (("20240105 103000", "20241206 110000"), [5, 1, 10]),
    ],
)
def test_dates_have_points_blanks_and_days_of_the_week_around(
    cells: tuple[str, ...], first: list[int]
) -> None:
    table = read_table(csv_of("when,y", body=[f"{cell},{i}" for i, cell in enumerate(cells * 9)]))
    assert kinds_of(table)[0] == "datetime"
    parts = ("day", "month", "hour")
    frame = table.frame
    found = [frame[name][0] if (name := f"when.{part}") in frame else 0 for part in parts]
    assert found == first


@pytest.mark.parametrize(
    "cells",
    [
        ("2h 50m", "19h", "2h 5min"),
        ("1 h 30 min", "45 min", "2 h"),
        ("2h50m", "19h", "1d2h"),
        ("PT1H5M", "PT45M", "PT2H"),
        ("1:20.137", "1:19.5", "1:21.001"),
        ("0 days 00:05:00", "1 days 10:15:00", "0 days 02:00:00.5"),
        ("30:15:00", "7:05:00", "112:00:30"),
    ],
)
def test_durations_are_told(cells: tuple[str, ...]) -> None:
    table = read_table(csv_of("it,y", body=[f"{cell},{i}" for i, cell in enumerate(cells * 9)]))
    assert kinds_of(table)[0] == "categorical"
    assert warned(table, "Column 'it' is categorical", "look like durations", "of minutes")


@pytest.mark.parametrize(
    "cells",
    [
        ("5m", "12d", "7s"),
        ("3:10", "24:07", "1:1"),
        ("A", "B", "2h 50m"),
        ("PT", "P1", "PT3"),
        (*(f"10:{k}:00" for k in range(10, 40)), "Start"),  # times of day, and one odd text
    ],
)
def test_what_may_be_anything_is_no_duration(cells: tuple[str, ...]) -> None:
    table = read_table(csv_of("it,y", body=[f"{cell},{i}" for i, cell in enumerate(cells * 9)]))
    assert not warned(table, "durations")


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        ("departs", ("0630", "1245", "0915"), True),
        ("bearing", ("000", "090", "360"), True),
        ("plz", ("01067", "10115", "04109"), False),
        ("zip code", ("01067", "10115", "04109"), False),
        ("customer_id", ("0067", "1011", "0410"), False),
        ("month", ("01", "12", "07"), False),
        ("card", ("0" * 16, "1" * 16, "2" * 16), False),
        ("room", ("012", "11a", "021"), False),
    ],
)
def test_padded_numbers_taken_for_codes_are_told(
    name: str, cells: tuple[str, ...], told: bool
) -> None:
    data = csv_of(f"{name},y", body=[f"{cell},{i}.5" for i, cell in enumerate(cells * 9)])
    table = read_table(data)
    assert warned(table, "begin with noughts", f"--column {name}=numeric") is told
    if told:
        given = read_table(data, overrides=Overrides(kinds={name: "numeric"}))
        assert given.frame[name].to_list()[:3] == [float(cell) for cell in cells]
        assert not warned(given, "noughts")


@pytest.mark.parametrize(
    "word", ["Gesamtergebnis", "Sous-total", "Totale", "Eindtotaal", "Endsumme", "Zwischensumme"]
)
def test_rows_of_sums_are_told_by_their_name(word: str) -> None:
    body = [f"{'abc'[i % 3]},{i}" for i in range(60)]
    assert warned(read_table(csv_of("it,y", body=[*body, f"{word},1770"])), word, "remove them")
    assert not warned(read_table(csv_of("it,y", body=[*body, "Ergebnis,3"])), "remove them")


def test_sql_rtf_and_pointers_of_git_lfs_are_refused_with_what_to_do() -> None:
    sql = (
        "-- MySQL dump\n/*!40101 SET NAMES utf8 */;\n/* a\n * b **/\nSET a=1;\n{} `t` (`a` int);\n"
    )
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for text, what in (
        (sql.format("CREATE TABLE"), "Received SQL. Load it into a database"),
        ("INSERT INTO t VALUES (1,2);\nINSERT INTO t VALUES (2,3);\n", "Received SQL"),
        ("{\\rtf1\\ansi a,b\n1,2\n}", "an RTF document. Save the table as CSV"),
        (pointer, "pointer of Git LFS.*git lfs pull"),
    ):
        with pytest.raises(ReadingError, match=what):
            read_table(text.encode())
    body = [f"{i},INSERT INTO t" for i in range(30)]
    assert len(read_table(csv_of("a,query", body=body)).labels) == 30


@pytest.mark.parametrize(
    ("amounts", "dash", "told"),
    [
        (("1,234", "56,789", "12"), " -   ", True),
        (("12.50", "7.25", "8.00"), "–", True),
        (("12.5", "7.25", "8.125"), "-", False),
        (("12", "7", "8"), "-", False),
        (("1,234", "56,789", "12"), "NA", False),
    ],
)
def test_dashes_among_amounts_may_stand_for_nought(
    amounts: tuple[str, ...], dash: str, told: bool
) -> None:
    cells = (*amounts, dash) * 9
    table = read_table(csv_of("it,y", body=[f'"{cell}",{i}.5' for i, cell in enumerate(cells)]))
    assert kinds_of(table)[0] == "numeric" and np.isnan(table.frame["it"][3])
    assert warned(table, "Column 'it'", f"{dash.strip()!r} among its amounts", "write 0") is told
