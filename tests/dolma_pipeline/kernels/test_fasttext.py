"""The kernel against the fasttext module: on lid.176.ftz, and on small models of every kind that are trained here."""

from __future__ import annotations

import gzip
import json
import os
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
from dolma_pipeline.kernels import fasttext_file
from dolma_pipeline.kernels.fasttext_file import fnv, read_model
from dolma_pipeline.kernels.fasttext_header import read_header
from tests.fasttext_models import NAMES, oracle, quantised, train
from tests.fasttext_models import texts as some_texts

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
    return oracle.load_model(str(path))


NGRAMS: dict[str, dict[str, Any]] = {
    "words": {},
    "trigrams": {"wordNgrams": 3},
    "subwords": {"minn": 2, "maxn": 4},
    "both": {"minn": 1, "maxn": 3, "wordNgrams": 2},
}
PACKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "norms": {"qnorm": True},
    "pruned": {"cutoff": 400},
    "parts": {"cutoff": 300, "qnorm": True, "dsub": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def check(model: kernel.Model, reference: Any, texts: list[str], *, max_chars: int = 0) -> None:
    """Labels equal, probabilities to 1e-5, for the best label and for English."""
    found = model.predict(text_buffers(pa.array(texts, pa.string())), max_chars=max_chars, labels=("en",))
    for i, text in enumerate(texts):
        read = (text[:max_chars] if max_chars else text).replace("\n", " ")
        if not read.strip(" \t\n\v\f\r\0"):
            assert (found.labels[i], found.scores[i], found.wanted[i, 0]) == (-1, 0.0, 0.0)
            continue
        names, scores = reference.predict(read, k=-1)
        every = {name.removeprefix("__label__"): score for name, score in zip(names, scores, strict=True)}
        assert model.labels[found.labels[i]] == names[0].removeprefix("__label__"), text[:80]
        assert abs(found.scores[i] - scores[0]) < 1e-5, text[:80]
        assert abs(found.wanted[i, 0] - every.get("en", 0.0)) < 1.1e-5  # fastText leaves out what is below 1e-5


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
    found = kernel.load(path).predict(text_buffers(pa.array(["hello world"])), labels=("klingon", "en"))
    assert found.wanted[0, 0] == 0.0
    assert found.wanted[0, 1] > 0.1
    assert found.labels[0] >= 0


def test_one_specialisation_whatever_the_buffers(path: Path) -> None:
    kernel.warm()
    kernel.load(path).predict(text_buffers(pa.array(["x", "y"]).slice(1)), max_chars=7, labels=("none",))
    assert len(kernel._predict.signatures) == 1


def check_every_label(path: Path, texts: list[str]) -> None:
    model, reference = kernel.load(path), oracle.load_model(str(path))
    found = model.predict(text_buffers(pa.array(texts, pa.string())), labels=model.labels)
    assert sorted(reference.labels) == sorted(f"__label__{name}" for name in model.labels)
    for i, text in enumerate(texts):
        if not text.strip(" \t\n\v\f\r\0"):
            assert found.labels[i] == -1
            continue
        (best,), (score,) = reference.predict(text.replace("\n", " "))
        names, scores = reference.predict(text.replace("\n", " "), k=-1)
        every = {name.removeprefix("__label__"): score for name, score in zip(names, scores, strict=True)}
        assert f"__label__{model.labels[found.labels[i]]}" == best, text[:80]
        assert abs(found.scores[i] - score) < 1e-5
        for k, name in enumerate(model.labels):
            assert abs(found.wanted[i, k] - every.get(name, 1e-5)) < 1.1e-5, (text[:80], name)


@pytest.mark.parametrize("ngrams", NGRAMS)
@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
def test_equals_fasttext_with_every_loss_and_n_gram(folder: Path, loss: str, ngrams: str) -> None:
    path = train(folder, f"{loss}-{ngrams}", loss=loss, **NGRAMS[ngrams])
    check_every_label(path, [*some_texts(40), *TRICKY])


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("loss", "ngrams"), [("softmax", "trigrams"), ("hs", "both"), ("ova", "subwords")])
def test_equals_fasttext_however_quantised(folder: Path, loss: str, ngrams: str, packed: str) -> None:
    path = train(folder, f"{loss}-{ngrams}-2", loss=loss, **NGRAMS[ngrams])
    check_every_label(quantised(path, f"{loss}-{ngrams}-{packed}", **PACKED[packed]), [*some_texts(40), *TRICKY])


