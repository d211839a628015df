"""fasttext_v1 with models trained here, beside fastText itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import AssetError, TaggerError, UnknownNameError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.fasttext import FastText, most_chars
from taggers.length import Length
from tests.fasttext_models import NAMES, oracle, train
from tests.fasttext_models import texts as some_texts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(train(tmp_path_factory.mktemp("models"), "quality", wordNgrams=2))


def rows(texts: list[str], **parameters: Any) -> list[dict[str, Any]]:
    column, failures = load_tagger("fasttext_v1", **parameters).attributes(Batch.of(texts))
    assert failures == []
    return list(column.to_pylist())


def expected(model: str, text: str) -> dict[str, float]:
    names, scores = oracle.load_model(model).predict(text.replace("\n", " "), k=-1)
    return {name.removeprefix("__label__"): score for name, score in zip(names, scores, strict=True)}


def test_documents(model: str) -> None:
    texts = [*some_texts(10), "two\nlines", ""]
    found = rows(texts, model=model, labels=["en", "ja"])
    for text, row in zip(texts[:-1], found, strict=False):
        scores = expected(model, text)
        assert row["label"] == max(scores, key=lambda name: scores[name])
        assert abs(row["score"] - scores[row["label"]]) < 1e-5
        assert abs(row["en"] - scores["en"]) < 1e-5
        assert abs(row["ja"] - scores["ja"]) < 1e-5
    assert found[-1] == {"label": "", "score": 0.0, "en": 0.0, "ja": 0.0}


def test_the_first_characters_and_lower_case(model: str) -> None:
    (text,) = some_texts(1)
    assert rows([text], model=model, max_chars=9) == rows([text[:9]], model=model)
    assert rows([text.upper()], model=model, lower=True) == rows([text], model=model)
    assert rows([text.upper()], model=model) != rows([text], model=model)
    assert rows([text.upper()], model=model, lower=True, max_chars=9) == rows([text[:9]], model=model)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize(
    ("unit", "join"), [("paragraph", "\n\n"), ("line", "\n"), ("sentence", ". ")], ids=["paragraph", "line", "sentence"]
)
def test_pieces(model: str, unit: str, join: str, lower: bool) -> None:
    pieces = some_texts(4)
    text = join.join(pieces)
    shown = [piece + join.strip() for piece in pieces[:-1]] + [pieces[-1]]
    (row,) = rows([text], model=model, labels=["en"], unit=unit, lower=lower)
    scores = [expected(model, piece) for piece in shown]
    tops = [max(one, key=lambda name: one[name]) for one in scores]
    lengths = {top: sum(len(p) for p, own in zip(shown, tops, strict=True) if own == top) for top in tops}
    best = max(lengths, key=lambda name: lengths[name])
    assert row["label"] == best
    means = [(len(p), one) for p, one, top in zip(shown, scores, tops, strict=True) if top == best]
    assert row["score"] == pytest.approx(sum(n * one[best] for n, one in means) / sum(n for n, _ in means), abs=1e-5)
    mean = sum(len(p) * one["en"] for p, one in zip(shown, scores, strict=True)) / sum(map(len, shown))
    assert row["en"] == pytest.approx(mean, abs=1e-5)
    assert [text[span["start"] : span["end"]] for span in row["en_spans"]] == shown
    assert [span["score"] for span in row["en_spans"]] == pytest.approx([one["en"] for one in scores], abs=1e-5)
    (highest,) = rows([text], model=model, labels=["en"], unit=unit, lower=lower, over="best")
    assert highest["en"] == pytest.approx(max(one["en"] for one in scores), abs=1e-5)


def test_sentences_are_those_that_length_counts(model: str) -> None:
    texts = ["A heading\n\nTwo lines\nof one... sentence! *** (So.) 3.5", "はい。いいえ！…。", "- !?", ""]
    found = rows(texts, model=model, labels=["en"], unit="sentence")
    assert (
        [len(row["en_spans"]) for row in found] == Length().tag(Batch.of(texts))["sentences"].tolist() == [5, 2, 0, 0]
    )


def test_no_pieces(model: str) -> None:
    nothing = {"label": "", "score": 0.0, "en": 0.0, "en_spans": []}
    assert rows(["", "\n \n"], model=model, labels=["en"], unit="sentence") == [nothing, nothing]
    assert rows(["\n"], model=model, unit="line") == [{"label": "", "score": 0.0}]


@pytest.mark.parametrize("parameters", [{}, {"unit": "sentence", "labels": ("en", "de")}, {"lower": True}])
def test_the_contract(model: str, parameters: dict[str, Any]) -> None:
    check_tagger("fasttext_v1", model=model, **parameters)


def test_fields_are_known_before_the_model_is_read() -> None:
    tagger = load_tagger("fasttext_v1", model="no/such.bin", labels=["eng_Latn", "3", "Score"], unit="line")
    assert tagger.fields == {
        "label": str,
        "score": float,
        "eng_latn": float,
        "label_3": float,
        "label_score": float,
        **dict.fromkeys(["eng_latn_spans", "label_3_spans", "label_score_spans"], list[Span]),
    }
    assert tagger.assets == ("no/such.bin",)


def test_wrong_parameters(model: str) -> None:
    with pytest.raises(TaggerError, match="max_chars is a number of characters, or 0 for all; got -1"):
        FastText(max_chars=-1)
    with pytest.raises(TaggerError, match="'a b' and 'a_b' have one field, 'a_b'"):
        FastText(labels=("a b", "a_b"))
    with pytest.raises(TaggerError, match="without __label__: 'hq'"):
        FastText(labels=("__label__hq",))
    with pytest.raises(TaggerError, match="over says how pieces make a label's number"):
        FastText(over="best", labels=("en",))
    with pytest.raises(TaggerError, match=rf"has no label 'xx'. It has: {', '.join(NAMES)}\."):
        load_tagger("fasttext_v1", model=model, labels=["xx"]).attributes(Batch.of(["a"]))
    with pytest.raises(AssetError, match=r"no file no/such\.bin, looked for at /"):
        FastText(model="no/such.bin").setup()
    with pytest.raises(UnknownNameError, match=r"no asset named 'lid\.167\.ftz'"):
        FastText(model="lid.167.ftz").setup()


def test_what_is_looked_at_before_a_run(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = load_tagger("fasttext_v1", model=model, labels=["en"])
    tagger.check(max_memory=4_000_000_000)
    with pytest.raises(AssetError, match=r"takes [\d,]+ bytes in each process .* max_memory is 1,000,000\. Raise"):
        tagger.check(max_memory=1_000_000)
    with pytest.raises(TaggerError, match="has no label 'xx'"):
        load_tagger("fasttext_v1", model=model, labels=["xx"]).check(max_memory=4_000_000_000)
    (tmp_path / "short.bin").write_bytes(Path(model).read_bytes()[:300])
    with pytest.raises(AssetError, match=r"short\.bin: a fastText model that ends early, at byte 300"):
        load_tagger("fasttext_v1", model=str(tmp_path / "short.bin")).check(max_memory=4_000_000_000)
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path))
    load_tagger("fasttext_v1").check(max_memory=1)  # an asset is fetched, and checked by its hash, later


def test_the_label_of_most_characters() -> None:
    label, score = most_chars(
        np.array([0, 0, 0, 2, 2, 2]),
        np.array([1, 0, 1, -1, 3, 2], np.int32),
        np.array([0.5, 0.9, 1.0, 0.0, 0.25, 0.75], np.float32),
        np.array([10.0, 25.0, 20.0, 0.0, 5.0, 5.0]),
        3,
    )
    assert label.tolist() == [1, -1, 2]
    assert score.tolist() == [25.0 / 30.0, 0.0, 0.75]
