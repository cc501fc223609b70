"""Bytes -> cells: encoding, dialect, what stands above the table, header, ragged rows."""

import json
from pathlib import Path

import pytest

from objectives.encoding import find_encoding
from objectives.memory import available_memory
from objectives.reading import NoSuchColumnError
from objectives.table import (
    Overrides,
    RaggedError,
    Reading,
    ReadingError,
    Table,
    TooLargeError,
    apply_reading,
    choose_target,
    read_table,
)

ROWS = [(str(i * 37 % 11), f"{i * 1.5}", "xy"[i % 2]) for i in range(30)]
NAMES = ("a", "b", "c")


def text(*, separator: str = ",", names: tuple[str, ...] = NAMES, end: str = "\n") -> str:
    return "".join(separator.join(row) + end for row in (names, *ROWS) if row)


def rows_of(table: Table) -> list[tuple[str, ...]]:
    return [tuple(row) for row in table.labels.to_numpy().tolist()]


def kinds_of(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_separator_and_line_end_is_found(separator: str, end: str) -> None:
    table = read_table(text(separator=separator, end=end).encode())
    assert table.reading.separator == separator
    assert rows_of(table) == ROWS
    assert tuple(table.labels.columns) == NAMES


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("latin-1", "latin-1"),
    ],
)
def test_encodings_are_found(encoding: str, found: str) -> None:
    data = text().replace("x", "Größe").encode(encoding)
    table = read_table(data)
    assert table.reading.encoding == found
    assert table.labels["c"][0] == "Größe"


def test_bytes_that_only_windows_gives_a_meaning_are_read_as_windows() -> None:
    table = read_table(text().replace("x", "it’s").encode("cp1252"))
    assert (table.reading.encoding, table.labels["c"][0]) == ("cp1252", "it’s")


def test_a_few_accents_are_western_however_few_other_letters_there_are() -> None:
    for text in ("n°,°C\n1,2\n", "a,b\n°°°,1\nééé,2\n"):
        assert find_encoding(text.encode("latin-1")) == "latin-1"


def test_whole_words_of_another_script_are_left_to_the_library() -> None:
    lines = "имя;число\n" + "привет мир;1\nпока друг;2\nздравствуйте товарищи;3\n" * 15
    table = read_table(lines.encode("cp1251"))
    assert table.labels["имя"][0] == "привет мир"


@pytest.mark.parametrize(
    ("names", "words", "encoding"),
    [
        ("年齢,身長,性別", "男 女", "cp932"),
        ("年齡,身高,性別", "男 女", "big5"),
        ("年龄,身高,性别", "男 女", "gbk"),
        ("나이,키,성별", "남 여", "cp949"),
        ("возраст,рост,пол", "М Ж", "cp1251"),
        ("возраст,рост,город", "Москва Казань Санкт-Петербург", "koi8-r"),
        ("ηλικία,ύψος,φύλο", "Άνδρας Γυναίκα", "cp1253"),
        ("år,höjd,kön", "män kvinnor blåbär øø æææ", "latin-1"),
    ],
)
def test_encodings_of_before_unicode_are_guessed_and_said(
    names: str, words: str, encoding: str
) -> None:
    body = "".join(f"{20 + i % 50},{i}.5,{words.split()[i % 2]}\n" for i in range(60))
    data = f"{names}\n{body}".encode(encoding)
    table = read_table(data)
    assert ",".join(table.labels) == names
    assert table.labels.iloc[:2, 2].to_list() == words.split()[:2]
    assert repr(names.split(",")[0]) in table.warnings[0] and "--encoding" in table.warnings[0]
    named = read_table(data, overrides=Overrides(encoding=encoding))
    assert named.labels.equals(table.labels) and not named.warnings


def test_the_end_mark_of_dos_is_no_row() -> None:
    for end in (b"\x1a", b"\n\x1a"):
        table = read_table(text().strip().encode() + end)
        assert rows_of(table) == ROWS
        assert rows_of(apply_reading(text().strip().encode() + end, table.reading)) == ROWS


