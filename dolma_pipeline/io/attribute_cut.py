"""Cuts: attribute lines made ready to be read from any row on.

Where documents are read in ranges, each range needs some rows of the middle of their attributes. So the file is read
once by each owner of cuts, and pieces of about 1 MB are noted: where each lies, with which row and line it starts.
Pieces of a compressed file are kept, compressed again, in a file without a name on this machine's disk for temporary
files, which goes with its cut; a plain file is read where it lies.
Cost: 250 to 400 MB of decompressed lines a second, once for each file; reading a range, what its rows are.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_lines import Blocks, whole_blocks
from dolma_pipeline.io.streams import GZIP_MAGIC, is_zstd

PIECE_BYTES = 1_000_000
MOST_CUTS = 16


class _Piece(NamedTuple):
    offset: int
    size: int
    row: int
    line: int


class Cut:
    """The rows of one attribute file of JSON lines, from any row on; shared by forked processes without harm.

    Attributes:
        num_rows: lines that are not blank.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open(path, "rb") as file:
            head = file.read(4)
        self._packed = head.startswith(GZIP_MAGIC) or is_zstd(head)
        self._descriptor = _nameless() if self._packed else os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self._pieces: list[_Piece] = []
        offset = row = line = 0
        for block in whole_blocks(path, block_bytes=PIECE_BYTES):
            kept = zstandard.ZstdCompressor(level=1).compress(block) if self._packed else block
            if self._packed:
                _write(self._descriptor, kept)
            self._pieces.append(_Piece(offset, len(kept), row, line))
            lines = block.removesuffix(b"\n").split(b"\n")
            offset, row, line = offset + len(kept), row + sum(map(bool, map(bytes.strip, lines))), line + len(lines)
        self.num_rows = row

    def blocks(self, row: int) -> Blocks:
        """Lines from a place at or a little before a row on."""
        first = max(0, bisect_right(self._pieces, row, key=lambda piece: piece.row) - 1)
        if not self._pieces:
            return Blocks(0, 0, iter(()))
        return Blocks(self._pieces[first].row, self._pieces[first].line, self._read(first))

    def _read(self, first: int) -> Iterator[bytes]:
        for piece in self._pieces[first:]:
            kept = b""
            while len(kept) < piece.size:
                more = os.pread(self._descriptor, piece.size - len(kept), piece.offset + len(kept))
                if not more:
                    raise DataError(f"{self._path}: became shorter while it was read.")
                kept += more
            yield zstandard.ZstdDecompressor().decompress(kept) if self._packed else kept


class Cuts:
    """The cuts of the files that were read last, for one owner that no file changes under, such as a run's process.

    At most `MOST_CUTS` of them are kept.
    """

    def __init__(self) -> None:
        self._cuts: dict[Path, Cut] = {}

    def of(self, path: Path) -> Cut:
        """The cut of a file; what was asked for longest ago goes."""
        cut = self._cuts.pop(path, None)
        if cut is None:
            cut = Cut(path)
        self._cuts[path] = cut
        if len(self._cuts) > MOST_CUTS:
            del self._cuts[next(iter(self._cuts))]
        return cut


def _nameless() -> int:
    descriptor, name = tempfile.mkstemp(prefix="dolma-attributes-")
    os.unlink(name)
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])
