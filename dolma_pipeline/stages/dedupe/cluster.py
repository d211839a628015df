"""What the pairs of a dedupe step connect, one task; closes the artifact `dedupe/<step>`.

Where equal keys make copies, clusters: the connected components of the pairs. Where copies are verified, buckets: who
has a key in common, by band, and which documents have the same words; nothing is decided by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.components import components
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import close, output_record, read_lines
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import names
from dolma_pipeline.stages.dedupe.edges import Edges
from dolma_pipeline.stages.dedupe.kinds import kind_of
from dolma_pipeline.stages.dedupe.unkeyed import unkeyed


@dataclass(frozen=True)
class Cluster(OneTask):
    """Clusters or buckets of one step's pairs.

    Args:
        edges: the phase that found them.
    """

    step: DedupeStepConfig | None = None
    edges: Edges | None = None

    @property
    def name(self) -> str:
        """`dedupe/cluster/<step>`."""
        assert self.step is not None
        return f"dedupe/cluster/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The pairs."""
        assert self.edges is not None
        return frozenset({self.edges.name})

    @property
    def makes(self) -> frozenset[str]:
        """`dedupe/<step>`."""
        return frozenset({self.artifacts[0].name})

    def work(self, process: Process, task: Task) -> Work:
        """Cluster; `more` has what the manifest says.

        Raises:
            DataError: no document has a key.
        """
        assert self.step is not None
        assert self.edges is not None
        run = process.run
        missing = unkeyed(run, self.step, read_records(run, self.edges, self.edges.tasks(run)))
        found = [np.zeros((0, 3), np.int64)]
        for record in read_records(run, self.edges, self.edges.tasks(run)):
            table = get_table(run.folder, record["more"]["file"])
            found.append(np.stack([table.column(name).to_numpy() for name in ("band", "a", "b")], axis=1))
        edges = np.concatenate(found)
        if kind_of(self.step).verified:
            tables, counts = _buckets(self.step.name, edges, kind_of(self.step).num_bands(self.step) - 1)
        else:
            nodes, labels = components(edges[:, 1:])
            tables = {layout.members(self.step.name): pa.table({"node": nodes, "label": labels})}
            counts = {"clusters": {"clusters": len(np.unique(labels)), "documents": len(nodes)}}
        outputs = []
        for name, table in tables.items():
            file = put_table(run.folder, name, table, compression="zstd")
            outputs.append(output_record(self.artifacts[0], name, file, rows=table.num_rows))
        return Work(more={**counts, **missing, "outputs": outputs}, files=[*tables])

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        assert self.step is not None
        (record,) = records
        (artifact,) = self.artifacts
        if not kind_of(self.step).keeps(self.step):
            made = [_unsigned(line) for line in read_lines(run.folder, "index")]
        else:
            made = list(gathered(run, artifact).values())
        close(
            run.folder,
            artifact,
            made,
            shards_digest=run.shards_digest,
            expected=names(run),
            extra=record["more"],
        )


def _buckets(
    step: str, edges: NDArray[np.int64], of_words: int
) -> tuple[dict[str, pa.Table], dict[str, dict[str, int]]]:
    """The files of a step that is verified, and what the manifest counts.

    Args:
        edges: int64[k, 3]: band, smallest document of the bucket, another one. of_words: the band of the words.
    """
    same = edges[:, 0] == of_words
    homes, copies = edges[same, 1], edges[same, 2]
    edges = edges[~same]
    edges = edges[np.lexsort((edges[:, 2], edges[:, 1], edges[:, 0]))]
    opens = (np.diff(edges[:, :2], axis=0, prepend=-1) != 0).any(axis=1)
    bucket = np.cumsum(opens) - 1
    # a bucket's first entry is the document that its other entries are paired with
    member = np.concatenate([edges[opens, 1], edges[:, 2]])
    bucket = np.concatenate([bucket[opens], bucket])
    order = np.lexsort((member, bucket))
    nodes = np.unique(np.concatenate([member, homes, copies]))
    home = nodes.copy()
    home[np.searchsorted(nodes, copies)] = homes
    tables = {
        layout.members(step): pa.table({"node": nodes, "home": home}),
        layout.buckets(step): pa.table({"bucket": bucket[order], "member": member[order]}),
    }
    counts = {"buckets": int(opens.sum()), "documents": len(nodes), "same_words": len(copies)}
    return tables, {"buckets": counts}


def _unsigned(indexed: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a shard of which nothing more than the index is kept."""
    counts = {key: indexed["counts"][key] for key in ("in", "kept", "dropped", "failed", "bytes_in")}
    return {"shard": indexed["shard"], "inputs": indexed["inputs"], "outputs": [], "counts": counts}
