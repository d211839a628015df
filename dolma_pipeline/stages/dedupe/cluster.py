"""Clusters: what the pairs of a dedupe step connect, one task; closes the artifact `dedupe/<step>`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.components import components
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import close, output_record, read_lines
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import names
from dolma_pipeline.stages.dedupe.edges import Edges
from dolma_pipeline.stages.dedupe.kinds import kind_of


@dataclass(frozen=True)
class Cluster(Phase):
    """Connected components of one step's pairs.

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

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def tasks(self, run: Run) -> Iterator[Task]:
        """The one task."""
        yield Task("all")

    def work(self, process: Process, task: Task) -> Work:
        """Cluster; `more` has what the manifest says."""
        assert self.step is not None
        assert self.edges is not None
        run = process.run
        edges = [np.zeros((0, 2), np.int64)]
        for record in read_records(run, self.edges, self.edges.tasks(run)):
            table = get_table(run.folder, record["more"]["file"])
            edges.append(np.stack([table.column(0).to_numpy(), table.column(1).to_numpy()], axis=1))
        nodes, labels = components(np.concatenate(edges))
        name = layout.members(self.step.name)
        file = put_table(run.folder, name, pa.table({"node": nodes, "label": labels}), compression="zstd")
        return Work(
            more={
                "clusters": {"clusters": len(np.unique(labels)), "documents": len(nodes)},
                "outputs": [output_record(self.artifacts[0], name, file, rows=len(nodes))],
            },
            files=[name],
        )

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        assert self.step is not None
        (record,) = records
        (artifact,) = self.artifacts
        if kind_of(self.step).signer(self.step) is None:
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


def _unsigned(indexed: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a shard of which nothing more than the index is kept."""
    counts = {key: indexed["counts"][key] for key in ("in", "kept", "dropped", "failed", "bytes_in")}
    return {"shard": indexed["shard"], "inputs": indexed["inputs"], "outputs": [], "counts": counts}
