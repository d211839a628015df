"""Edited documents as JSON lines: Dolma's keys, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.documents import Batch
from dolma_pipeline.io.jsonl import LinesWriter
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical, digest
from dolma_pipeline.run.process import Process
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


def batch_columns(batch: Batch, local: NDArray[np.int64]) -> dict[str, list[Any]]:
    """`NAMES` of some documents of a batch."""
    at = pa.array(local)
    found = {
        name: batch.table.column("source" if name == "document_source" else name).take(at).to_pylist()
        for name in NAMES
        if name != "loc"
    }
    return {**found, "loc": batch.locs[local].tolist()}


def index_columns(run: Run, shard: ShardAt) -> pa.Table:
    """`NAMES` of all documents of a shard, from its index."""
    return get_table(run.folder, layout.index(shard.name), NAMES)


def lines_name(run: Run, mix: Artifact, shard: ShardAt) -> str:
    """Lines of a shard that were written before the plan; a file of their number beside it says that they are whole.

    Which copies pass, and what their cluster is called, depends on all shards; so do the lines.
    """
    base = digest([mix.whole_digest, run.shards_digest, shard.sha256])
    return layout.cache("lines", base, f"{shard.name}.jsonl.zst")


class Lines:
    """The lines of a shard's documents, written while they are encoded: all that pass but those that may be held out.

    Args:
        name: of the file. stack: on which it is opened. mix: that the lines are of.
    """

    def __init__(self, process: Process, name: str, shard: ShardAt, stack: ExitStack, mix: str = "mix") -> None:
        self._run, self._name, self._shard, self._mix = process.run, name, shard, mix
        self._file = stack.enter_context(process.run.folder.committing(name))
        self._writer = LinesWriter(self._file, "zst")
        self._clusters: dict[int, str] = {}
        self._rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]

    def clusters(self, rows: NDArray[np.int64], names: Sequence[str]) -> None:
        """Tell the clusters of the documents that will come."""
        self._clusters = dict(zip(rows.tolist(), names, strict=True))

    def add(self, batch: Batch, rows: NDArray[np.int64], texts: pa.StringArray) -> None:
        """Append documents of a batch."""
        if len(rows) == 0:
            return
        columns = batch_columns(batch, rows - batch.first_row)
        clusters = [self._clusters[row] for row in rows.tolist()]
        ones = [1] * len(rows)
        self._writer.write(
            document_lines(
                self._run,
                self._shard,
                rows,
                texts.to_pylist(),
                columns,
                clusters=clusters,
                copies=ones,
                mix=self._mix,
            )
        )
        self._rows.append(rows)

    def close(self) -> None:
        """Finish the file; it is committed with the rest."""
        self._writer.close()

    def mark_whole(self) -> None:
        """Say that the file is whole, and of which documents it is."""
        rows = np.concatenate(self._rows)
        about = {"rows": rows.tolist(), "bytes": self._file.num_bytes, "sha256": self._file.sha256}
        self._run.folder.write(f"{self._name}.json", canonical(about))


def kept_lines(run: Run, name: str) -> dict[str, Any] | None:
    """What `mark_whole` noted of a file of lines; None if there is none."""
    if run.folder.stat(f"{name}.json") is None:
        return None
    found: dict[str, Any] = orjson.loads(run.folder.read(f"{name}.json"))
    return found
