"""The list of shards: made once, kept, added to; the user's modules."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from dolma_pipeline.errors import DolmaError
from dolma_pipeline.run import layout
from dolma_pipeline.runner.inputs import plan_inputs
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.stages.small import small_recipe, write_shards

TAG = {"taggers": ["length_v1"]}


@pytest.fixture
def folder() -> RunFolder:
    return run_folder(f"memory://{secrets.token_hex(8)}")


def test_the_list_does_not_depend_on_where_the_corpus_is(tmp_path: Path, folder: RunFolder) -> None:
    found = []
    for place in (tmp_path / "a", tmp_path / "b" / "c"):
        write_shards(place, {"web/x/a": ["one"], "web/b": ["two"], "code/c": ["three"]})
        inputs = plan_inputs(small_recipe(place, ["web", "code"], tag=TAG), folder, redo=False)
        assert str(place).encode() not in inputs.content
        found.append((inputs.content, inputs.digest, inputs.num_shards, inputs.num_bytes))
    assert found[0] == found[1]
    assert found[0][2] == 3
    assert [json.loads(line)["name"] for line in found[0][0].splitlines()] == ["code/c", "web/b", "web/x/a"]


def test_known_shards_stay_and_new_files_are_added(tmp_path: Path, folder: RunFolder) -> None:
    write_shards(tmp_path, {"web/b": ["one"]})
    recipe = small_recipe(tmp_path, ["web"], tag=TAG)
    before = plan_inputs(recipe, folder, redo=False)
    folder.write(layout.SHARDS, before.content)
    assert plan_inputs(recipe, folder, redo=False).content == before.content
    write_shards(tmp_path, {"web/a": ["two"]})
    after = plan_inputs(recipe, folder, redo=False)
    assert [shard.name for shard in after.shards] == ["web/a", "web/b"]
    assert after.digest != before.digest


def test_what_is_gone_or_of_another_source_stops_and_redo_makes_a_new_list(tmp_path: Path, folder: RunFolder) -> None:
    write_shards(tmp_path, {"web/a": ["one"], "web/b": ["two"], "code/c": ["three"]})
    folder.write(
        layout.SHARDS, plan_inputs(small_recipe(tmp_path, ["web", "code"], tag=TAG), folder, redo=False).content
    )
    recipe = small_recipe(tmp_path, ["web"], tag=TAG)
    with pytest.raises(
        DolmaError, match=r"reads c\.jsonl as source 'code', and this recipe does not\. Put it back, use"
    ):
        plan_inputs(recipe, folder, redo=False)
    assert [shard.name for shard in plan_inputs(recipe, folder, redo=True).shards] == ["web/a", "web/b"]
    (tmp_path / "in/web/a.jsonl").unlink()
    whole = small_recipe(tmp_path, ["web", "code"], tag=TAG)
    with pytest.raises(
        DolmaError, match=r"reads a\.jsonl as source 'web', and no pattern of this recipe finds it there"
    ):
        plan_inputs(whole, folder, redo=False)
    assert [shard.name for shard in plan_inputs(whole, folder, redo=True).shards] == ["code/c", "web/b"]


def test_the_run_s_own_files_are_no_input(tmp_path: Path) -> None:
    write_shards(tmp_path, {"web/a": ["one"]})
    own = LocalFolder(tmp_path / "in")
    with pytest.raises(DolmaError, match=r"in/web/a\.jsonl lies in the run's own folder, so it cannot be an input"):
        plan_inputs(small_recipe(tmp_path, ["web"], tag=TAG), own, redo=False)


def test_a_pattern_that_matches_nothing_has_its_place(tmp_path: Path, folder: RunFolder) -> None:
    with pytest.raises(DolmaError, match=r"^recipe:1: sources\.web\.documents: "):
        plan_inputs(small_recipe(tmp_path, ["web"], tag=TAG), folder, redo=False)
