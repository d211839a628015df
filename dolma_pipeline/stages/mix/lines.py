"""Edited documents as JSON lines: Dolma's keys, and where each came from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.rules import mix_config

NAMES = ("id", "document_source", "added", "created", "metadata", "loc")


def document_lines(
    run: Run,
    shard: ShardAt,
    rows: NDArray[np.int64],
    texts: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
    *,
    clusters: Sequence[str],
    copies: Sequence[int],
    mix: str = "mix",
) -> list[bytes]:
    """A line of each document.

    Args:
        rows: of the documents, int64[n]. texts: edited. columns: of each, `NAMES`. clusters, copies: see `MEASURED`.
        mix: that they are of.
    """
    keep_metadata = mix_config(run.recipe, mix).keep_metadata
    lines = []
    for i, (place, text) in enumerate(zip(rows.tolist(), texts, strict=True)):
        row: dict[str, Any] = {
            "id": columns["id"][i],
            "text": text,
            "source": columns["document_source"][i] or shard.source,
        }
        row |= {key: columns[key][i] for key in ("added", "created") if columns[key][i]}
        if keep_metadata:
            known = orjson.loads(columns["metadata"][i] or "{}")
            found = known if isinstance(known, dict) else {}  # metadata may be any JSON; only objects have keys
            row["metadata"] = {key: found[key] for key in keep_metadata if key in found}
        row["origin"] = f"{shard.name}#{place}"
        row["loc"] = int(columns["loc"][i])
        if clusters[i] != row["origin"]:
            row["cluster"] = clusters[i]
        if copies[i] > 1:
            row["epochs"] = copies[i]
        lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return lines


def written_texts(run: Run, shard: ShardAt, mix: str = "mix") -> dict[int, str]:
    """The edited texts of a shard that a mix has written, in training documents and held-out ones: row -> text."""
    import zstandard

    found: dict[int, str] = {}
    for name in (layout.documents(shard.name, mix), layout.held_out(shard.name, mix)):
        if run.folder.stat(name) is None:
            continue
        with run.folder.stream(name) as file, zstandard.ZstdDecompressor().stream_reader(file) as lines:
            for line in io.BufferedReader(lines):
                one = orjson.loads(line)
                found[int(one["origin"].rpartition("#")[2])] = one["text"]
    return found


def index_columns(run: Run, shard: ShardAt) -> pa.Table:
    """`NAMES` of all documents of a shard, from its index."""
    return get_table(run.folder, layout.index(shard.name), NAMES)
