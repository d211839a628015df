"""What a unit's digest depends on, and what not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.units import units_of

from dolma_pipeline.io.shards import plan_shards, write_shards
from dolma_pipeline.registry import read_modules
from tests.pipeline.tiny import RECIPE, recipe


def digests(folder: Path, output: str = "run", **changes: Any) -> dict[str, str]:
    found = recipe(output, **changes)
    modules = read_modules(found.modules)
    (folder / "shards.jsonl").unlink(missing_ok=True)
    shards = plan_shards({name: one.documents for name, one in found.sources.items()}, split_bytes=10**9)
    write_shards(folder / "shards.jsonl", shards)
    context = RunContext(found, str(folder), modules)
    context.prepare()
    return {unit.name: unit.digest for unit in units_of(context)}


ALL = [
    *("attributes/length_v1", "attributes/marks_v1", "dedupe/exact", "dedupe/minhash"),
    *("attributes/exact", "attributes/minhash", "tokenizer", "mix", "tokens"),
]
WHERE = RECIPE["mix"]["where"]


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"workers": 2, "max_failed_share": 0.5, "name": "other", "max_memory": 10**9, "output": "b"}, []),
        ({"tokens__max_shard_tokens": 500}, ["tokens"]),
        ({"mix__keep_metadata": []}, ["mix", "tokens"]),
        ({"mix__held_out__share": 0.2}, ["mix", "tokens"]),
        ({"mix__replace": []}, ["tokenizer", "mix", "tokens"]),
        ({"tokenizer__special_tokens": ["<|endoftext|>", "<|pad|>"]}, ["tokenizer", "mix", "tokens"]),
        ({"dedupe__prefer": "id ASC"}, ["attributes/exact", "attributes/minhash", "tokenizer", "mix", "tokens"]),
        ({"mix__where": {**WHERE, "words": "length_v1.words >= 11"}}, ALL[4:]),
        ({"mix__where": {**WHERE, "unique": "minhash.keep"}}, ["tokenizer", "mix", "tokens"]),
        ({"mix__sources": {"web": {"min_chars": 5, "remove": ["marks_v1.asides"]}}}, ALL[4:]),
        ({"sources": {n: {"documents": f"in/{n}/*", "fields": {"id": "x"}} for n in ("web", "code", "forum")}}, ALL),
        ({"normalize": ["nfc"]}, ALL),
        ({"seed": 9}, ["tokenizer", "mix", "tokens"]),
    ],
)
def test_a_setting_changes_what_depends_on_it(
    here: Path, tmp_path: Path, changes: dict[str, Any], changed: list[str]
) -> None:
    before, after = digests(tmp_path), digests(tmp_path, **changes)
    assert list(before) == list(after) == ALL
    assert [name for name in ALL if before[name] != after[name]] == changed


def test_the_text_of_a_tagger_file_counts_for_its_taggers(corpus: Path, tmp_path: Path) -> None:
    for name in ("in", "marks.py"):
        (tmp_path / name).symlink_to(corpus / name)
    with contextlib.chdir(tmp_path):
        before = digests(tmp_path)
        text = (tmp_path / "marks.py").read_text()
        (tmp_path / "marks.py").unlink()
        (tmp_path / "marks.py").write_text(text + "\n# another comment\n")
        after = digests(tmp_path)
    changed = [name for name in ALL if before[name] != after[name]]
    assert changed == ["attributes/marks_v1", "tokenizer", "mix", "tokens"]


def test_signatures_of_other_words_are_stale(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of their format is among the settings of near-duplicates, and of nothing that is exact."""
    before = digests(tmp_path)
    monkeypatch.setattr("dolma_pipeline.stages.units.WORDS_FORMAT", 3)
    after = digests(tmp_path)
    assert [name for name in ALL if before[name] != after[name]] == ["dedupe/minhash", *ALL[5:]]
