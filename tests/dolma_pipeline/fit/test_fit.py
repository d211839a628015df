"""`fit` on files: the same bytes each time, numbers that say what they should, and an error for each bad request."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fasttext
import pytest

from dolma_pipeline.cli import main

SMALL = ("--dim", "8", "--buckets", "2000", "--min-count", "1", "--lr", "0.5", "--held-out", "0.3", "--seed", "7")
Row = dict[str, Any]


def texts(kind: str, number: int, seed: int) -> list[str]:
    """Texts of a hundred common words and, of each kind, some of its own."""
    rng = random.Random(f"{kind} {seed}")
    common, own = [f"common{i}" for i in range(100)], [f"{kind}{i}" for i in range(20)]
    return [" ".join(rng.choice(own if rng.random() < 0.2 else common) for _ in range(40)) for _ in range(number)]


def write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines, mtime=0) if path.suffix == ".gz" else lines)


def rows(kind: str, number: int, *, sources: Sequence[str] = ("web", "books"), seed: int = 0) -> list[Row]:
    found = texts(kind, number, seed)
    return [{"id": f"{i}", "text": text, "source": sources[i % len(sources)]} for i, text in enumerate(found)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets of two sources each, some texts repeated."""
    monkeypatch.chdir(tmp_path)
    good, bad = rows("good", 200), rows("bad", 240)
    write(tmp_path / "good" / "a.jsonl", good[:120] + good[:30])
    write(tmp_path / "good" / "b.jsonl.gz", good[120:])
    write(tmp_path / "bad" / "a.jsonl", bad)
    return tmp_path


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str, settings: Sequence[str] = SMALL) -> tuple[int, str, str]:
        code = main(["fit", *arguments, *settings])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


Fit = Callable[..., tuple[int, str, str]]


def files(*folders: str) -> list[str]:
    return [word for name in folders for word in (f"--{'positive' if 'good' in name else 'negative'}", name)]


def test_a_classifier_of_files(folder: Path, fit: Fit) -> None:
    code, out, _ = fit(*files("good/*", "bad/*"), "--out", "models/q.bin", "--format", "json")
    assert code == 0
    card = json.loads(out)
    assert card == json.loads(Path("models/q.bin.card.json").read_text())
    content = Path("models/q.bin").read_bytes()
    assert (card["file"], card["num_bytes"]) == ("q.bin", len(content))
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    data = card["data"]["positive"]
    assert (data["documents"], data["taken"], data["capped"], data["shared"]) == (230, 200, False, 0)
    assert data["sets"][0]["num_files"] == 2
    split = card["split"]["positive"]
    assert split["learned"] + split["held_out"] == 200
    assert 0 < split["held_out"] < 120
    scores = card["scores"]
    assert scores["auc"] > 0.95  # eight own words among forty tell the sets apart
    assert 0.35 < scores["source_alone_auc"] < 0.65  # both sets have both sources
    assert scores["within_source_rank_correlation"] > 0.9
    assert sum(one["documents"] for one in scores["within_source"]) == sum(
        part["held_out"] for part in card["split"].values()
    )
    model = fasttext.load_model("models/q.bin")
    assert model.predict(" ".join(f"good{i}" for i in range(9)))[0] == ("__label__positive",)


def test_the_same_bytes_whatever_the_order_of_files(folder: Path, fit: Fit) -> None:
    fit(*files("good/a.jsonl", "good/b.jsonl.gz", "bad/*"), "--out", "one.bin")
    fit(*files("bad/*", "good/b.jsonl.gz", "good/a.jsonl"), "--out", "two.bin")
    assert Path("one.bin").read_bytes() == Path("two.bin").read_bytes()
    cards = [Path(f"{name}.bin.card.json").read_text().replace(f"{name}.bin", "") for name in ("one", "two")]
    assert cards[0] == cards[1]
    fit(*files("good/*", "bad/*"), "--out", "three.bin", settings=[*SMALL[:-1], "8"])
    assert Path("one.bin").read_bytes() != Path("three.bin").read_bytes()


