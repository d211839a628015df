"""The kernel against a plain look-up in a dictionary, from the longest n-gram down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.byte_ngrams import ByteNgrams, warm

Table = dict[bytes, tuple[float, float]]


def closed(ngrams: list[bytes], order: int) -> Table:
    """A table of these n-grams and their contexts, and of all single bytes; the numbers are made up."""
    known = {bytes([byte]) for byte in range(256)}
    known |= {ngram[:end] for ngram in ngrams for end in range(1, min(len(ngram), order) + 1)}
    return {ngram: (-1 - (sum(ngram) % 13) / 4, 0.0 if len(ngram) == order else -(ngram[0] % 7) / 8) for ngram in known}


def model(table: Table, order: int) -> ByteNgrams:
    numbers = [int.from_bytes(ngram, "big") | len(ngram) << 56 for ngram in table]
    values = np.array(list(table.values()), np.float32)
    return ByteNgrams.of(order, np.array(numbers, np.uint64), values[:, 0].copy(), values[:, 1].copy())


def plain(table: Table, order: int, text: bytes) -> list[float]:
    """Bits of each byte."""
    padded, found = b"\n" * (order - 1) + text, []
    for end in range(order, len(padded) + 1):
        history, bits = padded[end - order : end], 0.0
        while history not in table:
            bits -= table.get(history[:-1], (0.0, 0.0))[1]
            history = history[1:]
        found.append(bits - table[history][0])
    return found


TEXTS = st.lists(
    st.text("ab\nä😀", max_size=20) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5
)
NGRAMS = st.lists(st.text("ab\nä😀", max_size=7).map(str.encode) | st.binary(max_size=7), max_size=20)


@settings(deadline=None)  # the first call compiles
@given(TEXTS, NGRAMS, st.integers(2, 7))
def test_bits_are_those_of_plain_look_ups(texts: list[str], ngrams: list[bytes], order: int) -> None:
    table = closed([*ngrams, *(text.encode()[:order] for text in texts)], order)
    batch = Batch.of(["not of it", *texts])  # a slice, whose offsets do not begin at 0
    sliced = Batch(batch.table.slice(1))
    found = model(table, order).bits(sliced.text, sliced.lines)
    expected = [plain(table, order, text.encode()) for text in texts]
    assert found.texts.tolist() == pytest.approx([sum(bits) for bits in expected])
    lines = []
    for text, bits in zip(texts, expected, strict=True):
        at = 0
        for line in text.encode().split(b"\n"):
            lines.append(sum(bits[at : at + len(line)]))
            at += len(line) + 1
    assert found.stretches.tolist() == pytest.approx(lines)


def test_bytes_between_stretches_are_of_none() -> None:
    table = closed([b"ab"], 3)
    batch = Batch.of(["one\n\n\ntwo", "", "three"])
    found = model(table, 3).bits(batch.text, batch.paragraphs)
    first = plain(table, 3, b"one\n\n\ntwo")
    assert found.stretches.tolist() == pytest.approx([sum(first[:3]), sum(first[6:]), sum(plain(table, 3, b"three"))])


def test_a_long_line_and_nothing_but_newlines() -> None:
    table = closed([b"aaaa", b"\n\n"], 4)
    for text in ("a" * 100_000, "\n" * 100_000, ""):
        batch = Batch.of([text])
        (bits,) = model(table, 4).bits(batch.text, batch.paragraphs).texts.tolist()
        assert bits == pytest.approx(sum(plain(table, 4, text.encode())))


def test_no_texts_at_all() -> None:
    batch = Batch(Batch.of(["a"]).table.slice(1))
    found = model(closed([], 2), 2).bits(batch.text, batch.lines)
    assert (len(found.texts), len(found.stretches)) == (0, 0)


def test_warm() -> None:
    warm()
