from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.evals.held_out import bits_per_byte, folder_digest, read_documents
from dolma_pipeline.evals.subject import Subject
from dolma_pipeline.train.model import Decoder
from tests.dolma_pipeline.evals.scorers import subject_of

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
    scored = bits_per_byte(subject_of(model, tokenizer), "web", documents, ids=map(str, range(5)))
    found = scored.numbers
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    assert (found["num_documents"], found["num_tokens"], found["num_bytes"]) == (5, num_tokens, num_bytes)
    assert found["nats"] == pytest.approx(nats, rel=1e-6)
    assert found["nats_per_token"] == pytest.approx(nats / num_tokens, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(nats / np.log(2) / num_bytes, rel=1e-6)
    assert found["perplexity"] == pytest.approx(np.exp(nats / num_tokens), rel=1e-5)
    rows = [item.row() for item in scored.items]
    assert [row["scores"]["bits_per_byte"][1] for row in rows] == [len(text.encode()) for text in TEXTS]
    assert sum(row["scores"]["bits_per_byte"][0] for row in rows) == pytest.approx(nats / np.log(2), rel=1e-6)
    assert [row["num_tokens"] for row in rows] == [len(ids) for ids in documents]
    ratio = found["bits_per_byte"]
    residuals = [y - ratio * x for y, x in (row["scores"]["bits_per_byte"] for row in rows)]
    error = np.sqrt(5 / 4 * sum(e * e for e in residuals)) / num_bytes
    assert found["bits_per_byte_stderr"] == pytest.approx(error)


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary(model: Decoder) -> None:
    level = Decoder(model.config)
    torch.nn.init.zeros_(level.head.weight)
    documents = [np.arange(1, 60, dtype=np.uint16), np.arange(5, 8, dtype=np.uint16)]
    subject = Subject(model=level, eos_id=0, encode=list, decode=lambda ids: "b" * len(ids), step=7)
    found = bits_per_byte(subject, "web", documents, ids="ab").numbers
    assert found["perplexity"] == pytest.approx(model.config.vocab_size)
    assert found["bits_per_byte"] == pytest.approx(np.log2(model.config.vocab_size))


def test_no_text_is_an_error(model: Decoder) -> None:
    subject = Subject(model=model, eos_id=0, encode=list, decode=lambda _: "", step=7)
    with pytest.raises(DataError, match="web: 2 documents hold no text"):
        bits_per_byte(subject, "web", [np.array([], np.uint16)] * 2, ids="ab")


def test_weights_that_are_no_numbers_are_named(model: Decoder) -> None:
    broken = Decoder(model.config)
    torch.nn.init.constant_(broken.blocks[1].mlp.down.weight, float("nan"))
    subject = Subject(model=broken, eos_id=0, encode=list, decode=lambda ids: "b" * len(ids), step=7)
    words = r"^step 7, web: 1 of 1 numbers are not finite: blocks\.1\.mlp\.down\.weight of this checkpoint has weights"
    with pytest.raises(RunError, match=words):
        bits_per_byte(subject, "web", [np.arange(5, 8)], ids="a")


def test_the_digest_is_of_names_and_contents(run: Path) -> None:
    folder = run / "tokens/held_out/code"
    before = folder_digest(folder)
    (folder / "part-00000.npy").rename(folder / "part-00001.npy")
    assert folder_digest(folder) != before
    assert folder_digest(run / "tokens/held_out/web") != before
