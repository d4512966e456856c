"""What the first bytes of a file say: not a text at all, or a text in which encoding."""

from __future__ import annotations

import codecs
from itertools import pairwise

from headrace.errors import InputError

SAVE_AS_CSV = "Open it in the spreadsheet program and save it as CSV (UTF-8)."
UNPACK = "Unpack it and give the CSV or JSONL file inside."

# First bytes -> what the file is, and what to do.
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file", SAVE_AS_CSV),
    (b"%PDF-", "a PDF", "Give the table it was made from, as CSV (UTF-8)."),
    (b"PAR1", "a Parquet file", "Convert it to CSV or JSONL, for example with DuckDB or pandas."),
    (b"SQLite format 3\0", "an SQLite database", "Export the table: sqlite3 -header -csv FILE ..."),
    (b"BZh", "a bzip2 file", "Unpack it (bunzip2), or pack it with gzip."),
    (b"\xfd7zXZ\0", "an xz file", "Unpack it (unxz), or pack it with gzip."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "Unpack it (unzstd), or pack it with gzip."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\x89PNG\r\n", "a PNG picture", "Give the table of rows, not a picture."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the table of rows, not a picture."),
    (b"GIF8", "a GIF picture", "Give the table of rows, not a picture."),
    (b"\x7fELF", "a program", "Give the table of rows."),
)

BYTE_ORDER_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def refuse_binary(head: bytes, name: str) -> None:
    """Raise ``InputError`` when ``head``, the first bytes, is of a known binary format."""
    found = _binary_kind(head)
    if found is not None:
        what, remedy = found
        raise InputError(f"this is {what}, not a CSV or JSONL file", place=name, remedy=remedy)


def _binary_kind(head: bytes) -> tuple[str, str] | None:
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(head)
    for magic, what, remedy in SIGNATURES:
        if head.startswith(magic) and not _is_text_by_chance(head, magic):
            return what, remedy
    return None


def _is_text_by_chance(head: bytes, magic: bytes) -> bool:
    """Whether letters that happen to open a header ("BZh", "PAR1") are followed by plain text."""
    return magic.isalnum() and head[:512].isascii() and b"\0" not in head[:512]


def _zip_kind(head: bytes) -> tuple[str, str]:
    if b"xl/" in head or b"[Content_Types].xml" in head:
        return "an Excel file", SAVE_AS_CSV
    if b"opendocument.spreadsheet" in head:
        return "an OpenDocument spreadsheet", SAVE_AS_CSV
    return "a ZIP archive", UNPACK


def encoding_of(head: bytes, asked: str | None, name: str) -> str:
    """Return the codec to read with: the one asked for, or by byte order mark, or UTF-8.

    Raises ``InputError`` for an unknown codec and for UTF-16 without a mark.
    """
    if asked is not None:
        return _known_codec(asked, head)
    for mark, codec in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return codec
    wide = _wide_without_mark(head)
    if wide:
        raise InputError(
            f"looks like {wide} without a byte order mark",
            place=name,
            remedy=f"Say so with --encoding {wide}, or save the file as UTF-8.",
        )
    return "utf-8"


def _known_codec(asked: str, head: bytes) -> str:
    try:
        codec = codecs.lookup(asked).name
        b"abcd".decode(codec, "ignore")  # an empty text would pass every codec
    except (LookupError, UnicodeError):
        raise InputError(
            f"unknown encoding {asked!r}",
            place="--encoding",
            remedy="Known are, for example: utf-8, utf-16, cp1252, latin-1, shift_jis, gb18030.",
        ) from None
    return "utf-8-sig" if codec == "utf-8" and head.startswith(codecs.BOM_UTF8) else codec


def _wide_without_mark(head: bytes) -> str | None:
    """Name the UTF-16 that ``head`` looks like: every second byte of plain letters is zero."""
    pairs = len(head[:512]) // 2
    if pairs < 2:
        return None
    even, odd = head[: pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if odd > pairs * 0.7 and even < pairs * 0.1:
        return "utf-16-le"
    if even > pairs * 0.7 and odd < pairs * 0.1:
        return "utf-16-be"
    return None


def likely_encoding(block: bytes) -> str | None:
    """Guess the encoding of bytes that are not UTF-8; ``None`` when nothing fits."""
    high = sum(1 for byte in block if byte >= 0x80)
    runs = sum(1 for a, b in pairwise(block) if a >= 0x80 and b >= 0x80)
    if high >= 8 and runs > high * 0.4:
        return next((c for c in ("shift_jis", "gb18030", "euc_kr") if _fits(block, c)), None)
    return "cp1252" if _fits(block, "cp1252") else None


def _fits(block: bytes, codec: str) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(block)
    except UnicodeDecodeError:
        return False
    return True
