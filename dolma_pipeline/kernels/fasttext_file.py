"""A fastText model file, `.bin` or `.ftz`, as arrays over its memory map: nothing large is copied.

Understands supervised models of file versions 11 and 12, quantised (fastText.zip: product quantisation, norms,
pruned words and n-grams, quantised outputs) or not. Workers of one machine share the map's pages. Cost: 0.1 s for
each million of words, and private memory of 24 bytes a word; a quantised matrix is unfolded where that takes
`UNFOLDED_BYTES` at most. Source: the file format of fastText 0.9.2; Joulin et al. 2016, "FastText.zip".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.fasttext_header import AFTER_WORD, UNFOLDED_BYTES, Reader, read_arguments, read_sizes
from dolma_pipeline.kernels.jit import njit


class Matrix(NamedTuple):
    """Rows of float32, plain or by product quantisation, as kernels read them. All read-only.

    `data` is uint8: the numbers of a plain matrix (float32, row after row, maybe not aligned), or the codes of a
    quantised one. `centroids` (float32) and `norms` (float32[256], by `norm_codes`, uint8[rows]) are empty for a plain
    one. `shape` is int64[6]: rows, dim, 1 where quantised, dims of a part, parts, dims of the last part.
    """

    data: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    norm_codes: NDArray[np.uint8]
    norms: NDArray[np.float32]
    shape: NDArray[np.int64]


class ModelFile(NamedTuple):
    """What stands in a file.

    `letters` (uint8) holds the words and labels: entry i is `letters[starts[i]:starts[i + 1] - 10]`, `starts` is
    int64[entries + 1]. `slots` (int64[2^k]) is an open-addressing table of all entries: the FNV-1a hash in the upper
    half, the entry below, -1 where empty. `counts` is int64[labels]. `pruned` is int32[k, 2], bucket and row, or None
    where every bucket has its row.
    """

    arguments: dict[str, int]
    num_words: int
    labels: tuple[bytes, ...]
    counts: NDArray[np.int64]
    letters: NDArray[np.uint8]
    starts: NDArray[np.int64]
    slots: NDArray[np.int64]
    pruned: NDArray[np.int32] | None
    vectors: Matrix
    outputs: Matrix


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """An own, aligned, read-only copy: kernels are compiled once, for such arrays."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def aligned(size: int) -> NDArray[np.uint8]:
    """Zeros, uint8[size], whose first byte begins a line of a processor's cache."""
    room = np.zeros(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + size]


def plain_matrix(rows: NDArray[np.float32]) -> Matrix:
    """A `Matrix` of float32[n, dim]."""
    data = aligned(rows.nbytes)
    data.view(np.float32)[:] = rows.reshape(-1)
    data.flags.writeable = False
    return Matrix(data, *_NO_CODES, shape=frozen(np.array([*rows.shape, 0, 0, 0, 0], np.int64)))


_NO_CODES = (frozen(np.zeros(0, np.float32)), frozen(np.zeros(0, np.uint8)), frozen(np.zeros(0, np.float32)))


def unfolded(matrix: Matrix) -> NDArray[np.float32]:
    """The numbers of a `Matrix`, float32[rows, dim]."""
    rows, dim, quantised, size, parts, last = matrix.shape.tolist()
    if not quantised:
        return matrix.data.view(np.float32).reshape(rows, dim)
    grid = matrix.data.reshape(rows, parts)
    out = np.empty((rows, dim), np.float32)
    for part in range(parts):
        width = last if part == parts - 1 else size
        first = part * 256 * size
        table = matrix.centroids[first : first + 256 * width].reshape(256, width)
        out[:, part * size : part * size + width] = table[grid[:, part]]
    if len(matrix.norms):
        out *= matrix.norms[matrix.norm_codes][:, None]
    return out


def read_model(path: Path) -> ModelFile:
    """Maps a model file and finds its parts; every number that leads into an array is checked.

    Raises:
        AssetError: not a fastText file, of another version, cut short or damaged, or not a classifier.
    """
    reader = _Matrices(path)
    return _read_body(reader, read_arguments(reader))


def _read_body(reader: _Matrices, arguments: dict[str, int]) -> ModelFile:
    """Everything after the settings: dictionary, pruned buckets, input and output vectors."""
    num_words, num_labels, num_pruned = read_sizes(reader)
    first, num_entries = reader.at, num_words + num_labels
    starts = np.zeros(num_entries + 1, np.int64)
    slots = np.full(1 << max(2 * num_entries, 2).bit_length(), -1, np.int64)
    done = int(_index(reader.memory, first, num_words, starts, slots))
    if done < 0:
        raise reader.short()
    if done < num_entries:
        raise reader.damaged(f"entry {done} is not a {'word' if done < num_words else 'label'}, or stands there twice")
    reader.at = int(starts[-1])
    names, counts = [], []
    for start, end in zip(starts[num_words:-1].tolist(), (starts[num_words + 1 :] - AFTER_WORD).tolist(), strict=True):
        names.append(reader.memory[start:end].tobytes())
        counts.append(int.from_bytes(reader.memory[end + 1 : end + 9].tobytes(), "little", signed=True))
    pairs = reader.array(np.int32, 2 * max(num_pruned, 0)).reshape(-1, 2).copy()
    is_quantised = reader.flag()
    vectors = reader.matrix(quantised=is_quantised)
    if not is_quantised and num_pruned >= 0:
        raise reader.damaged("it is pruned, but not quantised; fastText itself refuses such files")
    outputs_quantised = reader.flag()
    outputs = reader.matrix(quantised=outputs_quantised and is_quantised)
    dims = (int(vectors.shape[1]), int(outputs.shape[1]))
    if dims != (arguments["dim"], arguments["dim"]):
        raise reader.damaged(f"vectors of {dims[0]} and {dims[1]} numbers, where dim is {arguments['dim']}")
    num_rows = num_words + (arguments["bucket"] if num_pruned < 0 else num_pruned)
    if int(vectors.shape[0]) < num_rows or int(outputs.shape[0]) != num_labels:
        raise reader.damaged(
            f"{vectors.shape[0]} vectors and {outputs.shape[0]} output rows, wanted {num_rows} and {num_labels}"
        )
    if len(pairs) and not (
        (pairs >= 0).all() and (pairs[:, 0] < arguments["bucket"]).all() and (pairs[:, 1] < num_pruned).all()
    ):
        raise reader.damaged("the table of pruned n-grams leads out of the vectors")
    return ModelFile(
        arguments=arguments,
        num_words=num_words,
        labels=tuple(names),
        counts=np.array(counts, np.int64),
        letters=reader.memory,
        starts=frozen(starts),
        slots=frozen(slots),
        pruned=None if num_pruned < 0 else pairs,
        vectors=vectors,
        outputs=outputs,
    )


