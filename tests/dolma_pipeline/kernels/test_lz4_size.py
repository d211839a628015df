"""Sizes against a plain parser that writes the block; Arrow's LZ4 reads it back."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.lz4_size import lz4_sizes


def lengths(length: int) -> bytes:
    return b"" if length < 15 else b"\xff" * ((length - 15) // 255) + bytes([(length - 15) % 255])


def plain_block(data: bytes) -> bytes:
    """An LZ4 block, as plainly as Python can write it."""
    if not data:
        return b""
    block, anchor, i, last = b"", 0, 0, {}
    slot = lambda at: (int.from_bytes(data[at : at + 4], "little") * 2_654_435_761 & 0xFFFFFFFF) >> 18  # noqa: E731
    while i < len(data) - 12:
        other = last.get(slot(i), -1)
        last[slot(i)] = i
        end = i
        while other >= 0 and i - other < 65_536 and end < len(data) - 5 and data[end] == data[other + end - i]:
            end += 1
        if end - i < 4:
            i += 1
            continue
        literals = data[anchor:i]
        block += bytes([min(len(literals), 15) << 4 | min(end - i - 4, 15)]) + lengths(len(literals)) + literals
        block += (i - other).to_bytes(2, "little") + lengths(end - i - 4)
        i = anchor = end
        if i < len(data) - 12:
            last[slot(i - 2)] = i - 2
    literals = data[anchor:]
    return block + bytes([min(len(literals), 15) << 4]) + lengths(len(literals)) + literals


def check(batch: Batch) -> None:
    blocks = [plain_block(text.encode()) for text in batch.strings]
    for text, block in zip(batch.strings, blocks, strict=True):
        if text:
            size = len(text.encode())
            assert pa.decompress(block, decompressed_size=size, codec="lz4_raw", asbytes=True) == text.encode()
    assert lz4_sizes(batch.text).tolist() == list(map(len, blocks))


PIECE = st.sampled_from(["abcd", "a", "some words ", "é", "好" * 6, "x" * 40, "\n"]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=8
)
TEXT = st.lists(st.tuples(PIECE, st.integers(1, 30)), max_size=12).map(lambda parts: "".join(a * n for a, n in parts))


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts))
    check(Batch(Batch.of(texts).table.slice(1)))


@pytest.mark.parametrize("distance", [65_535, 65_536])
def test_no_match_is_farther_back_than_the_format_says(distance: int) -> None:
    noise = "".join(map(chr, random.Random(1).choices(range(33, 127), k=distance - 50)))
    mark = "<0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJK>"
    check(Batch.of([mark + noise + mark + " the end of it"]))


def test_a_document_takes_nothing_from_those_before_it() -> None:
    text = "a text of which every word is new, or almost"
    alone = lz4_sizes(Batch.of([text]).text)[0]
    assert lz4_sizes(Batch.of([text, text, text]).text).tolist() == [alone] * 3


def test_sizes_that_never_change() -> None:
    texts = ["", "a", "a" * 1000, "to be or not to be, that is the question " * 10, "0123456789abcdef"]
    assert lz4_sizes(Batch.of(texts).text).tolist() == [0, 2, 14, 53, 18]


def test_real_documents_equal_plain_python(all_texts: list[str]) -> None:
    check(Batch.of([text[:3000] for text in all_texts[::150]]))
