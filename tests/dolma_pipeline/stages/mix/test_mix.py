"""What is measured, planned and written of a mix: against plain Python, and the same bytes whichever way."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready
from dolma_pipeline.stages.mix.measured import MEASURED, Measured
from dolma_pipeline.tokens.keys import document_key
from tests.dolma_pipeline.stages.mails import MAIL, MODULE
from tests.dolma_pipeline.stages.small import (
    artifacts_of,
    jsonl,
    made,
    make,
    manifest,
    phases_of,
    promised,
    rows,
    small_run,
)

TAG = {"taggers": ["addresses_v1", "length_v1"]}
DEDUPE = {"steps": [{"name": "exact", "kind": "exact"}]}
WHERE = {"words": "length_v1.words >= 3", "unique": "exact.keep"}


def corpus() -> dict[str, list[dict[str, Any]]]:
    rng = random.Random(7)
    words = "river stone winter letter garden Straße 東京 naïve".split()  # noqa: SIM905

    def document(i: int) -> dict[str, Any]:
        text = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 15)))
        if rng.random() < 0.4:
            text = f"{text} me{i}@mail.org {rng.choice(words)}"
        return {"id": f"d{i}", "text": text, "source": rng.choice(["", "blog"]), "added": "2024",
                "metadata": {"stars": i % 5, "url": f"http://x/{i}"}}  # fmt: skip

    shards = {name: [document(i) for i in range(40)] for name in ("web/a", "web/b", "code/c")}
    for i in range(6):
        shards["web/b"][i]["text"] = shards["code/c"][i]["text"] = shards["web/a"][i]["text"]
    return {**shards, "code/empty": []}


DOCUMENTS = corpus()
TOKENIZER = {"train": "bpe", "vocab_size": 280, "added_tokens": ["|||MAIL|||"]}


def settings(tokenizer: bool = True, **mix: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"where": WHERE, "replace": [{"spans": "addresses_v1.spans", "with": "|||MAIL|||"}],
                             "keep_metadata": ["stars"], "held_out": {"share": 0.2}, **mix}  # fmt: skip
    whole: dict[str, Any] = {"modules": [MODULE], "tag": TAG, "dedupe": DEDUPE, "mix": found}
    return {**whole, "tokenizer": TOKENIZER} if tokenizer else whole


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything that passes, with written documents."""
    return made(tmp_path_factory.mktemp("mix"), DOCUMENTS, **settings())


def edited(text: str) -> str:
    return MAIL.sub("|||MAIL|||", text)


def passing() -> dict[str, list[int]]:
    """Rows that pass, the plain way."""
    seen: set[str] = set()
    found: dict[str, list[int]] = {}
    good = {shard: [len(one["text"].split()) >= 3 for one in documents] for shard, documents in DOCUMENTS.items()}
    for shard in ("web/a", "web/b", "code/c", "code/empty"):
        found[shard] = []
        for row, one in enumerate(DOCUMENTS[shard]):
            if good[shard][row] and one["text"] not in seen:
                seen.add(one["text"])
                found[shard].append(row)
    return found


def test_selected_are_all_that_pass(run: Run) -> None:
    for shard, expected in passing().items():
        found = rows(run, f"mix/selected/{shard}.parquet")
        assert [one["row"] for one in found] == expected
        for one in found:
            text = DOCUMENTS[shard][one["row"]]["text"]
            assert (one["bytes"], one["edited"]) == (len(text.encode()), edited(text) != text)
            assert one["tokens"] > 1
            assert one["copies"] == (0 if one["held"] else 1)
            origin = f"{shard}#{one['row']}"
            assert one["key"] == int(document_key([origin], seed=3)[0])
            group = rows(run, f"attributes/exact/{shard}.parquet")[one["row"]]["exact"]["group"]
            assert one["cluster"] == group
            assert one["held_key"] == int(document_key([group], seed=3, purpose="held_out")[0])


def test_documents_and_held_out_documents(run: Run) -> None:
    held_out = 0
    for shard, expected in passing().items():
        chosen = {one["row"]: one for one in rows(run, f"mix/selected/{shard}.parquet")}
        for name, wanted in (("documents", False), ("held_out", True)):
            found = jsonl(run, f"mix/{name}/{shard}.jsonl.zst")
            assert [one["origin"] for one in found] == [
                f"{shard}#{row}" for row in expected if chosen[row]["held"] is wanted
            ]
            held_out += len(found) if wanted else 0
            for one in found:
                row = int(one["origin"].rpartition("#")[2])
                document = DOCUMENTS[shard][row]
                expected_line = {
                    "id": document["id"], "text": edited(document["text"]), "added": "2024",
                    "source": document["source"] or shard.split("/")[0], "metadata": {"stars": row % 5},
                    "origin": f"{shard}#{row}", "loc": row + 1,
                }  # fmt: skip
                if chosen[row]["cluster"] != one["origin"]:
                    expected_line["cluster"] = chosen[row]["cluster"]
                assert one == expected_line
    assert held_out > 5