class _Matrices(Reader):
    """Matrices too."""

    def matrix(self, *, quantised: bool) -> Matrix:
        """The next matrix; a small quantised one is unfolded."""
        if not quantised:
            rows, dim = self.array(np.int64, 2).tolist()
            if rows < 0 or dim < 1:
                raise self.damaged(f"a matrix of {rows} rows of {dim}")
            data = self.array(np.uint8, 4 * rows * dim)
            return Matrix(data, *_NO_CODES, shape=frozen(np.array([rows, dim, 0, 0, 0, 0], np.int64)))
        has_norms = self.flag()
        rows, dim = self.array(np.int64, 2).tolist()
        codes = self.array(np.uint8, self.integer())
        centroids, size, parts, last = self.product(dim)
        if len(codes) != rows * parts:
            raise self.damaged(f"{len(codes)} codes for {rows} rows of {parts} parts")
        norm_codes, norms = _NO_CODES[1:]
        if has_norms:
            norm_codes = self.array(np.uint8, rows)
            norms = self.product(1)[0]
        shape = frozen(np.array([rows, dim, 1, size, parts, last], np.int64))
        matrix = Matrix(codes, centroids, norm_codes, norms, shape)
        return plain_matrix(unfolded(matrix)) if 4 * rows * dim <= UNFOLDED_BYTES else matrix

    def product(self, wanted: int) -> tuple[NDArray[np.float32], int, int, int]:
        """A product quantiser: centroids, float32[256 * dim]; dims of a part, number of parts, dims of the last."""
        dim, parts, size, last = self.array(np.int32, 4).tolist()
        if dim != wanted or parts < 1 or not 0 < last <= max(size, 1) or (parts - 1) * size + last != dim:
            raise self.damaged(f"{parts} parts of {size}, the last of {last}, are not vectors of {wanted}")
        return frozen(self.array(np.float32, dim * 256)), size, parts, last


@njit(cache=True, nogil=True)
def fnv(data, start, end):  # type: ignore[no-untyped-def]
    """fastText's 32-bit FNV-1a of bytes start to end - 1, whose bytes are signed: above 0x7f they flip more bits."""
    value = np.uint32(2166136261)
    for i in range(start, end):
        value = np.uint32((value ^ np.uint32(np.int8(data[i]))) * np.uint32(16777619))
    return value


@njit(cache=True, nogil=True)
def same_bytes(data, start, letters, first, length):  # type: ignore[no-untyped-def]
    """Whether two stretches of one length are equal."""
    i = 0
    while i < length and data[start + i] == letters[first + i]:
        i += 1
    return i == length


@njit(cache=True, nogil=True)
def find_entry(data, start, end, value, slots, starts, letters):  # type: ignore[no-untyped-def]
    """The entry that is `data[start:end]`, whose FNV-1a is `value`; -1 if there is none."""
    mask = np.int64(slots.size - 1)
    slot = np.int64(value) & mask
    while slots[slot] != -1:
        found = slots[slot]
        if (found >> 32) & 0xFFFFFFFF == np.int64(value):
            entry = found & 0xFFFFFFFF
            first = starts[entry]
            length = starts[entry + 1] - 10 - first
            if length == end - start and same_bytes(data, start, letters, first, length):
                return entry
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _index(memory, at, num_words, starts, slots):  # type: ignore[no-untyped-def]
    """Fills `starts` and `slots`; gives the number of good entries, or -1 where the file ends before."""
    mask = np.int64(slots.size - 1)
    for entry in range(starts.size - 1):
        start = at
        starts[entry] = start
        while at < memory.size and memory[at] != 0:
            at += 1
        if at + 10 > memory.size:
            return -1
        starts[entry + 1] = at + 10
        value = fnv(memory, start, at)
        is_label = memory[at + 9] == 1
        if is_label != (entry >= num_words) or find_entry(memory, start, at, value, slots, starts, memory) >= 0:
            return entry
        slot = np.int64(value) & mask
        while slots[slot] != -1:
            slot = (slot + 1) & mask
        slots[slot] = (np.int64(value) << 32) | entry
        at += 10
    return starts.size - 1
