"""The table: columns in step with each other, made once, of what they are made from; and what is gone is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.look import table as module
from dolma_pipeline.look.folder import SourceRows
from dolma_pipeline.look.groups import first_scores
from dolma_pipeline.look.state import State
from dolma_pipeline.look.table import Group, Table, read_shards
from dolma_pipeline.run.shards import Block, ShardAt
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.look.conftest import loaded


def source(*rows: int, digest: str = "d") -> SourceRows:
    """A source of which each block is a shard of so many rows."""
    blocks, first = [], 0
    for number, count in enumerate(rows):
        shard = ShardAt(Shard(f"web/{number}", "web", f"{number}", "jsonl"), "", number, count, 0, first)
        blocks.append(Block(f"web/{number:05d}", (shard,)))
        first += count
    return SourceRows("web", 0, sum(rows), tuple(blocks), digest)


def numbers(of: SourceRows, made: list[tuple[str, Sequence[str]]], key: str = "k") -> Group:
    """Columns whose values are row numbers times a factor; notes what was made."""

    def make(block: Block, columns: Sequence[str]) -> pa.Table:
        made.append((block.key, list(columns)))
        (shard,) = block.shards
        rows = range(shard.first, shard.first + shard.rows)
        return pa.table({name: pa.array([row * int(name[1:]) for row in rows], pa.int64()) for name in columns})

    return Group(of, key, make)


def test_columns_of_several_groups_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(module, "FILE_ROWS", 12)
    folder, made, of = run_folder("memory://in-step"), [], source(10, 0, 3, 7)
    one, two = numbers(of, made), numbers(of, made, key="other")
    chunks = list(Table(folder).chunks([(one, ["x1", "x2"]), (two, ["x5"])]))
    assert [chunk.num_rows for chunk in chunks if chunk.num_rows] == [4, 4, 2, 3, 4, 3]
    whole = pa.concat_tables(chunks)
    assert whole.column("x2").to_pylist() == [2 * row for row in range(20)]
    assert whole.column("x5").to_pylist() == [5 * row for row in range(20)]
    assert len(list(folder.list("cache/table"))) == 6  # three columns in two files


def test_a_column_is_made_once_and_others_with_it_only_if_they_are_missing() -> None:
    folder, made, of = run_folder("memory://once"), list[tuple[str, Sequence[str]]](), source(3, 2)
    group = numbers(of, made)
    Table(folder).columns(group, ["x1"])
    assert made == [("web/00000", ["x1"]), ("web/00001", ["x1"])]
    made.clear()
    assert Table(folder).columns(group, ["x3", "x1"]).column("x3").to_pylist() == [0, 3, 6, 9, 12]
    assert made == [("web/00000", ["x3"]), ("web/00001", ["x3"])]
    made.clear()
    Table(folder).columns(numbers(source(3, 2, digest="other content"), made), ["x1"])
    assert len(made) == 2
    made.clear()
    folder.delete([next(entry.name for entry in folder.list("cache/table"))])
    Table(folder).columns(group, ["x1", "x3"])
    assert len(made) <= 2


def test_rows_that_do_not_fit_the_index() -> None:
    of = source(3)
    group = Group(of, "k", lambda block, columns: pa.table({"x": [1, 2]}))
    with pytest.raises(DataError, match=r"web/0: 2 rows where the index has 3 documents\. Run again"):
        Table(run_folder("memory://rows")).columns(group, ["x"])
    assert list(run_folder("memory://rows").list()) == []


def test_files_of_the_run_that_are_gone_or_damaged(tmp_path: Path) -> None:
    folder = run_folder(str(tmp_path))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "good.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert [table.num_rows for table in read_shards(folder, ["good.parquet"] * 9, ["a"])] == [1] * 9
    with pytest.raises(DataError, match=r"gone\.parquet: gone\. Run the recipe again; it is made anew"):
        read_shards(folder, ["good.parquet", "gone.parquet"], ["a"])
    with pytest.raises(DataError, match=r"bad\.parquet: damaged \(.*\)\. Delete it and run the recipe again"):
        read_shards(folder, ["bad.parquet"], ["a"])


def test_first_scores() -> None:
    spans = pa.list_(pa.struct({"score": pa.float32()}))
    items = pa.array([None, [], [{"score": 0.25}, {"score": 9}], [{"score": 2}]], spans)
    assert first_scores(items).to_pylist() == [None, 0.0, 0.25, 2.0]
    assert first_scores(items.slice(2)).to_pylist() == [0.25, 2.0]
    assert first_scores(items.slice(0, 0)).to_pylist() == []


def test_documents_sizes_and_keys_are_those_of_the_run(finished: Path, here: Path) -> None:
    with State.of(loaded(finished)) as state:
        keys = state.keys(3)
        for name, one in state.finished.sources.items():
            at = 0
            for shard in one.shards:
                index = pq.read_table(finished / "index" / f"{shard.name}.parquet")
                chosen = pq.read_table(finished / "mix/selected" / f"{shard.name}.parquet")
                rows = chosen.column("row").to_numpy()
                assert state.sizes[name][at : at + shard.rows].tolist() == index.column("bytes").to_pylist()
                for column, values in zip(("key", "held_key"), keys[name], strict=True):
                    assert values[at + rows].tolist() == chosen.column(column).to_pylist()
                assert state.tokens[name].counts[at + rows].tolist() == chosen.column("tokens").to_pylist()
                at += shard.rows
