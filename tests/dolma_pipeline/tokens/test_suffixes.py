"""The suffix table equals sorting all places by the bytes from there on; pieces, separators, and the missing extra."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.tokens.suffixes import cut_pieces, index_dtype, pointer_bytes, separated, table_chunks


@given(
    st.lists(st.lists(st.integers(0, 254), max_size=30), min_size=1, max_size=8),
    st.sampled_from(["<u1", "<u2", "<u4"]),
    st.integers(1, 200),
)
def test_the_table_is_that_of_sorting(documents: list[list[int]], dtype: str, factor: int) -> None:
    kind = np.dtype(dtype)
    scale = 1 if kind.itemsize == 1 else factor
    ids = np.array([i * scale for document in documents for i in document], kind)
    ends = np.cumsum([len(document) for document in documents])
    tokenized, offsets = separated(ids, ends, kind)
    wanted = b""
    starts = []
    for document in documents:
        starts.append(len(wanted))
        wanted += b"\xff" * kind.itemsize + np.array([i * scale for i in document], kind).tobytes()
    assert tokenized.tobytes() == wanted
    assert offsets.tolist() == starts
    size = pointer_bytes(len(wanted))
    table = b"".join(table_chunks(tokenized, width=kind.itemsize))
    places = [int.from_bytes(table[i : i + size], "little") for i in range(0, len(table), size)]
    assert places == sorted(range(0, len(wanted), kind.itemsize), key=lambda place: wanted[place:])


def test_pieces_hold_whole_documents_and_one_at_least() -> None:
    ends = np.array([3, 4, 20, 22, 22])  # with separators 4, 6, 23, 26, 27 ids
    assert cut_pieces(ends, width=2, piece_bytes=12) == [(0, 2), (2, 3), (3, 5)]
    assert cut_pieces(ends, width=2, piece_bytes=1) == [(i, i + 1) for i in range(5)]
    assert cut_pieces(ends, width=2, piece_bytes=54) == [(0, 5)]
    assert cut_pieces(np.zeros(0, np.int64), width=2) == []


def test_the_separator_is_no_id() -> None:
    assert [index_dtype(n).name for n in (255, 256, 65_535, 65_536)] == ["uint8", "uint16", "uint16", "uint32"]
    with pytest.raises(DataError, match="do not fit"):
        index_dtype(1 << 32)
    assert [pointer_bytes(size) for size in (1, 2, 256, 257, 65_536, 65_537)] == [1, 1, 1, 2, 2, 3]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pydivsufsort, which is not here: pip install 'dolma-pipeline\[index\]'"):
        next(table_chunks(np.zeros(2, np.uint8), width=2))
