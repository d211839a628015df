"""Lookups against searching the ids one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.lookup import Piece, longest_runs, maximal_spans
from dolma_pipeline.tokens.suffixes import separated, table_chunks

IDS = st.lists(st.integers(0, 3), max_size=40)


def piece(documents: list[list[int]], dtype: str = "<u2") -> Piece:
    kind = np.dtype(dtype)
    ids = np.array([i for document in documents for i in document], kind)
    tokenized, offsets = separated(ids, np.cumsum([len(document) for document in documents]), kind)
    table = b"".join(table_chunks(tokenized, width=kind.itemsize))
    return Piece(memoryview(tokenized.tobytes()), memoryview(table), offsets, kind)


def places_of(documents: list[list[int]], query: list[int]) -> list[int]:
    found, at = [], 0
    for document in documents:
        at += 1
        found += [at + i for i in range(len(document)) if document[i : i + len(query)] == query]
        at += len(document)
    return found


@given(
    st.lists(IDS, min_size=1, max_size=6),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.sampled_from(["<u1", "<u2", "<u4"]),
)
def test_places_and_documents(documents: list[list[int]], query: list[int], dtype: str) -> None:
    one = piece(documents, dtype)
    first, last = one.found(np.array(query, dtype).tobytes())
    wanted = places_of(documents, query)
    assert last - first == len(wanted)
    assert one.places(first, last, at_most=100_000).tolist() == wanted
    assert one.places(first, last, at_most=2).tolist() == wanted[:2]
    for place in wanted:
        number, start, end = one.document(place)
        assert one.ids(start, end).tolist() == documents[number]
        assert start <= place < end


@given(
    st.lists(st.lists(IDS, min_size=1, max_size=3), min_size=1, max_size=3), st.lists(st.integers(0, 4), max_size=20)
)
def test_the_longest_run_from_each_id(parts: list[list[list[int]]], text: list[int]) -> None:
    def stands(run: list[int]) -> bool:
        return not run or any(places_of(documents, run) for documents in parts)

    wanted = [max(n for n in range(len(text) - i + 1) if stands(text[i : i + n])) for i in range(len(text))]
    lengths = longest_runs([piece(documents) for documents in parts], np.array(text, np.uint32))
    assert lengths == wanted
    spans = list(maximal_spans(lengths, at_least=2))
    every = [(i, j) for i in range(len(text)) for j in range(i + 2, len(text) + 1) if stands(text[i:j])]
    longer = [(i, j) for i, j in every if not any(a <= i and j <= b and (a, b) != (i, j) for a, b in every)]
    assert spans == longer


def test_a_run_longer_than_what_is_compared_at_once() -> None:
    document = np.random.default_rng(3).integers(0, 50, 3000).tolist()
    text = [60, *document[100:2900], 61]
    lengths = longest_runs([piece([document])], np.array(text, np.uint32))
    assert list(maximal_spans(lengths, at_least=5)) == [(1, 2801)]


def test_files_that_are_not_of_one_piece() -> None:
    with pytest.raises(DataError, match="not one whole index"):
        Piece(memoryview(b"\xff\xff\x01\x00"), memoryview(b"\x00\x02\x04"), np.zeros(1, np.uint64), np.dtype("<u2"))
