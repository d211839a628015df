"""The kernel against the fasttext module: on lid.176.ftz, and on a small model trained here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline import assets
from dolma_pipeline.documents import text_buffers
from dolma_pipeline.errors import AssetError
from dolma_pipeline.kernels import fasttext as kernel

oracle = pytest.importorskip("fasttext", reason="fasttext-community is not installed")

TRICKY = [
    "", " ", "\n\n\t", "a", "\0", "a\0b", "a\vb\fc\rd", "</s>", "hello </s> welt", "__label__en hello", "__label__xx",
    "naïve café", "日本語のテキスト", "👩‍👩‍👧‍👦 👍", "\u0301\u0301", "\U0010ffff", "x" * 5000,
    "une phrase\nsur deux lignes", "\u00a0word\u2003word",
]  # fmt: skip


@pytest.fixture(scope="module")
def path() -> Path:
    try:
        return assets.fetch("lid.176.ftz")
    except AssetError as error:
        pytest.skip(f"lid.176.ftz cannot be had: {error}")


@pytest.fixture(scope="module")
def reference(path: Path) -> Any:
    oracle.FastText.eprint = lambda *_: None
    return oracle.load_model(str(path))


MODELS = {"hs": {"loss": "hs"}, "softmax": {"loss": "softmax"}, "pairs": {"loss": "hs", "wordNgrams": 2}}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three models of a few words: hierarchical softmax, plain softmax, word pairs."""
    folder = tmp_path_factory.mktemp("models")
    rows = [("de", "der hund und die katze"), ("en", "the dog and the cat"), ("fr", "le chien et le chat")]
    lines = [f"__label__{name} {text[i % 5 :]}" for i in range(60) for name, text in rows[: 1 + i % 3]]
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    for name, options in MODELS.items():
        model = oracle.train_supervised(
            str(folder / "train.txt"), dim=7, epoch=8, minn=1, maxn=3, bucket=997, thread=1, verbose=0, **options
        )
        model.save_model(str(folder / f"{name}.bin"))
    return folder


def check(model: kernel.Model, reference: Any, texts: list[str], *, max_chars: int = 0) -> None:
    """Labels equal, probabilities to 1e-5, for the best label and for English."""
    found = model.predict(text_buffers(pa.array(texts, pa.string())), max_chars=max_chars, label="en")
    for i, text in enumerate(texts):
        read = (text[:max_chars] if max_chars else text).replace("\n", " ")
        if not read.strip(" \t\n\v\f\r\0"):
            assert (found.labels[i], found.scores[i], found.wanted[i]) == (-1, 0.0, 0.0)
            continue
        names, scores = reference.predict(read, k=-1)
        every = {name.removeprefix("__label__"): score for name, score in zip(names, scores, strict=True)}
        assert model.labels[found.labels[i]] == names[0].removeprefix("__label__"), text[:80]
        assert abs(found.scores[i] - scores[0]) < 1e-6, text[:80]
        assert abs(found.wanted[i] - every.get("en", 0.0)) < 1.1e-5  # fastText leaves out what is below 1e-5


def read(path: Path) -> list[str]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["text"] for line in data.splitlines()]


@pytest.mark.parametrize("max_chars", [0, 2000, 60])
def test_equals_fasttext_on_the_language_set(path: Path, reference: Any, data: Path, max_chars: int) -> None:
    names = ("langid.jsonl.gz", "mixed.jsonl.gz", "no_language.jsonl")
    texts = [text for name in names for text in read(data / "langid" / name)]
    assert len(texts) > 2500
    check(kernel.load(path), reference, texts, max_chars=max_chars)


@pytest.mark.slow
@pytest.mark.parametrize("max_chars", [0, 2000])
def test_equals_fasttext_on_all_real_text(path: Path, reference: Any, all_texts: list[str], max_chars: int) -> None:
    check(kernel.load(path), reference, all_texts, max_chars=max_chars)


