"""Attributes in Dolma's JSONL, and attributes made elsewhere: rules read both; what does not fit is an error."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import ConfigError, MisalignedError, SettingsChangedError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import files, make_documents, read_jsonl, recipe, write_corpus, write_lines

SHARDS = make_documents()
NO_TOKENS: dict[str, Any] = {"dedupe": None, "tokens": None}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of its own as the working directory."""
    write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mixed(folder: Path, part: str = "documents") -> dict[str, str]:
    rows = [row for path in (folder / "mix" / part).rglob("*.zst") for row in read_jsonl(path)]
    return {row["origin"]: row["text"] for row in rows}


def test_dolmas_files_are_written_and_read_back(mine: Path) -> None:
    """The same mix from both forms; in JSONL every field is a list of spans, so rules ask for its score."""
    edits = {"mix__sources": {"web": {"remove": ["marks_v1.asides"]}}, "mix__held_out": None}
    run(recipe(mine / "p", mix__where={"words": "length_v1.words >= 20"}, **edits, **NO_TOKENS), quiet=True)
    changes: dict[str, Any] = {
        "tag__format": "jsonl",
        "mix__where": {"words": "score(length_v1.length_v1__words) >= 20"},
        "mix__replace": [{"spans": "marks_v1.marks_v1__names", "with": " |||NAME||| "}],
        "mix__sources": {"web": {"remove": ["marks_v1.marks_v1__asides"]}},
        "mix__held_out": None,
    }
    run(recipe(mine / "j", **changes, **NO_TOKENS), quiet=True)
    assert 100 < len(mixed(mine / "j")) < 280
    assert mixed(mine / "p") == mixed(mine / "j")
    lines = read_jsonl(mine / "j/attributes/length_v1/forum/d.jsonl.gz")
    documents = SHARDS["forum/d"]
    assert [line["id"] for line in lines] == [one["id"] for one in documents]
    for line, one in zip(lines, documents, strict=True):
        words = line["attributes"]["length_v1__length_v1__words"]
        assert words == [[0, len(one["text"]), float(len(one["text"].split()))]]
    names = [line["attributes"].get("marks_v1__marks_v1__names", []) for line in read_marks(mine)]
    found = [documents[i]["text"][start:end] for i, spans in enumerate(names) for start, end, _ in spans]
    assert len(found) > 10
    assert all(text.startswith("@") for text in found)


def read_marks(mine: Path) -> list[dict[str, Any]]:
    return read_jsonl(mine / "j/attributes/marks_v1/forum/d.jsonl.gz")


