"""Documents in JSON lines: the one parser of all stages, and the writers.

What a line is, orjson says (`parse_line`): a second opinion would accept other lines and shift rows. Lines that are
plainly right are read by a kernel (`kernels.json_lines`), which leaves all others to orjson and gives the same values;
only the blanks, escapes and digits inside `metadata` and `extra` stand as they were written. A `metadata` that is a
string stands for the object that it spells, or for itself (`written.metadata_text`). A line that does not
parse, or whose text is missing, null or not a string, becomes a `Failure` (place and reason, never the text); its
neighbours are unharmed. Batches depend on the lines alone: at most MAX_BATCH_ROWS, and MAX_BATCH_BYTES of lines (not
of text: as much for either way of reading); a longer line is a batch of its own.
Cost: 1.3 to 2 GB of lines per second, 100 to 270 MB/s where orjson must decide; with gzip 400 to 450.
Format: Dolma's documents (allenai/dolma, docs/data-format.md).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.documents import COLUMNS, MAX_BATCH_BYTES, MAX_BATCH_ROWS, SCHEMA, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gzip_writer import GzipWriter
from dolma_pipeline.io.streams import MAX_LINE_BYTES, Damaged, Overlong, line_blocks
from dolma_pipeline.io.written import TooDeepError, json_text, member_text, metadata_text, text_or_none
from dolma_pipeline.storage.committed import Output

if TYPE_CHECKING:
    from dolma_pipeline.kernels.json_lines import LineColumns

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"

NO_TEXT = "is missing or null; expected a string"
"""How the reason ends for which a line without a text fails, behind the key that was looked for."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that could not be read or tagged: where it stands and why; never its text.

    line: 1-based line in the file; byte: where the line starts in the decompressed content.
    row: of the document in its shard, where it got that far. Unknown: None.
    lost: not one document but the file: it could not be read to its end, from that place on.
    """

    path: str
    reason: str
    line: int | None = None
    byte: int | None = None
    row: int | None = None
    id: str | None = None
    lost: bool = False


Report = Callable[[Failure], None]


def read_lines(
    pieces: Iterator[bytes],
    *,
    path: str,
    shard: str,
    report: Report,
    fields: Mapping[str, str] | None = None,
    start: int = 0,
    end: int | None = None,
    lines_before: int = 0,
    only: Sequence[int] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Batch]:
    """Batches of the documents in decompressed JSON lines.

    Args:
        pieces: decompressed bytes (`streams.decompressed`), from the file's start or from byte `start - 1`.
        path: for failures. shard: for origins.
        report: called with every line that gives no document.
        fields: our column -> the key in the lines, where the names differ.
        start, end: lines that start in these bytes; end None: to the end.
        lines_before: lines of the file that start before byte `start`; all lines are counted on from it.
        only: numbers of the lines that are wanted, ascending; the others are passed over, and after the last of them
            nothing is read. None: all.
        max_line_bytes: a longer line is reported, not read.
    """
    from dolma_pipeline.kernels.json_lines import LineColumns

    names = {name: (fields or {}).get(name, name) for name in COLUMNS[:6]}
    columns = LineColumns(
        [*names.values()], max_rows=MAX_BATCH_ROWS, max_bytes=MAX_BATCH_BYTES, max_line_bytes=max_line_bytes
    )
    columns.line = lines_before
    reader = _Reader(columns, names, path, shard, report, max_line_bytes)
    # A piece that does not start the file began one byte early, so that a line that starts exactly at `start` is not
    # lost; all up to the first newline belongs to the range before.
    byte, inside_line = (start - 1, True) if start else (0, False)
    blocks = line_blocks(pieces, max_line_bytes=max_line_bytes)
    while end is None or byte < end or inside_line:
        if only is not None and (not only or columns.line >= only[-1]):
            break
        try:
            block = next(blocks, None)
        except Damaged as damage:
            report(Failure(path, damage_reason(damage), line=columns.line + 1, byte=byte, lost=True))
            break
        if block is None:
            break
        if isinstance(block, Overlong):
            if not inside_line:
                columns.line += 1
                report(Failure(path, overlong(block.num_bytes, max_line_bytes), line=columns.line, byte=byte))
            byte += block.num_bytes
        else:
            position, stop = 0, len(block) if end is None else end - byte
            if inside_line:
                position = block.find(b"\n") + 1 or len(block)
            elif byte == 0 and block[:2] in _UTF16:
                why = "encoding: this is UTF-16; convert the file to UTF-8"
                report(Failure(path, why, line=1, byte=0, lost=True))
                return
            elif byte == 0 and block.startswith(_BOM):
                position = len(_BOM)
                stop = max(stop, position + 1)  # the first line starts at byte 0 all the same
            if only is None:
                yield from reader.read(block, position, stop, byte)
            else:
                yield from reader.read_some(block, position, stop, byte, only)
            byte += len(block)
        inside_line = False
    if len(columns):
        yield reader.take()


def damage_reason(damage: Damaged) -> str:
    """Why a file is lost: also where all its lines seem to be there, since nothing vouches for them."""
    return f"{damage}; content may be missing or wrong" if damage.content_complete else str(damage)


class _Reader:
    """Lines of blocks into batches: the kernel reads, and orjson decides about the lines that it leaves."""

    def __init__(
        self,
        columns: LineColumns,
        names: Mapping[str, str],
        path: str,
        shard: str,
        report: Report,
        max_line_bytes: int,
    ) -> None:
        self.columns, self.names, self.path, self.shard, self.report = columns, names, path, shard, report
        self.max_line_bytes = max_line_bytes
        self.next_row = 0

    def read(self, block: bytes, position: int, stop: int, first_byte: int) -> Iterator[Batch]:
        """The batches that become full with the lines of a block that start before byte `stop` of it.

        Args:
            position: where in the block to start. first_byte: where the block starts in the file.
        """
        from dolma_pipeline.kernels.json_lines import DONE, FULL

        data = np.frombuffer(block, np.uint8)
        stop = min(stop, len(block))
        while True:
            status, position = self.columns.read(data, position, stop)
            if status == DONE:
                return
            if status == FULL:
                yield self.take()
                continue
            line_end = block.find(b"\n", position)
            line = block[position : line_end if line_end >= 0 else len(block)]
            values = parse_line(line, self.names, self.max_line_bytes)
            if isinstance(values, tuple) and self.columns.is_full(len(line)):
                yield self.take()
            self.columns.line += 1
            if isinstance(values, str):
                at = first_byte + position
                if at == len(_BOM) and block.startswith(_BOM):
                    at = 0
                self.report(Failure(self.path, values, line=self.columns.line, byte=at))
            elif values is not None:
                self.columns.append(values, len(line))
            position += len(line) + 1

    def read_some(
        self, block: bytes, position: int, stop: int, first_byte: int, only: Sequence[int]
    ) -> Iterator[Batch]:
        """The same of some lines alone; only: their numbers, ascending."""
        line, stop = self.columns.line, min(stop, len(block))
        at = bisect_right(only, line)
        while position < stop and at < len(only):
            first, begin, last = line, position, -1
            while position < stop and at < len(only) and only[at] == line + 1:  # as many as follow each other
                last, position = position, block.find(b"\n", position) + 1 or len(block)
                line, at = line + 1, at + 1
            if last >= 0:
                self.columns.line = first
                yield from self.read(block, begin, last + 1, first_byte)
            else:
                position, line = block.find(b"\n", position) + 1 or len(block), line + 1
        self.columns.line = line

    def take(self) -> Batch:
        """The rows so far as a batch."""
        arrays, locs = self.columns.take()
        table = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
        batch = Batch(table, shard=self.shard, first_row=self.next_row, locs=locs)
        self.next_row += len(batch)
        return batch


def overlong(num_bytes: int, most: int, *, what: str = "line") -> str:
    """Why a line, or a row, of so many bytes is not read."""
    return f"a {what} of {num_bytes} bytes; at most {most} are read"


def parse_line(line: bytes, names: Mapping[str, str], max_line_bytes: int) -> tuple[str | None, ...] | str | None:
    """What a line is, by orjson: the one judge of lines; the kernel only spares it those that are plainly right.

    Args:
        line: without its newline. names: our column -> its key. max_line_bytes: a longer line is not read.

    Returns:
        The values of COLUMNS; a string that says why there are none; None for a blank line.
    """
    if len(line) > max_line_bytes:
        return overlong(len(line), max_line_bytes)
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return None
        return _why_not(error) if _is_utf8(line) else "encoding: not valid UTF-8"
    if type(row) is not dict:
        return f"expected a JSON object, found {_json_type(row)}"
    text = row.pop(names["text"], None)
    if type(text) is not str:
        return f"'{names['text']}' is {_json_type(text)}; expected a string" if text is not None else _no_text(names)
    take = row.pop
    values = [take(names[c], None) for c in ("id", "source", "added", "created")]
    metadata = take(names["metadata"], None)
    try:
        id_, source, added, created = (v if v is None or type(v) is str else text_or_none(v) for v in values)
        if metadata is None:
            about = "{}"
        else:
            about = metadata_text(metadata) if type(metadata) is str else member_text(metadata)
        return id_, text, source, added, created, about, json_text(row) if row else "{}"
    except TooDeepError as error:
        return str(error)


def _why_not(error: orjson.JSONDecodeError) -> str:
    """Why orjson does not read a line: mostly that it is invalid JSON, but some JSON is beyond what it reads."""
    if "depth limit" in error.msg:
        return str(TooDeepError())
    if "infinity" in error.msg:
        return "a number beyond the range of 64-bit floats"
    return f"invalid JSON: {error.msg}"


def _no_text(names: Mapping[str, str]) -> str:
    return f"'{names['text']}' {NO_TEXT}"


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

    def __init__(self, file: Output, compression: str) -> None:
        self._inner: Any = None
        if compression == "zst":
            import zstandard

            self._inner = zstandard.ZstdCompressor(level=1).stream_writer(cast(BinaryIO, file), closefd=False)
        elif compression == "gz":
            self._inner = GzipWriter(file)
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
