"""Kinds of files that say what they are in their first bytes, and what to do with each.

Sources: the formats' own specifications; `file`'s magic database for tar and bzip2.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What a file seems to be, and one sentence on what to do with it."""

    what: str
    advice: str


_REPACK = "Compress it as gzip or zstd instead, e.g. {} -dc FILE | zstd > FILE.zst."
_UNPACK = "Unpack it, and give the files that are in it."
_TO_PARQUET = "Convert it to Parquet{}."
_NO_TEXT = "Take the text out of it first."

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\xfd7zXZ\0", Kind("a file compressed by xz", _REPACK.format("xz"))),
    (b"\x04\x22\x4d\x18", Kind("a file compressed by lz4", _REPACK.format("lz4"))),
    (b"\x02\x21\x4c\x18", Kind("a file compressed by lz4", _REPACK.format("lz4"))),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (b"PK\x05\x06", Kind("an empty zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK)),
    (
        b"ARROW1\0\0",
        Kind(
            "an Arrow IPC file (Feather)",
            _TO_PARQUET.format(", e.g. with pyarrow.ipc.open_file(…).read_all() and pyarrow.parquet.write_table(…)"),
        ),
    ),
    (b"Obj\x01", Kind("an Avro file", _TO_PARQUET.format(", or to one JSON object a line"))),
    (b"SQLite format 3\0", Kind("an SQLite database", _TO_PARQUET.format(", e.g. with DuckDB's sqlite extension"))),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", _TO_PARQUET.format(""))),
    (b"\x93NUMPY", Kind("a NumPy array", "Documents are JSON lines or Parquet; token parts are not input.")),
    (b"%PDF-", Kind("a PDF", _NO_TEXT)),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG image", "Take it out of the documents.")),
    (b"\xff\xd8\xff", Kind("a JPEG image", "Take it out of the documents.")),
    (
        b"\x1f\x8b",
        Kind("a gzip file inside another compression", "Decompress it once, so that one compression is left."),
    ),
    (b"\x28\xb5\x2f\xfd", Kind("a zstd file inside another compression", "Decompress it once, so that one is left.")),
    (b"PAR1", Kind("Parquet inside a compression, or damaged Parquet", "Decompress it, or download it again.")),
    (b"PARE", Kind("encrypted Parquet", "Decrypt it first.")),
    (
        b"version https://git-lfs.github.com/spec/v1",
        Kind("a Git LFS pointer, not the file itself", "Fetch the file with git lfs pull."),
    ),
    (b"WARC/1.", Kind("a WARC file", "Extract the text of its pages to JSON lines first.")),
    (b"WARC/0.", Kind("a WARC file", "Extract the text of its pages to JSON lines first.")),
)


def kind_of(content: bytes) -> Kind | None:
    """The kind that the first bytes of a file's content name; None if they name none.

    Args:
        content: some hundred bytes or more, decompressed if the file is gzip or zstd.
    """
    for start, kind in _STARTS:
        if content.startswith(start):
            return kind
    if content.startswith(b"ORC") and any(byte < 9 for byte in content[3:64]):  # text may begin with these letters
        return Kind("an ORC file", _TO_PARQUET.format(", e.g. with pyarrow.orc.read_table(…)"))
    if content.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in content or b"xl/" in content:
            return Kind("an Office document (a zip of XML)", "Export it as JSON lines or Parquet.")
        return Kind("a zip archive", _UNPACK)
    if content[:3] == b"BZh" and content[3:4] in b"123456789" and content[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return Kind("a file compressed by bzip2", _REPACK.format("bzip2"))
    if content[257:262] == b"ustar":
        return Kind("a tar archive", _UNPACK)
    if _is_arrow_stream(content):
        return Kind(
            "an Arrow IPC stream",
            _TO_PARQUET.format(", e.g. with pyarrow.ipc.open_stream(…).read_all() and pyarrow.parquet.write_table(…)"),
        )
    return None


def _is_arrow_stream(content: bytes) -> bool:
    """A continuation mark, then the length of the schema's message, a multiple of 8 (Arrow columnar format, IPC)."""
    size = int.from_bytes(content[4:8], "little")
    return content.startswith(b"\xff\xff\xff\xff") and 0 < size < 1 << 28 and size % 8 == 0