def test_counts_and_plan(run: Run) -> None:
    found = manifest(run, "mix")
    for source in ("web", "code"):
        counts, plan = found["counts"][source], found["plan"][source]
        chosen = [one for shard in DOCUMENTS if shard.startswith(source)
                  for one in rows(run, f"mix/selected/{shard}.parquet")]  # fmt: skip
        assert counts["in"] == counts["kept"] + counts["dropped"] + counts["failed"]
        assert counts["kept"] == len(chosen)
        assert counts["dropped"] == sum(rule["first"] for rule in counts["rules"].values())
        assert counts["edited"] == sum(one["edited"] for one in chosen)
        assert counts["held_out"] == sum(one["held"] for one in chosen)
        assert counts["tokens_kept"] == sum(one["tokens"] for one in chosen)
        assert plan["tokens"] == counts["chosen_tokens"] == sum(one["tokens"] * one["copies"] for one in chosen)
        assert plan["documents"] == counts["chosen"]
    whole = orjson.loads(run.folder.read(layout.plan()))
    assert whole["unit"] == found["unit"] == "tokens"
    assert {name: one["documents"] for name, one in whole["sources"].items()} == {
        name: one["documents"] for name, one in found["plan"].items()
    }


def test_a_plan_that_is_lost_is_missed(run: Run) -> None:
    sizes = {entry.name: entry.size for entry in run.folder.list()}
    mix = artifacts_of(run)["mix"]
    assert decide(run, mix, sizes).state == "done"
    for name in (layout.plan(), "mix/documents/web/a.jsonl.zst", "mix/selected/code/empty.parquet"):
        lost = decide(run, mix, {key: size for key, size in sizes.items() if key != name})
        assert (lost.state, list(lost.missing)) == ("heal", [name])


def test_tokens_are_those_of_the_edited_text(run: Run) -> None:
    from dolma_pipeline.stages.tokenizer import run_tokenizer
    from dolma_pipeline.tokens.encode import encoder

    encode = encoder(run_tokenizer(Process.of(run)))
    import pyarrow as pa

    for one in rows(run, "mix/selected/web/a.parquet"):
        (ids,) = encode.encode(pa.array([edited(DOCUMENTS["web/a"][one["row"]]["text"])])).to_pylist()
        assert one["tokens"] == len(ids) + 1


def without(content: dict[str, bytes], *starts: str) -> dict[str, bytes]:
    return {name: data for name, data in content.items() if not name.startswith(starts)}


