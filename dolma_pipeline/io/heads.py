"""The first bytes of a file, and whether a line of them could be a document.

A line that was meant as an object counts, broken or not: its failure is told when it is read. So does a line that
the cut of the head goes through. Cost: one parsed line for a file that is in order; 64 KB of any content a few ms.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from dolma_pipeline.io.streams import Damaged, Source, decompressed

RAW_BYTES = 65_536
"""The first bytes of a file that are looked at, as they are on disk."""
CONTENT_BYTES = 65_536
_LITTLE = 4096
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
_OBJECT = re.compile(rb'\{[ \t\r]*"')
_CUT_OBJECT = re.compile(rb'\{[ \t\r]*("|$)')
_JSON_BLANKS = " \t\n\r"


def first_bytes(file: BinaryIO, size: int = RAW_BYTES) -> bytes:
    """The first bytes, also from a store that gives fewer at a time."""
    pieces = []
    while size and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def content(head: bytes, *, most: int = CONTENT_BYTES) -> bytes:
    """The first bytes of the content: decompressed if they are gzip or zstd, as far as they go.

    Args:
        head: the first raw bytes of a file. most: of the content, in bytes.
    """
    pieces, num_bytes = [], 0
    try:
        for piece in decompressed(Source(io.BytesIO(head))):
            pieces.append(piece)
            num_bytes += len(piece)
            if num_bytes >= most:
                break
    except Damaged:
        pass  # the head is cut, so its last block is; whether the file is damaged shows when it is read
    return b"".join(pieces)[:most]


def lines(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """Lines that are not blank, without what is blank around them, and whether the line may go on behind the head."""
    rows = content.removeprefix(BOM).split(b"\n")
    for i, row in enumerate(rows, 1):
        if line := row.strip():
            yield line, i == len(rows)


def could_hold_documents(content: bytes) -> bool:
    """Whether any line could be a document. Not so: UTF-16, and an array of which most objects would be missed."""
    if content.startswith(UTF16):
        return False
    if _most_is_missed(content):
        return False
    return any(_could_be_document(line, cut) for line, cut in lines(content))


def recognizes(head: bytes) -> bool:
    """As `could_hold_documents`, of the first raw bytes; a little of them is enough where a short line is an object."""
    little = content(head[:_LITTLE])
    begins_array = little.removeprefix(BOM).lstrip().startswith(b"[")
    if not (begins_array or little.startswith(UTF16)) and any(
        is_object(line) for line, cut in lines(little) if not cut
    ):
        return True
    return could_hold_documents(content(head))


def is_object(line: bytes) -> bool:
    """Whether a line is a JSON object with anything in it."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(row, dict) and bool(row)


def _most_is_missed(content: bytes) -> bool:
    """Whether this is one JSON array, a line of which may still be an object: the last one has no comma behind it."""
    if not content.removeprefix(BOM).lstrip().startswith(b"["):
        return False
    begun = array(content)
    if begun is None or not begun.objects:
        return False
    num_documents = sum(is_object(line) for line, _ in lines(content))
    return num_documents == 0 or (begun.closed and 2 * num_documents <= begun.objects)


def _could_be_document(line: bytes, cut: bool) -> bool:
    if is_object(line):
        return True
    if cut:
        return bool(_CUT_OBJECT.match(line)) and not several_objects(line)
    return bool(_OBJECT.match(line)) and line.endswith(b"}") and not several_objects(line)


def several_objects(line: bytes) -> bool:
    """Whether an object begins the line and something follows it."""
    decoded = _decoded(line)
    end = _end_of_value(decoded, 0) if line.startswith(b"{") else None
    return end is not None and bool(decoded[end:].strip())


@dataclass(frozen=True, slots=True)
class Array:
    """The beginning of a JSON array.

    values, objects: whole ones in it. closed: whether its end is there. object_next: whether it breaks off inside
    what begins like an object.
    """

    values: int
    objects: int
    closed: bool = False
    object_next: bool = False


def array(content: bytes) -> Array | None:
    """What these bytes hold of one JSON array; None if they are not (the beginning of) a single one."""
    text = _decoded(content.removeprefix(BOM))
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        return None
    at = _skip(text, at + 1)
    values = objects = 0
    while at < len(text):
        if text[at] == "]" and not values:
            return None if text[at + 1 :].strip(_JSON_BLANKS) else Array(0, 0, closed=True)
        end = _end_of_value(text, at)
        if end is None:  # broken, or cut
            return Array(values, objects, object_next=text[at] == "{")
        values, objects = values + 1, objects + (text[at] == "{")
        at = _skip(text, end)
        if at == len(text):
            break
        if text[at] == "]":
            return None if text[at + 1 :].strip(_JSON_BLANKS) else Array(values, objects, closed=True)
        if text[at] != ",":
            return None
        at = _skip(text, at + 1)
    return Array(values, objects)


def object_over_lines(content: bytes, *, strict: bool = True) -> bool:
    """Whether the content begins with an object that takes several lines.

    Args:
        strict: whether line ends inside strings are refused, as JSON does.
    """
    text = _decoded(content.removeprefix(BOM)).lstrip(_JSON_BLANKS)
    if not text.startswith("{"):
        return False
    end = _end_of_value(text, 0, strict=strict)
    return end is not None and "\n" in text[:end]


def _end_of_value(text: str, at: int, *, strict: bool = True) -> int | None:
    """Where the JSON value at this place ends; None if it is broken or cut."""
    try:
        return json.JSONDecoder(strict=strict).raw_decode(text, at)[1]
    except (ValueError, RecursionError):  # invalid JSON, an integer of more than 4,300 digits, deep nesting
        return None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _JSON_BLANKS:
        at += 1
    return at


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")