@pytest.mark.parametrize("loss", ["softmax", "hs"])
def test_equals_fasttext_with_quantised_outputs(folder: Path, loss: str) -> None:
    names = tuple(f"l{i}" for i in range(300))  # fastText quantises 256 rows or more
    path = train(folder, f"{loss}-many", loss=loss, names=names, wordNgrams=2)
    packed = quantised(path, f"{loss}-outputs", qout=True, qnorm=True, cutoff=300)
    check_every_label(packed, some_texts(30))
    assert read_header(packed).num_bytes == packed.stat().st_size


def test_a_quantised_matrix_that_is_not_unfolded_says_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = train(folder, "large", wordNgrams=2, minn=2, maxn=3)
    packed = quantised(path, "large", qnorm=True, dsub=3)
    texts = text_buffers(pa.array(some_texts(30)))
    unfolded = kernel.load(packed).predict(texts, labels=NAMES)
    monkeypatch.setattr(fasttext_file, "UNFOLDED_BYTES", 0)
    other = packed.rename(folder / "larger.ftz")
    model = kernel.load(other)
    assert model.lexicon.vectors.shape[2] == 1
    np.testing.assert_allclose(model.predict(texts, labels=NAMES).wanted, unfolded.wanted, atol=1e-6)


def test_an_old_file_has_no_character_n_grams(folder: Path) -> None:
    """Version 11: fastText reads its classifiers as if maxn were 0, whatever stands there."""
    content = bytearray(train(folder, "new", wordNgrams=2).read_bytes())
    content[4] = 11
    content[48:56] = (2).to_bytes(4, "little") + (4).to_bytes(4, "little")  # minn and maxn
    (folder / "old.bin").write_bytes(content)
    check_every_label(folder / "old.bin", some_texts(20))


def test_what_is_said_of_a_text_does_not_depend_on_what_was_read_before(folder: Path) -> None:
    path = train(folder, "alone", wordNgrams=2, minn=2, maxn=4, loss="hs")
    texts = some_texts(60)
    together = kernel.load(path).predict(text_buffers(pa.array(texts)), labels=NAMES)
    for i, text in enumerate(texts):
        other = kernel._model(path, read_model(path))  # it has met no word yet
        alone = other.predict(text_buffers(pa.array([text])), labels=NAMES)
        assert alone.wanted.tobytes() == together.wanted[i].tobytes()
        assert alone.scores.tobytes() == together.scores[i].tobytes()


def test_pieces_are_read_as_texts(folder: Path) -> None:
    model = kernel.load(train(folder, "pieces", wordNgrams=2))
    first, second = some_texts(2)
    whole = text_buffers(pa.array([f"{first} {second}"]))
    cut = len(first.encode())
    pieces = (np.array([0, cut], np.int32), np.array([cut, len(whole.data)], np.int32))
    found = model.predict(whole, labels=NAMES, pieces=pieces)
    np.testing.assert_array_equal(
        found.wanted, model.predict(text_buffers(pa.array([first, second])), labels=NAMES).wanted
    )


def test_a_file_that_changes_is_read_anew(folder: Path) -> None:
    path = train(folder, "changing")
    before = kernel.load(path)
    assert kernel.load(path) is before
    train(folder, "changing", names=("xx", "yy"))
    os.utime(path, ns=(1, 1))
    assert sorted(kernel.load(path).labels) == ["xx", "yy"]


