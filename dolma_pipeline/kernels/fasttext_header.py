"""What a fastText model file says of itself: settings, sizes, labels; without numba, and without its vectors.

Enough to refuse a file before a run starts. Cost: 0.3 s for each million of words, none of them kept.
Source: the file format of fastText 0.9.2 (and of version 11, before 2017).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import AssetError

MAGIC, VERSIONS = 793712314, (11, 12)
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
KINDS = {1: "cbow", 2: "skipgram", 3: "supervised"}
LABEL = b"__label__"
"""What labels begin with in a file, and in no name that is given."""
UNFOLDED_BYTES = 64_000_000
"""A quantised matrix that takes less as float32 is unfolded once; a larger one row by row, when it is read."""
HELD_BYTES = 17_000_000
"""What words that were met may take in a process."""
AFTER_WORD = 10
"""Bytes between two words of a file: a NUL, the count (int64), the kind (int8)."""

_ARGUMENTS = (
    "dim", "window", "epochs", "min_count", "negatives", "word_ngrams", "loss", "model", "bucket", "min_n", "max_n",
    "rate_updates",
)  # fmt: skip


class Header(NamedTuple):
    """A file's settings by name, its labels (without `__label__`), how many words it has, its size in bytes."""

    arguments: dict[str, int]
    labels: tuple[str, ...]
    num_words: int
    num_bytes: int


def read_header(path: Path) -> Header:
    """What a file says of itself.

    Raises:
        AssetError: not a fastText file, of an unknown version, cut short or damaged, or not a classifier.
    """
    reader = Reader(path)
    arguments = read_arguments(reader)
    num_words, num_labels, num_pruned = read_sizes(reader)
    at, data, labels = reader.at, reader.map, []
    for entry in range(num_words + num_labels):
        end = data.find(b"\0", at)
        if end < 0 or end + AFTER_WORD > reader.num_bytes:
            raise reader.short()
        if entry >= num_words:
            labels.append(shown(data[at:end]))
        at = end + AFTER_WORD
    reader.at = at
    reader.array(np.int32, 2 * max(num_pruned, 0))
    is_quantised = reader.flag()
    skip_matrix(reader, quantised=is_quantised)
    outputs_quantised = reader.flag()
    skip_matrix(reader, quantised=outputs_quantised and is_quantised)
    return Header(arguments, tuple(labels), num_words, reader.num_bytes)


def shown(label: bytes) -> str:
    """The name of a label, as people write it."""
    return label.removeprefix(LABEL).decode("utf-8", "replace")


class Reader:
    """Numbers of a mapped file, front to back."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        try:
            with open(path, "rb") as file:
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:  # an empty file has no map
            raise AssetError(f"{path}: not a fastText model: the file is empty") from error
        self.memory = np.frombuffer(self.map, np.uint8)
        self.num_bytes = len(self.memory)

    def damaged(self, what: str) -> AssetError:
        """The error to raise: numbers that contradict each other."""
        return AssetError(f"{self.path}: a damaged fastText model: {what}")

    def short(self) -> AssetError:
        """The error to raise at the end of a file that should go on."""
        return AssetError(f"{self.path}: a fastText model that ends early, at byte {self.num_bytes}")

    def array(self, dtype: Any, size: int) -> NDArray[Any]:
        """The next `size` little-endian numbers, over the map."""
        start, num_bytes = self.at, np.dtype(dtype).itemsize * size
        if size < 0 or start + num_bytes > self.num_bytes:
            raise self.short()
        self.at += num_bytes
        return self.memory[start : self.at].view(dtype)

    def integer(self) -> int:
        """The next int32."""
        return int(self.array(np.int32, 1)[0])

    def flag(self) -> bool:
        """The next bool, a byte."""
        return bool(self.array(np.uint8, 1)[0])


def read_arguments(reader: Reader) -> dict[str, int]:
    """The settings at the start of a file.

    Raises:
        AssetError: as `read_header`.
    """
    path = reader.path
    if reader.integer() != MAGIC:
        raise AssetError(f"{path}: not a fastText model (it does not start with fastText's magic number)")
    version = reader.integer()
    if version not in VERSIONS:
        raise AssetError(
            f"{path}: fastText file version {version}; only {' and '.join(map(str, VERSIONS))} can be read"
        )
    arguments = dict(zip(_ARGUMENTS, reader.array(np.int32, len(_ARGUMENTS)).tolist(), strict=True))
    reader.array(np.float64, 1)
    kind = KINDS.get(arguments["model"], str(arguments["model"]))
    if kind != "supervised":
        raise AssetError(
            f"{path}: holds word vectors (a fastText model of kind '{kind}'), not a classifier. A classifier comes "
            "from `fasttext supervised`, or from `dolma-pipeline fit`."
        )
    if version == 11:
        arguments["max_n"] = 0  # as fastText reads them: classifiers had no character n-grams then
    if arguments["loss"] not in LOSSES:
        raise reader.damaged(f"loss {arguments['loss']} is none of {', '.join(map(str, LOSSES))}")
    for name, low, high in (
        *(("dim", 1, 1 << 20), ("bucket", 0, 1 << 31), ("word_ngrams", 0, 1 << 16)),
        *(("min_n", 0, 1 << 10), ("max_n", 0, 1 << 10)),
    ):
        if not low <= arguments[name] < high:
            raise reader.damaged(f"{name} is {arguments[name]}")
    return arguments


def skip_matrix(reader: Reader, *, quantised: bool) -> None:
    """Step over a matrix, of which nothing but its sizes is read.

    Raises:
        AssetError: the file ends before it does.
    """
    if not quantised:
        rows, dim = reader.array(np.int64, 2).tolist()
        reader.array(np.uint8, 4 * rows * dim)
        return
    has_norms = reader.flag()
    rows, _ = reader.array(np.int64, 2).tolist()
    reader.array(np.uint8, reader.integer())
    _skip_product(reader)
    if has_norms:
        reader.array(np.uint8, rows)
        _skip_product(reader)


def _skip_product(reader: Reader) -> None:
    """Step over the centroids of a product quantiser: 256 of each part."""
    dim, _, _, _ = reader.array(np.int32, 4).tolist()
    reader.array(np.float32, 256 * dim)


def read_sizes(reader: Reader) -> tuple[int, int, int]:
    """After the settings: how many words, labels, and n-grams that pruning left (-1: it was not pruned).

    Raises:
        AssetError: they cannot be.
    """
    num_entries, num_words, num_labels = reader.array(np.int32, 3).tolist()
    _, num_pruned = reader.array(np.int64, 2).tolist()
    if num_words < 0 or num_labels < 1 or num_entries != num_words + num_labels:
        raise reader.damaged(f"{num_entries} entries are not {num_words} words and {num_labels} labels")
    if num_entries * (AFTER_WORD + 1) > reader.num_bytes - reader.at:
        raise reader.short()
    return num_words, num_labels, num_pruned


def memory_of(header: Header) -> int:
    """Bytes that a process takes for a model at most: its file, what is unfolded of it, and words that it has met."""
    num_entries = header.num_words + len(header.labels)
    return min(17 * header.num_bytes, header.num_bytes + UNFOLDED_BYTES) + 24 * num_entries + HELD_BYTES
