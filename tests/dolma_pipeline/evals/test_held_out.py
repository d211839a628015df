from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.held_out import bits_per_byte, folder_digest, read_documents
from dolma_pipeline.train.model import Decoder

TEXTS = ["The cat sat on the mat.", "Grüße aus Köln – 你好, 世界! 😀", "a" * 90 + " end", "", "x"]  # conftest's web


def test_documents_come_back(run: Path, tokenizer: Tokenizer) -> None:
    found = list(read_documents(run / "tokens/held_out/web", eos_id=0, vocab_size=300))
    assert [tokenizer.decode(ids.tolist(), skip_special_tokens=False) for ids in found] == TEXTS


def test_a_shard_that_was_cut_off_is_an_error(run: Path) -> None:
    part = run / "tokens/held_out/web/part-00000.npy"
    part.write_bytes(part.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"part-00000.npy: does not end with id 0 \(EOS\)"):
        list(read_documents(part.parent, eos_id=0, vocab_size=300))
    with pytest.raises(DataError, match=r"does not end with id 299"):
        list(read_documents(part.parent, eos_id=299, vocab_size=300))


def test_ids_beyond_the_vocabulary_are_an_error(run: Path) -> None:
    with pytest.raises(DataError, match=r"part-00000.npy: has id \d+, but the model's vocabulary has 50 ids"):
        list(read_documents(run / "tokens/held_out/web", eos_id=0, vocab_size=50))


def test_bits_per_byte_equals_a_plain_count(run: Path, model: Decoder, tokenizer: Tokenizer) -> None:
    """Token by token, each with the context that the rule gives it, and no batch, mask or padding."""
    length = model.config.sequence_length
    nats, num_tokens = 0.0, 0
    for text in TEXTS:
        sequence = [0, *tokenizer.encode(text, add_special_tokens=False).ids]
        for place in range(1, len(sequence)):
            first = (place - 1) // length * length
            logits = model(torch.tensor([sequence[first:place]]))[0, -1].double().numpy()
            nats += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[sequence[place]]
            num_tokens += 1
    documents = list(read_documents(run / "tokens/held_out/web", eos_id=0, vocab_size=300))
    found = bits_per_byte(
        model, documents, eos_id=0, decode=lambda ids: tokenizer.decode(ids.tolist(), skip_special_tokens=False)
    )
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    assert (found["num_documents"], found["num_tokens"], found["num_bytes"]) == (5, num_tokens, num_bytes)
    assert found["nats"] == pytest.approx(nats, rel=1e-6)
    assert found["nats_per_token"] == pytest.approx(nats / num_tokens, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(nats / np.log(2) / num_bytes, rel=1e-6)


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary(model: Decoder) -> None:
    level = Decoder(model.config)
    torch.nn.init.zeros_(level.head.weight)
    documents = [np.arange(1, 60, dtype=np.uint16), np.arange(5, 8, dtype=np.uint16)]
    found = bits_per_byte(level, documents, eos_id=0, decode=lambda ids: "b" * len(ids))
    assert found["bits_per_byte"] == pytest.approx(np.log2(model.config.vocab_size))


def test_no_text_is_an_error(model: Decoder) -> None:
    with pytest.raises(DataError, match="2 held-out documents hold no text"):
        bits_per_byte(model, [np.array([], np.uint16)] * 2, eos_id=0, decode=lambda ids: "")


def test_the_digest_is_of_names_and_contents(run: Path) -> None:
    folder = run / "tokens/held_out/code"
    before = folder_digest(folder)
    (folder / "part-00000.npy").rename(folder / "part-00001.npy")
    assert folder_digest(folder) != before
    assert folder_digest(run / "tokens/held_out/web") != before
