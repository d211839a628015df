"""The keyed shuffle: nothing lost, the order that a plain sort gives, parts cut where they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.runs import ORDER, cut_points, part_of, read_run, run_table, sort_runs, write_run

U2 = np.dtype("<u2")


def documents(rows: Sequence[int], *, epoch: int | None = None) -> pa.Table:
    """Documents of one shard; row 3 has the tokens [3, 3, 3]."""
    columns: dict[str, Any] = {
        "origin": pa.array([f"web/a#{row}" for row in rows], pa.string()),
        "source": pa.array(["web"] * len(rows), pa.string()),
        "id": pa.array([f"id-{row}" for row in rows], pa.string()),
        "loc": pa.array([row + 1 for row in rows], pa.int32()),
        "cluster": pa.array([row // 2 for row in rows], pa.int64()),
        "gopher_v1.word_count": pa.array([row * 10 for row in rows], pa.int64()),
    }
    if epoch is not None:
        columns["epoch"] = pa.array([epoch] * len(rows), pa.int32())
    return pa.table(columns)


def ids(rows: Sequence[int]) -> pa.ListArray:
    return pa.array([[row] * (row % 7) for row in rows], pa.list_(pa.uint32()))


def run(rows: Sequence[int], **settings: Any) -> pa.Table:
    return run_table(documents(rows, **settings), ids(rows), seed=5, dtype=U2)


def test_a_run_has_keys_and_narrow_ids():
    table = run([3, 4])
    assert table.column_names == [
        "key",
        "origin",
        "source",
        "id",
        "loc",
        "cluster",
        "gopher_v1.word_count",
        "epoch",
        "tokens",
    ]
    assert table.schema.field("tokens").type == pa.list_(pa.uint16())
    assert table.schema.field("loc").type == pa.int64()
    assert table.column("key").to_pylist() == document_key(["web/a#3", "web/a#4"], seed=5, purpose=ORDER).tolist()
    assert table.column("epoch").to_pylist() == [0, 0]


def test_copies_of_a_document_have_other_keys():
    both = pa.concat_tables([documents([3], epoch=0), documents([3], epoch=1)])
    table = run_table(both, ids([3, 3]), seed=5, dtype=U2)
    assert table.column("key").to_pylist() == [
        int(document_key(["web/a#3"], seed=5, purpose=ORDER)[0]),
        int(document_key(["web/a#3"], seed=5, epoch=1, purpose=ORDER)[0]),
    ]


def test_slices_of_ids():
    whole = ids(range(10))
    table = run_table(documents(range(4, 8)), whole.slice(4, 4), seed=5, dtype=U2)
    assert table.column("tokens").to_pylist() == whole.to_pylist()[4:8]
    assert [
        row["tokens"] for part in sort_runs([table.slice(1, 2)]) for row in part.sort_by("loc").to_pylist()
    ] == whole.to_pylist()[5:7]


def test_what_does_not_fit():
    with pytest.raises(DataError, match="documents without source, loc; there are: origin, id, cluster"):
        run_table(documents([1]).drop_columns(["source", "loc"]), ids([1]), seed=5, dtype=U2)
    with pytest.raises(DataError, match="2 documents, but ids of 1"):
        run_table(documents([1, 2]), ids([1]), seed=5, dtype=U2)
    with pytest.raises(DataError, match="an id does not fit uint16"):
        run_table(documents([1]), pa.array([[70_000]], pa.list_(pa.uint32())), seed=5, dtype=U2)


def twin_cut_points(keys: list[int], tokens: list[int], max_tokens: int) -> list[int]:
    """Document by document."""
    totals: dict[int, int] = {}
    for key, count in zip(keys, tokens, strict=True):
        totals[key] = totals.get(key, 0) + count
    cuts, filled, empty = [], 0, True
    for key in sorted(totals):
        if not empty and filled + totals[key] > max_tokens:
            cuts.append(key)
            filled = 0
        filled += totals[key]
        empty = False
    return cuts


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 40) | st.integers(0, 2**64 - 1), st.integers(0, 12)), max_size=40),
    st.integers(1, 30),
)
def test_cut_points_fill_parts(rows: list[tuple[int, int]], max_tokens: int):
    keys = np.array([key for key, _ in rows], np.uint64)
    tokens = np.array([count for _, count in rows], np.int64)
    cuts = cut_points(keys, tokens, max_tokens=max_tokens)
    assert cuts.dtype == np.uint64
    assert cuts.tolist() == twin_cut_points(keys.tolist(), tokens.tolist(), max_tokens)
    parts = part_of(keys, cuts)
    for part in range(len(cuts) + 1):
        mine = parts == part
        assert tokens[mine].sum() <= max_tokens or len(np.unique(keys[mine][tokens[mine] > 0])) == 1
        assert mine.any() or len(rows) == 0


def test_parts_of_no_tokens():
    with pytest.raises(UsageError, match="parts of at most 0 tokens"):
        cut_points(np.zeros(1, np.uint64), np.ones(1, np.int64), max_tokens=0)


def test_a_cut_belongs_to_the_later_part():
    assert part_of(np.array([0, 9, 10, 11], np.uint64), np.array([10], np.uint64)).tolist() == [0, 0, 1, 1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 60), max_size=12, unique=True), min_size=1, max_size=4), st.integers(1, 40))
def test_sorting_gives_what_a_plain_sort_gives(shards: list[list[int]], batch_tokens: int):
    runs = [run(rows, epoch=shard) for shard, rows in enumerate(shards)]
    batches = list(sort_runs(runs, batch_tokens=batch_tokens))
    got = [row for batch in batches for row in batch.to_pylist()]
    rows = [row for table in runs for row in table.to_pylist()]
    assert got == sorted(rows, key=lambda row: (row["key"], row["origin"], row["epoch"]))
    assert all(batch.schema == runs[0].schema for batch in batches)
    sizes = [(len(batch), len(batch.column("tokens").combine_chunks().flatten())) for batch in batches]
    assert all(tokens <= batch_tokens or documents == 1 for documents, tokens in sizes)


def test_ties_of_keys_are_broken_by_origin_then_epoch():
    table = pa.concat_tables([run([2, 1], epoch=1), run([2, 1], epoch=0)])
    table = table.set_column(0, "key", pa.array([7] * 4, pa.uint64()))
    got = [(row["origin"], row["epoch"]) for batch in sort_runs([table]) for row in batch.to_pylist()]
    assert got == [("web/a#1", 0), ("web/a#1", 1), ("web/a#2", 0), ("web/a#2", 1)]


def test_no_runs_and_empty_runs():
    assert list(sort_runs([])) == []
    (only,) = sort_runs([run([]), run([])])
    assert len(only) == 0
    assert only.schema == run([]).schema


def test_runs_of_different_columns():
    other = run([1]).rename_columns({"cluster": "group"})
    with pytest.raises(DataError, match=r"runs of different columns: .*cluster int64.*; and .*group int64"):
        list(sort_runs([run([2]), other]))


def test_through_files(tmp_path: Path):
    """Two shards, three parts: each document comes back once, in the part of its key, whatever the shards."""
    shards = [run(range(30)), run(range(30, 50))]
    keys = np.concatenate([shard.column("key").to_numpy() for shard in shards])
    counts = np.concatenate([[len(row) + 1 for row in shard.column("tokens").to_pylist()] for shard in shards])
    cuts = cut_points(keys, counts, max_tokens=80)
    assert len(cuts) >= 2
    for number, shard in enumerate(shards):
        write_run(tmp_path / f"{number}.arrow", shard, cuts=cuts)
    everything = []
    for part in range(len(cuts) + 1):
        runs = [read_run(tmp_path / f"{number}.arrow", part=part) for number in range(2)]
        rows = [row for batch in sort_runs(runs) for row in batch.to_pylist()]
        assert {int(p) for p in part_of(np.array([row["key"] for row in rows], np.uint64), cuts)} == {part}
        assert sum(len(row["tokens"]) + 1 for row in rows) <= 80
        everything += rows
    assert everything == [row for batch in sort_runs([run(range(50))]) for row in batch.to_pylist()]


def test_a_run_file_with_an_empty_part(tmp_path: Path):
    write_run(tmp_path / "run.arrow", run([1, 2]), cuts=np.array([0, 2**64 - 1], np.uint64))
    assert [len(read_run(tmp_path / "run.arrow", part=part)) for part in range(3)] == [0, 2, 0]
    assert not list(tmp_path.glob("*.tmp"))
    with pytest.raises(DataError, match=r"run\.arrow: holds 3 parts, but part 3 was asked for"):
        read_run(tmp_path / "run.arrow", part=3)


def test_two_copies_of_a_run_do_not_write_into_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy begins and ends while another has just begun, which then dies."""
    path, cuts, open_file = tmp_path / "run.arrow", np.zeros(0, np.uint64), pa.ipc.new_file

    def slow(*args: Any, **options: Any) -> Any:
        writer = open_file(*args, **options)
        monkeypatch.setattr(pa.ipc, "new_file", open_file)
        write_run(path, run([1, 2, 3, 4]), cuts=cuts)
        writer.write_batch(run([5] * 500).to_batches()[0])
        raise ValueError("died")

    monkeypatch.setattr(pa.ipc, "new_file", slow)
    with pytest.raises(ValueError, match="died"):
        write_run(path, run([1, 2, 3, 4]), cuts=cuts)
    assert read_run(path, part=0).equals(run([1, 2, 3, 4]))
    assert list(tmp_path.iterdir()) == [path]
