"""Which spans must lie in their texts, those by which any mix edits them; and columns that are made elsewhere."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import MixConfig
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import edit_fields, given_columns, given_schemas
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.memory import MemoryFolder

BASE = {"output": "a", "sources": {name: {"documents": "x"} for name in ("web", "code")}}
REPLACE = [{"spans": "a.mail", "with": ""}, {"spans": "a.phone", "with": ""}]


def fields(source: str, **mixes: Any) -> list[str]:
    recipe = recipe_from_text(json.dumps({**BASE, **mixes}), sections={"small": MixConfig, "other": MixConfig})
    return edit_fields(recipe, source)


def test_of_one_mix() -> None:
    mix = {"replace": REPLACE, "sources": {"web": {"remove": ["b.ads"]}}}
    assert fields("web", mix=mix) == ["a.mail", "a.phone", "b.ads"]
    assert fields("code", mix=mix) == ["a.mail", "a.phone"]
    assert fields("web", tag={"taggers": ["x"]}) == []


def test_of_several_mixes_each_once() -> None:
    small = {"replace": REPLACE[1:], "sources": {"code": {"remove": ["b.ads"]}}}
    other = {"replace": [{"spans": "c.name", "with": "x"}]}
    assert fields("code", mix={"replace": REPLACE}, small=small, other=other) == [
        "a.mail",
        "a.phone",
        "b.ads",
        "c.name",
    ]
    assert fields("web", small=small) == ["a.phone"]


def test_workers_are_told_the_columns_of_attribute_folders(tmp_path: Path) -> None:
    """The launcher opens the files; with what it saw, nobody else does."""
    scores, more = tmp_path / "scores", tmp_path / "more"
    for folder, attributes in ((scores, {"a__a__long": [[0, 1, 0.5]]}), (more, {"c__c__x": [], "c__c__y": []})):
        folder.mkdir()
        line = {"id": "1", "attributes": attributes}
        (folder / "p.jsonl.gz").write_bytes(gzip.compress(orjson.dumps(line) + b"\n"))
    sources = {"web": {"documents": "p", "attributes": [str(scores), str(more)]}}
    recipe = recipe_from_text(json.dumps({"output": "a", "sources": sources, "mix": {}}))
    run = Run(recipe, MemoryFolder("memory://columns"))
    shard = Shard("web/p", "web", "p.jsonl", "jsonl")
    run.folder.write(layout.SHARDS, orjson.dumps(asdict(shard)) + b"\n")
    seen = Process(run)
    expected = given_columns(seen, "web")
    assert {name: type_.names for name, type_ in expected.items()} == {"a": ["a__long"], "c": ["c__x", "c__y"]}
    for folder in (scores, more):
        shutil.rmtree(folder)
    told = Process(replace(run, given=given_schemas(seen)))
    assert given_columns(told, "web") == expected
    assert all(isinstance(type_, pa.StructType) for type_ in expected.values())
