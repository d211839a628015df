"""`sources.NAME.gone` with `dedupe.keep: old`: new documents are judged, though the files of earlier ones are gone."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from dolma_pipeline.dedup.minhash import estimate_jaccard
from dolma_pipeline.errors import ConfigError, DolmaError, UsageError
from dolma_pipeline.look.explain import explain
from dolma_pipeline.look.explain_text import explain_text
from dolma_pipeline.run import layout
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.dolma_pipeline.stages.dedupe.test_keep_old import (
    Killed,
    KilledAfter,
    columns,
    copy_of,
    launch,
    new_output,
    promised,
    tasks_of,
)
from tests.dolma_pipeline.stages.dedupe.test_verified import jaccard
from tests.dolma_pipeline.stages.small import small_recipe, write_shards

RNG = random.Random(5)


def page(number: int = 120) -> str:
    return " ".join(f"w{RNG.randrange(5000)}" for _ in range(number))


def changed(text: str, words: int) -> str:
    """The text with so many of its words changed, far from each other."""
    found = text.split()
    for i in range(words):
        found[10 + i * (len(found) // max(1, words))] = f"other{RNG.randrange(5000)}"
    return " ".join(found)


ALONE, PAIR, FAR = page(), page(), page()
OLD = {"web/d": [ALONE, PAIR, changed(PAIR, 1), FAR], "code/m": [page(), PAIR.upper()]}
RELATED = {"web/a": [changed(PAIR, 1), page(), PAIR.title()]}
"""Whose relatives were in buckets before."""
NEW = {"web/a": [changed(ALONE, 1), changed(PAIR, 1), page()], "web/k": [changed(FAR, 9), ALONE.title()]}
"""`ALONE` and `FAR` were in no bucket."""
LATER = {"web/c": [NEW["web/a"][0].upper(), changed(NEW["web/a"][0], 0), changed(ALONE, 2)]}


def recipe(**more: Any) -> dict[str, Any]:
    dedupe = {"steps": [{"name": "near", "kind": "minhash", **more.pop("step", {})}], "keep": more.pop("keep", "old")}
    where = {"unique": "near.keep"}
    return {"dedupe": dedupe, "mix": {"where": where, "documents": True, "held_out": {"share": 0.3}}, **more}


def gone(folder: Path, *names: str) -> dict[str, Any]:
    """Sources whose files of these shards are gone."""
    found: dict[str, Any] = {}
    for name in names:
        found.setdefault(name.split("/")[0], {"gone": []})["gone"].append(f"{folder}/in/{name}.jsonl")
    return found


def remove(folder: Path, *names: str) -> dict[str, Any]:
    for name in names:
        (folder / "in" / f"{name}.jsonl").unlink()
    return gone(folder, *names)


def begun(folder: Path, settings: Mapping[str, Any] | None = None, shards: Mapping[str, Sequence[str]] = OLD) -> str:
    output = new_output()
    write_shards(folder, shards)
    launch(folder, output, settings or recipe())
    return output


def manifest(folder: RunFolder, name: str) -> dict[str, Any]:
    return json.loads(folder.read(f"{name}/manifest.json"))  # type: ignore[no-any-return]


def test_the_same_bytes_where_sets_suffice(tmp_path: Path) -> None:
    """Documents, attributes, held-out documents and manifests; whether the text is there or not."""
    output = begun(tmp_path)
    with_text = copy_of(output)
    write_shards(tmp_path, RELATED)
    launch(tmp_path, with_text, recipe())
    sources = remove(tmp_path, *OLD)
    launch(tmp_path, output, recipe(sources=sources))
    assert promised(run_folder(output)) == promised(run_folder(with_text))
    marks = columns(run_folder(output), RELATED)
    assert [one["keep"] for one in marks.values()] == [False, True, False]
    assert marks["web/a#0"]["jaccard"] == jaccard(RELATED["web/a"][0], PAIR)
    assert launch(tmp_path, output, recipe(sources=sources)).nothing_to_do


def low(folder: RunFolder, shard: str, row: int) -> np.ndarray:
    table = pq.read_table(io.BytesIO(folder.read(f"dedupe/near/signatures/{shard}.parquet")))
    return np.frombuffer(table.column("low")[row].as_py(), np.uint8)[None]


def test_what_has_no_set_is_judged_by_estimate_and_it_says_so(tmp_path: Path) -> None:
    output = begun(tmp_path)
    before = {name: content for name, content in promised(run_folder(output)).items() if name.endswith(("t", "zst"))}
    write_shards(tmp_path, NEW)
    sources = remove(tmp_path, *OLD)
    result = launch(tmp_path, output, recipe(sources=sources))
    folder = run_folder(output)
    marks = columns(folder, NEW)
    told = {origin: (one["keep"], one["cluster"], one["jaccard"]) for origin, one in marks.items()}
    assert told == {
        "web/a#0": (False, "web/d#0", None),
        "web/a#1": (False, "web/d#1", jaccard(NEW["web/a"][1], PAIR)),
        "web/a#2": (True, "web/a#2", 1.0),
        "web/k#0": (True, "web/k#0", 1.0),
        "web/k#1": (False, "web/d#0", 1.0),  # the same words need no set
    }
    assert estimate_jaccard(low(folder, "web/a", 0), low(folder, "web/d", 0))[0] >= 0.8
    for name, content in before.items():
        if name.startswith(("attributes/", "mix/documents/", "mix/held_out/", "index/")):
            assert folder.read(name) == content, name
    near = manifest(folder, "attributes/near")
    assert near["earlier"] == {"documents": 6, "new": 5, "removed": 3, "for_earlier": 3, "by_estimate": 1}
    assert near["looks"]["by_estimate"]["removed"] == 1
    assert near["looks"]["by_estimate"]["pairs"] >= 1
    assert sum("by the estimate" in text for text in near["warnings"]) == 1
    assert manifest(folder, "dedupe/near/sets")["lacking"] == {"shards": 1, "documents": 1}
    row = next(line for line in result.text().splitlines() if line.startswith("near ") and "%" not in line)
    assert row.split() == ["near", "6", "5", "3", "3", "1"]
    dropped = pq.read_table(io.BytesIO(folder.read("mix/dropped/web/a.parquet"))).to_pylist()
    values = {one["origin"]: json.loads(one["values"]) for one in dropped}
    assert values["web/a#0"]["near.jaccard"].startswith("by estimate")
    assert "near.jaccard" not in values["web/a#1"]

    found = replace(small_recipe(tmp_path, ["web", "code"], **recipe(sources=sources)), output=output)
    said = explain_text(explain(found, "web/a#0"), full=False, colours=False)
    assert "by estimate" in said
    assert "bands that met: " in said
    assert said.endswith("the texts are not compared: the file of one is gone (`gone` of its source)\n")
    assert explain(found, "web/a#0").record()["copy"]["texts"] is None

    write_shards(tmp_path, LATER)  # what stands by estimate goes on to stand
    launch(
        tmp_path, output, recipe(sources={"web": {"gone": [f"{tmp_path}/in/web/[adk].jsonl"]}, "code": sources["code"]})
    )
    later = columns(run_folder(output), {**NEW, **LATER})
    assert {origin: one for origin, one in later.items() if not origin.startswith("web/c")} == marks
    assert [later[f"web/c#{i}"]["cluster"] for i in range(3)] == ["web/d#0"] * 3
    assert [later[f"web/c#{i}"]["jaccard"] for i in range(3)] == [None] * 3


def test_texts_that_are_back_give_sets_again(tmp_path: Path) -> None:
    """A set that nobody could make is made when another file comes, and exact from then on."""
    output = begun(tmp_path)
    write_shards(tmp_path, {"web/a": NEW["web/a"][:1]})
    launch(tmp_path, output, recipe(sources=remove(tmp_path, *OLD)))
    write_shards(tmp_path, OLD | {"web/c": [changed(ALONE, 2)]})
    launch(tmp_path, output, recipe())
    marks = columns(run_folder(output), {"web/a": NEW["web/a"][:1], "web/c": [""]})
    assert marks["web/a#0"]["jaccard"] is None
    assert marks["web/c#0"]["jaccard"] is not None
    assert "lacking" not in manifest(run_folder(output), "dedupe/near/sets")


def test_killed_within_it(tmp_path: Path) -> None:
    """The same bytes, wherever a run was stopped; documents of what is gone are not lost."""
    start = begun(tmp_path)
    write_shards(tmp_path, NEW)
    settings = recipe(sources=remove(tmp_path, *OLD))
    whole = copy_of(start)
    launch(tmp_path, whole, settings)
    expected, count = promised(run_folder(whole)), len(tasks_of(run_folder(whole))) - len(tasks_of(run_folder(start)))
    for tasks in range(0, count, 3):
        output = copy_of(start)
        with pytest.raises(Killed):
            launch(tmp_path, output, settings, how=KilledAfter(tasks=tasks))
        launch(tmp_path, output, settings)
        assert promised(run_folder(output)) == expected, tasks


@pytest.mark.parametrize("first", ["documents", "held_out"])
def test_killed_between_two_files_of_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A document that is held out no more, since the source has grown, stands in one of them at all times."""
    pages = [page(60) for _ in range(8)]
    settings = {"mix": {"documents": True, "held_out": {"share": 0.6, "max_bytes": 1000}}, "dedupe": recipe()["dedupe"]}
    output = begun(tmp_path, settings, {"web/d": pages, "code/m": [page()]})
    folder = run_folder(output)
    held = texts_of(folder, "mix/held_out/web/d")
    write_shards(tmp_path, {"web/a": [page(60) for _ in range(16)]})
    sources = remove(tmp_path, "web/d")
    real = type(folder).committing

    @contextlib.contextmanager
    def committing(folder: RunFolder, name: str) -> Iterator[Any]:
        with real(folder, name) as file:
            yield file
        if name == f"mix/{first}/web/d.jsonl.zst":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "committing", committing)
        with pytest.raises(Killed):
            launch(tmp_path, output, {**settings, "sources": sources})
    launch(tmp_path, output, {**settings, "sources": sources})
    left = texts_of(folder, "mix/held_out/web/d")
    assert set(left) < set(held)
    assert sorted(texts_of(folder, "mix/documents/web/d") + left) == sorted(pages)


