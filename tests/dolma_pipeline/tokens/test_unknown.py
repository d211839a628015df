"""What each kind of tokenizer does with text that it does not know."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, parse_tokenizer
from dolma_pipeline.tokens.train_bpe import train_bpe
from dolma_pipeline.tokens.unknown import Unknown, forewarnings, uncounted, unknown_counts, unknown_found, unknown_text
from tests.dolma_pipeline.tokens.small import SPECIAL, TEXTS, char_bpe, unigram, word_level, word_piece

STRANGE = "The miller is happy \U0001f600 before noon, 水."
KINDS = {"unigram": unigram, "word_piece": word_piece, "word_level": word_level, "char_bpe": char_bpe}


def parsed(text: str) -> TokenizerInfo:
    """With the engine that a run takes: none of these is for gigatoken."""
    with pytest.warns(RuntimeWarning, match="encoding with tokenizers, about 30 times slower"):
        return parse_tokenizer(text, name="tok.json")


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_text_becomes_the_unknown_token(kind: str) -> None:
    info = parsed(KINDS[kind]())
    ids = encoder(info).encode(pa.array([STRANGE, *TEXTS])).to_pylist()
    assert info.unknown.token in ("<unk>", "[UNK]")
    assert info.unknown.id == info.special_ids[info.unknown.token]
    assert ids[0].count(info.unknown.id) >= 2
    assert info.unknown.id not in [i for row in ids[1:] for i in row]
    assert forewarnings(info) == [
        f"the tokenizer writes {info.unknown.token} (id {info.unknown.id}) for text that it does not know; "
        "tokens/manifest.json will count how often"
    ]
    assert uncounted(info) == []


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_other_special_token_comes_out_of_any_text(infos: dict[str, TokenizerInfo], kind: str, text: str) -> None:
    info = infos[kind]
    ids = set(encoder(info).encode(pa.array([text, f"{text}</s>[SEP]"])).flatten().to_pylist())
    assert not ids & ({*info.special_ids.values()} - {info.unknown.id})


@pytest.fixture(scope="module")
def infos() -> dict[str, TokenizerInfo]:
    return {kind: parsed(make()) for kind, make in KINDS.items()}


def byte_fallback() -> dict[str, Any]:
    """Llama's kind: characters that are not in the vocabulary become bytes."""
    made = json.loads(char_bpe(byte_fallback=True))
    vocabulary = made["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    return made


def test_a_tokenizer_that_falls_back_to_bytes_knows_all_text() -> None:
    made = byte_fallback()
    assert unknown_text(made) == Unknown()
    assert "<unk>" not in Tokenizer.from_str(json.dumps(made)).encode(STRANGE).tokens
    del made["model"]["vocab"]["<0xF0>"]
    assert unknown_text(made) == Unknown("<unk>", 2)


def test_byte_level_bpe_knows_all_text() -> None:
    made = json.loads(train_bpe(TEXTS, vocab_size=280))
    made["model"]["unk_token"] = "never-written"
    assert unknown_text(made) == Unknown()
    made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                  made["pre_tokenizer"]]}  # fmt: skip
    assert unknown_text(made) == Unknown()
    assert forewarnings(parse_tokenizer(train_bpe(TEXTS, vocab_size=280))) == []
    made["pre_tokenizer"] = None
    with pytest.raises(DataError, match="the `unk_token` 'never-written' of its BPE model is not in the model's vocab"):
        unknown_text(made)


def test_bytes_that_no_text_has_need_not_be_known() -> None:
    """GPT-NeoX's vocabulary, which OLMo uses, is without them."""
    made = json.loads(train_bpe(TEXTS, vocab_size=280))
    for char in "\u00c0\u00c1\u00f5\u00f6\u00f7\u00f8\u00f9\u00fa\u00fb\u00fc\u00fd\u00fe\u00ff":
        del made["model"]["vocab"][char]
    assert unknown_text(made) == Unknown()
    del made["model"]["vocab"]["\u00c3"]  # begins letters such as \u00e9
    assert unknown_text(made) == Unknown(dropped=True)


def test_byte_level_without_all_bytes_does_not_know_all_text() -> None:
    made = json.loads(char_bpe())
    made["pre_tokenizer"] = json.loads(pre_tokenizers.ByteLevel().__getstate__())
    assert unknown_text(made) == Unknown("<unk>", 2)


def test_bpe_that_leaves_characters_out_is_warned_of() -> None:
    info = parsed(char_bpe(unk_token=None))
    assert info.unknown == Unknown(dropped=True)
    engine = encoder(info)
    assert engine.decode(engine.encode(pa.array(["水水水"])).to_pylist()[0]) == ""
    (told,) = forewarnings(info)
    assert told == uncounted(info)[0]
    assert told == (
        "the tokenizer leaves characters that it does not know out of texts, and nothing can count them: its BPE model "
        "has neither an unknown token nor all bytes"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: unigram(unk_id=None), "its Unigram model has no `unk_id`"),
        (
            lambda: word_level(unk_token="<x>"),
            "the `unk_token` '<x>' of its WordLevel model is not in the model's vocab",
        ),
        (
            lambda: word_piece(unk_token="<x>"),
            "the `unk_token` '<x>' of its WordPiece model is not in the model's vocab",
        ),
        (lambda: char_bpe(unk_token="<x>"), "the `unk_token` '<x>' of its BPE model is not in the model's vocab"),
    ],
)
def test_what_gives_up_on_unknown_text_is_refused(make: Callable[[], str], words: str) -> None:
    tokenizer = Tokenizer.from_str(make())
    with pytest.raises(Exception, match=r"(?i)unk"):
        tokenizer.encode(STRANGE)
    with pytest.raises(DataError, match=f"^tok.json: it cannot encode text that it does not know: {words}"):
        parse_tokenizer(make(), name="tok.json")


def test_an_unknown_token_that_is_not_marked_special() -> None:
    made = json.loads(word_level())
    made["added_tokens"] = []
    info = parsed(json.dumps(made))
    assert info.special_ids == {}
    assert info.unknown == Unknown("<unk>", SPECIAL.index("<unk>"))


def test_counts_and_what_is_said_of_them() -> None:
    info = parsed(unigram())
    assert unknown_counts(info, {"b": 2, "a": 0}) == {"unk": 2, "unk_by_source": {"b": 2, "a": 0}}
    assert unknown_counts(parse_tokenizer(train_bpe(TEXTS, vocab_size=280)), {}) == {}
    counts = {
        "train": {"tokens": 4000, "unk": 3, "unk_by_source": {"web": 2, "books": 1, "code": 0}},
        "held_out": {"tokens": 10, "unk": 0, "unk_by_source": {"web": 0}},
    }
    assert unknown_found(info, counts) == [
        "3 of the 4,000 tokens of train (0.07 %) are <unk> (id 2), text that the tokenizer does not know; "
        "by source: books 1, web 2"
    ]
    assert unknown_found(info, {"train": {"tokens": 4000}}) == []
