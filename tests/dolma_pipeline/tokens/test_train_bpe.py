"""A trained tokenizer: its ids, its determinism, and both engines on it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, parse_tokenizer
from dolma_pipeline.tokens.train_bpe import train_bpe

MASKS = ["|||EMAIL_ADDRESS|||", "|||IP_ADDRESS|||"]
EOS = "<|endoftext|>"


def texts_of(data: Path) -> Iterator[str]:
    with gzip.open(data / "documents" / "web" / "web-0000.jsonl.gz") as lines:
        for _, line in zip(range(300), lines, strict=False):
            yield json.loads(line)["text"]


@pytest.fixture(scope="module")
def trained(data: Path) -> TokenizerInfo:
    return parse_tokenizer(
        train_bpe(texts_of(data), vocab_size=1500, special_tokens=[EOS, "<|pad|>"], added_tokens=MASKS)
    )


def test_ids(trained: TokenizerInfo):
    assert (trained.vocab_size, trained.num_ids) == (1500, 1500)
    assert trained.special_ids == {EOS: 0, "<|pad|>": 1}
    assert trained.added_ids == {MASKS[0]: 1498, MASKS[1]: 1499}
    assert trained.engine == "gigatoken"


def test_it_compresses_unseen_text(data: Path, trained: TokenizerInfo):
    with gzip.open(data / "documents" / "books" / "books-0000.jsonl.gz") as lines:
        text = json.loads(next(lines))["text"][:20_000]
    ids = encoder(trained).encode(pa.array([text]))
    assert len(ids.flatten()) < len(text.encode()) / 2


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.one_of(st.sampled_from([EOS, *MASKS]), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    ).map("".join)
)
def test_every_text_comes_back_from_both_engines(trained: TokenizerInfo, text: str):
    fast, reference = encoder(trained), encoder(replace(trained, engine="tokenizers"))
    ids = fast.encode(pa.array([text], pa.string())).to_pylist()[0]
    assert ids == reference.encode(pa.array([text], pa.string())).to_pylist()[0]
    assert fast.decode(ids) == text
    assert not {0, 1} & set(ids)
    assert ids.count(1498) == text.count(MASKS[0])


def test_same_bytes_for_any_threads_and_hash_seed(data: Path, tmp_path: Path):
    """Ties between pairs and the order of word counts must not show."""
    (tmp_path / "texts.json").write_text(json.dumps(list(texts_of(data))))
    program = (
        "import json, sys, hashlib; from dolma_pipeline.tokens.train_bpe import train_bpe; "
        "settings = dict(vocab_size=1500, special_tokens=['<s>'], added_tokens=['|||X|||']); "
        "found = train_bpe(json.load(open(sys.argv[1])), **settings); "
        "print(hashlib.sha256(found.encode()).hexdigest())"
    )
    digests = []
    for threads, parallel in (("1", "true"), ("2", "true"), ("4", "true"), ("2", "false")):
        environment = {
            **os.environ,
            "RAYON_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": parallel,
            "PYTHONHASHSEED": threads,
        }
        command = [sys.executable, "-c", program, str(tmp_path / "texts.json")]
        digests.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    here = train_bpe(texts_of(data), vocab_size=1500, special_tokens=["<s>"], added_tokens=["|||X|||"])
    assert set(digests) == {hashlib.sha256(here.encode()).hexdigest() + "\n"}


def test_ties_are_stable():
    """All pairs are equally frequent: only the rule for ties decides."""
    texts = [f"{a}{b}{c} " * 2 for a in "abcd" for b in "efgh" for c in "ijkl"]
    assert len({train_bpe(texts, vocab_size=290, special_tokens=[EOS]) for _ in range(10)}) == 1


def test_nothing_is_learned_from_within_masks():
    found = json.loads(
        train_bpe([f"mail {MASKS[0]} now"] * 50, vocab_size=400, special_tokens=[EOS], added_tokens=MASKS)
    )
    learned = [token for token in found["model"]["vocab"] if len(token) > 1]
    assert any("mail" in token for token in learned)
    assert not [token for token in learned if "EMAIL" in token or "ADD" in token or "||" in token]


def test_a_small_sample_gives_fewer_ids():
    with pytest.warns(RuntimeWarning, match="the tokenizer has 260 entries; tokenizer.vocab_size asks for 1,000"):
        made = train_bpe(["ab ab"], vocab_size=1000, special_tokens=[EOS], added_tokens=MASKS)
    info = parse_tokenizer(made)
    assert 259 < info.num_ids < 270


def test_exactly_the_bytes():
    info = parse_tokenizer(train_bpe(["some text, some text"], vocab_size=257, special_tokens=[EOS]))
    assert info.num_ids == 257


@pytest.mark.parametrize(
    ("vocab_size", "special", "added", "words"),
    [
        (
            258,
            [EOS],
            MASKS,
            "tokenizer.vocab_size: 258 is too small; 256 bytes and 3 special and added tokens need at least 259",
        ),
        (500, [EOS], [EOS], r"tokenizer: the token '<\|endoftext\|>' is named twice"),
        (500, [EOS], [""], "tokenizer: the token '' must be one or more ASCII characters"),
        (500, ["<fin/é>"], [], "tokenizer: the token '<fin/é>' must be one or more ASCII"),
    ],
)
def test_what_cannot_be_trained(vocab_size: int, special: list[str], added: list[str], words: str):
    with pytest.raises(ConfigError, match=words):
        train_bpe(["text"], vocab_size=vocab_size, special_tokens=special, added_tokens=added)


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text(texts: list[str]):
    with pytest.raises(DataError, match="no text to train a tokenizer on: the sample is empty"):
        train_bpe(texts, vocab_size=300)


def test_all_text_left_out():
    words = (
        r"no text to train a tokenizer on: all 5,000 bytes of the sample \(2 documents\) were left out, because they "
        r"are runs of 1,000 characters and more that no language writes: without a blank .* Train on other documents"
    )
    with pytest.raises(DataError, match=words):
        train_bpe(["x" * 2000, "-" * 3000], vocab_size=300)
