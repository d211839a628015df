"""Keys of documents that are made of columns, such as a URL in the metadata: no text is read. A task a block of shards.

What is kept lies where signatures of texts do; when a run grows, only new shards are asked.
Cost: a query a block, ~1 us a document where JSON is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.io.tables import put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed
from dolma_pipeline.stages.dedupe.kinds import kind_of


@dataclass(frozen=True)
class ColumnKeys(Phase):
    """The keys of one dedupe step, where its kind makes them of columns."""

    step: DedupeStepConfig | None = None

    @property
    def name(self) -> str:
        """`dedupe/keys/<step>`."""
        assert self.step is not None
        return f"dedupe/keys/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The index, and the attributes that the key reads."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        """The mark `dedupe/<step>/signatures`."""
        return frozenset({f"{self.artifacts[0].name}/signatures"})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of the shards that have no keys."""
        done = gathered(run, self.artifacts[0], but=self)
        for block in blocks(shard for shard in indexed(run) if shard.name not in done):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Make the keys of one block."""
        assert self.step is not None
        block: Block = task.payload
        (artifact,) = self.artifacts
        source = block.shards[0].source
        signer = kind_of(self.step).column_signer(process, source, self.step)
        columns = read_block(process, block, index=signer.index, wanted=signer.wanted)
        records: list[dict[str, Any]] = []
        at = 0
        for shard in block.shards:
            table = signer.table(columns.slice(at, shard.rows))
            at += shard.rows
            name = layout.signatures(self.step.name, shard.name)
            file = put_table(process.run.folder, name, table)
            outputs = [output_record(artifact, name, file, rows=shard.rows)]
            records.append(
                {"shard": shard.name, "inputs": [shard.input()], "outputs": outputs, "counts": _counts(shard)}
            )
        return Work({artifact.name: records}, documents=block.rows)


def _counts(shard: ShardAt) -> dict[str, int]:
    return {
        "in": shard.rows + shard.failed, "kept": shard.rows, "dropped": 0, "failed": shard.failed,
        "bytes_in": shard.num_bytes,
    }  # fmt: skip