def test_kept_attributes_may_be_dolmas_and_given(mine: Path) -> None:
    write_given_jsonl(mine / "scores")
    changes: dict[str, Any] = {
        "tag__format": "jsonl",
        "sources": {"forum": {"documents": "in/forum/*", "attributes": "scores"}},
        "mix": {"where": {"good": "score(quality.good) > 0.2"}, "documents": True},
        "tokens__keep_attributes": ["length_v1.length_v1__words", "quality.good"],
        "dedupe": None,
    }
    run(recipe(mine / "run", **changes), quiet=True)
    rows = [row for path in (mine / "run/tokens/train").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(rows) == sum(i % 10 > 2 for i in range(70))
    for row in rows:
        number = int(row["origin"].rpartition("#")[2])
        text = SHARDS["forum/d"][number]["text"]
        assert [span["score"] for span in row["length_v1.length_v1__words"]] == [len(text.split())]
        assert [span["score"] for span in row["quality.good"]] == [pytest.approx(number % 10 / 10)]


def write_given_jsonl(folder: Path, *, ids: list[str] | None = None, num_rows: int = 70) -> None:
    """Scores of forum/d made elsewhere, by another tool: the experiment `quality`, 0 left out."""
    ids = ids or [one["id"] for one in SHARDS["forum/d"]]
    lines = [
        {"id": ids[i], "attributes": {"quality__good": [[0, 5, i % 10 / 10]]} if i % 10 else {}, "source": "x"}
        for i in range(num_rows)
    ]
    write_lines(folder / "d.jsonl.gz", (json.dumps(line) for line in lines))


def write_given_parquet(folder: Path, *, num_rows: int = 70) -> None:
    """The same as Parquet: a struct of a number."""
    column = pa.array([{"good": i % 10 / 10} for i in range(num_rows)], pa.struct([("good", pa.float64())]))
    (folder / "forum").mkdir(parents=True)
    pq.write_table(pa.table({"quality": column}), folder / "forum/d.parquet")


def given(mine: Path, rule: str, **changes: Any) -> Result:
    settings: dict[str, Any] = {
        "sources": {
            "forum": {"documents": "in/forum/*", "attributes": "scores"},
            "web": {"documents": "in/web/*"},
        },
        "mix": {"where": {}, "sources": {"forum": {"where": {"good": rule}}}},
        "tag": {"taggers": ["length_v1"]},
        **NO_TOKENS,
        **changes,
    }
    return run(recipe(mine / "run", **settings), quiet=True)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_attributes_made_elsewhere(mine: Path, form: str) -> None:
    if form == "jsonl":
        write_given_jsonl(mine / "scores")
        result, by = given(mine, "score(quality.good) > 0.55"), "ids"
    else:
        write_given_parquet(mine / "scores")
        result, by = given(mine, "quality.good > 0.55"), "counts"
    rows = [int(origin.rpartition("#")[2]) for origin in mixed(mine / "run") if origin.startswith("forum")]
    assert sorted(rows) == [i for i in range(70) if i % 10 > 5]
    assert result.manifests["mix/verdicts"].counts["forum"].aligned == {"quality": {by: 1}}
    said = result.text().split("attributes made elsewhere: files that fit the documents\n")[1].splitlines()[2]
    assert said.split() == ["quality", "forum", *(["1", "0"] if by == "ids" else ["0", "1"])]


def test_given_attributes_that_change_are_a_change(mine: Path) -> None:
    write_given_jsonl(mine / "scores")
    given(mine, "score(quality.good) > 0.55")
    path = mine / "scores/d.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"0.9", b"0.1"), 1))
    with pytest.raises(SettingsChangedError, match=r"\n  sources\.forum\.attributes: other files\n"):
        given(mine, "score(quality.good) > 0.55")


def test_another_text_of_a_tagger_file_is_a_change(mine: Path) -> None:
    nothing = dict.fromkeys(("dedupe", "tokenizer", "mix", "tokens"))
    run(recipe(mine / "run", **nothing), quiet=True)
    before = files(mine / "run")
    text = (mine / "marks.py").read_text()
    (mine / "marks.py").write_text(text.replace('"asides"', '"a2"').replace("c.isdigit()", "c.isalpha()"))
    with pytest.raises(SettingsChangedError) as caught:
        run(recipe(mine / "run", **nothing), quiet=True)
    assert "  modules: marks.py (tagger marks_v1): other content\n" in str(caught.value)
    assert "attributes/length_v1" not in str(caught.value)
    run(recipe(mine / "run", **nothing), quiet=True, redo=True)
    after = files(mine / "run")
    changed = {name.split("/")[1] for name in after if after[name] != before[name]}
    assert changed == {"marks_v1"}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_too_few_rows(mine: Path, form: str) -> None:
    if form == "jsonl":
        write_given_jsonl(mine / "scores", num_rows=69)
        rule, name = "score(quality.good) > 0.5", r"scores/d\.jsonl\.gz"
    else:
        write_given_parquet(mine / "scores", num_rows=69)
        rule, name = "quality.good > 0.5", r"scores/forum/d\.parquet"
    with pytest.raises(
        MisalignedError, match=rf"^mix/judge, forum/00000: {name}: 69 rows, but shard forum/d has at least 70 doc"
    ):
        given(mine, rule)


def test_too_many_rows_and_other_ids(mine: Path) -> None:
    ids = [one["id"] for one in SHARDS["forum/d"]]
    write_given_jsonl(mine / "scores", ids=[*ids, "more"], num_rows=71)
    with pytest.raises(MisalignedError, match=r"scores/d\.jsonl\.gz: 71 rows, but its shard has 70 documents"):
        given(mine, "score(quality.good) > 0.5")
    shutil.rmtree(mine / "run")
    ids[5] = "other"
    write_given_jsonl(mine / "scores", ids=ids)
    with pytest.raises(
        MisalignedError, match=r"row 5 is of id 'other', but document forum/d#5 has id 'd5': attributes of"
    ):
        given(mine, "score(quality.good) > 0.5")


def test_a_source_without_the_attribute_cannot_be_asked_for_it(mine: Path) -> None:
    write_given_jsonl(mine / "scores")
    with pytest.raises(ConfigError, match="no attribute or column named 'quality'"):
        given(mine, "true", mix={"where": {"best": "score(quality.good) > 0.5"}})
    assert not (mine / "run").exists()


TEXTS = [f"The miller counts {i} sacks of flour before noon, and {'one more ' * 10}." for i in range(400)]
BAD = 7
"""A line that is no document stands before the document of this number."""


def write_big(folder: Path, form: str) -> None:
    """400 documents in one file, of which one line (of Parquet: one row) is none."""
    if form == "parquet":
        texts = pa.array([*TEXTS[:BAD], None, *TEXTS[BAD:]], pa.string())
        ids = pa.array([*range(BAD), -1, *range(BAD, 400)], pa.int16())
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / "big.parquet", row_group_size=50)
        return
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)]
    write_lines(folder / "big.jsonl", [*lines[:BAD], "", '{"id": "no text"}', *lines[BAD:]])


