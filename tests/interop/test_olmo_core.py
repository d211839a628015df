"""Our shards, read by ai2-olmo-core in an environment of its own: the same instances, order and documents.

`make interop` makes that environment and names its Python in DOLMA_PIPELINE_INTEROP_PYTHON.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config import load_recipe
from dolma_pipeline.runner import run
from dolma_pipeline.tokens import Order, TokenDataset, batch_instances
from dolma_pipeline.tokens.tokenizer import load_tokenizer

pytestmark = pytest.mark.interop

LENGTH, BATCH, SEED, EPOCHS, WORLD_SIZES = 64, 8, 7, 2, (1, 2, 4)
EOS = "<|endoftext|>"


def shards(folder: Path, texts: list[str], tokenizer: Path) -> Path:
    """Real text through a whole run."""
    rows = [{"id": f'id "{row}",\n{row}', "text": text} for row, text in enumerate(texts)]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "interop",
        "output": "run",
        "sources": {"web": {"documents": ["web.jsonl"]}},
        "tokenizer": {"load": str(tokenizer.absolute())},
        "mix": {},
        "tokens": {"max_shard_tokens": 30_000, "eos": EOS},
    }
    (folder / "recipe.yaml").write_text(json.dumps(settings))
    with contextlib.chdir(folder):
        run(load_recipe("recipe.yaml"), quiet=True)
    return folder / "run" / "tokens" / "train"


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "documents" / "web" / "web-0000.jsonl.gz") as lines:
        found = [json.loads(line)["text"] for _, line in zip(range(120), lines, strict=False)]
    return [*found, f"A page about {EOS} itself.", ""]


@pytest.fixture(scope="module")
def seen(
    answers: Callable[..., dict[str, Any]], data: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TokenDataset, dict[str, Any]]:
    """Our dataset, and what OLMo-core says of the same folder."""
    path = data / "tokenizer" / "allenai_gpt-neox-olmo-dolma-v1_5.json"
    info = load_tokenizer(path)
    folder = shards(tmp_path_factory.mktemp("interop"), texts, path)
    asked = {
        "folder": str(folder),
        "sequence_length": LENGTH,
        "dtype": info.dtype.name,
        "vocab_size": info.num_ids,
        "eos": info.special_id(EOS),
        "seed": SEED,
        "batch_instances": BATCH,
        "epochs": EPOCHS,
        "world_sizes": WORLD_SIZES,
    }
    return (
        TokenDataset(folder, sequence_length=LENGTH, dtype=info.dtype),
        answers("read_with_olmo_core.py", asked, folder=folder),
    )


def test_same_instances(seen: tuple[TokenDataset, dict[str, Any]]):
    dataset, olmo = seen
    assert len(dataset.parts) >= 3
    assert len(dataset) > 500
    assert [hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest() for ids in dataset] == olmo["instances"]


def test_same_order_for_each_rank_and_epoch(seen: tuple[TokenDataset, dict[str, Any]]):
    dataset, olmo = seen
    order = Order(num_instances=len(dataset), batch_instances=BATCH, seed=SEED, kind="olmo-core")
    steps = range(1, order.steps_per_epoch + 1)
    ours = {
        f"{world_size}/{epoch}/{rank}": [
            batch_instances(
                step + (epoch - 1) * order.steps_per_epoch, rank=rank, world_size=world_size, order=order
            ).tolist()
            for step in steps
        ]
        for world_size in WORLD_SIZES
        for epoch in range(1, EPOCHS + 1)
        for rank in range(world_size)
    }
    assert ours == olmo["batches"]


def test_same_documents(seen: tuple[TokenDataset, dict[str, Any]], texts: list[str]):
    """EOS in the ids and the side file say the same, though a text shows EOS, one is empty and ids hold line ends."""
    dataset, olmo = seen
    total = 0
    for part in dataset.parts:
        from_ids, from_csv = olmo["documents"][part.name]
        assert from_ids == from_csv
        total += len(from_ids)
    assert total == len(texts) - 1
