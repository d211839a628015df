from __future__ import annotations

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.mesh import mesh_shape


@pytest.mark.parametrize(
    ("size", "node_size", "shard_over", "shape"),
    [
        (16, 8, "all", (16,)),
        (16, 8, "node", (2, 8)),
        (8, 8, "node", (8,)),
        (4, 1, "node", (4, 1)),
        (1, 1, "node", (1,)),
    ],
)
def test_shapes(size: int, node_size: int, shard_over: str, shape: tuple[int, ...]) -> None:
    assert mesh_shape(size, node_size=node_size, shard_over=shard_over) == shape  # type: ignore[arg-type]


def test_nodes_of_unequal_size_have_no_copy_each() -> None:
    with pytest.raises(UsageError, match=r"train.shard_over is node, but 12 processes are not whole nodes of 8"):
        mesh_shape(12, node_size=8, shard_over="node")
