"""Documents in JSON lines: the one parser of all stages, and the writers.

One orjson call a line: a second parser would accept other lines and shift rows. A line that does not parse, or
whose text is missing, null or no string, becomes a `Failure` (place and reason, never the text); its neighbours
are unharmed. Cost: 285 to 700 MB of raw lines per second.
Format: Dolma's documents (allenai/dolma, docs/data-format.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, MAX_BATCH_BYTES, MAX_BATCH_ROWS, SCHEMA, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.streams import MAX_LINE_BYTES, Damaged, Overlong, line_blocks

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that could not be read or tagged: where it stands and why; never its text.

    line: 1-based line in the file (of a range: in the range); byte: where the line starts in the decompressed content.
    row: of the document in its shard, where it got that far. Unknown: None.
    """

    path: str
    reason: str
    line: int | None = None
    byte: int | None = None
    row: int | None = None
    id: str | None = None


Report = Callable[[Failure], None]


class Rows:
    """Document columns being filled, handed out as batches of at most 1,000 rows and about 16 MB of text."""

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.next_row = 0
        self._clear()

    def _clear(self) -> None:
        self.columns: dict[str, list[str | None]] = {name: [] for name in COLUMNS}
        self.locs: list[int] = []
        self.num_chars = 0

    def full(self, num_chars: int) -> bool:
        """Whether a document of `num_chars` code points must start a new batch."""
        return len(self.locs) >= MAX_BATCH_ROWS or (
            bool(self.locs) and self.num_chars + num_chars > MAX_BATCH_BYTES // 4
        )

    def take(self) -> Batch:
        """The rows so far as a batch."""
        table = pa.RecordBatch.from_arrays(
            [pa.array(self.columns[name], pa.string()) for name in COLUMNS], schema=SCHEMA
        )
        batch = Batch(table, shard=self.shard, first_row=self.next_row, locs=np.array(self.locs, np.int64))
        self.next_row += len(batch)
        self._clear()
        return batch