def texts_of(folder: RunFolder, name: str) -> list[str]:
    lines = zstandard.ZstdDecompressor().stream_reader(folder.read(f"{name}.jsonl.zst")).read()
    return [json.loads(line)["text"] for line in lines.splitlines()]


TOKENIZER = {"tokenizer": {"train": "bpe", "vocab_size": 300}}


@pytest.mark.parametrize(
    ("settings", "names", "what"),
    [
        (recipe(), [], r"web.*d.jsonl.*no pattern of this recipe finds|code/.*no such file"),
        (recipe(keep="elect"), ["web/d", "code/m"], "keep: elect any of their documents"),
        (recipe(step={"verify": "containment"}), ["web/d", "code/m"], r"web/d \(1\).*containment"),
        ({**recipe(), "tag": {"taggers": ["gopher_v1"]}}, ["web/d", "code/m"], "attributes/gopher_v1 was not made bef"),
        ({**recipe(), **TOKENIZER}, ["web/d", "code/m"], "tokenizer was not made before, and the text of code/m and 1"),
        (recipe(step={"shingle": 6}), ["web/d", "code/m"], "dedupe/near is made with other settings, and the text"),
        (recipe(step={"threshold": 0.9}), ["web/d", "code/m"], "mix is made with other settings, and the documents"),
    ],
)
def test_what_needs_the_text_says_so_and_clears_nothing(
    tmp_path: Path, settings: dict[str, Any], names: list[str], what: str
) -> None:
    first = recipe(step={"verify": "containment"}) if "containment" in what else recipe()
    output = begun(tmp_path, recipe(keep="elect") if "elect" in what else first)
    before = promised(run_folder(output))
    write_shards(tmp_path, NEW)
    sources = remove(tmp_path, "web/d", "code/m")
    more = {"sources": sources} if names else {}
    with pytest.raises(DolmaError, match=what):
        launch(tmp_path, output, {**settings, **more}, redo=bool(names))
    after = promised(run_folder(output))
    kept = {name for name in before if name.startswith("dedupe/near/signatures")} if "containment" in what else before
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}


