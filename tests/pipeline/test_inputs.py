"""Inputs that change, that cannot be read to their end, that lie in several places; outputs that are lost."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.errors import DataError, SettingsChangedError, TooManyFailuresError, UsageError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import files, read_jsonl, recipe, tree, write_documents

pytestmark = pytest.mark.usefixtures("plain")

TEXTS = [f"The miller counts {i:03d} sacks of flour before noon, and {'one more ' * 10}." for i in range(240)]
ONLY_TAGS = dict.fromkeys(("dedupe", "tokenizer", "mix", "tokens"))
SMALL: dict[str, Any] = {
    "modules": None,
    "tag__taggers": ["length_v1"],
    "dedupe": {"steps": [{"name": "exact", "kind": "exact"}]},
    "tokenizer": None,
    "tokens": None,
    "mix": {"where": {"unique": "exact.keep"}},
    "split_bytes": 10_000,
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_source(pattern: str | list[str], folder: str = "run", *, redo: bool = False, **changes: Any) -> Result:
    changes = {**SMALL, "sources": {"s": {"documents": pattern}}, **changes}
    return run(recipe(folder, **changes), quiet=True, redo=redo)


def documents(folder: Path) -> dict[str, str]:
    """Origin -> text of what the mix wrote."""
    rows = [row for path in sorted((folder / "mix/documents").rglob("*.zst")) for row in read_jsonl(path)]
    return {row["origin"]: row["text"] for row in rows}


def plain_lines(path: Path, texts: list[str]) -> None:
    write_documents(path, ({"id": str(i), "text": text} for i, text in enumerate(texts)))


def gz_lines(path: Path, texts: list[str]) -> None:
    """Stored, not packed, so that texts of one length give files of one length."""
    lines = "".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
    path.write_bytes(gzip.compress(lines.encode(), 0, mtime=0))


def parquet(path: Path, texts: list[str]) -> None:
    """Row groups of ten rows, so that a range is some of them; not packed, so that the size depends on lengths."""
    table = pa.table({"id": [str(i) for i in range(len(texts))], "text": texts})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False, write_statistics=False)


FORMS: dict[str, tuple[str, Callable[[Path, list[str]], None], int, int]] = {
    "plain": ("a.jsonl", plain_lines, 10**9, 1),
    "gz": ("a.jsonl.gz", gz_lines, 10_000, 1),
    "ranges of plain": ("a.jsonl", plain_lines, 10_000, 3),
    "ranges of Parquet": ("a.parquet", parquet, 10_000, 3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", ["another text", "another order"])
def test_other_content_of_the_same_size_stops_the_run_and_redo_reads_it(mine: Path, form: str, change: str) -> None:
    name, write, split_bytes, least = FORMS[form]
    path = mine / "in" / name
    path.parent.mkdir()
    write(path, TEXTS)
    one_source(f"in/{name}", split_bytes=split_bytes)
    assert len((mine / "run/shards.jsonl").read_bytes().splitlines()) >= least
    before, size = files(mine / "run"), path.stat().st_size
    texts = [*TEXTS[:238], TEXTS[238].replace("noon", "dusk"), TEXTS[239]] if change == "another text" else TEXTS[::-1]
    write(path, texts)
    assert path.stat().st_size == size
    for stages in ((), ("mix",)):
        with pytest.raises(DataError, match=rf"^in/{name}: the file was changed \(its sha256 is another\) since this"):
            run(recipe("run", **{**SMALL, "split_bytes": split_bytes, "sources": {"s": {"documents": f"in/{name}"}}}),
                quiet=True, stages=stages)  # fmt: skip
    assert files(mine / "run") == before
    one_source(f"in/{name}", redo=True, split_bytes=split_bytes)
    one_source(f"in/{name}", "fresh", split_bytes=split_bytes)
    assert files(mine / "run") == files(mine / "fresh")
    assert [*documents(mine / "run").values()] == texts
    assert one_source(f"in/{name}", split_bytes=split_bytes).nothing_to_do


def test_a_redo_of_one_stage_leaves_nothing_that_stands_on_the_old_content(mine: Path) -> None:
    """Neither where it is not asked for now."""
    for name in ("a", "b"):
        plain_lines(mine / f"in/{name}.jsonl", [f"{name} {text}" for text in TEXTS])
    settings = {**SMALL, "sources": {"s": {"documents": "in/*"}}}
    run(recipe("run", **settings), quiet=True)
    plain_lines(mine / "in/b.jsonl", [f"c {text}" for text in TEXTS])
    run(recipe("run", **settings), quiet=True, redo=True, stages=("tag",))
    assert not run(recipe("run", **settings), quiet=True).nothing_to_do
    run(recipe("fresh", **settings), quiet=True)
    assert files(mine / "run") == files(mine / "fresh")


@pytest.mark.parametrize("form", FORMS)
def test_a_touched_file_of_equal_content_goes_on(mine: Path, form: str) -> None:
    name, write, split_bytes, _ = FORMS[form]
    (mine / "in").mkdir()
    write(mine / "in" / name, TEXTS)
    one_source(f"in/{name}", split_bytes=split_bytes)
    os.utime(mine / "in" / name, (1, 1))
    assert one_source(f"in/{name}", split_bytes=split_bytes).nothing_to_do
    (mine / "in" / name).unlink()
    write(mine / "in" / name, TEXTS)
    assert not one_source(f"in/{name}", split_bytes=split_bytes, mix__where={"all": "chars > 0"}, redo=True).lost_files


def test_a_new_source_with_fields_makes_nothing_of_the_others_stale(mine: Path) -> None:
    """Its taggers and signatures are added; marks and the mix, which depend on all sources, are made again."""
    plain_lines(mine / "in/a.jsonl", TEXTS)
    write_documents(mine / "in/b.jsonl", ({"key": i, "body": text} for i, text in enumerate(TEXTS[30:])))
    settings = {**SMALL, "mix": {"where": {"unique": "exact.keep", "words": "length_v1.words > 3"}}}
    sources: dict[str, Any] = {"s": {"documents": "in/a.jsonl"}}
    run(recipe("run", **settings, sources=sources), quiet=True)
    kept = {p: p.stat().st_mtime_ns for p in (mine / "run").rglob("s/*") if {"index", "length_v1"} & {*p.parts}}
    assert len(kept) > 6
    sources["t"] = {"documents": "in/b.jsonl", "fields": {"text": "body", "id": "key"}}
    settings["mix"]["sources"] = {"t": {"where": {"long": "chars > 10"}, "skip_rules": ["words"]}}
    run(recipe("run", **settings, sources=sources), quiet=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    run(recipe("fresh", **settings, sources=sources), quiet=True)
    assert files(mine / "run") == files(mine / "fresh")
    assert len(documents(mine / "run")) == 240
    sources["t"]["fields"] = {"text": "key", "id": "key"}
    with pytest.raises(SettingsChangedError, match=r"\n  sources\.t\.fields: \{.*body.*\} -> \{.*\}\nthis makes again"):
        run(recipe("run", **settings, sources=sources), quiet=True)


def cut_short(path: Path, texts: list[str]) -> None:
    """A gzip file without its last third."""
    gz_lines(path, texts)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_lost_files_end_with_3_are_named_and_may_be_allowed(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "in").mkdir()
    plain_lines(mine / "in/a.jsonl", TEXTS)
    cut_short(mine / "in/b.jsonl.gz", [f"Not a copy: {text}" for text in TEXTS])
    settings = {"output": "run", **tree(**SMALL, sources={"s": {"documents": "in/*"}})}
    (mine / "my.yaml").write_text(json.dumps(settings))
    for command in (["run", "my.yaml"], ["run", "my.yaml"]):  # the second has nothing to do, and says it again
        assert main(["-q", *command]) == 3
        out, err = capsys.readouterr()
        lost = r"s/b (b.jsonl.gz): "
        assert f"error: 1 file could not be read to the end, more than max_failed_files 0 allows: {lost}" in err
        table = out[out.index("files that could not be read to their end\n") :].splitlines()
        assert table[1].split() == ["shard", "file", "why"]
        assert table[3].split()[:2] == ["s/b", "b.jsonl.gz"]
    assert 240 < len(documents(mine / "run")) < 480
    assert main(["-q", "run", "my.yaml", "max_failed_files=1"]) == 0
    out, err = capsys.readouterr()
    assert "b.jsonl.gz" in out
    (failure,) = (row for row in read_jsonl(mine / "run/failed/index/s/b.jsonl") if "lost" in row)
    assert failure["path"] == "b.jsonl.gz"


def test_files_of_no_known_format_and_lost_ones_count_together_in_every_run(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain_lines(mine / "in/a.jsonl", TEXTS)
    cut_short(mine / "in/b.jsonl.gz", TEXTS)
    pages = [f"page{i}.jsonl" for i in range(5)]
    for page in pages:
        (mine / "in" / page).write_text("<html>Not found</html>\n")
    settings = {"output": "run", **tree(**SMALL, sources={"s": {"documents": "in/*"}}, max_failed_share=1.0)}
    (mine / "my.yaml").write_text(json.dumps(settings))

    def ends(most: int) -> tuple[int, str]:
        code = main(["-q", "run", "my.yaml", f"max_failed_files={most}"])
        return code, capsys.readouterr().err

    code, err = ends(4)
    assert (code, (mine / "run").exists()) == (2, False)
    assert "5 files are of no format that is read" in err
    assert "allow them with max_failed_files=5." in err
    code, err = ends(5)
    assert code == 3
    assert "warning: in/page0.jsonl seems to be an HTML page" in err
    for most in (5, 0):
        code, err = ends(most)
        assert code == 3
        assert (
            f"error: 6 files could not be read to the end, more than max_failed_files {most} allows: s/b (b.js" in err
        )
        assert all(
            f"; s/{page.split('.')[0]} ({page}): no known format: it seems to be an HTML page" in err for page in pages
        )
    assert ends(6)[0] == 0
    (mine / "in/last.jsonl").write_text("<html>Not found</html>\n")
    code, err = ends(0)
    assert code == 2
    assert "allow it with max_failed_files=7 (6 could not be read to the end before)." in err
    assert ends(6)[0] == 3
    assert ends(7)[0] == 0


def test_a_share_of_0_allows_no_failed_document(mine: Path) -> None:
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(TEXTS)]
    (mine / "a.jsonl").write_text("\n".join([*lines[:30], "{", *lines[30:]]))
    for share, allowed in ((0.0, False), (0.004, False), (1 / 241, True), (0.01, True)):
        if allowed:
            one_source("a.jsonl", max_failed_share=share, split_bytes=10**9)
            continue
        with pytest.raises(
            TooManyFailuresError, match=rf"^1 of 241 documents failed in mix, more than max_failed_share {share} "
        ):
            one_source("a.jsonl", max_failed_share=share, split_bytes=10**9)


LOST = [
    "index/s/a.parquet",
    "attributes/length_v1/s/b.parquet",
    "dedupe/exact/clusters/members.parquet",
    "dedupe/minhash/signatures/s/a.parquet",
    "attributes/exact/s/a.parquet",
    "mix/verdicts/s/b.parquet",
    "mix/dropped/s/a.parquet",
    "mix/plan.json",
    "mix/selected/s/a.parquet",
    "mix/documents/s/a.jsonl.zst",
    "tokenizer/tokenizer.json",
    "tokens/train/part-00000.csv.gz",
    "mix/shards.jsonl",
    "index/shards.jsonl",
]


def test_a_lost_output_is_told_and_healed_to_the_same_bytes(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_lines(mine / "in/a.jsonl", TEXTS)
    plain_lines(mine / "in/b.jsonl", [*TEXTS[10:20], *(text.upper() for text in TEXTS)])
    settings: dict[str, Any] = {
        "modules": None,
        "tag__taggers": ["length_v1"],
        "sources": {"s": {"documents": "in/*"}},
        "tokenizer": {"train": "bpe", "vocab_size": 300},
        "mix": {"where": {"unique": "exact.keep"}, "documents": True},
        "tokens__keep_attributes": [],
    }
    run(recipe("run", **settings), quiet=True)
    before = files(mine / "run")
    for name in LOST:
        path = mine / "run" / name
        artifact = "mix/verdicts" if "dropped" in name else next(
            one for one in ("index", "attributes/length_v1", "attributes/exact", "dedupe/exact", "dedupe/minhash",
                            "mix/verdicts", "mix", "tokenizer", "tokens") if name.startswith(one + "/"))  # fmt: skip
        path.unlink()
        told = f"warning: {artifact}: 1 of its files is missing or cut short ({name}); what they belong to is made aga"
        dry = run(recipe("run", **settings), dry_run=True)
        assert [(one.artifact.name, one.state) for one in dry.planned] == [(artifact, "heal")]
        assert told in dry.text()
        capsys.readouterr()
        run(recipe("run", **settings), quiet=True)
        assert told in capsys.readouterr().err
        assert files(mine / "run") == before, name
    path.write_bytes(path.read_bytes()[:-1])
    assert not run(recipe("run", **settings), quiet=True).nothing_to_do
    assert files(mine / "run") == before


def test_two_sources_of_one_relative_path_lists_and_several_patterns(mine: Path) -> None:
    plain_lines(mine / "one/a.jsonl", TEXTS[:10])
    plain_lines(mine / "two/a.jsonl", TEXTS[10:20])
    for number, name in enumerate(("x/a.jsonl", "x/b.jsonl", "y/c.jsonl", "y/d.jsonl")):
        plain_lines(mine / "many" / name, TEXTS[20 + number * 5 : 25 + number * 5])
    plain_lines(mine / "many/c.jsonl", TEXTS[50:])  # lies where the first pattern's folder is, and none finds it
    (mine / "list.txt").write_text("# a list\nmany/y/d.jsonl\n")
    sources = {
        "p": {"documents": "one/*.jsonl"},
        "q": {"documents": "two/*.jsonl"},
        "r": {"documents": ["many/*/[ab].jsonl", "many/y/c.jsonl", "@list.txt"]},
    }
    run(recipe("run", **SMALL, sources=sources), quiet=True)
    found = documents(mine / "run")
    assert sorted(found.values()) == TEXTS[:40]
    assert sorted({origin.split("#")[0] for origin in found}) == ["p/a", "q/a", "r/c", "r/d", "r/x/a", "r/x/b"]
    assert run(recipe("run", **SMALL, sources=sources), quiet=True).nothing_to_do
    sources["q"]["documents"] = "one/*.jsonl"
    with pytest.raises(UsageError, match=r"^(recipe:1: )?.*one/a\.jsonl is in two sources, p and q\."):
        run(recipe("other", **SMALL, sources=sources), quiet=True)
