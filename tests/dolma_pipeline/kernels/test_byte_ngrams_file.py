"""A model's file: written, read, and refused where it is not what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.errors import AssetError
from dolma_pipeline.kernels import byte_ngrams_file as file
from dolma_pipeline.kernels.byte_ngrams import ByteNgrams

NUMBERS = np.sort(np.array([*((1 << 56) | byte for byte in range(256)), (2 << 56) | 0x6162], np.uint64))
PROBABILITIES = -np.arange(257, dtype=np.float32) / 8
WEIGHTS = -np.arange(257, dtype=np.float32) / 16
CONTENT = file.to_bytes(3, NUMBERS, PROBABILITIES, WEIGHTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model"


def test_what_was_written_is_read(path: Path) -> None:
    path.write_bytes(CONTENT)
    found, expected = file.load(path), ByteNgrams.of(3, NUMBERS, PROBABILITIES, WEIGHTS)
    assert found.order == 3
    assert np.array_equal(found.keys, expected.keys)
    header = file.read_header(path)
    assert (header.order, header.num_ngrams) == (3, 257)
    assert CONTENT[header.start :][:8] == NUMBERS[:1].tobytes()
    assert file.memory_of(header) == found.keys.nbytes + 16 * 257


def changed(**keys: object) -> bytes:
    _, line, arrays = CONTENT.split(b"\n", 2)
    return file.MAGIC + json.dumps({**json.loads(line), **keys}).encode() + b"\n" + arrays


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a model of byte n-grams, which `dolma-pipeline fit --kind ngram` makes."),
        (b"\xba\x16\x4f\x2f" + bytes(400), "not a model of byte n-grams"),
        (CONTENT[:40], "its header cannot be read. Copy it again."),
        (CONTENT[:-1], "a damaged model of byte n-grams: 4,111 bytes of numbers where its header says 4,112."),
        (CONTENT + b"x", "4,113 bytes of numbers where its header says 4,112"),
        (CONTENT[:-1] + b"x", "a damaged model of byte n-grams: sha256 "),
        (changed(format=2), "a model of byte n-grams of format 2; this version of dolma-pipeline reads 1."),
        (changed(order=8), "its header says order 8 and 257 n-grams"),
        (changed(order=[3]), "its header cannot be read"),
        (changed(num_ngrams=0), "its header says order 3 and 0 n-grams"),
        (CONTENT.replace(b'"sha256"', b'"sha512"'), "its header cannot be read"),
    ],
)
def test_a_file_that_is_not_one(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(AssetError) as caught:
        file.load(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_file(path: Path) -> None:
    with pytest.raises(AssetError, match="model: cannot be read: No such file or directory"):
        file.read_header(path)
