"""No text gives a special token, whatever the model; ids and names stay what they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.special_free import hides_pieces, reference_json, special_free_json
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, parse_tokenizer
from dolma_pipeline.tokens.train_bpe import train_bpe
from tests.dolma_pipeline.tokens.small import TEXTS, char_bpe, unigram, word_level, word_piece


def info_of(text: str, *special: str) -> TokenizerInfo:
    return parse_tokenizer(text, special_tokens=special, engine="tokenizers")


def ids_of(info: TokenizerInfo, *texts: str) -> list[list[int]]:
    return encoder(info).encode(pa.array(texts)).to_pylist()


@pytest.mark.parametrize("make", [unigram, word_level])
def test_a_model_that_finds_its_special_pieces_in_a_text_does_not(make) -> None:
    text = "by </s> the river </s>"
    info = info_of(make())
    plain = Tokenizer.from_str(info.json)
    plain.encode_special_tokens = True
    end = info.special_ids["</s>"]
    assert end in plain.encode(text, add_special_tokens=False).ids, "else this tests nothing"
    (ids,) = ids_of(info, text)
    assert end not in ids
    assert info.unknown.id in ids
    assert encoder(info).decode([*ids_of(info, "by the river.")[0], end]).endswith("</s>")


def test_other_texts_are_encoded_as_ever() -> None:
    for make in (unigram, word_level, word_piece, char_bpe):
        info = info_of(make())
        plain = Tokenizer.from_str(info.json)
        assert ids_of(info, *TEXTS) == [plain.encode(text, add_special_tokens=False).ids for text in TEXTS]


def test_every_id_stays() -> None:
    """Masks that are not in the model's vocabulary are numbered after it, special pieces or not."""
    made = json.loads(unigram())
    size = len(made["model"]["vocab"])
    made["added_tokens"].append({**made["added_tokens"][0], "id": size, "content": "|||IP|||", "special": False})
    info = info_of(json.dumps(made))
    assert info.added_ids == {"|||IP|||": size}
    assert ids_of(info, "by |||IP||| the")[0].count(size) == 1
    hidden = Tokenizer.from_str(reference_json(info))
    assert hidden.get_vocab_size() == Tokenizer.from_str(info.json).get_vocab_size()


def test_a_piece_that_only_the_recipe_calls_special() -> None:
    info = info_of(word_level(), "miller")
    (ids,) = ids_of(info, "The miller counts")
    assert ids[1] == info.unknown.id
    assert encoder(info).decode([info.special_ids["miller"]]) == "miller"


def test_bpe_that_looks_whole_words_up_does_not_find_them() -> None:
    """`ignore_merges`, as in Llama 3."""
    made = json.loads(train_bpe(TEXTS, vocab_size=300, special_tokens=["EOS"]))
    made["model"]["ignore_merges"] = True
    plain = Tokenizer.from_str(json.dumps(made))
    plain.encode_special_tokens = True
    assert plain.encode("EOS").ids == [0], "else this tests nothing"
    info = parse_tokenizer(json.dumps(made))
    assert hides_pieces(info)
    for engine in ("tokenizers", info.engine):
        same = replace(info, engine=engine)
        assert 0 not in ids_of(same, "EOS")[0]
        assert encoder(same).decode(ids_of(same, "EOS")[0]) == "EOS"


def test_bpe_without_it_is_left_as_it_is() -> None:
    info = parse_tokenizer(train_bpe(TEXTS, vocab_size=300, special_tokens=["<|eos|>"]))
    assert not hides_pieces(info)
    assert json.loads(special_free_json(info))["model"] == json.loads(info.json)["model"]


def test_a_special_token_that_letters_are_merged_to_is_refused() -> None:
    """A recipe names a common word: every text that holds it would end there."""
    words = (
        r"^tok\.json: the text 'm' gives the id \d+ of the special token 'm'\. A special token must not come out of a "
        r"text: name one that is not a common word, or leave it out of tokenizer\.special_tokens$"
    )
    with pytest.raises(DataError, match=words):
        parse_tokenizer(train_bpe(TEXTS, vocab_size=280), special_tokens=["m"], name="tok.json")
