"""What kernels read and give: a string column without a copy, and a table of stretches of it.

Cost: none; plain named tuples of numpy arrays. No numba here, so that the data model may use them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class TextBuffers(NamedTuple):
    """A string column as kernels read it: no copy, and true for a slice.

    `offsets` is int32[n + 1]; document i is `data[offsets[i]:offsets[i + 1]]`. `offsets[0]` may be above 0.
    Both arrays are read-only; `data` is valid UTF-8, as an Arrow string column is.
    """

    offsets: NDArray[np.int32]
    data: NDArray[np.uint8]


class Tokens(NamedTuple):
    """Stretches of the batch's text (words, lines or paragraphs), in order.

    Those of document i are `rows[i]:rows[i + 1]` (int64[n + 1]). `starts` and `ends` (int32) are byte
    positions in `data`, `hashes` (uint64) is `hashing.hash_bytes` of the bytes (of lines it is empty), `chars` (int32)
    counts code points, `flags` (uint8) are bits whose meaning the kernel that made the table documents. All read-only.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    chars: NDArray[np.int32]
    flags: NDArray[np.uint8]


class Bitmaps(NamedTuple):
    """Bit k of element j is of byte `64 * j + k` of the batch's text, counted from its first; uint64[blocks + 1] each.

    What a bit behind the text's end says is nothing. `space`: every byte of a character that is `str.isspace`.
    `newline`: `\\n`. `letter`, `word`, `mark`: the first byte of a character that is `str.isalpha`, of one that is
    `\\w`, of one that ends a sentence or may close it (`sentence_marks`). `more`: bytes that continue a character.
    `odd`: `#`, where an ellipsis begins, and maybe a dot that begins none.
    """

    space: NDArray[np.uint64]
    newline: NDArray[np.uint64]
    letter: NDArray[np.uint64]
    word: NDArray[np.uint64]
    more: NDArray[np.uint64]
    mark: NDArray[np.uint64]
    odd: NDArray[np.uint64]


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """The same memory, read-only and contiguous, so that each kernel is compiled for one type only.

    Args:
        array: 1-dimensional, any dtype.
    """
    array = np.ascontiguousarray(array)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def empty_tokens(num_rows: int, capacity: int) -> dict[str, NDArray[Any]]:
    """Writable arrays for `capacity` tokens of `num_rows` documents, by field name; contents undefined.

    Pages that are never written take no memory, so a capacity may be a generous bound.
    """
    return {
        "rows": np.zeros(num_rows + 1, np.int64),
        "starts": np.empty(capacity, np.int32),
        "ends": np.empty(capacity, np.int32),
        "hashes": np.empty(capacity, np.uint64),
        "chars": np.empty(capacity, np.int32),
        "flags": np.empty(capacity, np.uint8),
    }


def sealed_tokens(arrays: dict[str, NDArray[Any]], count: int) -> Tokens:
    """The first `count` tokens of `empty_tokens` arrays as a read-only table."""
    rows = read_only(arrays["rows"])
    columns = (read_only(arrays[name][:count]) for name in ("starts", "ends", "hashes", "chars", "flags"))
    return Tokens(rows, *columns)


ONE_TEXT = TextBuffers(read_only(np.array([0, 1], np.int32)), read_only(np.frombuffer(b"a", np.uint8)))
"""A text of one letter: what kernels are compiled on."""

ONE_TOKEN = sealed_tokens(
    {
        "rows": np.array([0, 1], np.int64),
        "starts": np.zeros(1, np.int32),
        "ends": np.ones(1, np.int32),
        "hashes": np.ones(1, np.uint64),
        "chars": np.ones(1, np.int32),
        "flags": np.full(1, 8, np.uint8),  # a word that begins its line
    },
    1,
)
"""The only word, and the only line, of ONE_TEXT, with a made-up hash: to compile a kernel without those before it."""
