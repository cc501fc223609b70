import pytest

from storage import names


@pytest.mark.parametrize(
    "name", ["iris", "x" * 200, " a ", "Ärger & <b>", "名前", "שם", "👩\u200d🔬", "'; DROP TABLE"]
)
def test_whatever_can_be_shown_in_one_line_is_a_name(name: str) -> None:
    names.check(name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("", "Received ''"),
        (" \u2003\u00a0", "Received"),
        ("\u200b", r"'\\u200b'"),
        ("x" * 201, "201 characters that begin 'xxx"),
        ("two\nlines", r"has '\\n'"),
        ("\x00", r"has '\\x00'"),
        ("\x1b[31mred", r"has '\\x1b'"),
        ("a\u2028b", r"has '\\u2028'"),
        ("\u202egnp.exe", r"has '\\u202e'"),
        ("half \udcff", r"has '\\udcff'"),
    ],
)
def test_what_cannot_is_refused_with_what_is_wrong(name: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"1 to 200 characters.*{wrong}.*choose another") as error:
        names.check(name)
    assert str(error.value).isprintable() and len(str(error.value)) < 200
