"""Every name of a run's folder is a name that a folder takes, and no two are one."""

from __future__ import annotations

from dolma_pipeline.run import layout
from dolma_pipeline.storage.names import checked

DIGEST = "sha256:0123456789abcdef"


def test_names_are_names_and_differ() -> None:
    shard = "web/2024/part-0001@00002"
    names = [
        layout.RECIPE, layout.SHARDS, layout.LOCK, layout.VERSIONS, layout.plan(), layout.TOKENIZER,
        layout.manifest("mix"), layout.lines("mix"), layout.done("mix/plan", DIGEST), layout.earlier("mix/verdicts"),
        layout.failed("index", shard), layout.index(shard), layout.attributes("a", shard),
        layout.attributes("a", shard, "jsonl"), layout.signatures("near", shard), layout.members("near"),
        layout.verdicts(shard), layout.dropped(shard), layout.selected(shard), layout.documents(shard),
        layout.held_out(shard), layout.part("train", 7), layout.cache("ids", DIGEST), layout.cache("ids", DIGEST, "x"),
    ]  # fmt: skip
    of_another = [
        layout.plan("small"), layout.verdicts(shard, "small"), layout.dropped(shard, "small"),
        layout.selected(shard, "small"), layout.documents(shard, "small"), layout.held_out(shard, "small"),
        layout.part("train", 7, "tokens_small"),
    ]  # fmt: skip
    names += of_another
    assert [checked(name) for name in names] == names
    assert len(set(names)) == len(names)


def test_the_tree_of_the_contract() -> None:
    assert layout.attributes("length_v1", "web/a") == "attributes/length_v1/web/a.parquet"
    assert layout.attributes("x", "web/a", "jsonl") == "attributes/x/web/a.jsonl.gz"
    assert layout.documents("web/a") == "mix/documents/web/a.jsonl.zst"
    assert layout.part("held_out/web", 3) == "tokens/held_out/web/part-00003"
    assert layout.plan() == "mix/plan.json"
    assert layout.plan("small") == "small/plan.json"
    assert layout.selected("web/a", "small") == "small/selected/web/a.parquet"
    assert layout.part("train", 3, "tokens_small") == "tokens_small/train/part-00003"
    assert layout.done("mix/plan", DIGEST) == ".done/mix.plan-0123456789ab"
    assert layout.cache("ids", DIGEST, "web/a") == "cache/ids/0123456789ab/web/a"
    assert layout.earlier("cache/judged/0123") == ".done/earlier/cache.judged.0123.jsonl"
    assert [name for name in layout.UNPROMISED if "/" in name] == []
