"""A suffix table of token ids: every place among them, sorted by what stands from there on. infini-gram's file layout.

`tokenized.N` holds the ids with a separator (all bits set) before each document, `offset.N` the byte of each separator
(uint64), `table.N` the byte of every id and separator in the order of the bytes from there to the end, each in as many
bytes as the largest needs. All little-endian. Source: Liu et al. 2024, arXiv:2401.17377, and the package infini-gram,
whose own builder gives the same bytes.

The sorting is that of the bytes (libdivsufsort, by pydivsufsort); of its places those at which an id begins are kept.
Cost: 6 to 7 bytes of memory for each byte of a piece. It needs the extra `index`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.tokenizer import token_dtype

PIECE_BYTES = 1 << 26
"""Bytes of ids that are sorted together, unless one document alone has more: 0.5 GB of memory. Larger pieces
are sorted more slowly, and more pieces are asked one by one."""
_CHUNK = 1 << 22


def require_sorter() -> None:
    """Raises UsageError with the cure if pydivsufsort is not installed."""
    if importlib.util.find_spec("pydivsufsort") is None:
        raise UsageError("an index is made with pydivsufsort, which is not here: pip install 'dolma-pipeline[index]'")


def index_dtype(num_ids: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest of uint8, uint16 and uint32 that holds ids below `num_ids` and, above them, the separator.

    Raises:
        DataError: none does.
    """
    return token_dtype(num_ids + 1)


def cut_pieces(ends: NDArray[np.int64], *, width: int, piece_bytes: int = PIECE_BYTES) -> list[tuple[int, int]]:
    """First and last (exclusive) document of each piece of a part; a piece has at least one document.

    Args:
        ends: of the part's documents, in ids, ascending, int64[n]. width: bytes of an id in the index.
        piece_bytes: of ids and separators, at most, unless a document alone has more.
    """
    sizes = (ends + np.arange(1, len(ends) + 1)) * width
    pieces, first = [], 0
    while first < len(ends):
        before = int(sizes[first - 1]) if first else 0
        last = max(int(np.searchsorted(sizes, before + piece_bytes, side="right")), first + 1)
        pieces.append((first, last))
        first = last
    return pieces


def separated(
    ids: NDArray[Any], ends: NDArray[np.int64], dtype: np.dtype[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Documents as `tokenized.N` has them, and the byte of each one's separator, as `offset.N` has them.

    Args:
        ids: of documents end to end. ends: of each, counted from the first of these ids; the last is their number.
        dtype: see `index_dtype`; no id is its largest number.
    """
    starts = np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]
    kind = dtype.newbyteorder("<")
    found = np.insert(ids.astype(kind, copy=False), starts, kind.type(np.iinfo(kind).max))
    offsets = (starts + np.arange(len(starts))) * kind.itemsize
    return found.view(np.uint8), offsets.astype("<u8")


def pointer_bytes(size: int) -> int:
    """Bytes of an entry of the table over so many bytes."""
    return max(((size - 1).bit_length() + 7) // 8, 1)


def table_chunks(tokenized: NDArray[np.uint8], *, width: int) -> Iterator[bytes]:
    """The table of a piece, some millions of entries at a time.

    Args:
        tokenized: see `separated`; writable. width: bytes of an id.

    Raises:
        UsageError: pydivsufsort is not installed.
    """
    require_sorter()
    from pydivsufsort import divsufsort

    places: NDArray[np.int32 | np.int64] = divsufsort(tokenized)
    size = pointer_bytes(len(tokenized))
    for first in range(0, len(places), _CHUNK):
        some = places[first : first + _CHUNK]
        some = some[(some & (width - 1)) == 0]
        if size == 4:
            yield some.astype("<u4").tobytes()
        else:
            yield some.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :size].tobytes()