def test_files_that_are_lost_are_named(tmp_path: Path) -> None:
    output = begun(tmp_path)
    write_shards(tmp_path, NEW)
    sources = remove(tmp_path, *OLD)
    run_folder(output).delete(["dedupe/near/sets/web/d.parquet"])
    with pytest.raises(UsageError, match=r"sets/web/d.parquet is missing or cut short, and the text of web/d is gone"):
        launch(tmp_path, output, recipe(sources=sources))


def test_gone_names_what_was_read_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources.web.gone: .*no file of source web .* has read"):
        write_shards(tmp_path, OLD)
        launch(tmp_path, new_output(), recipe(sources=gone(tmp_path, "web/d")))
    output = begun(tmp_path)
    with pytest.raises(UsageError, match=r"a.jsonl: `gone` of source web names it, but this run has not read it"):
        write_shards(tmp_path, RELATED)
        launch(tmp_path, output, recipe(sources={"web": {"gone": f"{tmp_path}/in/web/*.jsonl"}}))
    (tmp_path / "in/web/d.jsonl").unlink()
    with pytest.raises(
        ConfigError, match=r"sources.web.gone: .*no file of source web .* has read"
    ):  # nor with a new list
        launch(tmp_path, output, {"mix": {}, "sources": gone(tmp_path, "web/dd")}, redo=True)
    with pytest.raises(ConfigError, match=r"@old.txt: a list of files cannot be given here"):
        launch(tmp_path, output, recipe(sources={"web": {"gone": "@old.txt"}}))


