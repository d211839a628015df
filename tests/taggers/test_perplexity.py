"""perplexity_v1 with a model made here, beside plain arithmetic on the model's probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import AssetError, ConfigError, TaggerError
from dolma_pipeline.fit.ngrams import Counter, smoothed
from dolma_pipeline.kernels.byte_ngrams_file import load, to_bytes
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.perplexity import Perplexity
from tests.dolma_pipeline.look.conftest import made
from tests.pipeline import tiny

LEARNED = ["the mill stands at the bend of the river\nand grinds rye", "der Müller mahlt das Korn"] * 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    counter = Counter(4)
    counter.add(pa.array(LEARNED))
    path = tmp_path_factory.mktemp("models") / "mill.ngrams"
    path.write_bytes(to_bytes(4, *smoothed(counter.close(), 4, max_ngrams=100_000).arrays()))
    return str(path)


def rows(texts: list[str], **parameters: Any) -> list[dict[str, Any]]:
    column, failures = load_tagger("perplexity_v1", **parameters).attributes(Batch.of(texts))
    assert failures == []
    return list(column.to_pylist())


def test_bits_are_shared_out_over_bytes(model: str) -> None:
    texts = ["the mill", "Müller", "", "東京"]
    batch = Batch.of(texts)
    bits = load(Path(model)).bits(batch.text, batch.lines).texts.tolist()
    found = [row["bits_per_byte"] for row in rows(texts, model=model)]
    assert found == pytest.approx([bits[0] / 8, bits[1] / 7, 0.0, bits[3] / 6])
    assert found[0] < found[1] < 3 < 8 < found[3]  # a byte that was never seen takes more than one of 256


def test_what_was_learned_is_expected(model: str) -> None:
    like, mixed, unlike = (row["bits_per_byte"] for row in rows([LEARNED[0], LEARNED[0] + "Qx#7", "Qx#7"], model=model))
    assert like < 1 < unlike
    assert like < mixed < unlike


def test_paragraphs_are_scored_in_their_place(model: str) -> None:
    text = "the mill\n\nMüller\nQx#7\n\n\nrye"
    (row,) = rows([text], model=model, paragraphs=True)
    spans = [Span(*one.values()) for one in row["paragraphs"]]
    assert [text[one.start : one.end] for one in spans] == ["the mill", "Müller\nQx#7", "rye"]
    batch = Batch.of([text])
    bits = load(Path(model)).bits(batch.text, batch.paragraphs).stretches.tolist()
    assert [one.score for one in spans] == pytest.approx([bits[0] / 8, bits[1] / 12, bits[2] / 3])
    assert row["bits_per_byte"] == rows([text], model=model)[0]["bits_per_byte"]


def test_it_keeps_its_promises(model: str) -> None:
    check_tagger("perplexity_v1", model=model)
    check_tagger("perplexity_v1", model=model, paragraphs=True)


def test_long_texts(model: str) -> None:
    found = rows(["a" * 300_000, "\n" * 300_000], model=model, paragraphs=True)
    assert all(math.isfinite(row["bits_per_byte"]) for row in found)
    assert [len(row["paragraphs"]) for row in found] == [1, 0]


def test_without_a_model() -> None:
    for given, words in (({}, "and none is given"), ({"model": "mill.ngrams"}, r"and 'mill\.ngrams' is not one")):
        for use in (lambda one: one.setup(), lambda one: one.check(max_memory=10**9)):
            with pytest.raises(TaggerError, match=rf"needs the path of a model, with a '/' in it, .*{words}"):
                use(Perplexity(**given))


def test_a_model_that_is_too_large_or_none(model: str, tmp_path: Path) -> None:
    with pytest.raises(
        AssetError, match=r"takes \d[\d,]+ bytes in each process; max_memory is 1,000\. Raise max_memory"
    ):
        Perplexity(model).check(max_memory=1000)
    Perplexity(model).check(max_memory=10**6)
    (tmp_path / "other").write_bytes(b"text")
    for use in (lambda one: one.setup(), lambda one: one.check(max_memory=10**9)):
        with pytest.raises(AssetError, match="not a model of byte n-grams"):
            use(Perplexity(str(tmp_path / "other")))
    good = Path(model).read_bytes()
    (tmp_path / "short").write_bytes(good[:-1])
    (tmp_path / "changed").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for name, words in (("short", "damaged model of byte n-grams: .* bytes of"), ("changed", "damaged .*: sha256")):
        for use in (lambda one: one.setup(), lambda one: one.check(max_memory=10**9)):
            with pytest.raises(AssetError, match=words):
                use(Perplexity(str(tmp_path / name)))


def test_in_a_run(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = tiny.write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("mill.ngrams").write_bytes(Path(model).read_bytes())
    use = {"tagger": "perplexity_v1", "name": "mill", "model": "./mill.ngrams"}
    plain = {"tokenizer": None, "tokens": None, "dedupe": None, "mix": None, "tag": {"taggers": [use]}}
    made(tiny.recipe("run", **plain), stages=("tag",))
    column = pq.read_table("run/attributes/mill/web/a.parquet").column("mill").to_pylist()
    assert column == rows([one["text"] for one in documents["web/a"]], model=model)
    Path("mill.ngrams").write_bytes(b"text")
    with pytest.raises((AssetError, ConfigError), match="not a model of byte n-grams"):
        made(tiny.recipe("other", **plain), stages=("tag",))
