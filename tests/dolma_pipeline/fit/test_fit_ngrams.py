"""`fit --kind ngram` on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.byte_ngrams_file import load
from tests.dolma_pipeline.fit.test_fit import rows, write

NGRAM = ["fit", "--kind", "ngram", "--format", "json", "--order", "4", "--held-out", "0.3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", rows("good", 60, sources=["books"]))
    write(tmp_path / "b.jsonl", rows("good", 60, sources=["web"], seed=1))
    return tmp_path


def test_a_model_and_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NGRAM, "--positive", "*.jsonl", "--out", "m.ngrams"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card == json.loads(Path("m.ngrams.card.json").read_text())
    assert card["split"]["positive"]["learned"] + card["split"]["positive"]["held_out"] == 120
    assert card["num_bytes"] == Path("m.ngrams").stat().st_size
    scores = card["scores"]
    assert scores["documents"] == card["split"]["positive"]["held_out"]
    assert sum(one["documents"] for one in scores["sources"].values()) == scores["documents"]
    model = load(Path("m.ngrams"))
    like, unlike = Batch.of([rows("good", 1, seed=2)[0]["text"]]), Batch.of(["Etwas ganz anderes, 東京 und so fort."])
    known, other = (model.bits(one.text, one.lines).texts[0] / one.text.offsets[-1] for one in (like, unlike))
    assert known == pytest.approx(scores["bits_per_byte"], rel=0.2)
    assert scores["percentiles"]["5"] < scores["percentiles"]["50"] < scores["percentiles"]["95"] < other


def test_what_is_measured_was_not_learned_from(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    noise = ["".join(map(chr, rng.integers(97, 123, 80))) for _ in range(200)]
    write(Path("noise.jsonl"), [{"text": text} for text in noise])
    main([*NGRAM, "--positive", "noise.jsonl", "--out", "m"])
    assert json.loads(capsys.readouterr().out)["scores"]["bits_per_byte"] > 4.5  # log2(26) is 4.7


def test_the_same_bytes_whatever_the_order_of_files() -> None:
    main([*NGRAM, "--positive", "a.jsonl", "--positive", "b.jsonl", "--out", "one"])
    main([*NGRAM, "--positive", "b.jsonl", "--positive", "a.jsonl", "--out", "two"])
    assert Path("one").read_bytes() == Path("two").read_bytes()
    assert Path("one.card.json").read_text().replace('"one"', '"two"') == Path("two.card.json").read_text()


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main([*NGRAM, "--format", "text", "--positive", "*.jsonl", "--out", "m", "--max-ngrams", "66000"])
    lines = capsys.readouterr().out.splitlines()
    card = json.loads(Path("m.card.json").read_text())
    count = card["model"]["num_ngrams"]
    assert lines[0] == f"m: {count:,} byte n-grams of up to 4 bytes, {card['num_bytes'] / 1e6:.1f} MB"
    assert f"on what was held out: {card['scores']['bits_per_byte']:.3f} bits per byte" in lines
    books = card["scores"]["sources"]["books"]
    assert any(line.split()[:2] == ["books", str(books["documents"])] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--negative", "b.jsonl"],
            "--negative is for --kind fasttext, and this is --kind ngram: it would change nothing",
        ),
        (["--dim", "3"], "--dim is for --kind fasttext"),
        (["--order", "8"], "--order takes a number of bytes from 2 to 7, found '8'"),
        (["--max-ngrams", "100"], "--max-ngrams takes a whole number from 66,000 on, found '100'"),
        (["--held-out", "0.00001"], "no document is held out: the 120 documents are too few"),
        (
            ["--max-documents", "5"],
            "5 that can be taken (each text once, up to --max-documents and --max-bytes); at least 20 are needed.",
        ),
    ],
)
def test_errors(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [one for one in NGRAM if one not in ("--order", "4", "--held-out", "0.3")]
    assert main([*given, "--positive", "*.jsonl", "--out", "m", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not Path("m").exists()


def test_no_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NGRAM, "--out", "m"]) == 2
    assert "'fit' needs documents, and there is no positive one" in capsys.readouterr().err
