"""The loss of each source: of the parts of a tokens stage, by labels, over micro-batches and masked sequences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from dolma_pipeline.tokens.dataset import TokenDataset
from dolma_pipeline.tokens.shards import write_part
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.model import IGNORED, nats
from dolma_pipeline.train.objective import NextToken
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.work import token_work
from dolma_pipeline.train.world import World

LENGTH = 32


@pytest.fixture
def dataset(tmp_path: Path, corpus: np.ndarray) -> TokenDataset:
    """Documents of 20 ids and EOS, of two sources in turn; a third source, which is too rare to be in each step."""
    ids = corpus.reshape(-1)[:8400].reshape(-1, 20)
    names = [("web", "code")[i % 2] if i != 300 else "rare" for i in range(len(ids))]
    rows = {"origin": [f"a#{i}" for i in range(len(ids))], "source": names, "id": names, "loc": [1] * len(ids)}
    lists = pa.array([row.tolist() for row in ids], pa.list_(pa.uint8()))
    table = pa.table({**rows, "epoch": pa.array([0] * len(ids), pa.int32()), "tokens": lists})
    write_part(tmp_path / "tokens/train/part-00000", [table], dtype=np.dtype("u1"), eos=0)
    counts = {"train": {"documents_by_source": {name: names.count(name) for name in sorted(set(names))}}}
    (tmp_path / "tokens/manifest.json").write_text(json.dumps({"dtype": "uint8", "counts": counts}))
    return TokenDataset(tmp_path / "tokens/train", sequence_length=LENGTH)


def test_losses_of_sources_make_up_the_loss(
    dataset: TokenDataset, world: World, settings: Settings, changed: Callable[..., Settings], tmp_path: Path
) -> None:
    halves = changed(settings, micro_batch_tokens=2 * LENGTH)
    (tmp_path / "quarantine.jsonl").write_text('{"instance": 5, "reason": "by hand", "step": 0}\n')
    fit(tmp_path, settings=halves, dataset=dataset, world=world)
    rows = [json.loads(line) for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()]
    work = token_work(halves, {"tokens": dataset}, world=world)
    model = build(halves.model, seed=halves.seed, mesh=world.mesh, device=world.device, precision="fp32")
    batch = work.batches.read(1, masked={5}).to(world.device)
    with torch.no_grad():
        nats_BT = nats(model(batch.tokens), batch.labels)
    expected = {}
    for instance, row_T, label_T in zip(batch.instances, nats_BT, batch.labels, strict=True):
        spans = dataset.documents(instance)
        source_T = [span.source for span in spans for _ in range(span.end - span.start)]
        for t in range(LENGTH - 1):
            if label_T[t] != IGNORED:  # the label is the id after it
                expected.setdefault(source_T[t + 1], []).append(float(row_T[t]))
    assert rows[0]["loss_by_source"] == pytest.approx(
        {name: np.mean(each) for name, each in expected.items()}, rel=1e-5
    )
    assert all({"web", "code"} <= {*row["loss_by_source"]} <= {"web", "code", "rare"} for row in rows)
    assert any("rare" not in row["loss_by_source"] for row in rows)


def test_no_losses_of_sources_where_they_are_not_asked_for(
    dataset: TokenDataset, world: World, settings: Settings, changed: Callable[..., Settings]
) -> None:
    assert token_work(settings, {"tokens": dataset}, world=world).objective == NextToken(("code", "rare", "web"))
    off = token_work(changed(settings, loss_by_source=False), {"tokens": dataset}, world=world)
    assert off.objective == NextToken()
    assert not off.batches.read(1, masked=()).more


def test_one_source_is_the_loss(dataset: TokenDataset, world: World, settings: Settings) -> None:
    path = dataset.folder.parent / "manifest.json"
    counts = {"train": {"documents_by_source": {"web": 420}}}
    path.write_text(json.dumps({"dtype": "uint8", "counts": counts}))
    assert token_work(settings, {"tokens": dataset}, world=world).objective == NextToken()


def test_parts_that_count_no_sources_are_told_of(dataset: TokenDataset, world: World, settings: Settings) -> None:
    (dataset.folder.parent / "manifest.json").write_text(json.dumps({"dtype": "uint8"}))
    work = token_work(settings, {"tokens": dataset}, world=world)
    assert "no loss by source: the manifest of the parts counts no sources" in work.remarks
    assert work.objective == NextToken()
