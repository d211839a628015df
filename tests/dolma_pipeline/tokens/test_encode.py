"""Both engines give the ids of `tokenizers`, and special tokens stay text."""

from __future__ import annotations

import gzip
import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import RunError
from dolma_pipeline.tokens import encode
from dolma_pipeline.tokens.encode import Encoder, GigatokenEncoder, encoder
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, load_tokenizer, parse_tokenizer
from dolma_pipeline.tokens.train_bpe import train_bpe

PIECES = [
    "<|endoftext|>",
    "<|padding|>",
    "|||EMAIL_ADDRESS|||",
    "|||IP_ADDRESS|||",
    "  ",
    "\n",
    "'s",
    "e\u0301",
    "가",
    "\U0001f600",
]


@pytest.fixture(scope="module")
def olmo(data: Path) -> TokenizerInfo:
    return load_tokenizer(data / "tokenizer" / "allenai_gpt-neox-olmo-dolma-v1_5.json")


@pytest.fixture(scope="module")
def oracle(olmo: TokenizerInfo) -> tokenizers.Tokenizer:
    """`tokenizers` on the file as it is, told to leave special tokens alone."""
    found = tokenizers.Tokenizer.from_str(olmo.json)
    found.encode_special_tokens = True
    return found


@pytest.fixture(params=["gigatoken", "tokenizers"])
def engine(request: pytest.FixtureRequest, olmo: TokenizerInfo) -> Encoder:
    return encoder(replace(olmo, engine=request.param))


def documents(data: Path) -> list[str]:
    texts = []
    for path in sorted((data / "documents").rglob("*.jsonl.*")):
        raw = path.read_bytes()
        lines = (
            gzip.decompress(raw)
            if path.suffix == ".gz"
            else zstandard.ZstdDecompressor().decompressobj().decompress(raw)
        )
        texts += [json.loads(line)["text"] for line in lines.splitlines()]
    return texts


def strings(texts: list[str]) -> pa.StringArray:
    return pa.array(texts, pa.string())


def test_vectors(data: Path, engine: Encoder, oracle: tokenizers.Tokenizer):
    with gzip.open(data / "tokenizer" / "vectors.jsonl.gz") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert len(rows) == 170
    given_ids = 0
    for row, ids in zip(rows, engine.encode(strings([row["text"] for row in rows])).to_pylist(), strict=True):
        if any(token in row["text"] for token in engine.info.special_ids):
            assert ids == oracle.encode(row["text"], add_special_tokens=False).ids
            assert ids != row["ids"]
        else:
            assert ids == row["ids"]
            assert engine.decode(ids) == row["decoded"] == unicodedata.normalize("NFC", row["text"])
            given_ids += 1
    assert given_ids == 168


def test_special_tokens_in_a_text_stay_text(engine: Encoder):
    text = "a<|endoftext|>b <|padding|> |||EMAIL_ADDRESS||| c"
    ids = engine.encode(strings([text])).to_pylist()[0]
    assert not {1, 50279} & set(ids)
    assert 50277 in ids
    assert engine.decode(ids) == text
    assert engine.decode([*ids, 50279]) == text + "<|endoftext|>"


def test_empty_texts_slices_and_nulls(engine: Encoder):
    texts = ["first", "", "second one", None, "  ", "third"]
    column = pa.array(texts, pa.string())
    whole = engine.encode(column)
    assert whole.type == pa.list_(pa.uint32())
    assert whole.to_pylist()[1] == whole.to_pylist()[3] == []
    assert engine.encode(column.slice(2, 3)).to_pylist() == whole.to_pylist()[2:5]
    assert engine.encode(column.slice(2, 0)).to_pylist() == []
    assert engine.encode(pa.array([], pa.string())).to_pylist() == []
    assert engine.encode(pa.array([""], pa.string())).to_pylist() == [[]]


@settings(deadline=None, max_examples=150)
@given(
    texts=st.lists(
        st.lists(
            st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
        ).map("".join),
        max_size=5,
    ),
    skip=st.integers(0, 3),
)
def test_any_text(olmo: TokenizerInfo, oracle: tokenizers.Tokenizer, texts: list[str], skip: int):
    engine = encoder(olmo)
    got = engine.encode(strings(texts).slice(skip)).to_pylist()
    assert got == [oracle.encode(text, add_special_tokens=False).ids for text in texts[skip:]]
    assert [engine.decode(ids) for ids in got] == [unicodedata.normalize("NFC", text) for text in texts[skip:]]


def compare(engine: Encoder, oracle: tokenizers.Tokenizer, texts: list[str]) -> None:
    ours = engine.encode(strings(texts)).to_pylist()
    theirs = [found.ids for found in oracle.encode_batch_fast(texts, add_special_tokens=False)]
    differing = [row for row, (left, right) in enumerate(zip(ours, theirs, strict=True)) if left != right]
    assert differing == []
    assert [engine.decode(ids) for ids in ours] == [unicodedata.normalize("NFC", text) for text in texts]