@pytest.mark.parametrize("source", ["web", "code", "books", "reference", "forum"])
def test_equals_fasttext_on_whole_documents(path: Path, reference: Any, data: Path, source: str) -> None:
    texts = read(data / "documents" / source / f"{source}-0000.jsonl.gz")
    check(kernel.load(path), reference, [t for t in texts if len(t) < 50_000][::17])


def test_equals_fasttext_on_tricky_texts(path: Path, reference: Any) -> None:
    model = kernel.load(path)
    for max_chars in (0, 1, 2, 5):
        check(model, reference, TRICKY, max_chars=max_chars)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text() | st.text("ab é漢\n_"), max_size=4), max_chars=st.integers(0, 9))
def test_equals_fasttext_on_any_text(path: Path, reference: Any, texts: list[str], max_chars: int) -> None:
    check(kernel.load(path), reference, texts, max_chars=max_chars)


def test_slices_and_empty_batches(path: Path) -> None:
    model, texts = kernel.load(path), ["ein Satz", "", "une phrase", "日本語"]
    array = pa.array(texts, pa.string())
    whole = model.predict(text_buffers(array))
    part = model.predict(text_buffers(array.slice(1, 2)))
    np.testing.assert_array_equal(part.labels, whole.labels[1:3])
    np.testing.assert_array_equal(part.scores, whole.scores[1:3])
    assert len(model.predict(text_buffers(array.slice(2, 0))).labels) == 0


def test_a_label_that_is_not_there_has_no_probability(path: Path) -> None:
    found = kernel.load(path).predict(text_buffers(pa.array(["hello world"])), label="klingon")
    assert found.wanted.tolist() == [0.0]
    assert found.labels[0] >= 0


def test_one_specialisation_whatever_the_buffers(path: Path) -> None:
    kernel.warm()
    kernel.load(path).predict(text_buffers(pa.array(["x", "y"]).slice(1)), max_chars=7, label="none")
    assert len(kernel._predict.signatures) == 1


def test_a_model_without_quantisation(small: Path) -> None:
    model, reference = kernel.load(small / "hs.bin"), oracle.load_model(str(small / "hs.bin"))
    assert sorted(model.labels) == ["de", "en", "fr"]
    check(model, reference, ["der hund", "the cat and the", "le chien", "unbekannt", *TRICKY])


@pytest.mark.parametrize(("name", "found"), [("softmax", "loss 'softmax', wordNgrams 1"), ("pairs", "wordNgrams 2")])
def test_models_that_are_not_covered(small: Path, name: str, found: str) -> None:
    with pytest.raises(AssetError) as caught:
        kernel.load(small / f"{name}.bin")
    assert "only supervised models with loss 'hs' and wordNgrams 1 can be used here" in str(caught.value)
    assert found in str(caught.value)
    assert f"{name}.bin" in str(caught.value)


def test_files_that_are_no_models(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.ftz"
    other.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(AssetError, match="not a fastText model"):
        kernel.load(other)
    for size in (2, 40, 500_000, 938_000):
        short = tmp_path / f"short-{size}.ftz"
        short.write_bytes(path.read_bytes()[:size])
        with pytest.raises(AssetError, match=f"ends early, at byte {size}"):
            kernel.load(short)
    with pytest.raises(AssetError, match="cannot be read: No such file"):
        kernel.load(tmp_path / "absent.ftz")
    old = tmp_path / "old.ftz"
    old.write_bytes(path.read_bytes()[:4] + (11).to_bytes(4, "little") + path.read_bytes()[8:])
    with pytest.raises(AssetError, match="file version 11, only 12"):
        kernel.load(old)


def test_the_hash_is_fasttexts() -> None:
    def plain(word: bytes) -> int:
        value = 2166136261
        for byte in np.frombuffer(word, np.int8):
            value = (value ^ (int(byte) & 0xFFFFFFFF)) * 16777619 % 2**32
        return value

    for word in (b"", b"a", b"</s>", "é漢🙂".encode()):
        assert kernel._fnv(word) == plain(word)