@pytest.mark.parametrize(
    ("above", "skip"),
    [
        ("# made by me\n# on Monday, at noon\n", 2),
        ("My table\n\n", 2),
        ("My table,,\n", 1),
        ("sep=,\n", 1),
        ("\n\n", 2),
    ],
)
def test_what_stands_above_the_header_is_skipped(above: str, skip: int) -> None:
    table = read_table((above + text()).encode())
    assert table.reading.skip == skip
    assert tuple(table.labels.columns) == NAMES
    assert rows_of(table) == ROWS


def test_a_commented_header_is_a_header_and_a_name_may_be_a_hash() -> None:
    assert tuple(read_table(("# " + text()).encode()).labels.columns) == NAMES
    pokemon = read_table(text(names=("#", "b", "c")).encode())
    assert tuple(pokemon.labels.columns) == ("#", "b", "c")


def test_a_header_one_field_short_leaves_out_row_names_or_a_trailing_separator() -> None:
    named = "a,b,c\n" + "".join(f"r{i}," + ",".join(row) + "\n" for i, row in enumerate(ROWS))
    table = read_table(named.encode())
    assert tuple(table.labels.columns) == ("column_1", *NAMES)
    assert table.warnings[0].startswith("Line 1 has 3 names for 4 columns.")
    trailing = "a,b,c\n" + "".join(",".join(row) + ",\n" for row in ROWS)
    assert kinds_of(read_table(trailing.encode()))["column_4"] == "empty"


def test_a_separator_behind_the_header_alone_adds_no_column() -> None:
    data = text().replace("a,b,c\n", "a,b,c,\n").encode()
    assert tuple(read_table(data).labels.columns) == NAMES


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("a,b,c", True),
        ("1,2.5,x", False),
        (",b,c", True),
        ("2019,2020,kind", True),
        ("0,1,c", False),
        ("4,NA,y", False),
    ],
)
def test_a_header_is_told_from_a_row_above_numbers(first: str, header: bool) -> None:
    body = text(names=()).encode()
    assert read_table(first.encode() + b"\n" + body).reading.header is header


def test_a_header_is_told_from_a_row_where_nothing_is_a_number() -> None:
    body = "p,x,s\ne,x,y\ne,b,s\np,b,y\n" * 8
    assert read_table(("type,shape,surface\n" + body).encode()).reading.header is True
    table = read_table(body.encode())
    assert table.reading.header is False
    assert tuple(table.labels.columns) == ("column_1", "column_2", "column_3")


def test_numbers_that_count_up_may_be_names() -> None:
    data = "0,1,2,class\n" + "5.1,3.5,1,a\n4,2,2,b\n" * 10
    assert tuple(read_table(data.encode()).labels.columns) == ("0", "1", "2", "class")
    assert read_table(b"1,2,3\n4,5,6\n7,8,9\n").reading.header is False


def test_names_are_made_unique_and_empty_ones_named_by_position() -> None:
    data = text(names=("a", "a", " ")).encode()
    assert tuple(read_table(data).labels.columns) == ("a", "a_2", "column_3")
    data = text(names=("a", "a_2", "a")).encode()
    assert tuple(read_table(data).labels.columns) == ("a", "a_2", "a_3")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("y,a,b", []),
        ("y,a,y", ["Two columns are named 'y'; the second is called 'y_2'."]),
        ("y_2,y,y", ["Two columns are named 'y'; the second is called 'y_3'."]),
        ("y,y,y", ["Columns have the same name; they are called 'y', 'y_2', 'y_3'."]),
        ("y,a,y,a", ["Columns have the same name; they are called 'y', 'y_2'; 'a', 'a_2'."]),
    ],
)
def test_columns_with_one_name_are_told(header: str, told: list[str]) -> None:
    columns = (3, 5, 7, 9)[: header.count(",") + 1]
    rows = [",".join(f"{k * n % 37}.5" for n in columns) for k in range(30)]
    warnings = read_table("\n".join([header, *rows]).encode()).warnings
    assert [one for one in warnings if "named" in one or "same name" in one] == told


