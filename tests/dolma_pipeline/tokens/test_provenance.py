"""From a step back to documents, through the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens import Order, TokenDataset, where_is
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.shards import write_part

EOS = 65_535


@pytest.fixture
def dataset(tmp_path: Path) -> TokenDataset:
    """200 shuffled documents; document 7 holds the id 7 many times."""
    rows = range(200)
    table = pa.table(
        {
            "key": document_key([f"s/f#{i}" for i in rows], seed=1),
            "origin": [f"s/f#{i}" for i in rows],
            "source": ["s"] * 200,
            "id": ["x"] * 200,
            "loc": list(rows),
            "epoch": pa.array([0] * 200, pa.int32()),
            "tokens": pa.array([[i] * (1 + i % 30) for i in rows], pa.list_(pa.uint16())),
        }
    )
    write_part(tmp_path / "part-00000", [table.sort_by("key")], dtype=np.dtype("<u2"), eos=EOS)
    return TokenDataset(tmp_path, sequence_length=16, dtype="uint16")


def test_the_documents_of_a_step_are_those_whose_ids_were_seen(dataset: TokenDataset):
    order = Order(num_instances=len(dataset), batch_instances=4, seed=3)
    for step in (1, 2, order.steps_per_epoch + 1):
        ranks = [where_is(step, rank=rank, world_size=2, order=order, dataset=dataset) for rank in range(2)]
        assert [found.instance for pair in zip(*ranks, strict=True) for found in pair] == [
            found.instance for found in where_is(step, order=order, dataset=dataset)
        ]
        for found in [*ranks[0], *ranks[1]]:
            ids = dataset[found.instance]
            for span in found.documents:
                assert set(ids[span.start : span.end].tolist()) <= {int(span.origin.split("#")[1]), EOS}
            assert found.documents[0].start == 0
            assert found.documents[-1].end == 16


def test_an_order_of_another_dataset(dataset: TokenDataset):
    order = Order(num_instances=len(dataset) + 1, batch_instances=4, seed=3)
    with pytest.raises(
        UsageError, match=rf"the order has {len(dataset) + 1} instances, the dataset {len(dataset)} of 16 tokens"
    ):
        where_is(1, order=order, dataset=dataset)
