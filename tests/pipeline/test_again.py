"""A run over finished work: nothing to do, changed settings, `redo`, new shards, changed inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import DataError, SettingsChangedError, UsageError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import (
    FILES,
    document,
    files,
    promised,
    read_jsonl,
    recipe,
    tree,
    write_corpus,
    write_documents,
)

pytestmark = pytest.mark.usefixtures("plain")


def again(folder: Path, *, redo: bool = False, stages: tuple[str, ...] = (), **changes: Any) -> Result:
    return run(recipe(folder, **changes), quiet=True, redo=redo, stages=stages)


def times(folder: Path) -> dict[str, int]:
    """Time of change of every file."""
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def rewritten(folder: Path, before: dict[str, int]) -> set[str]:
    """Folders (two levels) in which files were written since."""
    changed = [name for name, time in times(folder).items() if before.get(name) != time]
    return {"/".join(name.split("/")[:2]) for name in changed if "/" in name and promised(name)}


def test_nothing_to_do_touches_nothing_and_says_so(copied: Path) -> None:
    before = times(copied)
    result = again(copied)
    assert result.nothing_to_do
    assert result.text().startswith(f"nothing to do: {copied} holds all of this already")
    assert "seconds" in result.text()  # the tables of the run before
    assert times(copied) == before


@pytest.mark.parametrize("changes", [{"workers": 2}, {"max_failed_share": 0.5}, {"name": "other"}])
def test_what_changes_no_byte_is_no_change(copied: Path, changes: dict[str, Any]) -> None:
    assert again(copied, **changes).nothing_to_do


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        (
            {"mix__where": {"words": "length_v1.words >= 12", "unique": "exact.keep AND minhash.keep"}},
            [
                ":\n  mix.where.words: 'length_v1.words >= 10' -> 'length_v1.words >= 12'\nthis makes again: ",
                "this makes again: attributes/exact, attributes/minhash, mix/verdicts, tokenizer, mix, tokens\n",
            ],
            ["attributes/length_v1", "dedupe/minhash"],
        ),
        (
            {"mix__target_tokens": 5000},
            [
                "  mix.target_tokens: (nothing) -> 5000\nthis makes again: mix, tokens\n",
            ],
            ["tokenizer"],
        ),
        (
            {"tokenizer__vocab_size": 320},
            ["  tokenizer.vocab_size: 400 -> 320\nthis makes again: tokenizer, mix, tokens\n"],
            ["minhash"],
        ),
        (
            {"tag__taggers": ["length_v1", {"tagger": "length_v1", "name": "marks_v1"}], "mix__replace": []},
            ["  tag.taggers.marks_v1.tagger: 'marks_v1' -> 'length_v1'"],
            ["attributes/length_v1"],
        ),
        (
            {"dedupe__steps": [{"name": "exact", "kind": "exact"}, {"name": "minhash", "kind": "minhash", "rows": 9}]},
            [
                "  dedupe.steps.minhash.rows: 8 -> 9\n"
                "this makes again: dedupe/minhash, dedupe/minhash/sets, attributes/minhash, "
            ],
            ["dedupe/exact", "attributes/exact"],
        ),
        (
            {"normalize": ["nfc"]},
            [":\n  normalize: (nothing) -> ['nfc']\nthis makes again: index, attributes/length_v1, "],
            [],
        ),
        ({"seed": 4}, [":\n  seed: 3 -> 4\nthis makes again: tokenizer, mix, tokens\n"], ["dedupe", "length"]),
    ],
)
def test_changed_settings_stop_and_say_what_differs(
    finished: Path, here: Path, changes: dict[str, Any], said: list[str], not_said: list[str]
) -> None:
    before = times(finished)
    if "mix__replace" in changes:
        changes["mix__sources"] = {}
        changes["tokens__keep_attributes"] = []
    with pytest.raises(SettingsChangedError) as caught:
        again(finished, **changes)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert message.startswith("this folder holds work that was made with other settings:\n")
    assert "Or set another `output`, or put the settings back." in message
    for text in said:
        assert text in message
    for text in not_said:
        assert text not in message.partition("--redo")[0]
    assert times(finished) == before


def test_the_order_of_rules_is_a_setting(copied: Path) -> None:
    where = tree()["mix"]["where"]
    with pytest.raises(
        SettingsChangedError, match=r"mix\.where: order: \['words', 'unique'\] -> \['unique', 'words'\]"
    ):
        again(copied, mix={**tree()["mix"], "where": dict(reversed(where.items()))})


def test_redo_makes_again_only_what_depends_on_the_change(copied: Path) -> None:
    before, rule = times(copied), {"words": "length_v1.words >= 12", "unique": "exact.keep AND minhash.keep"}
    result = again(copied, redo=True, mix__where=rule)
    assert rewritten(copied, before) == {
        *("attributes/exact", "attributes/minhash", "mix/verdicts"),
        *("mix/documents", "mix/held_out", "mix/dropped", "mix/selected", "mix/plan.json"),
        *("mix/manifest.json", "mix/shards.jsonl", "tokenizer/manifest.json"),
        *("tokenizer/tokenizer.json", "tokens/manifest.json", "tokens/shards.jsonl", "tokens/train", "tokens/held_out"),
    }
    assert result.manifests["mix"].counts["web"].rules["words"]["any"] > 2
    fresh = copied.with_name("fresh")
    again(fresh, mix__where=rule)
    assert files(copied) == files(fresh)
    assert again(copied, mix__where=rule).nothing_to_do


def test_redo_of_a_budget_leaves_dedupe_and_tokenizer(copied: Path) -> None:
    before = times(copied)
    again(copied, redo=True, mix__target_tokens=5000)
    assert {name.split("/")[0] for name in rewritten(copied, before)} == {"mix", "tokens"}


def test_a_tagger_more_is_no_change_of_the_others(copied: Path) -> None:
    taggers = ["length_v1", "marks_v1", {"tagger": "length_v1", "name": "length_b"}]
    before = times(copied)
    again(copied, tag__taggers=taggers)
    assert rewritten(copied, before) == {"attributes/length_b"}
    fresh = copied.with_name("fresh")
    again(fresh, tag__taggers=taggers, stages=("tag",))
    tagged = [name for name in files(fresh) if name.startswith(("attributes", "failed", "index"))]
    assert {name: files(copied)[name] for name in tagged} == {name: files(fresh)[name] for name in tagged}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of its own, to change, and the working directory."""
    write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new_shard(folder: Path) -> None:
    import random

    rng = random.Random(9)
    write_documents(folder / "in" / "web" / "ab.jsonl", [document(rng, f"n{i}") for i in range(40)])