def test_a_target_whose_name_several_columns_have_is_given_by_position() -> None:
    rows = [f"{'ab'[k % 2]},{k},{'xyz'[k % 3]}" for k in range(30)]
    table = read_table("\n".join(["y,a,y", *rows]).encode())
    with pytest.raises(NoSuchColumnError) as told:
        choose_target(table, "y")
    assert str(told.value) == (
        "Expected a target that is one column. Received 'y', which 2 columns are named. Give its "
        "position, 1 or 3, or rename one in the file."
    )
    assert choose_target(table, "1").classes == ("a", "b")
    assert choose_target(table, "y_2").classes == choose_target(table, 3).classes == ("x", "y", "z")
    assert choose_target(table, "a").column == "a"


def test_quoted_cells_may_hold_separators_quotes_and_line_ends() -> None:
    data = 'a,b,c\n"x, ""y""\nz",1,2\n' * 1 + "u,3.5,4\n" * 25
    table = read_table(data.encode())
    assert rows_of(table)[0] == ('x, "y"\nz', "1", "2")
    assert len(table.labels) == 26


def test_apostrophes_quote_only_where_cells_are_wrapped_in_them() -> None:
    table = read_table(("a,b\n" + "'x, y','1'\n'z','2'\n" * 10).encode())
    assert (table.reading.quote, table.labels["a"][0]) == ("'", "x, y")
    table = read_table(("a,b\n" + "'tis,1\nrock 'n' roll,2\n" * 10).encode())
    assert (table.reading.quote, table.labels["a"][0]) == ('"', "'tis")


def test_blanks_around_cells_and_blank_rows_are_left_out() -> None:
    data = text(separator=" , ").replace("\n", " \n\n").encode()
    table = read_table(data + b" , ,\n;;,,\n")
    assert rows_of(table) == ROWS
    assert any(warning.startswith("Blank rows left out") for warning in table.warnings)


def test_ragged_rows_are_dropped_and_named_by_physical_line() -> None:
    lines = ["a,b,c", '"two\nlines",1,2', *["x,3,4.5"] * 300]
    lines[10], lines[20] = "x,3", "x,3,4,5"
    table = read_table(("\n".join(lines) + "\n").encode())
    assert [row.line for row in table.dropped] == [12, 22]
    assert table.dropped[0].reason == "2 fields where 3 are expected"
    assert len(table.labels) == 299
    assert any("line 12" in warning for warning in table.warnings)


def test_more_than_one_percent_of_ragged_rows_is_refused_with_the_first_line() -> None:
    data = text().encode() + b"1,2\n"
    with pytest.raises(RaggedError, match="Line 32 has 2 fields where 3 are expected"):
        read_table(data)


def test_a_quote_that_is_never_closed_is_refused_with_its_line() -> None:
    data = text().encode() + b'"z,2,3\nq,3,4\n'
    with pytest.raises(ReadingError, match="line 32 is never closed"):
        read_table(data)
    table = read_table(data, overrides=Overrides(quote=""))
    assert table.labels["a"].to_list()[-2] == '"z'


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG"),
        (b"PK\x03\x04 rest", "Excel workbook"),
        (b"PAR1 rest", "Parquet"),
        (bytes(range(256)), "binary"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"  <table><tr><td>1</td></tr></table>", "HTML"),
        (b'[{"a": 1}]', "JSON"),
        (b'{"a": 1}\n{"a": 2}\n', "JSON"),
        (b"[1, 2.5]", "JSON"),
        (b"% from Weka\n@RELATION r\n@ATTRIBUTE a NUMERIC\n@DATA\n1,2\n", "ARFF"),
        (b"a,b\n" + b"1,hello world\n" * 9 + b"2,he\x02llo\n", r"Line 11 holds .* '\\x02'"),
        (b"a\n1\n2\n", "two columns"),
        (b"a,b,c\n", "no rows"),
    ],
)
def test_what_is_no_table_is_refused_by_its_name(data: bytes, what: str) -> None:
    with pytest.raises(ReadingError, match=what):
        read_table(data)


def test_a_time_in_brackets_is_no_json() -> None:
    data = "[2024-01-01 10:00:00];5;a\n[2024-01-01 11:00:00];7;b\n" * 10
    assert read_table(data.encode()).reading.separator == ";"


def test_a_table_too_large_for_memory_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLargeError, match="needs about .* The limit is 9.54e-07 GiB"):
        read_table(text().encode(), limit=1024)


