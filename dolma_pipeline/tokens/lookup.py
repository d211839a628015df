"""Where ids stand in a piece of an index: binary search over its suffix table, in memory maps.

No engine but Python's: an entry is compared in half a microsecond, a search of ten million ids takes 24 of them. Pages
come when they are touched, so opening costs nothing and the first search of each disk page a read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError

_FIRST_BYTES = 128
"""Of ids that are compared while the longest match is looked for; a match that is longer is looked for again."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """One piece of an index, as `tokens.suffixes` describes it.

    Args:
        tokenized, table: the files. offsets: bytes of the documents' separators, uint64[documents]. dtype: of the ids.

    Raises:
        DataError: sizes that cannot be of one piece.
    """

    tokenized: memoryview
    table: memoryview
    offsets: NDArray[np.uint64]
    dtype: np.dtype[np.unsignedinteger[Any]]

    def __post_init__(self) -> None:
        if len(self.tokenized) % self.width or len(self) == 0 or len(self.table) % len(self):
            raise DataError(
                f"an index of {len(self.tokenized)} bytes of ids and {len(self.table)} of places: not one whole index. "
                "Make it again: dolma-pipeline index"
            )

    @property
    def width(self) -> int:
        """Bytes of an id."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        """Ids and separators, which is the number of the table's entries."""
        return len(self.tokenized) // self.width

    @property
    def _entry_bytes(self) -> int:
        return len(self.table) // len(self)

    def found(self, query: bytes) -> tuple[int, int]:
        """First and last (exclusive) entry of the table whose place begins with these ids, which are not none."""
        size, rows = len(query), range(len(self))
        head = self._heads(size)
        first = bisect_left(rows, query, key=head)
        return first, bisect_right(rows, query, lo=first, key=head)

    def longest(self, query: bytes, start: int = 0) -> int:
        """How many of the ids from byte `start` on stand together somewhere."""
        left = len(query) - start
        size = min(left, _FIRST_BYTES)
        while True:
            head, own = self._heads(size), query[start : start + size]
            at = bisect_left(range(len(self)), own, key=head)
            best = max(_common(head(row), own, self.width) for row in (at - 1, at) if 0 <= row < len(self))
            if best * self.width < size or size == left:
                return best
            size = min(left, size * 8)

    def places(self, first: int, last: int, *, at_most: int) -> NDArray[np.int64]:
        """The earliest of these entries' places, ascending, counted in ids and separators; int64[<= at_most]."""
        best = np.zeros(0, np.int64)
        for start in range(first, last, _CHUNK):
            best = np.sort(np.concatenate([best, self._entries(start, min(start + _CHUNK, last))]))[:at_most]
        return best // self.width

    def document(self, place: int) -> tuple[int, int, int]:
        """The document of a place: its number in the piece, and the places of its first id and behind its last."""
        number = int(np.searchsorted(self.offsets, place * self.width, side="right")) - 1
        following = number + 1
        end = int(self.offsets[following]) // self.width if following < len(self.offsets) else len(self)
        return number, int(self.offsets[number]) // self.width + 1, end

    def ids(self, first: int, last: int) -> NDArray[Any]:
        """The ids from place `first` to before `last`."""
        return np.frombuffer(self.tokenized[first * self.width : last * self.width], self.dtype)

    def _heads(self, size: int) -> _Heads:
        return _Heads(self.table, self.tokenized, self._entry_bytes, size)

    def _entries(self, first: int, last: int) -> NDArray[np.int64]:
        size = self._entry_bytes
        wide = np.zeros((last - first, 8), np.uint8)
        wide[:, :size] = np.frombuffer(self.table[first * size : last * size], np.uint8).reshape(-1, size)
        return wide.view("<i8").reshape(-1).astype(np.int64)


class _Heads:
    """Row of the table -> the first bytes from its place on; called ten thousand times for a page of text."""

    __slots__ = ("_entry", "_ids", "_size", "_table")

    def __init__(self, table: memoryview, ids: memoryview, entry: int, size: int) -> None:
        self._table, self._ids, self._entry, self._size = table, ids, entry, size

    def __call__(self, row: int) -> bytes:
        at = row * self._entry
        place = int.from_bytes(self._table[at : at + self._entry], "little")
        return bytes(self._ids[place : place + self._size])


def _common(one: bytes, other: bytes, width: int) -> int:
    """How many ids two runs of them begin with alike."""
    limit = min(len(one), len(other)) // width
    for i in range(limit):
        if one[i * width : (i + 1) * width] != other[i * width : (i + 1) * width]:
            return i
    return limit


def longest_runs(pieces: Sequence[Piece], ids: NDArray[Any]) -> list[int]:
    """From each id on, how many of them stand together somewhere in the pieces; int[len(ids)]."""
    if not pieces:
        return [0] * len(ids)
    width = pieces[0].width
    query = ids.astype(pieces[0].dtype).tobytes()
    return [max(piece.longest(query, at) for piece in pieces) for at in range(0, len(query), width)]


def maximal_spans(lengths: Sequence[int], *, at_least: int) -> Iterator[tuple[int, int]]:
    """Runs that cannot be made longer on either side, as first and last (exclusive) id; in order.

    Source: OLMoTrace, Liu et al. 2025, arXiv:2504.07096.

    Args:
        lengths: see `longest_runs`. at_least: ids of a run that is given.
    """
    before = 0
    for first, length in enumerate(lengths):
        last = first + length
        if last > before and length >= at_least:
            yield first, last
        before = max(before, last)