def test_documents_are_the_same_bytes_whether_texts_of_held_out_ones_were_kept(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without written documents text is read for held-out ones alone, and not at all where their texts were kept."""
    opened: list[str] = []
    original = columns_module.open_shard

    def note(run: Run, shard: Any, report: Any) -> Any:
        opened.append(shard.name)
        return original(run, shard, report)

    monkeypatch.setattr(columns_module, "open_shard", note)
    found = {}
    for written, are_kept in ((True, True), (True, False), (False, True), (False, False)):
        other = small_run(tmp_path, DOCUMENTS, **settings(documents=written))
        make(other, until="mix/plan")
        for one in [e.name for e in other.folder.list("cache/ids")] if not are_kept else []:
            if one.endswith(".json"):
                other.folder.write(one, orjson.dumps({**orjson.loads(other.folder.read(one)), "texts": 0}))
        del opened[:]
        make(other)
        content = promised(other)
        held = {name: data for name, data in content.items() if name.startswith("mix/held_out/")}
        found[written, are_kept] = (sorted(opened), held, content)
    everything = ["code/c", "web/a", "web/b"]
    assert [found[key][0] for key in found] == [everything, everything, [], found[False, False][0]]
    assert set(found[False, False][0]) <= set(everything)
    assert found[False, False][0]
    assert {repr(found[True, kept][2]) for kept in (True, False)} == {repr(promised(run))}
    assert len({repr(held) for _, held, _ in found.values()}) == 1


@pytest.mark.parametrize(("unit", "target"), [("tokens", 400), ("bytes", 1500), ("documents", 20), ("documents", 150)])
def test_budgets(tmp_path: Path, unit: str, target: int) -> None:
    mix = {f"target_{unit}": target, "max_epochs": 3, "sources": {"web": {"weight": 1}, "code": {"weight": 3}}}
    run = made(tmp_path, DOCUMENTS, **settings(**mix))
    chosen = {shard: rows(run, f"mix/selected/{shard}.parquet") for shard in DOCUMENTS}
    taken = {"tokens": lambda one: one["tokens"], "bytes": lambda one: one["bytes"], "documents": lambda one: 1}[unit]
    total = sum(taken(one) * one["copies"] for found in chosen.values() for one in found)
    assert 0.7 * target <= total <= target
    assert manifest(run, "mix")["unit"] == unit
    for source in ("web", "code"):
        keyed = sorted((one["key"], one["copies"]) for shard, found in chosen.items() if shard.startswith(source)
                       for one in found if not one["held"])  # fmt: skip
        copies = [copies for _, copies in keyed]
        assert copies == sorted(copies, reverse=True), "a cut of the keyed order"
    for shard, found in chosen.items():
        lines = {one["origin"]: one for one in jsonl(run, f"mix/documents/{shard}.jsonl.zst")}
        assert [*lines] == [f"{shard}#{one['row']}" for one in found if one["copies"]]
        for one in found:
            if one["copies"]:
                assert lines[f"{shard}#{one['row']}"].get("epochs", 1) == one["copies"]


def test_without_a_tokenizer_budgets_are_bytes_and_nothing_is_encoded(tmp_path: Path) -> None:
    run = made(tmp_path, DOCUMENTS, **settings(tokenizer=False))
    found = manifest(run, "mix")
    assert (found["unit"], found["counts"]["web"]["tokens_kept"]) == ("bytes", 0)
    assert found["plan"]["web"]["bytes"] > 100
    assert list(run.folder.list("cache/ids")) == []
    marked = [one["edited"] for one in rows(run, "mix/selected/web/a.parquet")]
    texts = [DOCUMENTS["web/a"][row]["text"] for row in passing()["web/a"]]
    assert marked == [edited(text) != text for text in texts]
    assert [one["text"] for one in jsonl(run, "mix/documents/web/a.jsonl.zst")] == [
        edited(text)
        for text, one in zip(texts, rows(run, "mix/selected/web/a.parquet"), strict=True)
        if not one["held"]
    ]


def test_a_larger_budget_reads_text_for_nothing_but_the_documents_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, DOCUMENTS, **settings(target_tokens=300, documents=False))
    more = small_run(tmp_path, DOCUMENTS, where=run.folder, **settings(target_tokens=600, documents=False))
    again(more, {"mix"})
    monkeypatch.setattr(columns_module, "open_shard", lambda *_: pytest.fail("text was read"))
    assert make(more) == ["encode", "mix/plan", "write", "mix/close"]
    fresh = made_elsewhere(tmp_path, monkeypatch, **settings(target_tokens=600, documents=False))
    assert without(promised(more), "shards") == without(promised(fresh), "shards")


def again(run: Run, names: set[str]) -> None:
    """What the launcher clears for a changed setting."""
    artifacts = [*artifacts_of(run).values()]
    decisions = [decide(run, one) for one in artifacts]
    assert {d.artifact.name for d in decisions if d.state == "changed"} == names
    shards = {one.name: one.shard for one in indexed(run)}
    make_ready(run, [d for d in decisions if d.state != "done"], artifacts, shards)


def made_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **recipe: Any) -> Run:
    monkeypatch.undo()
    return made(tmp_path, DOCUMENTS, **recipe)


def test_another_seed_sorts_kept_ids_anew_and_reads_for_held_out_documents_alone(tmp_path: Path) -> None:
    run = made(tmp_path, DOCUMENTS, **settings(documents=False), seed=5)
    other = small_run(tmp_path, DOCUMENTS, where=run.folder, **settings(documents=False), seed=6)
    again(other, {"mix", "tokenizer"})
    make(other)
    fresh = made(tmp_path, DOCUMENTS, **settings(documents=False), seed=6)
    assert promised(other) == promised(fresh)


@pytest.mark.parametrize("change", [{"seed": 6}, {"held_out": {"share": 0.6}}])
def test_texts_of_held_out_documents_are_read_once_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """Their ids were kept before it was known that they may be held out; another budget then reads no text."""
    seed = {name: value for name, value in change.items() if name == "seed"}
    mix = {"documents": False, **{name: value for name, value in change.items() if name != "seed"}}
    run = made(tmp_path, DOCUMENTS, **settings(documents=False), seed=5)
    other = small_run(tmp_path, DOCUMENTS, where=run.folder, **settings(**mix), **{"seed": 5, **seed})
    again(other, {"mix", *(["tokenizer"] if seed else [])})
    make(other)
    less = small_run(tmp_path, DOCUMENTS, where=run.folder, **settings(target_tokens=300, **mix), **{"seed": 5, **seed})
    again(less, {"mix"})
    with monkeypatch.context() as patch:
        patch.setattr(columns_module, "open_shard", lambda *_: pytest.fail("text was read"))
        make(less)
    fresh = made(tmp_path, DOCUMENTS, **settings(target_tokens=300, **mix), **{"seed": 5, **seed})
    assert promised(less) == promised(fresh)


def test_the_same_bytes_however_tasks_are_repeated(tmp_path: Path, run: Run) -> None:
    other = small_run(tmp_path, DOCUMENTS, **settings())
    make(other, engine=Here(seed=11, repeated=0.5, again=True))
    assert promised(other) == promised(run)


def test_what_is_measured_has_its_schema(run: Run) -> None:
    process = Process.of(run)
    for shard in indexed(run):
        import numpy as np

        measured = Measured.of(process, shard, np.array([], np.int64))
        assert measured.table(process, "").schema.equals(MEASURED)
        assert measured.may_be_held(np.array([], np.int64)).tolist() == []


def test_nothing_passes(tmp_path: Path) -> None:
    run = small_run(
        tmp_path,
        DOCUMENTS,
        tag={"taggers": ["length_v1"]},
        mix={"where": {"a": "length_v1.words > 99", "b": "chars < 9999"}},
    )
    with pytest.raises(DataError, match=r"mix: no document passes the rules\. Of 120 documents: 120 fail a\. Loosen"):
        make(run)


def test_a_weight_without_a_budget(tmp_path: Path) -> None:
    run = small_run(tmp_path, DOCUMENTS, **settings(sources={"web": {"weight": 2}}, target_tokens=5))
    assert STAGES["mix"].check(Process.of(run)) == ()
    assert run.recipe.mix is not None
    run = replace(run, recipe=replace(run.recipe, mix=replace(run.recipe.mix, target_tokens=None)))
    with pytest.raises(ConfigError, match=r"mix\.sources\.web\.weight: a weight needs a budget: set mix\.target_tok"):
        STAGES["mix"].check(Process.of(run))


def test_documents_are_written_where_there_are_no_tokens(tmp_path: Path) -> None:
    def writes(**recipe: Any) -> bool:
        run = small_run(tmp_path, DOCUMENTS, **recipe)
        (write,) = [one for phase in phases_of(run) if phase.name == "write" for one in phase.consumers]  # type: ignore[attr-defined]
        return bool(write.documents)

    assert writes(**settings())
    assert not writes(**settings(), tokens={})
    assert writes(**settings(documents=True), tokens={})
    assert not writes(**settings(documents=False))


def test_settings_are_told_by_their_keys(run: Run) -> None:
    config = manifest(run, "mix")["config"]
    assert config["mix.held_out.share"] == 0.2
    assert config["mix.replace"] == [{"spans": "addresses_v1.spans", "with": "|||MAIL|||"}]
    assert config["mix.mixer"] == "proportional"
    assert all(key == "seed" or key.startswith("mix.") for key in config)


def test_the_verdicts_stay_when_the_mix_is_made_again(tmp_path: Path, run: Run) -> None:
    mix: Artifact = artifacts_of(run)["mix"]
    verdicts = {entry.name for entry in run.folder.list("mix/verdicts")} | {
        entry.name for entry in run.folder.list("mix/dropped")
    }
    gone = {entry.name for entry in run.folder.list("mix")
            if any(entry.name == own or entry.name.startswith(f"{own}/") for own in mix.owned)}  # fmt: skip
    assert gone | verdicts == {entry.name for entry in run.folder.list("mix")}
    assert not gone & verdicts


def test_lines_of_verdicts_are_those_of_all_shards(run: Run) -> None:
    assert [line["shard"] for line in read_lines(run.folder, "mix")] == sorted(DOCUMENTS)
