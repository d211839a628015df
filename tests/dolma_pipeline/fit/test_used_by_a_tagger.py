"""A model of `fit` as the tagger `fasttext_v1` runs it: the probabilities on which it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import fasttext
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.documents import Batch
from dolma_pipeline.fit.classifier import line_of
from dolma_pipeline.registry import load_tagger
from tests.dolma_pipeline.fit.test_fit import SMALL, rows, texts, write


@pytest.mark.parametrize("max_chars", [0, 60])
def test_the_tagger_gives_the_probabilities_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], max_chars: int
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = [
        "__label__negative good1 good2",
        "good1 </s> bad1 bad2",
        "good1\u2028bad1\x0bgood2\x00bad3\r\ngood4",
        "ä😀 東京",
    ]
    write(tmp_path / "good.jsonl", rows("good", 80) + [{"text": text} for text in odd])
    write(tmp_path / "bad.jsonl", rows("bad", 80))
    more = ["--max-chars", str(max_chars), "--format", "json", "--out", "q.bin"]
    assert main(["fit", "--positive", "good.jsonl", "--negative", "bad.jsonl", *SMALL, *more]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["max_chars"] == max_chars
    asked = [*odd, *texts("good", 20, 5), *texts("bad", 20, 5)]
    tagger = load_tagger("fasttext_v1", model="./q.bin", labels=["positive"], max_chars=max_chars)
    column, failures = tagger.attributes(Batch.of(asked))
    assert failures == []
    model = fasttext.load_model("q.bin")
    for text, row in zip(asked, column.to_pylist(), strict=True):
        names, scores = model.predict(line_of(text, max_chars=max_chars), k=2)
        expected = dict(zip(names, scores.tolist(), strict=True))["__label__positive"]
        assert row["positive"] == pytest.approx(expected, abs=1e-5)
    assert sum(row["positive"] > 0.5 for row in column.to_pylist()[4:24]) > 15
