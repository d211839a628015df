"""Reads a folder of parts with the package ai2-olmo-core and prints, as JSON, what it sees.

Run by the Python of an environment that has ai2-olmo-core, not by ours. (Not called olmo_core.py: it would hide
the package.)

    python read_with_olmo_core.py '{"folder": …, "sequence_length": 64, "dtype": "uint16", "vocab_size": …, "eos": …,
                          "seed": 7, "batch_instances": 8, "epochs": 2, "world_sizes": [1, 2]}'

Printed: `version`; `instances`, the sha256 of each instance's ids as little-endian int64; `batches`, for each
world size, epoch and rank the instances of each batch as its data loader gives them; `documents`, for each
part the bounds that it reads from the ids and from the side file.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from olmo_core.data import DataCollator, NumpyFSLDataset
from olmo_core.data.data_loader import NumpyDataLoaderBase
from olmo_core.data.utils import iter_document_indices


def batches(
    dataset: NumpyFSLDataset, asked: dict[str, Any], *, epoch: int, rank: int, world_size: int
) -> list[list[int]]:
    """Instances of each batch of one rank, in order, as the loader hands them out."""
    with tempfile.TemporaryDirectory() as folder:
        loader = NumpyDataLoaderBase.wrap_numpy_dataset(
            dataset,
            global_batch_size=asked["batch_instances"] * asked["sequence_length"],
            collator=DataCollator(pad_token_id=asked["eos"]),
            work_dir=folder,
            seed=asked["seed"],
            dp_world_size=world_size,
            dp_rank=rank,
            num_threads=0,
        )
        loader.reshuffle(epoch=epoch)
        found = []
        for batch in loader:
            for index, ids in zip(batch["index"].tolist(), batch["input_ids"], strict=True):
                if not np.array_equal(ids.numpy(), dataset[index]["input_ids"].numpy()):
                    raise SystemExit(f"the loader's index {index} does not fit its ids")
            found.append(batch["index"].tolist())
        return found


def documents(part: Path, asked: dict[str, Any], *, from_ids: bool) -> list[tuple[int, int]]:
    """Bounds of a part's documents, from EOS in the ids or from the .csv.gz."""
    dtype = np.dtype(asked["dtype"]).type
    found = iter_document_indices(part, use_array_if_local=from_ids, eos_token_id=asked["eos"], dtype=dtype)
    return [(int(start), int(end)) for start, end in found]


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """What stands in the module's docstring."""
    parts = sorted(Path(asked["folder"]).glob("part-*.npy"))
    dataset = NumpyFSLDataset(
        *map(str, parts),
        sequence_length=asked["sequence_length"],
        pad_token_id=asked["eos"],
        eos_token_id=asked["eos"],
        vocab_size=asked["vocab_size"],
        dtype=np.dtype(asked["dtype"]).type,
    )
    dataset.prepare()
    ids = [dataset[i]["input_ids"].numpy().astype("<i8").tobytes() for i in range(len(dataset))]
    return {
        "version": importlib.metadata.version("ai2-olmo-core"),
        "instances": [hashlib.sha256(row).hexdigest() for row in ids],
        "batches": {
            f"{world_size}/{epoch}/{rank}": batches(dataset, asked, epoch=epoch, rank=rank, world_size=world_size)
            for world_size in asked["world_sizes"]
            for epoch in range(1, asked["epochs"] + 1)
            for rank in range(world_size)
        },
        "documents": {
            part.name: [documents(part, asked, from_ids=True), documents(part, asked, from_ids=False)] for part in parts
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