def test_a_score_that_only_detects_its_source_is_said_to_be_one(folder: Path, fit: Fit) -> None:
    write(folder / "good" / "c.jsonl", rows("good", 200, sources=["books"], seed=1))
    write(folder / "bad" / "c.jsonl", rows("bad", 200, sources=["web"], seed=1))
    code, out, _ = fit(*files("good/c.jsonl", "bad/c.jsonl"), "--out", "q.bin")
    assert code == 0
    assert "AUC of the source alone: 1.000\n" in out
    assert "rank correlation with the label within sources (Somers' D): not defined\n" in out
    assert "on these sets the score is a detector of sources, and nothing here shows that it measures quality." in out
    assert "No source has held-out documents of both sets" in out


def test_the_tables(folder: Path, fit: Fit) -> None:
    _, out, _ = fit(*files("good/*", "bad/*"), "--out", "q.bin")
    card = json.loads(Path("q.bin.card.json").read_text())
    split, scores = card["split"], card["scores"]
    lines = [line.split() for line in out.splitlines()]
    held = [str(split[label]["held_out"]) for label in ("positive", "negative")]
    assert ["positive", "230", "200", "0.1", "0", str(split["positive"]["learned"]), held[0]] in lines
    (middle,) = [one for one in scores["thresholds"] if one["threshold"] == 0.5]
    assert ["0.5", str(middle["documents"])] in [line[:2] for line in lines]
    web = [one["by_source"]["web"][0] for one in scores["thresholds"] if one["threshold"] in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert [line[1::3] for line in lines if line[:1] == ["web"]][1] == [str(number) for number in web]
    assert "detector" not in out


def test_without_sources_of_their_own_the_patterns_are_the_sources(folder: Path, fit: Fit) -> None:
    write(folder / "good.jsonl", [{"text": text} for text in texts("good", 60, 0)])
    write(folder / "bad.jsonl", [{"text": text} for text in texts("bad", 60, 0)])
    _, out, _ = fit(*files("good.jsonl", "bad.jsonl"), "--out", "q.bin", "--format", "json")
    within = json.loads(out)["scores"]["within_source"]
    assert [one["source"] for one in within] == ["bad.jsonl", "good.jsonl"]


def test_texts_of_both_sets_are_left_out_of_both(folder: Path, fit: Fit) -> None:
    good = rows("good", 200)
    write(folder / "bad" / "leak.jsonl", good[:15])
    _, out, _ = fit(*files("good/*", "bad/*"), "--out", "q.bin")
    data = json.loads(Path("q.bin.card.json").read_text())["data"]
    assert (data["positive"]["shared"], data["positive"]["taken"]) == (15, 185)
    assert (data["negative"]["shared"], data["negative"]["taken"]) == (15, 240)
    assert "15 taken documents of the positive set are in the other one, too: left out of both." in out


def test_a_cap_takes_the_same_documents_of_more(folder: Path, fit: Fit) -> None:
    _, out, _ = fit(*files("good/*", "bad/*"), "--out", "q.bin", "--max-documents", "100", "--format", "json")
    data = json.loads(out)["data"]
    assert [(one["taken"], one["capped"]) for one in data.values()] == [(100, True), (100, True)]
    _, out, _ = fit(*files("good/*", "bad/*"), "--out", "r.bin", "--max-bytes", "30KB", "--format", "json")
    data = json.loads(out)["data"]
    assert all(29_000 < one["taken_bytes"] <= 30_000 and one["capped"] for one in data.values())


def test_classifiers_that_have_hardly_learned(folder: Path, fit: Fit) -> None:
    _, out, _ = fit(*files("good/*", "bad/*"), "--out", "q.bin", "--epoch", "1", settings=[*SMALL[:7], "0.001"])
    assert "the classifier has hardly learned. Give a higher --epoch or --lr." in out


def test_errors_are_a_sentence_and_write_nothing(folder: Path, fit: Fit) -> None:
    write(folder / "few.jsonl", rows("bad", 12))
    write(folder / "none.jsonl", [])
    write(folder / "blank.jsonl", [{"text": ""}, {"text": ""}, {"text": "one"}])
    write(folder / "leak.jsonl", rows("good", 200)[:195] + rows("bad", 5))
    (folder / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (folder / "dir").mkdir()
    out = ["--out", "q.bin"]
    good = ["--positive", "good/*"]
    both = [*good, "--negative", "bad/*"]
    cases: list[tuple[list[str], str]] = [
        ([*good, *out], "there is no negative one: give --negative FILES, or of a recipe --negative-source."),
        (
            [*out, "--negative", "bad/*"],
            "there is no positive one: give --positive FILES, or of a recipe --positive-source.",
        ),
        (
            [*both, *out, "--order", "3"],
            "--order is for --kind ngram, and this is --kind fasttext: it would change not",
        ),
        (both, "'fit' needs the name of the model to write: --out quality.bin"),
        (["my.yaml", *both, *out], "by --positive-source and --negative-source; found 'my.yaml'."),
        ([*good, "--negative", "bad/*.parquet", *out], "bad/*.parquet"),
        ([*good, "--negative", "none.jsonl", *out], "the negative set has no documents: none.jsonl gives none."),
        ([*good, "--negative", "few.jsonl", *out], "the negative set (few.jsonl) has 12 documents and 12 that can be"),
        ([*good, "--negative", "blank.jsonl", *out], "has 3 documents, of which 2 are empty and 1 that can be taken"),
        (
            [*good, "--negative", "leak.jsonl", *out],
            "shares 195 of its 200 documents with the other set, and 5 are left",
        ),
        ([*good, "--negative", "broken.jsonl", *out], "broken.jsonl:2: "),
        ([*both, "--out", "s3://bucket/q.bin"], "s3://bucket/q.bin: a model is written to this machine's disk"),
        ([*both, "--out", "dir"], "dir is a folder; give --out the name of a file in it, such as dir/quality.bin."),
        ([*both, *out, "--dim", "0"], "--dim takes a whole number from 1 to 2,147,483,647, found '0'"),
        ([*both, *out, "--buckets", "3000000000"], "--buckets takes a whole number from 1 to 2,147,483,647, found"),
        ([*both, *out, "--seed", "3000000000"], "--seed takes a whole number from 0 to 2,147,483,647, found"),
        ([*both, *out, "--max-documents", "9"], "9 that can be taken (each text once, up to --max-documents and"),
        ([*both, "--out", "few.jsonl/q.bin"], "few.jsonl/q.bin: few.jsonl is a file, so nothing can be written below"),
        ([*both, *out, "--max-chars", "-1"], "--max-chars takes a whole number from 0 to 2,147,483,647, found '-1'"),
        ([*both, *out, "--held-out", "1"], "--held-out takes a share between 0 and 1, found '1'"),
        ([*both, *out, "--lr", "much"], "--lr takes a number above 0, found 'much'"),
        ([*both, *out, "--max-bytes", "many"], "--max-bytes takes a size such as 500M ("),
        ([*both, *out, "--held-out", "0.00001"], "of the positive set no document is held out: its 200 documents are"),
    ]
    for arguments, words in cases:
        code, said, error = fit(*arguments, settings=())
        assert code in (1, 2)
        assert words in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert said == ""
        assert not Path("q.bin").exists()
        assert not Path("q.bin.card.json").exists()


def test_a_model_that_is_there_is_not_replaced_unasked(folder: Path, fit: Fit) -> None:
    Path("q.bin").write_text("mine")
    code, _, error = fit(*files("good/*", "bad/*"), "--out", "q.bin")
    assert (code, Path("q.bin").read_text()) == (2, "mine")
    assert "q.bin is there already. Give another --out, or --replace." in error
    assert fit(*files("good/*", "bad/*"), "--out", "q.bin", "--replace")[0] == 0
    assert Path("q.bin").stat().st_size > 1000