def test_a_new_shard_is_added(mine: Path) -> None:
    new_shard(mine)
    again(mine / "fresh")
    (mine / "in/web/ab.jsonl").rename(mine / "later.jsonl")
    again(mine / "run")
    before = times(mine / "run")
    keys = {row["origin"] for row in mixed(mine / "run", "held_out")}
    (mine / "later.jsonl").rename(mine / "in/web/ab.jsonl")
    result = again(mine / "run")
    after = times(mine / "run")
    tagged = [name for name in before if name.startswith(("attributes/length_v1/", "dedupe/minhash/signatures/"))]
    old = [name for name in tagged if name.endswith(".parquet")]
    assert len(old) == 8
    assert [name for name in old if before[name] != after[name]] == []
    assert files(mine / "run") == files(mine / "fresh")
    assert result.manifests["attributes/length_v1"].counts["web"]["in"] == 181
    # Another shard changes no other document's lot, as long as the share's key stays below.
    grown = {row["origin"] for row in mixed(mine / "run", "held_out") if not row["origin"].startswith("web/ab")}
    assert len(grown & keys) > 0.8 * len(keys)
    assert again(mine / "run").nothing_to_do


def test_a_new_shard_changes_nothing_of_what_was_decided(mine: Path) -> None:
    """With `dedupe.keep: old`: no column of an earlier document, and no document's side of held-out."""
    again(mine / "run", dedupe__keep="old")
    columns = {name: time for name, time in times(mine / "run").items() if name.startswith("attributes/")}
    old = {name: time for name, time in columns.items() if name.endswith(".parquet")}
    held = {row["origin"] for row in mixed(mine / "run", "held_out")}
    assert held
    copies = (mine / "in/forum/d.jsonl").read_text().splitlines()[:6]
    new_shard(mine)
    with (mine / "in/web/ab.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in copies)
    result = again(mine / "run", dedupe__keep="old")
    now = times(mine / "run")
    assert {name: now[name] for name in old} == old
    assert {row["origin"] for row in mixed(mine / "run", "held_out") if not row["origin"].startswith("web/ab")} == held
    told = result.manifests["attributes/exact"].record["earlier"]
    assert (told["new"], told["removed"], told["for_earlier"]) == (46, 6, 6)
    dropped = [pq.read_table(mine / "run/mix/dropped/web/ab.parquet").to_pylist()]
    assert {one["copy_of"].split("#")[0] for one in dropped[0] if "unique" in one["rules"]} == {"forum/d"}
    assert again(mine / "run", dedupe__keep="old").nothing_to_do


def mixed(folder: Path, part: str) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "mix" / part).rglob("*.zst")) for row in read_jsonl(path)]


def test_an_input_that_changed_is_an_error_and_redo_reads_it_again(mine: Path) -> None:
    again(mine / "run", stages=("tag", "dedupe"))
    path = mine / "in" / FILES["web/b"]
    write_documents(path, read_jsonl(path)[:50])
    with pytest.raises(DataError, match=r"in/web/b\.jsonl: \d+ bytes now, \d+ when the run began\. Put the old"):
        again(mine / "run")
    again(mine / "run", redo=True)
    again(mine / "fresh")
    assert files(mine / "run") == files(mine / "fresh")


