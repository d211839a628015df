"""Kept ids: blocks in keyed order, a second file, another seed, documents of one key, what is missing."""

from __future__ import annotations

import secrets

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.kept import (
    KeptIds,
    KeptWriter,
    Lists,
    kept_files,
    mark_whole,
    order_keys,
    seeds_of,
    sort_anew,
)
from dolma_pipeline.storage.folder import RunFolder, run_folder

PLACE, SHARD = "cache/ids/d/web/a/c", "web/a"


@pytest.fixture
def folder() -> RunFolder:
    return run_folder(f"memory://{secrets.token_hex(8)}")


def ids_of(row: int) -> list[int]:
    return [row % 50 + i for i in range(row % 7)]


def put(folder: RunFolder, rows: list[int], *, number: int = 0, seed: int = 1, batch: int = 4) -> None:
    """A whole file of the documents of these rows."""
    stem = f"{PLACE}/{number}-{seed}"
    with folder.committing(f"{stem}.arrow") as file:
        writer = KeptWriter(file, SHARD, seed=seed, dtype=np.dtype(np.uint16))
        for at in range(0, len(rows), batch):
            some = rows[at : at + batch]
            writer.write(
                np.array(some, np.int64),
                pa.array([f"id{row}" for row in some]),
                np.array(some, np.int64) + 1,
                pa.array([row % 2 == 0 for row in some]),
                pa.array(["x" * row for row in some]),
                pa.array([ids_of(row) for row in some], pa.list_(pa.int64())),
            )
        writer.close()
    mark_whole(folder, stem, rows=len(rows), texts=0)


def check(folder: RunFolder, rows: list[int], seed: int = 1) -> None:
    """Every document is found, with its own ids."""
    with KeptIds(folder, kept_files(folder, PLACE, seed)) as found:
        wanted = np.array(rows, np.int64)
        places = found.places(SHARD, wanted, order_keys(SHARD, wanted, seed))
        assert found.column("row")[places].tolist() == rows
        assert found.num_tokens()[places].tolist() == [len(ids_of(row)) for row in rows]
        lists = Lists([batch.column("tokens") for batch in found.batches])
        gathered = lists.gather(places, pa.list_(pa.uint16()))
        assert gathered.to_pylist() == [ids_of(row) for row in rows]
        table = pa.Table.from_batches(found.batches).take(pa.array(places))
        assert table.column("id").to_pylist() == [f"id{row}" for row in rows]
        assert table.column("bytes").to_pylist() == rows
        for batch in found.batches:
            keys = batch.column("key").to_numpy()
            assert (keys[1:] >= keys[:-1]).all()


@pytest.mark.parametrize("block", [1, 30, 10**9])
def test_blocks(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(kept, "BLOCK_BYTES", block)
    rows = [0, 1, 5, 6, 7, 9, 12, 30, 31, 32, 33]
    put(folder, rows)
    with KeptIds(folder, kept_files(folder, PLACE, 1)) as found:
        assert len(found.batches) == {1: 3, 30: 2, 10**9: 1}[block]
        assert sorted(found.column("row").tolist()) == rows
    check(folder, rows[::-1])
    check(folder, [7, 7, 0])


def test_rows_that_pass_later_are_a_second_file(folder: RunFolder) -> None:
    put(folder, [1, 3, 5])
    put(folder, [0, 2, 9], number=1)
    assert kept_files(folder, PLACE, 1) == [f"{PLACE}/0-1", f"{PLACE}/1-1"]
    check(folder, [0, 1, 2, 3, 5, 9])


def test_another_seed_sorts_anew(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "BLOCK_BYTES", 20)
    rows = list(range(12))
    put(folder, rows)
    put(folder, [20, 21], number=1)
    assert kept_files(folder, PLACE, 2) == []
    for stem in kept_files(folder, PLACE, 1):
        sort_anew(folder, stem, SHARD, seed=2)
    assert seeds_of(folder, PLACE) == [1, 2]
    check(folder, [*rows, 20, 21], seed=2)
    check(folder, [*rows, 20, 21], seed=1)


def test_a_file_that_is_not_marked_whole_is_not_there(folder: RunFolder) -> None:
    put(folder, [1, 2])
    folder.delete([f"{PLACE}/0-1.json"])
    assert (kept_files(folder, PLACE, 1), seeds_of(folder, PLACE)) == ([], [])


def test_a_shard_below_another_is_another(folder: RunFolder) -> None:
    put(folder, [1, 2])
    folder.write(f"{PLACE}/deeper/0-1.json", b"{}")
    assert kept_files(folder, PLACE, 1) == [f"{PLACE}/0-1"]


def test_what_is_missing_is_named(folder: RunFolder) -> None:
    put(folder, [1, 2])
    rows = np.array([2, 7], np.int64)
    with (
        KeptIds(folder, kept_files(folder, PLACE, 1)) as found,
        pytest.raises(
            DataError,
            match=r"^web/a#7: its tokens are not among the kept ids\. Remove the run's cache/ids and run again",
        ),
    ):
        found.places(SHARD, rows, order_keys(SHARD, rows, 1))
    with KeptIds(folder, []) as nothing, pytest.raises(DataError, match="web/a#2"):
        nothing.places(SHARD, rows, order_keys(SHARD, rows, 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=25), st.integers(1, 4), st.data())
def test_documents_of_equal_keys_are_told_apart_by_row(rows: list[int], distinct: int, data: st.DataObject) -> None:
    folder = run_folder(f"memory://{secrets.token_hex(8)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "order_keys", lambda shard, rows, seed, epoch=0: (rows % distinct).astype(np.uint64))
        patch.setattr(kept, "BLOCK_BYTES", 60)
        put(folder, sorted(rows))
        wanted = np.array(data.draw(st.lists(st.sampled_from(rows), max_size=30)), np.int64)
        with KeptIds(folder, kept_files(folder, PLACE, 1)) as found:
            places = found.places(SHARD, wanted, (wanted % distinct).astype(np.uint64))
            assert found.column("row")[places].tolist() == wanted.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 65535), max_size=5), max_size=6), max_size=4), st.data())
def test_lists_are_gathered_from_any_array(chunks: list[list[list[int]]], data: st.DataObject) -> None:
    kind = pa.list_(pa.uint16())
    arrays = [
        pa.array([[0, 1], *chunk], kind).slice(1) if len(chunk) % 2 else pa.array(chunk, kind) for chunk in chunks
    ]
    every = [one for chunk in chunks for one in chunk]
    wanted = data.draw(st.lists(st.integers(0, len(every) - 1), max_size=20)) if every else []
    lists = Lists(arrays)
    assert lists.lengths.tolist() == [len(one) for one in every]
    assert lists.gather(np.array(wanted, np.int64), kind).to_pylist() == [every[i] for i in wanted]