def test_documents_sample(data: Path, olmo: TokenizerInfo, oracle: tokenizers.Tokenizer):
    texts = documents(data)
    assert len(texts) == 9_981
    chosen = np.flatnonzero(document_key(map(str, range(len(texts))), seed=1) % 40 == 0)
    assert len(chosen) > 200
    compare(encoder(olmo), oracle, [texts[row] for row in chosen])


@pytest.mark.slow
def test_all_documents(data: Path, olmo: TokenizerInfo, oracle: tokenizers.Tokenizer):
    texts = documents(data)
    for start in range(0, len(texts), 1000):
        compare(encoder(olmo), oracle, texts[start : start + 1000])


def test_check_passes_and_names_the_text_that_differs(olmo: TokenizerInfo):
    broken = GigatokenEncoder(olmo)
    texts = strings(["one", "two", "thirty three", "four"])
    broken.check(texts)
    other = json.loads(olmo.json)
    other["model"]["merges"] = other["model"]["merges"][:2000]
    import gigatoken

    broken._tokenizer = gigatoken.Tokenizer.from_json(json.dumps(other))
    words = r"different ids for web/a#2, from token \d+ on: \[.*\] and \[.*\]; tokenizer sha256 [0-9a-f]{12}"
    with pytest.raises(RunError, match=words):
        broken.check(texts.slice(2), names=["web/a#2", "web/a#3"])
    with pytest.raises(RunError, match="for text 0, "):
        broken.check(texts.slice(2))


def test_a_tokenizer_that_gigatoken_reads_otherwise_is_not_used(olmo: TokenizerInfo, monkeypatch: pytest.MonkeyPatch):
    """The check at loading is what stands between a wrong engine and the shards."""
    monkeypatch.setattr("dolma_pipeline.tokens.encode.special_free_json", lambda info: info.json)
    with pytest.raises(RunError, match=r"different ids for the test string .*<\|(padding|endoftext)\|>"):
        GigatokenEncoder(olmo)


def test_the_word_cache_is_begun_anew_and_nothing_else_changes(
    olmo: TokenizerInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gigatoken

    engine = GigatokenEncoder(olmo)
    texts = [strings([f"{word} {'x' * 90}" for word in words]) for words in (["a", "b"], ["c"], ["a"], ["b"], ["a"])]
    expected = [engine.encode(one) for one in texts]
    made: list[str] = []
    make = gigatoken.Tokenizer.from_json

    def counted(text: str) -> Any:
        made.append(text)
        return make(text)

    engine = GigatokenEncoder(olmo)
    monkeypatch.setattr(gigatoken.Tokenizer, "from_json", counted)
    monkeypatch.setattr(encode, "CACHE_TEXT_BYTES", 250)
    engine._cached = 0  # what the check at the start has encoded
    numbers = []
    for one, ids in zip(texts, expected, strict=True):
        assert engine.encode(one).equals(ids)
        numbers.append(len(made))
    assert numbers == [0, 0, 1, 1, 1]


def test_one_warm_object_a_process(olmo: TokenizerInfo):
    assert encoder(olmo) is encoder(parse_tokenizer(olmo.json))
    assert encoder(olmo) is not encoder(replace(olmo, engine="tokenizers"))
    assert encoder(olmo) is not encoder(parse_tokenizer(olmo.json, special_tokens=["|||EMAIL_ADDRESS|||"]))


def test_masks_keep_their_ids_where_special_tokens_stand_before_them():
    """`tokenizers` numbers added tokens anew when one before them is taken out of the file."""
    found = json.loads(train_bpe(["the cat sat on the mat"] * 5, vocab_size=280, added_tokens=["|||IP|||"]))
    size = len(found["model"]["vocab"])
    mask = found["added_tokens"][0]
    found["added_tokens"] = [{**mask, "id": size, "content": "<|eos|>", "special": True}, {**mask, "id": size + 1}]
    info = parse_tokenizer(json.dumps(found))
    assert info.engine == "gigatoken"
    for name in ("gigatoken", "tokenizers"):
        ids = encoder(replace(info, engine=name)).encode(strings(["<|eos|>|||IP|||"])).to_pylist()[0]
        assert ids[-1] == size + 1
        assert size not in ids


def test_a_tokenizer_that_cuts_texts_does_not(olmo: TokenizerInfo):
    found = json.loads(olmo.json)
    found["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    found["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<|padding|>",
    }
    info = parse_tokenizer(json.dumps(found))
    for name in ("gigatoken", "tokenizers"):
        assert len(encoder(replace(info, engine=name)).encode(strings(["a b c d e f"]))[0]) == 6


def test_threads_share_one_encoder(olmo: TokenizerInfo):
    engine = encoder(olmo)
    texts = [strings([f"thread {i} text {j} été" for j in range(200)]) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = [column.to_pylist() for column in pool.map(engine.encode, texts)]
    assert together == [engine.encode(column).to_pylist() for column in texts]
