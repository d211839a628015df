"""Edges from sorted columns against grouping in a dict."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.edges import KEY_END, edges_in_range, key_ranges, sorted_column
from dolma_pipeline.errors import UsageError

KEY = st.sampled_from([0, 1, 2, 5, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1])
SHARDS = st.lists(st.lists(KEY, max_size=12), max_size=5)


def column(keys: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return sorted_column(np.array(keys, np.uint64), np.arange(len(keys), dtype=np.uint32))


def dense_offsets(shards: list[list[int]]) -> list[int]:
    return [sum(map(len, shards[:i])) for i in range(len(shards))]


def stars(groups: dict[object, list[int]]) -> list[list[int]]:
    return sorted([min(nodes), node] for nodes in groups.values() for node in nodes if node != min(nodes))


@settings(max_examples=200, deadline=None)
@given(SHARDS, st.tuples(KEY, KEY | st.just(KEY_END)))
def test_edges_equal_those_of_a_dict(shards: list[list[int]], bounds: tuple[int, int]) -> None:
    lo, hi = bounds
    offsets = dense_offsets(shards)
    groups: dict[object, list[int]] = defaultdict(list)
    for offset, keys in zip(offsets, shards, strict=True):
        for row, key in enumerate(keys):
            if lo <= key < hi:
                groups[key].append(offset + row)
    edges = edges_in_range([column(keys) for keys in shards], offsets, lo, hi)
    assert edges.dtype == np.int64
    assert edges.shape == (len(edges), 2)
    assert edges.tolist() == stars(groups)


@settings(max_examples=100, deadline=None)
@given(SHARDS, st.data())
def test_the_order_of_shards_does_not_matter(shards: list[list[int]], data: st.DataObject) -> None:
    parts = list(zip([column(keys) for keys in shards], dense_offsets(shards), strict=True))
    shuffled = data.draw(st.permutations(parts))
    want, got = ([list(x) for x in zip(*p, strict=True)] if p else [[], []] for p in (parts, shuffled))
    np.testing.assert_array_equal(
        edges_in_range(want[0], want[1], 0, KEY_END), edges_in_range(got[0], got[1], 0, KEY_END)
    )


@settings(max_examples=100, deadline=None)
@given(SHARDS, st.integers(1, 7))
def test_ranges_together_give_all_edges(shards: list[list[int]], num_ranges: int) -> None:
    columns, offsets = [column(keys) for keys in shards], dense_offsets(shards)
    parts = [edges_in_range(columns, offsets, lo, hi) for lo, hi in key_ranges(num_ranges)]
    together = sorted(edge for part in parts for edge in part.tolist())
    assert together == edges_in_range(columns, offsets, 0, KEY_END).tolist()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=12), max_size=4))
def test_the_second_key_must_be_equal_too(shards: list[list[tuple[int, int, bool]]]) -> None:
    """Some rows have no key at all, so a column's rows have gaps; `second` lies as its column does."""
    offsets = [sum(map(len, shards[:i])) for i in range(len(shards))]
    columns, second = [], []
    groups: dict[object, list[int]] = defaultdict(list)
    for offset, rows in zip(offsets, shards, strict=True):
        signed = [row for row, (_, _, has_key) in enumerate(rows) if has_key]
        columns.append(sorted_column(np.array([rows[r][0] for r in signed], np.uint64), np.array(signed, np.uint32)))
        second.append(np.array([lo for _, lo, _ in rows], np.uint64)[columns[-1][1]])
        for row in signed:
            groups[rows[row][:2]].append(offset + row)
    assert edges_in_range(columns, offsets, 0, KEY_END, second=second).tolist() == stars(groups)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(KEY, st.integers(0, 9)), max_size=20))
def test_a_column_is_sorted_by_key_then_row(pairs: list[tuple[int, int]]) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[1])  # rows come in their order
    keys, rows = sorted_column(np.array([k for k, _ in pairs], np.uint64), np.array([r for _, r in pairs], np.uint32))
    assert (keys.dtype, rows.dtype) == (np.uint64, np.uint32)
    assert list(zip(keys.tolist(), rows.tolist(), strict=True)) == sorted(pairs)


def test_ranges_cover_all_keys_without_overlap() -> None:
    assert key_ranges(1) == [(0, 2**64)]
    ranges = key_ranges(3)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == KEY_END
    assert [hi for _, hi in ranges[:-1]] == [lo for lo, _ in ranges[1:]]
    with pytest.raises(UsageError, match="at least 1 range, got 0"):
        key_ranges(0)


def test_columns_may_be_memory_maps(tmp_path: object) -> None:
    path = f"{tmp_path}/keys.npy"
    keys, rows = column([9, 4, 9, 9])
    np.save(path, keys)
    mapped = np.load(path, mmap_mode="r")
    assert edges_in_range([(mapped, rows)], [100], 0, KEY_END).tolist() == [[100, 102], [100, 103]]


def test_dense_numbers_go_beyond_32_bits() -> None:
    edges = edges_in_range([column([7]), column([7])], [5, 2**40], 0, KEY_END)
    assert edges.tolist() == [[5, 2**40]]
