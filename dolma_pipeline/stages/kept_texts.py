"""Edited texts of documents that may be held out, beside their kept ids: another plan reads no text for them.

They are left while documents are encoded (`<stem>.texts.parquet`), and of documents of which only the ids were kept,
because the seed or the share was another one, when they are written (`texts-<rows>-<seed>.parquet`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.stages import kept
from dolma_pipeline.storage.folder import RunFolder

LATER = "texts-"


def put_texts(folder: RunFolder, place: str, seed: int, rows: NDArray[np.int64], texts: pa.Array) -> None:
    """Leave texts that were read after the ids were kept.

    Args:
        place: see `kept.place_of`. rows: of the documents, ascending. texts: edited, one a row.
    """
    name = kept.stem_of(place, rows, seed).rpartition("/")[2]
    table = pa.table({"row": pa.array(rows), "text": texts})
    put_table(folder, f"{place}/{LATER}{name}.parquet", table, compression="zstd")


def kept_texts(folder: RunFolder, place: str, seed: int) -> dict[int, str]:
    """The texts of a shard that were kept for a seed: row -> text."""
    names = [f"{one}.texts.parquet" for one in kept.kept_files(folder, place, seed) if kept.whole(folder, one)["texts"]]
    start, end = f"{place}/{LATER}", f"-{seed}.parquet"
    names += [one.name for one in folder.list(place) if one.name.startswith(start) and one.name.endswith(end)]
    found: dict[int, str] = {}
    for name in names:
        table = get_table(folder, name)
        found |= dict(zip(table.column("row").to_pylist(), table.column("text").to_pylist(), strict=True))
    return found
