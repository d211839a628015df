"""The list of shards, what the index knows of each, and blocks of them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.shards import Shard, shard_lines
from dolma_pipeline.run import layout, shards
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import BLOCK_ROWS, BLOCK_SHARDS, ShardAt, blocks, indexed, listed, names
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.stages.small import made, small_recipe

INDEX = Artifact("index", "index", growing=True)


def run_over(*found: Shard, folder: str = "/corpus", **rows: int) -> Run:
    """A run with this list; rows: of each shard whose index is made."""
    recipe = small_recipe(Path(folder), {one.source: None for one in found}, tag={"taggers": ["length_v1"]})
    run = Run(recipe, run_folder(f"memory://{secrets.token_hex(8)}"), shards_digest="sha256:1")
    run.folder.write(layout.SHARDS, shard_lines(found))
    if rows:
        lines = [
            {"shard": name, "inputs": [{"sha256": f"{i}"}], "counts": {"kept": n, "failed": 1, "bytes_in": 10 * n}}
            for i, (name, n) in enumerate(sorted(rows.items()))
        ]
        close(run.folder, INDEX, lines, shards_digest="sha256:1")
    return run


def shard(name: str, path: str = "", **more: Any) -> Shard:
    source, _, rest = name.partition("/")
    return Shard(name, source, path or f"{rest}.jsonl", "jsonl", bytes=5, **more)


def test_listed_have_number_and_place() -> None:
    run = run_over(shard("web/b"), shard("code/c"), shard("web/a"))
    assert [(one.number, one.name, one.source, one.location) for one in listed(run)] == [
        (0, "code/c", "code", "/corpus/in/code/c.jsonl"),
        (1, "web/a", "web", "/corpus/in/web/a.jsonl"),
        (2, "web/b", "web", "/corpus/in/web/b.jsonl"),
    ]
    assert names(run) == ["code/c", "web/a", "web/b"]


def test_patterns_are_looked_at_once_however_many_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of files is a pattern a file: looking at each for each shard would be the square of them."""
    files = [tmp_path / f"{i}.jsonl" for i in range(30)]
    for path in files:
        path.touch()
    asked: list[str] = []
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or True)
    locate = paths.Locator([str(path) for path in files])
    assert [locate(f"{i}.jsonl") for i in range(30)] == [str(path) for path in files]
    assert len(asked) == 30


def test_a_list_that_is_damaged_or_of_other_sources() -> None:
    run = run_over(shard("web/a"))
    run.folder.write(layout.SHARDS, b'{"name": "web/a"}\n')
    with pytest.raises(DataError, match=r"shards\.jsonl: damaged, or not a run's list of shards .* Use another output"):
        list(listed(run))
    run.folder.write(layout.SHARDS, shard_lines([shard("other/a")]))
    with pytest.raises(DataError, match=r"has a shard of source 'other', which the recipe does not have\. Put the"):
        list(listed(run))


def test_the_index_gives_rows_and_first_numbers() -> None:
    run = run_over(shard("code/c"), shard("web/a@00000", "a.jsonl", start=0, end=5),
                   shard("web/a@00001", "a.jsonl", start=5, end=9), shard("web/b"),
                   **{"code/c": 3, "web/a@00000": 0, "web/a@00001": 4, "web/b": 2})  # fmt: skip
    found = list(indexed(run))
    assert [one.rows for one in found] == [3, 0, 4, 2]
    assert [one.first for one in found] == [0, 3, 3, 7]
    assert [one.first_in_file for one in found] == [0, 0, 0, 0]
    assert [(one.failed, one.num_bytes, one.sha256) for one in found][2] == (1, 40, "2")
    run = run_over(shard("web/a@00000", "a.jsonl", start=0, end=5), shard("web/a@00001", "a.jsonl", start=5, end=9),
                   **{"web/a@00000": 6, "web/a@00001": 4})  # fmt: skip
    assert [one.first_in_file for one in indexed(run)] == [0, 6]


@pytest.mark.parametrize("lost", ["code/c", "web/a", "web/b"])
def test_a_shard_that_the_index_does_not_know(lost: str) -> None:
    rows = {"code/c": 1, "web/a": 1, "web/b": 1}
    del rows[lost]
    run = run_over(shard("code/c"), shard("web/a"), shard("web/b"), **rows)
    with pytest.raises(DataError, match=rf"^index: no record of shard {lost}\. Run again: it is made\.$"):
        list(indexed(run))


def test_records_of_shards_that_are_gone_are_passed_over() -> None:
    run = run_over(shard("web/b"), **{"web/a": 1, "web/b": 2, "web/c": 3})
    assert [one.rows for one in indexed(run)] == [2]


def test_an_index_of_real_files(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": ["x", "yy"], "web/b": [], "code/c": ["é"]}, tag={"taggers": ["length_v1"]})
    assert [(one.name, one.rows, one.first, one.num_bytes) for one in indexed(run)] == [
        ("code/c", 1, 0, 2), ("web/a", 2, 1, 3), ("web/b", 0, 3, 0)
    ]  # fmt: skip


sizes = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3 * BLOCK_ROWS)), max_size=30)


@given(sizes)
def test_blocks_hold_every_shard_once_in_order_and_no_two_sources(found: list[tuple[str, int]]) -> None:
    given_shards = [
        ShardAt(shard(f"{source}/{i:03d}"), "", i, rows=rows)
        for i, (source, rows) in enumerate(sorted(found, key=lambda one: one[0]))
    ]
    made_blocks = list(blocks(iter(given_shards)))
    assert [one for block in made_blocks for one in block.shards] == given_shards
    assert len({block.key for block in made_blocks}) == len(made_blocks)
    for block in made_blocks:
        assert len({one.source for one in block.shards}) == 1
        assert block.key.split("/")[0] == block.shards[0].source
        assert block.rows <= BLOCK_ROWS or len(block.shards) == 1


def test_many_small_files_are_few_blocks() -> None:
    many = (ShardAt(shard(f"web/{i:05d}"), "", i, rows=10) for i in range(2 * BLOCK_SHARDS + 1))
    assert [len(block.shards) for block in blocks(many)] == [BLOCK_SHARDS, BLOCK_SHARDS, 1]
    assert shards.Block("web/00000", ()).rows == 0
