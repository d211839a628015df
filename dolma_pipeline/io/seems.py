"""What a file of no known format seems to be, from its first bytes, and what to do.

Only files in which no line of the first bytes could be a document are told (`heads.could_hold_documents`): a false
alarm is worse than a file that is told later, line by line. Cost: 0.05 ms for a file in order, a few ms for others.
"""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import dataclass

from dolma_pipeline.io import heads, magic
from dolma_pipeline.io.formats import recognized
from dolma_pipeline.io.magic import Kind

_HTML = re.compile(rb"(<!--.*?-->\s*|<\?xml[^>]*\?>\s*)*<(!doctype\s+html|html|head|body|title|h1)\b", re.I | re.S)
_XML = re.compile(rb"<(\?xml\b|[A-Za-z_][\w.:-]*[\s/>])")
_ERROR = re.compile(rb"<Error>|<Code>")
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")

_JQ = "Convert it to one object a line, e.g. jq -c {} FILE > FILE.jsonl."
_AGAIN = "Download it again, and look at what the server says."
_CSV = "Convert it to Parquet, e.g. with DuckDB: COPY (FROM 'FILE') TO 'FILE.parquet'."
_UTF8 = "Convert it to UTF-8, e.g. iconv -f {} -t UTF-8 FILE > FILE.utf8."


@dataclass(frozen=True, slots=True)
class Finding:
    """A file of no known format.

    path: of the file. what: it seems to be, with its article. advice: what to do, one sentence.
    """

    path: str
    what: str
    advice: str


def seems(head: bytes, *, name: str) -> Finding | None:
    """What a file seems to be; None if a known format recognizes it, or if there is nothing in it.

    Args:
        head: its first raw bytes, some ten KB (or all of a smaller file). name: its path.
    """
    if recognized(head, name) is not None:
        return None
    if not head and name.lower().endswith(".parquet"):
        return Finding(name, "an empty file", "A Parquet file without rows has bytes too: " + _lower(_AGAIN))
    content = heads.content(head)
    if not content.removeprefix(heads.BOM).strip():
        return None  # an empty file, with or without a mark
    kind = magic.kind_of(content) or _encoding(content) or _markup(content) or _json(content) or _text(content)
    return Finding(name, *kind)


def _encoding(content: bytes) -> Kind | None:
    marks = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), *((mark, "UTF-16") for mark in heads.UTF16))
    for mark, encoding in marks:
        if content.startswith(mark):
            return Kind(f"text in {encoding}", _UTF8.format(encoding))
    if not content.strip(b"\0"):
        return Kind("nothing but zero bytes", _AGAIN)
    start = content[:400]  # four or two bytes a character, and those of ASCII are mostly zero
    for encoding, width, low in (("UTF-32LE", 4, 0), ("UTF-32BE", 4, 3), ("UTF-16LE", 2, 0), ("UTF-16BE", 2, 1)):
        rows = [start[i : i + width] for i in range(0, len(start) - width + 1, width)]
        if len(rows) > 1 and all(row[low] and not any(row[:low] + row[low + 1 :]) for row in rows):
            return Kind(f"text in {encoding[:6]}", _UTF8.format(encoding))
    return None


def _markup(content: bytes) -> Kind | None:
    body = content.removeprefix(heads.BOM).lstrip()
    if _HTML.match(body):
        return Kind("an HTML page (often the error page of a download that failed)", _AGAIN)
    if _XML.match(body):
        if _ERROR.search(body[:1000]):
            return Kind("the error message of a server, in XML", _AGAIN)
        return Kind("XML", "Take the texts out of it, and write one JSON object a line.")
    return None


def _json(content: bytes) -> Kind | None:
    rows = [line for line, _ in itertools.islice(heads.lines(content), 20)]
    if b"\n" not in content and any(heads.is_object(line) for line in rows[0].split(b"\r")):
        return Kind("JSON lines that end in \\r alone", r"Convert it, e.g. tr '\r' '\n' < FILE > FILE.jsonl.")
    begun = heads.array(content)
    if begun is not None and (begun.objects or begun.object_next):
        return Kind("a JSON array", _JQ.format("'.[]'"))
    if begun is not None and begun.values:
        return Kind("a JSON array of values that are not objects", _JQ.format("'.[] | {text: .}'"))
    if heads.several_objects(rows[0]):
        return Kind("JSON objects without line ends between them", _JQ.format("."))
    if heads.object_over_lines(content) or _begins_an_object(rows):
        return Kind("pretty-printed JSON (an object over several lines)", _JQ.format("."))
    if heads.object_over_lines(content, strict=False):
        return Kind("JSON objects with line ends inside their strings", r"Write them with a JSON library, as \n.")
    if re.match(rb"\{\s*'", rows[0]):
        return Kind("Python dictionaries, not JSON", "Write each with json.dumps instead of str.")
    values = [_json_value(line) for line in rows[:-1] or rows]
    if all(values) and values[0] != "number":
        return Kind(f"a JSON {values[0]} a line, where objects are expected", _JQ.format("'{text: .}'"))
    return None


def _begins_an_object(rows: list[bytes]) -> bool:
    """Whether an object is spread over lines whose end was cut off."""
    first = re.match(rb'\{\s*$|\{\s*"[^"]*"\s*:.*,$', rows[0])
    return bool(first) and len(rows) > 1 and bool(re.match(rb'"[^"]*"\s*:', rows[1]))


def _json_value(line: bytes) -> str:
    """What kind of JSON value a line is; empty if it is not one."""
    if line[:1] == b"[" and heads.array(line) is not None and line.endswith(b"]"):
        return "array"
    if re.fullmatch(rb'"([^"\\]|\\.)*"', line):
        return "string"
    return "number" if re.fullmatch(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", line) else ""


def _text(content: bytes) -> Kind:
    text = content.removeprefix(heads.BOM)
    if _CONTROLS.search(text):
        return Kind("binary data of an unknown kind", "Documents are read from JSON lines and Parquet; convert it.")
    for delimiter, what in (("\t", "TSV (tab-separated values)"), (",", "CSV"), (";", "CSV with semicolons")):
        if _is_table(text.decode("utf-8", errors="replace"), delimiter):
            return Kind(what, _CSV)
    try:
        text[: len(text) - 3 if len(text) > 3 else None].decode()
    except UnicodeDecodeError as error:
        if error.end < len(text) - 6:
            return Kind("text that is not valid UTF-8", 'Convert it to UTF-8 JSON lines: {"text": …} on each line.')
    return Kind("plain text", 'Write each document as a JSON object on one line: {"text": …}.')


def _is_table(text: str, delimiter: str) -> bool:
    """Whether most rows have as many cells as the first, which looks like a header."""
    rows = text.splitlines(keepends=True)
    rows = rows[:-1] if len(rows) > 2 else rows  # the last may be cut
    try:
        table = [row for row in csv.reader(rows[:50], delimiter=delimiter, strict=False) if row]
    except csv.Error:
        return False
    if len(table) < 2 or len(table[0]) < 2 or table[0] == table[1] or any(len(cell) > 64 for cell in table[0]):
        return False
    return sum(len(row) == len(table[0]) for row in table) * 10 >= 8 * len(table)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
