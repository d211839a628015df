"""The source of each token of an instance, so that a loss can be told by source.

Reads two columns of the .parquet beside each part, once. Cost: 10 bytes a document, and a binary search an instance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.tokens.dataset import TokenDataset

NONE = -1
"""The number of a token of no source that was named."""


def training_sources(tokens_folder: Path) -> tuple[str, ...]:
    """The sources of the training parts, sorted, as the manifest of the tokens stage counts them.

    Args:
        tokens_folder: with `manifest.json`. Empty for parts that were made elsewhere, whose manifest counts nothing.
    """
    path = tokens_folder / "manifest.json"
    counts = json.loads(path.read_text(encoding="utf-8")).get("counts") or {}
    return tuple(sorted(counts.get("train", {}).get("documents_by_source", {})))


class TokenSources:
    """Which source each token of an instance is of.

    Args:
        dataset: the instances. names: sources, of which tokens get the index; others get `NONE`.
    """

    def __init__(self, dataset: TokenDataset, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._dataset = dataset
        self._parts: dict[int, tuple[NDArray[np.uint64], NDArray[np.int16]]] = {}

    def __getitem__(self, instance: int) -> NDArray[np.int16]:
        """int16 [sequence_length]: the index of each token's source among `names`.

        Raises:
            DataError: the part's .parquet is missing.
            MisalignedError: it is of another run.
        """
        part, first = self._dataset.place(instance)
        if part not in self._parts:
            self._parts[part] = self._read(part)
        ends, numbers = self._parts[part]
        places = np.arange(first, first + self._dataset.sequence_length, dtype=np.uint64)
        low, high = np.searchsorted(ends, (places[0], places[-1]), side="right")
        found: NDArray[np.int16] = numbers[low + np.searchsorted(ends[low : high + 1], places, side="right")]
        return found

    def _read(self, part: int) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        path = self._dataset.parts[part].with_suffix(".parquet")
        if not path.exists():
            raise DataError(
                f"{path}: missing; without it the sources of this part are not known. Make the tokens again, or set "
                "train.loss_by_source: false."
            )
        table = pq.read_table(path, columns=["end", "source"])
        ends: NDArray[np.uint64] = table.column("end").to_numpy()
        num_tokens = self._dataset.num_tokens_of(part)
        if (last := int(ends[-1]) if len(ends) else 0) != num_tokens:
            raise MisalignedError(
                f"{path}: its documents end at token {last}, but the part has {num_tokens}; the two files are not of "
                "the same run. Make the tokens again."
            )
        found = pc.index_in(table.column("source"), value_set=pa.array(self.names, pa.string()))
        return ends, found.fill_null(NONE).to_numpy().astype(np.int16)