def test_a_file_that_gone_names_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though it is there, and is another by now: what was done of it stands, and a line says so."""
    output = begun(tmp_path)
    with_text = copy_of(output)
    write_shards(tmp_path, RELATED)
    launch(tmp_path, with_text, recipe())
    assert "`gone` names it" not in capsys.readouterr().err
    write_shards(tmp_path, {"web/d": ["something else"]})
    launch(tmp_path, output, recipe(sources=gone(tmp_path, "web/d")))
    assert f"warning: {tmp_path}/in/web/d.jsonl: `gone` names it, and it has another size" in capsys.readouterr().err
    assert promised(run_folder(output)) == promised(run_folder(with_text))


def test_repeats_need_texts_that_hold_anchors_for_the_first_time(tmp_path: Path) -> None:
    steps = [{"name": "lines", "kind": "paragraphs", "min_unit_chars": 20}]
    settings: dict[str, Any] = {"dedupe": {"steps": steps, "keep": "old"}}
    output = begun(tmp_path, settings)
    write_shards(tmp_path, {"web/a": [ALONE, page()]})
    sources = remove(tmp_path, *OLD)
    launch(tmp_path, output, {**settings, "sources": sources})
    assert [bool(one["spans"]) for one in columns(run_folder(output), {"web/a": ["", ""]}, "lines").values()] == [
        True,
        False,
    ]

    write_shards(tmp_path / "runs", OLD)
    runs: dict[str, Any] = {"dedupe": {"steps": [{"name": "runs", "kind": "substring"}], "keep": "old"}}
    output = begun(tmp_path / "runs", runs)
    write_shards(tmp_path / "runs", {"web/a": [ALONE]})
    sources = remove(tmp_path / "runs", *OLD)
    with pytest.raises(DolmaError, match=r"step runs: what may be a repeat stands in 3 documents of web/d"):
        launch(tmp_path / "runs", output, {**runs, "sources": sources})
    write_shards(tmp_path / "runs", OLD)
    launch(tmp_path / "runs", output, runs)
    assert columns(run_folder(output), {"web/a": [""]}, "runs")["web/a#0"]["spans"]


def test_token_parts_are_made_of_kept_ids(tmp_path: Path) -> None:
    """The same as with the text; without the cache they are not cleared."""
    trained = begun(tmp_path, {"tokenizer": {"train": "bpe", "vocab_size": 300}})
    (tmp_path / "tokenizer.json").write_bytes(run_folder(trained).read(layout.TOKENIZER))
    settings = recipe(tokenizer={"load": str(tmp_path / "tokenizer.json")}, tokens={"max_shard_tokens": 500})
    output = begun(tmp_path, settings)
    with_text, no_cache = copy_of(output), copy_of(output)
    write_shards(tmp_path, RELATED)
    launch(tmp_path, with_text, settings)
    sources = remove(tmp_path, *OLD)
    launch(tmp_path, output, {**settings, "sources": sources})
    assert promised(run_folder(output)) == promised(run_folder(with_text))
    before = promised(run_folder(no_cache))
    run_folder(no_cache).delete_tree("cache/ids")
    with pytest.raises(UsageError, match=r"the ids of code/m are not kept any more .* and its text is gone"):
        launch(tmp_path, no_cache, {**settings, "sources": sources})
    assert promised(run_folder(no_cache)) == before
