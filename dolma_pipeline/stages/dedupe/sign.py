"""The consumer of dedupe kinds that keep signatures of texts; kept, so that later shards meet earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.io.tables import put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.kinds import Signer, kind_of
from dolma_pipeline.stages.index import SCAN, counts_of
from dolma_pipeline.storage.folder import RunFolder


@dataclass(frozen=True)
class Sign(Consumer):
    """Writes the signatures of one dedupe step."""

    step: DedupeStepConfig | None = None

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    @property
    def makes(self) -> frozenset[str]:
        """The mark `dedupe/<step>/signatures`."""
        return frozenset({f"{self.artifact.name}/signatures"})

    @property
    def closes(self) -> bool:
        """No: its clusters come later."""
        return False

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        assert self.step is not None
        signer = kind_of(self.step).signer_in(process, shard, self.step)
        assert signer is not None
        return _Signing(process.run.folder, self.artifact, layout.signatures(self.step.name, shard.name), signer)


class _Signing(Feeder):
    def __init__(self, folder: RunFolder, artifact: Artifact, name: str, signer: Signer) -> None:
        self._folder, self._artifact, self._name, self._signer = folder, artifact, name, signer

    def add(self, feed: Feed) -> None:
        self._signer.add(feed.batch)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        file = put_table(self._folder, self._name, self._signer.table())
        return {
            "outputs": [output_record(self._artifact, self._name, file, rows=read.documents)],
            "counts": {**counts_of(read), "bytes_in": read.num_bytes},
        }