@pytest.mark.parametrize("how", [{}, {"qnorm": True, "cutoff": 300, "dsub": 3}, {"dsub": 3}])
def test_a_header_knows_where_its_file_ends(folder: Path, tmp_path: Path, how: dict[str, Any]) -> None:
    whole = train(folder, "whole", wordNgrams=2)
    path = quantised(whole, f"whole-{len(how)}", **how) if how else whole
    content = path.read_bytes()
    assert read_header(path).num_bytes == len(content)
    for missing in (1, 40, len(content) // 3):
        (tmp_path / "short.bin").write_bytes(content[:-missing])
        with pytest.raises(AssetError, match=rf"ends early, at byte {len(content) - missing}$"):
            read_header(tmp_path / "short.bin")


def test_numbers_that_are_none(folder: Path) -> None:
    path = train(folder, "nan")
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[-4 * 10 * len(NAMES) :] = 0xFF  # the output vectors
    path.write_bytes(content.tobytes())
    with pytest.raises(AssetError, match=r"nan\.bin: a damaged fastText model: it holds numbers that are not finite"):
        kernel.load(path).predict(text_buffers(pa.array(["ab"])))


def damaged(path: Path, at: int, value: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + 4] = value.to_bytes(4, "little", signed=True)
    other = path.with_name("damaged.bin")
    other.write_bytes(content)
    return other


def test_files_that_are_no_models(tmp_path: Path, folder: Path) -> None:
    good = train(folder, "good", wordNgrams=2)
    size = good.stat().st_size
    (tmp_path / "other.ftz").write_bytes(b"PK\x03\x04 something else")
    (tmp_path / "empty.ftz").write_bytes(b"")
    cases = {
        tmp_path / "other.ftz": "not a fastText model",
        tmp_path / "empty.ftz": "the file is empty",
        tmp_path / "absent.ftz": "cannot be read: No such file",
    }
    for kept in (2, 40, 100, size // 2, size - 1):
        short = tmp_path / f"short-{kept}.bin"
        short.write_bytes(good.read_bytes()[:kept])
        cases[short] = f"ends early, at byte {kept}$"
    for path, message in cases.items():
        with pytest.raises(AssetError, match=message) as caught:
            kernel.load(path)
        assert path.name in str(caught.value)
    for at, value, message in [
        (4, 10, "fastText file version 10; only 11 and 12 can be read"),
        (8, 11, "vectors of 10 and 10 numbers, where dim is 11"),
        (32, 9, "loss 9 is none of"),
        (36, 1, r"word vectors \(a fastText model of kind 'cbow'\), not a classifier"),
        (40, -3, "bucket is -3"),
        (48, 2**31 - 1, "max_n is 2147483647"),
        (64, 7, "7 entries are not"),
    ]:
        with pytest.raises(AssetError, match=message):
            kernel.load(damaged(good, at, value))
    packed = quantised(good, "good", cutoff=300)
    content = packed.read_bytes()
    file = read_model(packed)
    assert file.pruned is not None
    pairs = content.find(file.pruned.tobytes())
    with pytest.raises(AssetError, match="the table of pruned n-grams leads out of the vectors"):
        kernel.load(damaged(packed, pairs, 1 << 30))


def test_word_vectors_are_no_classifier(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a b c d e f g h\n" * 20)
    model = oracle.train_unsupervised(str(tmp_path / "words.txt"), dim=2, minCount=1, epoch=1, bucket=10, thread=1)
    model.save_model(str(tmp_path / "words.bin"))
    with pytest.raises(AssetError, match="kind 'skipgram'"):
        kernel.load(tmp_path / "words.bin")


def test_the_hash_is_fasttexts() -> None:
    def plain(word: bytes) -> int:
        value = 2166136261
        for byte in np.frombuffer(word, np.int8):
            value = (value ^ (int(byte) & 0xFFFFFFFF)) * 16777619 % 2**32
        return value

    for word in (b"", b"a", b"</s>", "é漢🙂".encode()):
        data = np.frombuffer(word, np.uint8).copy()
        data.flags.writeable = False
        assert fnv(data, 0, len(data)) == plain(word)
