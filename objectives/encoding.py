"""From bytes to text: the encoding, and refusing what is no table of text."""

from __future__ import annotations

import codecs
import io
import re
from typing import TextIO

from objectives.reading import LayoutError, NoSuchReadingError, ReadingError

BOMS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SIGNATURES = (  # https://en.wikipedia.org/wiki/List_of_file_signatures
    (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office file, such as an Excel workbook (.xls)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x7fELF", "a program"),
)
REMEDY = "Save the table as CSV and give that file."
UNPACK = "Unpack it and give the CSV inside."
HEAD = 1 << 18  # bytes looked at where the whole file need not be
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b]")
MARKUP = re.compile(
    r"\s*<((!doctype|html|head|body|table|\?xml|svg|!--)|[a-z][\w:-]*( [^<>\n]*)?>\s*(<|[\r\n]))",
    re.IGNORECASE,
)
JSON = re.compile(r'\s*(\{\s*["}]|\[\s*([\[{"]|-?[\d.]+([eE][-+]?\d+)?\s*(,|\]\s*$)))')
ARFF = re.compile(r"(\s|%.*\n)*@relation\s", re.IGNORECASE)
SQL = re.compile(  # behind comments and settings
    r"(\s|--.*\n|/\*([^*]|\*(?!/))*\*/;?|(SET|USE|DROP|BEGIN|LOCK|PRAGMA)\b[^;]*;)*"
    r"(INSERT INTO|CREATE TABLE)\s",
    re.IGNORECASE,
)
POINTER = "version https://git-lfs"
BINARY = 0.05  # share of control characters, from which a file is no text at all
FOREIGN = re.compile(r"[^\W\d_]*[^\x00-\x7f]\w*")
HIGH = re.compile(rb"[\x80-\xff]")
RUNS = re.compile(rb"[\x80-\xff]+")
SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
DAMAGED = 10  # UTF-8 sequences to one stray byte, from which the text is UTF-8 with damage
WORD = 3  # letters of another script side by side, at least; two where they are Asian
ALPHABET = 8  # different bytes that words of another script hold, at least
WINDOWS = re.compile(rb"[\x80-\x9f]")  # control codes in Latin-1, letters and quotes in cp1252
UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")  # in cp1252, but not in Asian encodings
UNLIKELY = ("mac_cyrillic", "shift_jis_2004", "shift_jisx0213")  # like others, for no table
WIDE = ("cp932", "shift_jis", "gb18030", "gbk", "gb2312", "big5", "cp949", "euc_kr", "euc_jp")


def find_encoding(data: bytes) -> str:
    """Return the name of the codec that turns the bytes into text.

    A byte order mark decides; then UTF-8 if every byte agrees; then UTF-16 by its zero bytes.
    Whole words of other bytes are left to charset-normalizer, and so are bytes that only Asian
    encodings have; accents among ASCII letters are cp1252 or, where that cannot matter, Latin-1
    (charset-normalizer often calls them cp1250).

    Raises:
        ReadingError: the file is empty or is not text.
    """
    marks = tuple(mark for mark, _ in BOMS)
    if not data.strip() or (len(data) < 16 and data.strip() in marks):
        raise ReadingError("The file is empty. Expected a table: a line of names, then rows.")
    for signature, what in SIGNATURES:
        if data.startswith(signature):
            remedy = UNPACK if "archive" in what and "Excel" not in what else REMEDY
            raise ReadingError(f"Expected a table as text. Received {what}. {remedy}")
    for mark, name in BOMS:
        if data.startswith(mark):
            return name
    head = data[:HEAD]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = head[first::2].count(0)
        if zeros > 0.3 * len(head) / 2 and head[1 - first :: 2].count(0) < zeros / 10:
            return name
    if is_valid(data, "utf-8"):
        return "utf-8"
    return _legacy_encoding(data)