def write_big_attributes(folder: Path, form: str, *, num_rows: int = 400) -> None:
    """`lang.en`, a score, and `lang.sacks`, the span of the number; in doubles, with ids that are numbers."""
    scores = [i % 10 / 10 for i in range(num_rows)]
    spans = [[18, 18 + len(str(i))] for i in range(num_rows)]
    folder.mkdir()
    if form.startswith("jsonl"):
        rows = [
            {"id": i, "attributes": {"lang__en": [[0.0, 3.0, scores[i]]], "lang__sacks": [spans[i]]}}
            for i in range(num_rows)
        ]
        write_lines(folder / f"big.{form}", map(json.dumps, rows))
        return
    ends = [{"start": start, "end": end} for start, end in spans]
    rows = [{"en": [{"start": 0, "end": 3, "score": scores[i]}], "sacks": [ends[i]]} for i in range(num_rows)]
    column = pa.array(rows)
    ids = pa.array(range(num_rows), pa.decimal128(38, 0))
    pq.write_table(pa.table({"id": ids, "lang": column}), folder / "big.parquet", row_group_size=70)


def split(folder: Path, form: str, size: str) -> dict[str, Any]:
    """A mix of half of the documents without their numbers, from ranges of some size; with what came of it."""
    ending = "parquet" if form == "parquet" else "jsonl"
    changes: dict[str, Any] = {
        "split_bytes": 10_000 if size == "ranges" else 256_000_000,
        "max_failed_share": 0.5,
        "sources": {"s": {"documents": f"big.{ending}", "attributes": "attr"}},
        "tag": None,
        "dedupe": None,
        "mix": {
            "where": {"en": "score(lang.en) > 0.45"},
            "sources": {"s": {"remove": ["lang.sacks"]}},
            "documents": True,
        },
        "tokens": {"keep_attributes": ["lang.en"]},
    }
    run(recipe(folder / size, **changes), quiet=True)
    rows = [row for path in (folder / size / "mix/documents").rglob("*.zst") for row in read_jsonl(path)]
    tokens = [
        row for path in (folder / size / "tokens/train").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    ids = {row["origin"]: row["id"] for row in rows}
    return {
        "texts": {row["id"]: row["text"] for row in rows},
        "scores": {ids[row["origin"]]: row["lang.en"][0]["score"] for row in tokens},
        "shards": len((folder / size / "shards.jsonl").read_bytes().splitlines()),
    }


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("attributes", ["jsonl", "jsonl.gz", "parquet"])
def test_one_attribute_file_for_a_file_that_is_read_in_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, attributes: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_big(tmp_path, form)
    write_big_attributes(tmp_path / "attr", attributes)
    whole, ranges = split(tmp_path, form, "whole"), split(tmp_path, form, "ranges")
    assert whole["shards"] == 1
    assert ranges["shards"] > 4
    expected = {str(i): text for i, text in enumerate(TEXTS) if i % 10 > 4}
    assert (
        whole["texts"]
        == ranges["texts"]
        == {id_: text.replace(f"counts {id_} sacks", "counts  sacks") for id_, text in expected.items()}
    )
    assert whole["scores"] == ranges["scores"] == {id_: pytest.approx(int(id_) % 10 / 10) for id_ in expected}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("attributes", ["jsonl.gz", "parquet"])
def test_a_row_too_few_or_too_many_for_a_file_in_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_big(tmp_path, "jsonl")
    for num_rows in (399, 401):
        write_big_attributes(tmp_path / "attr", attributes, num_rows=num_rows)
        with pytest.raises(MisalignedError, match=rf"attr/big\.{attributes}: "):
            split(tmp_path, "jsonl", "ranges")
        shutil.rmtree(tmp_path / "attr")
        shutil.rmtree(tmp_path / "ranges")


@pytest.mark.usefixtures("plain")
def test_attributes_of_the_ranges_themselves_come_before_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's own attributes, brought to another run of the same ranges; and a file that lacks one of them."""
    monkeypatch.chdir(tmp_path)
    write_big(tmp_path, "jsonl")
    sources: dict[str, Any] = {"s": {"documents": "big.jsonl"}}
    nothing = dict.fromkeys(("dedupe", "tokenizer", "mix", "tokens"))
    common: dict[str, Any] = {"split_bytes": 10_000, "max_failed_share": 0.5}
    run(recipe(tmp_path / "one", tag={"taggers": ["length_v1"]}, sources=sources, **common, **nothing), quiet=True)
    sources["s"]["attributes"] = str(tmp_path / "one/attributes/length_v1")
    changes: dict[str, Any] = {"tag": None, "dedupe": None, "tokens": None, "sources": sources, **common}
    changes["mix"] = {"where": {"words": "length_v1.words = 31"}}
    run(recipe(tmp_path / "two", **changes), quiet=True)
    assert len(mixed(tmp_path / "two")) == 400
    missing = tmp_path / "one/attributes/length_v1/s/big@00001.parquet"
    missing.unlink()
    with pytest.raises(ConfigError) as error:
        run(recipe(tmp_path / "three", **changes), quiet=True)
    assert str(error.value).endswith(
        "length_v1 has no file for shard s/big@00001 (looked for big@00001.parquet and big@00001.jsonl.gz and "
        "big.parquet and big.jsonl.gz). Attribute files are called like their documents."
    )


@pytest.mark.usefixtures("plain")
def test_nan_and_null_of_others_pass_no_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "a.jsonl", (json.dumps({"id": str(i), "text": text}) for i, text in enumerate(TEXTS[:4])))
    (tmp_path / "attr").mkdir()
    nan = float("nan")
    pq.write_table(
        pa.table({"q__x": [0.9, nan, None, 0.1], "q__n": pa.array([3, 3, 3, 3], pa.uint64())}), "attr/a.parquet"
    )
    changes: dict[str, Any] = {
        "sources": {"s": {"documents": "a.jsonl", "attributes": "attr"}},
        "tag": None,
        "dedupe": None,
        "tokens": None,
        "mix": {"where": {"x": "q.x > 0.5", "n": "q.n - 5 < 0"}},
    }
    run(recipe(tmp_path / "run", **changes), quiet=True)
    assert [*mixed(tmp_path / "run")] == ["s/a#0"]
    counts = json.loads((tmp_path / "run/mix/manifest.json").read_bytes())["counts"]["s"]["rules"]
    assert counts == {
        "x": {"first": 3, "any": 3, "alone": 3, "null": 2},
        "n": {"first": 0, "any": 0, "alone": 0, "null": 0},
    }
