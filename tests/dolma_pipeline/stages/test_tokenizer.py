"""What a run says of its tokenizer: of the sample that it was trained on, and of text that it does not know."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import ConfigError, DolmaError
from dolma_pipeline.runner import Result, run
from tests.dolma_pipeline.tokens.small import TEXTS, unigram
from tests.pipeline.tiny import plain as plain
from tests.pipeline.tiny import write_documents

BASE64 = base64.b64encode(bytes(i * i % 251 for i in range(6000))).decode()


@pytest.fixture(autouse=True)
def here(plain: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def finish(texts: list[str], tokenizer: dict[str, Any], **settings: Any) -> Result:
    write_documents(Path("in.jsonl"), [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    recipe = {"output": "out", "workers": 1, "sources": {"s": {"documents": "in.jsonl"}}, "mix": {}, "tokens": {}}
    return run(recipe_from_text(json.dumps({**recipe, "tokenizer": tokenizer, **settings})), quiet=True)


def chinese(rng: random.Random, num_chars: int) -> str:
    return "".join(chr(0x4E00 + rng.randrange(50)) if rng.random() < 0.9 else "，" for _ in range(num_chars))


@pytest.mark.parametrize("length", [300, 1500, 6000])
def test_paragraphs_without_blanks_are_learned_whatever_their_length(length: int, capfd: Any) -> None:
    rng = random.Random(3)
    texts = [chinese(rng, length) for _ in range(60_000 // length)] + ["The miller counts."]
    result = finish(texts, {"train": "bpe", "vocab_size": 400})
    made = result.manifests["tokenizer"].record
    assert made["warnings"] == []
    assert made["tokenizer"]["num_ids"] == 400
    mix = result.manifests["mix"].counts["s"]
    assert mix.bytes_kept / mix.tokens_kept > 2.5
    assert "warning" not in capfd.readouterr().err


def test_a_sample_that_serves_badly_is_told_three_times(capfd: Any) -> None:
    """In the manifest, on stderr, and under the tables."""
    result = finish(["The miller counts the sacks."] * 20 + [BASE64], {"train": "bpe", "vocab_size": 4000})
    (left_out, small) = result.manifests["tokenizer"].record["warnings"]
    assert left_out.startswith("8,000 of the 8,560 bytes of the tokenizer's sample (93.5 %) were left out")
    assert small.startswith(
        "the tokenizer has 278 entries; tokenizer.vocab_size asks for 4,000. Its sample (560 bytes of"
    )
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")] == [
        f"warning: tokenizer: {left_out}",
        f"warning: tokenizer: {small}",
    ]
    assert f"\nwarnings\n  tokenizer: {left_out}\n  tokenizer: {small}\n" in result.text()


def test_a_sample_of_which_nothing_is_left_is_an_error() -> None:
    words = r"no text to train a tokenizer on: all 8,000 bytes of the sample \(1 documents\) were left out"
    with pytest.raises(DolmaError, match=words):
        finish([BASE64], {"train": "bpe", "vocab_size": 300})


STRANGE = "The miller is \U0001f600 before noon, and shows </s> to the river."


def load_unigram() -> dict[str, Any]:
    Path("tok.json").write_text(unigram(), encoding="utf-8")
    return {"load": "tok.json", "special_tokens": []}


@pytest.mark.filterwarnings("ignore:.*30 times slower")
def test_unknown_text_is_counted_and_special_text_stays_text(capfd: Any) -> None:
    tokens = {"eos": "</s>"}
    result = finish([*TEXTS, STRANGE], load_unigram(), tokens=tokens)
    tokens_made = result.manifests["tokens"]
    count = tokens_made.counts["train"]
    ids = np.fromfile("out/tokens/train/part-00000.npy", tokens_made.record["dtype"]).tolist()
    assert (count.documents, ids.count(1)) == (21, 21), "an EOS ends each document and stands nowhere else"
    assert count.unk == ids.count(2) == count.unk_by_source["s"] > 0
    assert tokens_made.record["warnings"] == [
        f"{count.unk:,} of the {len(ids):,} tokens of train ({100 * count.unk / len(ids):.2f} %) are <unk> (id 2), "
        f"text that the tokenizer does not know; by source: s {count.unk}"
    ]
    assert "\nwarning: tokens: " in (said := capfd.readouterr().err)
    assert said.count("warning: tok.json: the tokenizer writes <unk> (id 2) for text that it does not know") == 1


@pytest.mark.filterwarnings("ignore:.*30 times slower")
def test_it_is_said_before_anything_is_started(capfd: Any) -> None:
    write_documents(Path("in.jsonl"), [{"id": "0", "text": "x"}])
    recipe = {"output": "out", "sources": {"s": {"documents": "in.jsonl"}}, "mix": {}, "tokens": {"eos": "</s>"}}
    result = run(recipe_from_text(json.dumps({**recipe, "tokenizer": load_unigram()})), dry_run=True)
    (said,) = result.warnings()
    assert said.startswith("tok.json: the tokenizer writes <unk> (id 2) for text that it does not know")
    assert f"\nwarning: {said}\n" in result.text()
    assert capfd.readouterr().err == ""
    assert not Path("out").exists()


@pytest.mark.filterwarnings("ignore:.*30 times slower")
def test_the_unknown_token_cannot_end_documents() -> None:
    words = (
        r"tokens\.eos: the tokenizer writes '<unk>' for text that it does not know, so it cannot end documents\. "
        r"Name another special token; there are <pad>, </s>, <unk>\."
    )
    with pytest.raises(ConfigError, match=words):
        finish(TEXTS, load_unigram(), tokens={"eos": "<unk>"})
