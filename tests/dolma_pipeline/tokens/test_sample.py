"""What of a sample is trained on: no piece is long, no language is left out, and what is left out is told."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from dolma_pipeline.tokens.sample import LONGEST, Sample, cut_long
from dolma_pipeline.tokens.train_bpe import train_bpe

CHINESE = "".join(chr(0x4E00 + i * 7 % 2900) for i in range(3000))
THAI = "ภาษาไทยเขียนติดกันไปโดยไม่มีช่องว่างระหว่างคำ" * 60
BASE64 = base64.b64encode(bytes(i * i % 251 for i in range(3000))).decode()


def trained_on(*texts: str, added: tuple[str, ...] = ()) -> str:
    return "".join(Sample(texts, added))


@pytest.mark.parametrize(
    "text",
    [
        CHINESE,
        "，".join(CHINESE[i : i + 12] for i in range(0, 3000, 12)),
        "日本語の文章は、" * 300,
        THAI,
        "ມື້ນີ້ຂ້ອຍຢູ່ເຮືອນ" * 100,
        "ភាសាខ្មែរសរសេរជាប់គ្នា" * 100,
        "မြန်မာစာသည်" * 200,
        "བོད་ཡིག་" * 300,
        "ᬩᬲᬩᬮᬶ" * 300,  # Balinese: every script of the east, not only those of the signatures
        "ሰላም።" * 400,
        "Ordinary prose, with blanks. " * 100,
        "x" * (LONGEST - 1),
        " " * (LONGEST - 1),
    ],
)
def test_text_is_kept(text: str) -> None:
    assert trained_on(text) == text


@pytest.mark.parametrize(
    "noise",
    [BASE64, "a" * 1000, "哈" * 1000, " " * 1000, "\n" * 2000, "=" * 5000, "0123456789abcdef" * 100,
     "a" * 2000 + BASE64, "。" * 1000, "Ж" * 300 + "x" * 700],
    ids=["base64", "a", "ha", "blanks", "lines", "rule", "hex", "a-base64", "stops", "mixed"],
)  # fmt: skip
def test_what_no_language_writes_is_left_out(noise: str) -> None:
    sample = Sample([f"before {noise} after", f"水{noise}山"])
    assert "".join("".join(sample).split()) == "beforeafter水山"
    assert sample.num_bytes == len(f"before {noise} after水{noise}山".encode())
    left_out = 2 * len(noise.encode())
    # Blanks around blanks are of the run, and so is a letter of a script with blanks beside it.
    assert left_out <= sample.num_bytes_left_out <= left_out + 4


def test_noise_in_chinese_goes_and_the_chinese_stays() -> None:
    assert trained_on(f"{CHINESE}{BASE64}{CHINESE}") == CHINESE + CHINESE


ALPHABET = st.sampled_from("aZé7²_-+=哈水ก่་ \n\x1c\x85\u3000٣①")
RUNS = st.lists(st.tuples(st.text(ALPHABET, min_size=1, max_size=3), st.integers(1, 1300)), max_size=5).map(
    lambda runs: "".join(text * count for text, count in runs)
)


@settings(max_examples=150, deadline=None)
@given(RUNS)
def test_a_cut_loses_nothing_and_leaves_no_long_piece(text: str) -> None:
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    parts = list(cut_long(text))
    assert "".join(parts) == text
    assert all(parts)
    for part in parts:
        assert all(end - start <= LONGEST + 1 for _, (start, end) in pieces.pre_tokenize_str(part))
    if all(end - start < LONGEST for _, (start, end) in pieces.pre_tokenize_str(text)):
        assert len(parts) <= 1 + len(text) // LONGEST


def test_text_of_short_pieces_is_not_cut() -> None:
    prose = "Some words; 中文沒有空格，逗號很多。 " * 500
    assert list(Sample([prose])) == [prose]


def test_added_tokens_are_cut_out_first() -> None:
    """A mask parts a run: what is on either side of it is looked at by itself, and the mask is not left out."""
    sample = Sample([f"{'ab' * 300}|||IP|||{'cd' * 300}"], ["|||IP|||"])
    assert list(sample) == ["ab" * 300, "cd" * 300]
    assert sample.num_bytes_left_out == 0


def test_a_sample_that_serves_is_not_spoken_of() -> None:
    sample = Sample(["word " * 100, "x" * 1000 + " word" * 10_000])
    list(sample)
    assert sample.num_bytes_left_out == 1000
    assert sample.warnings(vocab_size=300, num_ids=300) == []


def test_a_large_share_left_out_is_told_with_numbers() -> None:
    sample = Sample(["words and more " * 10, BASE64])
    list(sample)
    (told,) = sample.warnings(vocab_size=300, num_ids=300)
    assert told == (
        "4,000 of the 4,150 bytes of the tokenizer's sample (96.4 %) were left out, because they are runs of 1,000 "
        "characters and more that no language writes: without a blank (base64, digests), of one character, or of "
        "blanks. If they should not be in the corpus either, drop their documents by a rule in mix.where"
    )


def test_a_small_vocabulary_is_told_with_numbers() -> None:
    told: list[str] = []
    train_bpe(["ab ab", "水"], vocab_size=1000, special_tokens=["<eos>"], report=told.append)
    assert told == [
        "the tokenizer has 258 entries; tokenizer.vocab_size asks for 1,000. Its sample (8 bytes of 2 documents) holds "
        "too few different words that occur twice. Give it more text (tokenizer.sample_bytes, mix.where, more documents"
        ") or ask for fewer entries"
    ]


def test_chinese_is_learned_however_long_its_paragraphs() -> None:
    """As many entries from paragraphs of 3,000 characters without a blank as from short ones."""
    rng = random.Random(4)
    chars = [chr(0x4E00 + i) for i in range(60)]
    clauses = ["".join(rng.choices(chars, k=rng.randrange(4, 12))) for _ in range(6000)]
    for mark in ("，", "，\n", ""):
        told: list[str] = []
        made = json.loads(train_bpe([mark.join(clauses)], vocab_size=600, report=told.append))
        assert told == []
        assert len(made["model"]["vocab"]) == 600
