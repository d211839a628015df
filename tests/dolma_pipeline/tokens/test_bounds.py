"""The most tokens a byte: no text has more, and nothing is said of tokenizers that put something in."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from dolma_pipeline.tokens.bounds import MOST_BYTES_OF_NFC, most_tokens_a_byte
from dolma_pipeline.tokens.train_bpe import train_bpe
from tests.dolma_pipeline.tokens.small import char_bpe, unigram, word_level, word_piece

Split = pre_tokenizers.Split("a", "isolated")
ByteLevel = pre_tokenizers.ByteLevel(add_prefix_space=False)
NFC = normalizers.NFC()


def byte_level(normalizer: Any = None, cutter: Any = ByteLevel) -> Tokenizer:
    """A token for each byte, and one of two."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {char: i for i, char in enumerate([*alphabet, "aa"])}
    tokenizer = Tokenizer(models.BPE(ids, [("a", "a")]))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = cutter
    tokenizer.add_tokens([AddedToken("|||X|||", special=False, normalized=False)])
    return tokenizer


def bound(tokenizer: Tokenizer) -> int | None:
    return most_tokens_a_byte(json.loads(tokenizer.to_str()))


KNOWN = {
    "bytes": byte_level(),
    "cut first": byte_level(cutter=pre_tokenizers.Sequence([Split, pre_tokenizers.Digits(), ByteLevel])),
    "NFC": byte_level(NFC),
    "NFC in a sequence": byte_level(normalizers.Sequence([NFC])),
    "trained": Tokenizer.from_str(train_bpe(["some text of some words"], vocab_size=259)),
}


def test_what_is_known() -> None:
    assert {name: bound(one) for name, one in KNOWN.items()} == {
        "bytes": 1,
        "cut first": 1,
        "NFC": 3,
        "NFC in a sequence": 3,
        "trained": 1,
    }


@pytest.mark.parametrize("name", KNOWN)
@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("a|X \U0001d160\u0958\u0390"), max_size=40)
)
def test_no_text_has_more(name: str, text: str) -> None:
    most = bound(KNOWN[name])
    assert most is not None
    assert len(KNOWN[name].encode(text, add_special_tokens=False).ids) <= most * len(text.encode())


def test_nfc_makes_at_most_three_times_the_bytes() -> None:
    chars = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    grown = max(len(unicodedata.normalize("NFC", c).encode()) / len(c.encode()) for c in chars)
    assert grown == MOST_BYTES_OF_NFC


@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_level(cutter=pre_tokenizers.ByteLevel(add_prefix_space=True)),
        byte_level(cutter=pre_tokenizers.Sequence([Split, pre_tokenizers.ByteLevel(add_prefix_space=True)])),
        byte_level(cutter=pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), ByteLevel])),
        byte_level(cutter=Split),
        byte_level(normalizers.NFKC()),
        byte_level(normalizers.Sequence([NFC, normalizers.Prepend("x")])),
        byte_level(normalizers.ByteLevel()),
        *(Tokenizer.from_str(make()) for make in (unigram, word_level, word_piece, char_bpe)),
    ],
)
def test_of_others_nothing_is_known(tokenizer: Tokenizer) -> None:
    assert bound(tokenizer) is None
