"""Our shards, read by ai2-olmo-core in an environment of its own: the same instances, order and documents.

`make interop` makes that environment and names its Python in DOLMA_PIPELINE_INTEROP_PYTHON.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.tokens import Order, TokenDataset, batch_instances
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.runs import cut_points, read_run, run_table, sort_runs, write_run
from dolma_pipeline.tokens.shards import write_part
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, load_tokenizer

pytestmark = pytest.mark.interop

LENGTH, BATCH, SEED, EPOCHS, WORLD_SIZES = 64, 8, 7, 2, (1, 2, 4)
EOS = "<|endoftext|>"


def shards(folder: Path, texts: list[str], info: TokenizerInfo) -> Path:
    """Real text through the whole of our writing side: encode, run files, parts."""
    documents = pa.table(
        {
            "origin": [f"web/part-0#{row}" for row in range(len(texts))],
            "source": ["web"] * len(texts),
            "id": [f'id "{row}",\n{row}' for row in range(len(texts))],
            "loc": list(range(1, len(texts) + 1)),
        }
    )
    run = run_table(documents, encoder(info).encode(pa.array(texts)), seed=1, dtype=info.dtype)
    lengths = np.diff(run.column("tokens").combine_chunks().offsets.to_numpy()) + 1
    cuts = cut_points(run.column("key").to_numpy(), lengths.astype(np.int64), max_tokens=int(lengths.sum()) // 3)
    write_run(folder / "run.arrow", run, cuts=cuts)
    for part in range(len(cuts) + 1):
        batches = sort_runs([read_run(folder / "run.arrow", part=part)])
        special = list(info.special_ids.values())
        write_part(
            folder / "train" / f"part-{part:05}",
            batches,
            dtype=info.dtype,
            eos=info.special_id(EOS),
            special_ids=special,
        )
    return folder / "train"


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    with gzip.open(data / "documents" / "web" / "web-0000.jsonl.gz") as lines:
        found = [json.loads(line)["text"] for _, line in zip(range(120), lines, strict=False)]
    return [*found, f"A page about {EOS} itself.", ""]


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> str:
    """The other environment's Python. Without it a test run at large skips; one of interop alone fails."""
    found = os.environ.get("DOLMA_PIPELINE_INTEROP_PYTHON")
    if found:
        return os.path.abspath(found)
    message = "DOLMA_PIPELINE_INTEROP_PYTHON is not set; `make interop` sets it"
    if request.config.getoption("markexpr") == "interop":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def seen(
    python: str, data: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TokenDataset, dict[str, Any]]:
    """Our dataset, and what OLMo-core says of the same folder."""
    info = load_tokenizer(data / "tokenizer" / "allenai_gpt-neox-olmo-dolma-v1_5.json")
    folder = shards(tmp_path_factory.mktemp("interop"), texts, info)
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
    script = Path(__file__).with_name("read_with_olmo_core.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(script), json.dumps(asked)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return TokenDataset(folder, sequence_length=LENGTH, dtype=info.dtype), json.loads(done.stdout.splitlines()[-1])


def test_same_instances(seen: tuple[TokenDataset, dict[str, Any]]):
    dataset, olmo = seen
    assert len(dataset.parts) >= 3
    assert len(dataset) > 500
    assert [hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest() for ids in dataset] == olmo["instances"]


def test_same_order_for_each_rank_and_epoch(seen: tuple[TokenDataset, dict[str, Any]]):
    dataset, olmo = seen
    order = Order(num_instances=len(dataset), batch_instances=BATCH, seed=SEED)
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
