"""What is known of a tokenizer, and which engine it gets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.errors import DataError, RunError, UnknownNameError
from dolma_pipeline.tokens.tokenizer import load_tokenizer, parse_tokenizer, token_dtype
from dolma_pipeline.tokens.train_bpe import train_bpe


@pytest.fixture(scope="module")
def small() -> str:
    texts = ["The cat sat on the mat; the dog ate the cake."] * 5
    return train_bpe(texts, vocab_size=300, special_tokens=["<|eos|>", "<|pad|>"], added_tokens=["|||IP|||"])


def word_piece() -> str:
    """A tokenizer that gigatoken does not know."""
    vocabulary = {"[UNK]": 0, "cat": 1, "dog": 2}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": vocabulary}
    found = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "normalizer": None}
    return json.dumps(
        {**found, "post_processor": None, "decoder": None, "model": {**model, "max_input_chars_per_word": 100}}
    )


def test_olmo(data: Path):
    path = data / "tokenizer" / "allenai_gpt-neox-olmo-dolma-v1_5.json"
    info = load_tokenizer(path)
    assert (info.vocab_size, info.num_ids, info.engine) == (50280, 50280, "gigatoken")
    assert info.special_ids == {"<|padding|>": 1, "<|endoftext|>": 50279}
    assert info.added_ids["|||IP_ADDRESS|||"] == 0
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.dtype == np.dtype("<u2")
    assert info.special_id("<|endoftext|>") == 50279


def test_a_token_that_the_recipe_names_is_special(small: str):
    info = parse_tokenizer(small, special_tokens=["|||IP|||"])
    assert info.special_ids == {
        "<|eos|>": 0,
        "<|pad|>": 1,
        "|||IP|||": 299 if info.num_ids == 300 else info.num_ids - 1,
    }
    assert info.added_ids == {}


def test_ids_may_have_gaps(small: str):
    found: dict[str, Any] = json.loads(small)
    found["model"]["vocab"]["unreachable"] = 999
    info = parse_tokenizer(json.dumps(found), engine="tokenizers")
    assert info.num_ids == 1000
    assert info.vocab_size < 400


@pytest.mark.parametrize(
    ("num_ids", "dtype"), [(256, "u1"), (257, "<u2"), (65536, "<u2"), (65537, "<u4"), (2**32, "<u4")]
)
def test_dtype_is_the_smallest_that_holds_the_ids(num_ids: int, dtype: str):
    assert token_dtype(num_ids) == np.dtype(dtype)


def test_more_ids_than_32_bits():
    with pytest.raises(DataError, match="4294967297 token ids do not fit in 32 bits"):
        token_dtype(2**32 + 1)


def test_falls_back_with_a_warning_that_says_why():
    with pytest.warns(RuntimeWarning, match="words.json: encoding with tokenizers.*gigatoken cannot load.*WordPiece"):
        info = parse_tokenizer(word_piece(), name="words.json")
    assert info.engine == "tokenizers"


def test_an_engine_that_is_asked_for_does_not_fall_back():
    with pytest.raises(RunError, match=r"gigatoken cannot load this tokenizer.*WordPiece"):
        parse_tokenizer(word_piece(), engine="gigatoken")


def test_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"tok\.json: no such file; `tokenizer\.load` names a tokenizer\.json"):
        load_tokenizer(tmp_path / "tok.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "tok.json: not a tokenizer.json: Expecting value"),
        (b"[1]", "tok.json: not a tokenizer.json: it has no `model`"),
        (b"\xff\xfe", "tok.json: not a tokenizer.json: .*utf-8"),
        (b'{"model": {"type": "Wrong"}}', "tok.json: not a tokenizer that `tokenizers` can load"),
    ],
)
def test_what_is_not_a_tokenizer(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "tok.json").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_tokenizer(tmp_path / "tok.json")


def test_unknown_special_token(small: str):
    with pytest.raises(UnknownNameError, match=r"no token named '<\|eot\|>'. Did you mean '<\|eos\|>'"):
        parse_tokenizer(small, special_tokens=["<|eot|>"])


def test_eos_that_is_not_special(small: str):
    with pytest.raises(UnknownNameError, match=r"no special token named '\|\|\|IP\|\|\|'"):
        parse_tokenizer(small).special_id("|||IP|||")