def text_or_none(value: object) -> str | None:
    """A top-level value as text: strings as they are, null and absent as null, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def read_lines(
    pieces: Iterator[bytes],
    *,
    path: str,
    shard: str,
    report: Report,
    fields: Mapping[str, str] | None = None,
    start: int = 0,
    end: int | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Batch]:
    """Batches of the documents in decompressed JSON lines.

    Args:
        pieces: decompressed bytes (`streams.decompressed`), from the file's start or from byte `start - 1`.
        path: for failures. shard: for origins.
        report: called with every line that gives no document.
        fields: our column -> the key in the lines, where the names differ.
        start, end: lines that start in these bytes; end None: to the end.
        max_line_bytes: a longer line is reported, not read.
    """
    names = {name: (fields or {}).get(name, name) for name in COLUMNS[:6]}
    rows = Rows(shard)
    line_number, byte = 0, start
    skip_first = start > 0
    blocks = line_blocks(pieces, max_line_bytes=max_line_bytes)
    bom = b""
    while True:
        try:
            block = next(blocks, None)
        except Damaged as damage:
            report(Failure(path, str(damage), line=line_number + 1, byte=byte))
            break
        if block is None or (end is not None and byte >= end and not skip_first):
            break
        if isinstance(block, Overlong):
            if skip_first:
                byte += block.num_bytes - 1
                skip_first = False
                continue
            line_number += 1
            report(Failure(path, _overlong(block.num_bytes, max_line_bytes), line=line_number, byte=byte))
            byte += block.num_bytes
            continue
        if byte == 0 and not skip_first:
            if block[:2] in _UTF16:
                report(Failure(path, "encoding: this is UTF-16; convert the file to UTF-8", line=1, byte=0))
                return
            if block.startswith(_BOM):
                block, bom = block[len(_BOM) :], _BOM
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if skip_first:
            # The piece began one byte early, so that a line that starts exactly at `start` is not lost.
            byte += len(lines.pop(0))
            skip_first = False
        for line in lines:
            if end is not None and byte >= end:
                if rows.locs:
                    yield rows.take()
                return
            line_number += 1
            document = _parse(line, names, max_line_bytes)
            if isinstance(document, str):
                report(Failure(path, document, line=line_number, byte=byte))
            elif document is not None:
                text = document[1]
                if rows.full(len(text or "")):
                    yield rows.take()
                for column, value in zip(rows.columns.values(), document, strict=True):
                    column.append(value)
                rows.locs.append(line_number)
                rows.num_chars += len(text or "")
            byte += len(bom) + len(line) + 1
            bom = b""
    if rows.locs:
        yield rows.take()


def _overlong(num_bytes: int, most: int) -> str:
    return f"a line of {num_bytes} bytes; at most {most} are read"


def _parse(line: bytes, names: Mapping[str, str], max_line_bytes: int) -> tuple[str | None, ...] | str | None:
    """Column values of a line; a string that says why there are none; None for a blank line."""
    if len(line) > max_line_bytes:
        return _overlong(len(line), max_line_bytes)
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return None
        return f"no JSON: {error.msg}" if _is_utf8(line) else "encoding: bytes that are no UTF-8"
    if type(row) is not dict:
        return f"a JSON {_json_type(row)} where an object is wanted"
    text = row.pop(names["text"], None)
    if type(text) is not str:
        return f"'{names['text']}' is {_json_type(text)}; a string is wanted" if text is not None else _no_text(names)
    take = row.pop
    values = [take(names[c], None) for c in ("id", "source", "added", "created")]
    metadata = take(names["metadata"], None)
    try:
        id_, source, added, created = (v if v is None or type(v) is str else text_or_none(v) for v in values)
        return (
            id_,
            text,
            source,
            added,
            created,
            # In a list, so that what is read here can be written as deep again as it stood.
            "{}" if metadata is None else orjson.dumps([metadata])[1:-1].decode(),
            orjson.dumps(row).decode() if row else "{}",
        )
    except TypeError:  # orjson reads 1,024 levels, but writes 254
        return "objects or lists more than 253 levels deep"


def _no_text(names: Mapping[str, str]) -> str:
    return f"'{names['text']}' is missing or null; a string is wanted"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_type(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def document_lines(batch: Batch) -> Iterator[bytes]:
    """A JSON line (with its newline) of each document: Dolma's keys, then what was in `extra`."""
    columns = [batch.table.column(name).to_pylist() for name in COLUMNS]
    for id_, text, source, added, created, metadata, extra in zip(*columns, strict=True):
        row: dict[str, object] = {"id": id_, "text": text, "source": source, "added": added, "created": created}
        row = {key: value for key, value in row.items() if value is not None}
        if metadata and metadata != "{}":
            row["metadata"] = orjson.Fragment(metadata)
        if extra and extra != "{}":
            row.update(orjson.loads(extra))
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class LinesWriter:
    """Lines into a compressed file whose bytes depend on the lines alone: no time, no name in it.

    Args:
        file: where to write. compression: "zst", "gz" or "" (as they come).
    """

    def __init__(self, file: BinaryIO, compression: str) -> None:
        self._inner: Any = None
        if compression == "zst":
            import zstandard

            self._inner = zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False)
        elif compression == "gz":
            from isal import igzip

            gzip_file: Any = igzip.IGzipFile
            self._inner = gzip_file(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0)
        elif compression:
            raise DataError(f"no compression named {compression!r}; there are zst and gz")
        self._out: Any = self._inner or file

    def write(self, lines: Iterable[bytes]) -> None:
        """Append lines, each with its newline."""
        block = b"".join(lines)
        if block:
            self._out.write(block)

    def close(self) -> None:
        """Finish the compression frame; the file itself stays open."""
        if self._inner is not None:
            self._inner.close()


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Commit lines under a name that ends in .jsonl, .jsonl.gz or .jsonl.zst (or .json…)."""
    ending = path.suffix.lstrip(".")
    with paths.committing(path) as file:
        writer = LinesWriter(file, ending if ending in ("gz", "zst") else "")
        writer.write(lines)
        writer.close()
