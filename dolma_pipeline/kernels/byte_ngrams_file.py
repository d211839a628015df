"""The file of a model of byte n-grams: a line that says what it is, a line of JSON, and three arrays.

    dolma-pipeline byte n-grams
    {"format": 1, "order": 6, "num_ngrams": 3, "sha256": "…"}
    numbers uint64[n] ascending, log2 of probabilities float32[n], log2 of weights float32[n]; all little-endian

`sha256` is that of the arrays, which are 16 bytes an n-gram. Cost: 0.3 s for 2 million n-grams.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import AssetError
from dolma_pipeline.kernels.byte_ngrams import MAX_ORDER, ByteNgrams

MAGIC = b"dolma-pipeline byte n-grams\n"
FORMAT = 1
BYTES_AN_NGRAM = 16
_MOST_HEADER = 1_000


class Header(NamedTuple):
    """What a file says of itself."""

    order: int
    num_ngrams: int
    sha256: str
    start: int
    """Where the arrays begin, in bytes."""


def to_bytes(
    order: int, numbers: NDArray[np.uint64], probabilities: NDArray[np.float32], weights: NDArray[np.float32]
) -> bytes:
    """A model as its file holds it; arguments as of `ByteNgrams.of`, numbers ascending."""
    arrays = b"".join(
        [numbers.astype("<u8").tobytes(), probabilities.astype("<f4").tobytes(), weights.astype("<f4").tobytes()]
    )
    header = {
        "format": FORMAT,
        "order": order,
        "num_ngrams": len(numbers),
        "sha256": hashlib.sha256(arrays).hexdigest(),
    }
    return MAGIC + json.dumps(header).encode() + b"\n" + arrays


def read_header(path: Path) -> Header:
    """What a model's file says of itself; the arrays are not read.

    Raises:
        AssetError: it cannot be read, or is not such a file, or of another format.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(MAGIC) + _MOST_HEADER)
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
    return _header(path, head)


def read_checked(path: Path) -> tuple[Header, memoryview]:
    """What a model's file says of itself, and its arrays, which are what was written.

    Raises:
        AssetError: as `read_header`; or the file is damaged.
    """
    header = read_header(path)
    content = memoryview(path.read_bytes())[header.start :]
    expected = BYTES_AN_NGRAM * header.num_ngrams
    if len(content) != expected:
        raise AssetError(
            f"{path}: a damaged model of byte n-grams: {len(content):,} bytes of numbers where its header says "
            f"{expected:,}. Copy it again."
        )
    if (found := hashlib.sha256(content).hexdigest()) != header.sha256:
        raise AssetError(
            f"{path}: a damaged model of byte n-grams: sha256 {found}, its header says {header.sha256}. Copy it again."
        )
    return header, content


def memory_of(header: Header) -> int:
    """Bytes that a model takes in each process, while it is loaded and afterwards."""
    table = 16 << max(int(4 * header.num_ngrams / 3).bit_length(), 1)
    return table + BYTES_AN_NGRAM * header.num_ngrams


@cache
def load(path: Path) -> ByteNgrams:
    """A model; the second call of a process gives the first one's.

    Raises:
        AssetError: as `read_checked`.
    """
    header, content = read_checked(path)
    size = header.num_ngrams
    numbers = np.frombuffer(content, "<u8", size)
    values = np.frombuffer(content, "<f4", 2 * size, 8 * size)
    return ByteNgrams.of(
        header.order, numbers.astype(np.uint64), values[:size].astype(np.float32), values[size:].astype(np.float32)
    )


def _header(path: Path, head: bytes) -> Header:
    if not head.startswith(MAGIC):
        raise AssetError(f"{path}: not a model of byte n-grams, which `dolma-pipeline fit --kind ngram` makes.")
    line, newline, _ = head[len(MAGIC) :].partition(b"\n")
    try:
        known = json.loads(line if newline else b"")
        version = known["format"]
        header = Header(int(known["order"]), int(known["num_ngrams"]), str(known["sha256"]), len(MAGIC) + len(line) + 1)
    except (ValueError, KeyError, TypeError) as error:
        raise AssetError(
            f"{path}: a damaged model of byte n-grams: its header cannot be read. Copy it again."
        ) from error
    if version != FORMAT:
        raise AssetError(
            f"{path}: a model of byte n-grams of format {version}; this version of dolma-pipeline reads {FORMAT}."
        )
    if not (2 <= header.order <= MAX_ORDER and header.num_ngrams >= 256):
        raise AssetError(
            f"{path}: a damaged model of byte n-grams: its header says order {header.order} and {header.num_ngrams} "
            "n-grams. Copy it again."
        )
    return header
