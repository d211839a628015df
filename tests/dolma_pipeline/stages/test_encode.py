"""Kept ids that copies of a task leave: files of other rows have other names, and a row may be in several of them."""

from __future__ import annotations

import secrets

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.stages import kept
from dolma_pipeline.storage.folder import RunFolder, run_folder

PLACE, SHARD = "cache/ids/0123456789ab/web/a/cdef", "web/a"
ROWS = st.lists(st.integers(0, 40), min_size=1, unique=True).map(sorted)


def leave(folder: RunFolder, rows: list[int], *, seed: int) -> str:
    """What a copy leaves that found none of these rows."""
    stem = kept.stem_of(PLACE, np.array(rows), seed)
    numbers = pa.array(rows, pa.int64())
    with folder.committing(f"{stem}.arrow") as file:
        writer = kept.KeptWriter(file, SHARD, seed=seed, dtype=np.dtype(np.uint16))
        tokens = pa.array([[row, row + 1] for row in rows], pa.list_(pa.int64()))
        texts, edited = pa.array(["x"] * len(rows)), pa.array([False] * len(rows))
        writer.write(np.array(rows), numbers.cast(pa.string()), np.array(rows), edited, texts, tokens)
        writer.close()
    kept.mark_whole(folder, stem, rows=len(rows), texts=0)
    return stem


@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(-2, 2), st.integers(-2, 2))
@settings(max_examples=40, deadline=None)
def test_copies_of_all_rules_find_all_their_rows(copies: list[list[int]], seed: int, other: int) -> None:
    folder = run_folder(f"memory://{secrets.token_hex(8)}")
    stems = {leave(folder, rows, seed=seed) for rows in copies}
    assert len(stems) == len({tuple(rows) for rows in copies})
    if other != seed:
        for stem in kept.kept_files(folder, PLACE, seed):
            kept.sort_anew(folder, stem, SHARD, seed=other)
    assert kept.seeds_of(folder, PLACE) == sorted({seed, other})
    for one in (seed, other):
        assert len(kept.kept_files(folder, PLACE, one)) == len(stems)
        for rows in copies:
            check_found(folder, rows, seed=one)


@given(st.lists(st.tuples(ROWS, st.integers(1, 3)), max_size=5), ROWS, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_was_kept_for_any_seed_is_kept(copies: list[tuple[list[int], int]], wanted: list[int], seed: int) -> None:
    folder = run_folder(f"memory://{secrets.token_hex(8)}")
    for rows, other in copies:
        leave(folder, rows, seed=other)
    there = {row for rows, _ in copies for row in rows}
    left = kept.not_kept(folder, PLACE, SHARD, np.array(wanted, np.int64), seed=seed)
    assert left.tolist() == [row for row in wanted if row not in there]
    found = [row for row in wanted if row in there]
    if found:
        check_found(folder, found, seed=seed)


def check_found(folder: RunFolder, rows: list[int], *, seed: int) -> None:
    with kept.KeptIds(folder, kept.kept_files(folder, PLACE, seed)) as ids:
        wanted = np.array(rows, np.int64)
        places = ids.places(SHARD, wanted, kept.order_keys(SHARD, wanted, seed))
        lists = kept.Lists([batch.column("tokens") for batch in ids.batches])
        assert lists.gather(places, pa.list_(pa.uint16())).to_pylist() == [[row, row + 1] for row in rows]


def test_equal_rows_have_equal_names_on_every_machine() -> None:
    assert kept.stem_of(PLACE, np.array([1, 2, 300]), 7) == f"{PLACE}/a1671a506c4c-7"
    assert kept.stem_of(PLACE, np.array([1, 2, 300], ">i8"), 7) == kept.stem_of(PLACE, np.array([1, 2, 300]), 7)


def test_a_file_that_is_not_marked_whole_is_not_there() -> None:
    folder = run_folder(f"memory://{secrets.token_hex(8)}")
    stem = leave(folder, [1, 2], seed=1)
    folder.delete([f"{stem}.json"])
    with pytest.raises(FileNotFoundError):
        kept.whole(folder, stem)
    assert (kept.kept_files(folder, PLACE, 1), kept.seeds_of(folder, PLACE)) == ([], [])