def test_an_input_that_is_gone_is_an_error_and_redo_forgets_it(mine: Path) -> None:
    again(mine / "run")
    (mine / "in" / FILES["web/b"]).unlink()
    with pytest.raises(
        UsageError, match=r"this run reads b\.jsonl as source 'web', and no pattern of this recipe finds it there\."
    ):
        again(mine / "run")
    again(mine / "run", redo=True)
    again(mine / "fresh")
    assert files(mine / "run") == files(mine / "fresh")


def test_a_source_that_is_gone_from_the_recipe(mine: Path) -> None:
    changes = {"sources": {name: {"documents": f"in/{name}/*"} for name in ("web", "code")}}
    again(mine / "run")
    with pytest.raises(UsageError, match=r"/run reads d\.jsonl as source 'forum', and this recipe does not\."):
        again(mine / "run", **changes)
    again(mine / "run", redo=True, **changes)
    again(mine / "fresh", **changes)
    assert files(mine / "run") == files(mine / "fresh")


def test_single_stages_one_after_the_other_give_the_same(finished: Path, here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for stage in ("tag", "dedupe", "mix", "tokens"):
        assert not again(folder, stages=(stage,)).nothing_to_do
    assert files(folder) == files(finished)


def test_a_stage_alone_says_what_comes_first(here: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        again(tmp_path / "run", stages=("mix",))
    assert str(caught.value) == (
        "mix needs attributes/length_v1, which is not done (new). "
        "First: dolma-pipeline tag RECIPE; or do all with: dolma-pipeline run RECIPE."
    )
    assert not (tmp_path / "run").exists()


def test_dry_run_writes_nothing_and_says_what_would_be_done(finished: Path, here: Path, tmp_path: Path) -> None:
    result = run(recipe(tmp_path / "run"), dry_run=True)
    assert not (tmp_path / "run").exists()
    lines = result.text().splitlines()
    assert lines[0] == "4 shards; all names, files and rules are in order."
    assert [line.split() for line in lines[4:]] == [
        [artifact, "new"]
        for artifact in (
            *("index", "attributes/length_v1", "attributes/marks_v1", "dedupe/exact", "dedupe/minhash"),
            *(
                "dedupe/minhash/sets",
                "attributes/exact",
                "attributes/minhash",
                "mix/verdicts",
                "tokenizer",
                "mix",
                "tokens",
            ),
        )
    ]
    before = times(finished)
    changed = run(recipe(finished, mix__target_tokens=5000), dry_run=True, redo=True)
    assert [(d.artifact.name, d.state) for d in changed.planned] == [("mix", "changed"), ("tokens", "changed")]
    assert run(recipe(finished), dry_run=True).text() == f"nothing to do: {finished} holds all of this already\n"
    assert times(finished) == before


def test_the_recipe_on_disk_gives_itself(finished: Path, here: Path) -> None:
    from dolma_pipeline.config import load_recipe, resolved_yaml

    text = (finished / "recipe.yaml").read_text(encoding="utf-8")
    assert resolved_yaml(load_recipe(str(finished / "recipe.yaml"))) == text


def test_a_lock_that_is_held_and_one_that_is_stale(copied: Path) -> None:
    import os
    import socket

    lock = {"host": socket.gethostname(), "process": os.getppid(), "start": "2026-01-01T00:00:00"}
    (copied / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(UsageError, match=rf"process {os.getppid()} on .* has been at work here since 2026-01-01T00"):
        again(copied, redo=True, mix__target_tokens=5000)
    (copied / "lock.json").write_text(json.dumps({**lock, "process": 2**22 + 1}))
    assert not again(copied, redo=True, mix__target_tokens=5000).nothing_to_do
    assert not (copied / "lock.json").exists()


def test_rubbish_of_an_interrupted_redo_is_not_taken_for_work(copied: Path) -> None:
    """One that dies while it clears a folder leaves records without the settings that they were made with."""
    fresh = copied.with_name("fresh")
    again(fresh, mix__target_tokens=5000)
    (copied / "mix/manifest.json").unlink()
    records = read_jsonl(copied / "mix/shards.jsonl")
    earlier = copied / ".done/earlier" / "mix.jsonl"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    for record in records:  # a folder of done records of which the first thing that went is what says so
        path = copied / ".done/write-0123456789ab" / f"{record['shard']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"task": record["shard"], "records": {"mix": [record]}, "more": {}}))
    again(copied, redo=True, mix__target_tokens=5000)
    assert files(copied) == files(fresh)
    assert again(copied, mix__target_tokens=5000).nothing_to_do