def test_the_need_of_memory_is_estimated_by_rows_not_by_what_is_looked_at() -> None:
    body = "".join(f"{i},{i * 0.37:.3f},x\n" for i in range(60_000))
    small, large = body[: len(body) // 10], body * 4
    needs = []
    for part in (small, large):
        with pytest.raises(TooLargeError) as refused:
            read_table(b"a,b,c\n" + part.encode(), limit=0)
        needs.append(float(str(refused.value).split("about ")[1].split(" GiB")[0]))
    assert needs[1] / needs[0] == pytest.approx(40, rel=0.3)


def test_texts_are_estimated_with_the_numbers_that_they_become() -> None:
    words = [f"word{k}" for k in range(300)]
    texts = [" ".join(words[(k * 7 + j * j) % 300] for j in range(5)) for k in range(6_000)]
    needs = []
    for separator in (" ", "_"):  # words, or names as long
        body = "".join(f"{i},{text.replace(' ', separator)}{i}\n" for i, text in enumerate(texts))
        with pytest.raises(TooLargeError) as refused:
            read_table(b"a,b\n" + body.encode(), limit=0)
        needs.append(float(str(refused.value).split("about ")[1].split(" GiB")[0]) * 2**30)
    assert needs[0] - needs[1] == pytest.approx(6_000 * 256 * 4, rel=0.1)


def test_available_memory_respects_the_limit_of_a_container(tmp_path: Path) -> None:
    group = tmp_path / "sys" / "job"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("700\n")
    (group / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/job\n")
    assert available_memory(tmp_path / "sys", own) == 500
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path / "sys", own) > 1000


def test_overrides_are_obeyed() -> None:
    data = text().encode()
    table = read_table(data, overrides=Overrides(header=False, encoding="latin-1"))
    assert (table.reading.header, table.reading.encoding) == (False, "latin-1")
    assert len(table.labels) == len(ROWS) + 1
    table = read_table(b"junk,1,2\n" + data, overrides=Overrides(skip=1, separator=","))
    assert tuple(table.labels.columns) == NAMES


@pytest.mark.parametrize(
    "above",
    [text(), 'of "1999\n', '"of\n', "a;b\n" * 30],
    ids=["another table", "a quote within", "a quote that is never closed", "more lines"],
)
def test_lines_that_are_skipped_are_skipped_again(above: str) -> None:
    data = (above + text()).encode()
    table = read_table(data, overrides=Overrides(skip=above.count("\n"), separator=","))
    assert len(table.labels) == len(ROWS)
    again = apply_reading(data, table.reading)
    assert again.lines.tolist() == table.lines.tolist()
    assert again.labels.equals(table.labels)
    newer = apply_reading(text().encode(), table.reading)  # Nothing above it.
    assert newer.labels.equals(table.labels)


@pytest.mark.parametrize(
    "wrong",
    [
        {"separator": ",,"},
        {"separator": "a"},
        {"quote": "x"},
        {"decimal": ";"},
        {"kinds": {"a": "number"}},
    ],
)
def test_impossible_overrides_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ReadingError, match="Expected"):
        Overrides(**wrong)  # type: ignore[arg-type]


def test_an_encoding_that_is_none_or_does_not_fit_is_refused() -> None:
    for encoding in ("nope", "hex"):
        with pytest.raises(ReadingError, match="name of an encoding"):
            read_table(text().encode(), overrides=Overrides(encoding=encoding))
    data = text().replace("x", "é").encode("latin-1")
    with pytest.raises(ReadingError, match="encoded as utf-8"):
        read_table(data, overrides=Overrides(encoding="utf-8"))


def test_a_reading_survives_json() -> None:
    data = text().replace("x", "01/02/2024").replace("y", "13/02/2024").encode()
    reading = read_table(data).reading
    again = Reading.from_json(json.loads(json.dumps(reading.to_json())))
    assert again == reading
    assert apply_reading(data, again).frame.equals(apply_reading(data, reading).frame)
    with pytest.raises(ReadingError, match="JSON of a reading"):
        Reading.from_json({"encoding": "utf-8"})