def is_valid(data: bytes, encoding: str) -> bool:
    """Return whether the whole of the bytes can be decoded, to text that can be written again."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        for start in range(0, len(data), 1 << 22):
            text = decoder.decode(data[start : start + (1 << 22)])
            text.encode()  # UTF-7 and escapes may say halves of characters, which nothing stores.
        decoder.decode(b"", final=True).encode()
    except (UnicodeError, LookupError):
        return False
    return True


def _legacy_encoding(data: bytes) -> str:
    """Return an encoding of before Unicode; raises ReadingError for UTF-8 that is damaged."""
    rest, sequences = SEQUENCE.subn(b"", data)
    if sequences >= DAMAGED * len(HIGH.findall(rest)):
        raise LayoutError(
            f"Line {_damaged_line(data)} holds a byte that is not UTF-8, as all others of the file "
            "are. Repair it, or read the file byte by byte with --encoding latin-1."
        )
    sample = data[:HEAD]
    runs = set(RUNS.findall(sample))  # each word once: a column may repeat letters such as м, ж
    long, short = (b"".join(r for r in runs if len(r) >= least) for least in (WORD, 2))
    half = sum(map(len, runs)) / 2
    words = len(long) > half and len(set(long)) >= ALPHABET
    if words or UNDEFINED.search(sample) or (len(short) > half and len(set(short)) >= ALPHABET):
        from charset_normalizer import from_bytes

        texts = sample, b" ".join(sorted(runs))  # numbers may outweigh the words
        found = (from_bytes(text, cp_exclusion=[*UNLIKELY]).best() for text in texts)
        best = next((match for match in found if match is not None), None)
        if best is not None and (words or best.encoding in WIDE) and is_valid(data, best.encoding):
            return best.encoding
    return "cp1252" if WINDOWS.search(data) and not UNDEFINED.search(data) else "latin-1"


def _damaged_line(data: bytes) -> int:
    """Return the line of the first byte that is not UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 1


def open_text(data: bytes, encoding: str) -> TextIO:
    """Return the bytes as a stream of lines with their ends as they are.

    Raises:
        ReadingError: there is no such encoding, or the bytes are not of it.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    except (LookupError, ValueError) as error:
        raise NoSuchReadingError(
            f"Expected the name of an encoding. Received: {encoding!r}."
        ) from error
    if is_valid(data, encoding):
        return text
    raise ReadingError(
        f"Expected text encoded as {encoding}. Received bytes that are not. "
        "Leave the encoding out, so that it is found, or name the right one."
    )


def refuse_zeros(data: bytes, encoding: str) -> None:
    """Raise ReadingError if a byte is zero, which text holds in wide encodings only."""
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")) or b"\0" not in data:
        return
    line = data.count(b"\n", 0, data.index(b"\0")) + 1
    raise ReadingError(
        f"Expected a table as text. Received a zero byte on line {line}, so the file is binary or "
        f"damaged. {REMEDY}"
    )


def refuse_other_text(head: str) -> None:
    """Raise ReadingError if the text is no table, but markup, JSON, SQL and so on."""
    if (odd := CONTROL.findall(head)) and len(odd) > BINARY * len(head):
        raise ReadingError(f"Expected a table as text. Received a binary file. {REMEDY}")
    if first := CONTROL.search(head):
        line = head.count("\n", 0, first.start()) + 1
        raise ReadingError(
            f"Line {line} holds the control character {first[0]!r}, which no text has. Remove it."
        )
    if MARKUP.match(head):
        raise ReadingError(f"Expected a table as CSV. Received HTML or XML. {REMEDY}")
    if JSON.match(head):
        raise ReadingError(f"Expected a table as CSV. Received JSON. {REMEDY}")
    if ARFF.match(head):
        raise ReadingError(
            f"Expected a table as CSV. Received ARFF, which names columns by @attribute. {REMEDY}"
        )
    if SQL.match(head):
        raise ReadingError(
            "Expected a table as CSV. Received SQL. Load it into a database, save the table from "
            "there as CSV and give that file."
        )
    if head.startswith(POINTER):
        raise ReadingError(
            "Expected a table as CSV. Received a pointer of Git LFS, which stands for the file. "
            "Fetch the file with `git lfs pull` and give it."
        )


def without_end_mark(data: bytes) -> bytes:
    """Return the bytes without the Ctrl-Z that DOS programs end a text with."""
    return data.removesuffix(b"\x1a")


def guessed(head: list[str], encoding: str) -> tuple[str, ...]:
    """Return a warning where an encoding of before Unicode was guessed, with a word it gives."""
    word = None if encoding.startswith("utf") else FOREIGN.search("".join(head))
    if word is None:
        return ()
    return (
        f"The encoding is taken to be {encoding}, by which a word is {word[0][:40]!r}. If that "
        "looks wrong, name the right one with --encoding",
    )
