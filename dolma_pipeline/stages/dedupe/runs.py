"""The second reading of a step whose units are made around anchors: the texts that hold some; `dedupe/<step>/runs`.

What is kept depends on texts and the step's own keys alone, so that another order or rule opens no text. A task a
shard; its text is read up to the last row that is wanted, and each text is held against its hash in the index. When a
run grows, a shard is read again only if other anchors of it occur twice by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run.manifests import close
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, is_made_for, read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed, names
from dolma_pipeline.stages.dedupe.repeated_anchors import WantedAnchors
from dolma_pipeline.stages.dedupe.sets import texts_of_rows
from dolma_pipeline.stages.dedupe.span_kinds import anchored_kind
from dolma_pipeline.stages.dedupe.units import UnitWriter


@dataclass(frozen=True)
class MakeRuns(Phase):
    """The units of one step around its anchors.

    Args:
        wanted: the phase that says which these are.
    """

    step: DedupeStepConfig | None = None
    wanted: WantedAnchors | None = None

    @property
    def name(self) -> str:
        """`dedupe/runs/<step>`."""
        assert self.step is not None
        return f"dedupe/runs/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The anchors."""
        assert self.wanted is not None
        return frozenset({self.wanted.name})

    @property
    def makes(self) -> frozenset[str]:
        """`dedupe/<step>/runs`."""
        return frozenset({self.artifacts[0].name})

    def _wanted(self, run: Run) -> Iterator[tuple[ShardAt, Mapping[str, Any]]]:
        """Every shard, and what is wanted of it."""
        assert self.wanted is not None
        shards = indexed(run)
        for record in read_records(run, self.wanted, self.wanted.tasks(run)):
            for name, wanted in record["more"]["shards"].items():
                shard = next(one for one in shards if one.name == name)
                yield shard, wanted

    @property
    def reads_text(self) -> bool:
        """Yes."""
        return True

    def tasks(self, run: Run) -> Iterator[Task]:
        """Shards with such anchors, but for those of which the very units are there."""
        (artifact,) = self.artifacts
        done = gathered(run, artifact, but=self)
        for shard, wanted in self._wanted(run):
            if not wanted["file"] or is_made_for(run, artifact, done.get(shard.name), wanted["digest"]):
                continue
            yield Task(shard.name, max(1, shard.shard.bytes), (shard, dict(wanted)))

    def work(self, process: Process, task: Task) -> Work:
        """Read one shard.

        Raises:
            DataError: its file is gone.
        """
        assert self.step is not None
        shard, wanted = task.payload
        (artifact,), kind, folder = self.artifacts, anchored_kind(self.step), process.run.folder
        table = get_table(folder, wanted["file"])
        rows, words = table.column("row").to_numpy(), table.column("word").to_numpy()
        texts = np.unique(rows).astype(np.int64)
        if shard.gone:
            raise DataError(
                f"dedupe step {self.step.name}: what may be a repeat stands in {len(texts):,} documents of {shard.name}"
                f", which must be read for it, and {shard.location} is gone. Put it back, and take it out of `gone`, "
                f"or leave the step {self.step.name} out."
            )
        num_bytes = 0
        with ExitStack() as stack:
            writer = UnitWriter(folder, artifact, shard.name, stack, wide=kind.wide, words=kind.measure == "words")
            for some, batch in texts_of_rows(process, shard, texts):
                lo, hi = np.searchsorted(rows, [some[0], some[-1] + 1])
                own = np.searchsorted(some, rows[lo:hi]).astype(np.int32)
                units = kind.units_around(batch.text, self.step, own, words[lo:hi])
                writer.add(units._replace(rows=some[units.rows].astype(np.int32)), 0)
                num_bytes += int(batch.text.offsets[-1] - batch.text.offsets[0])
            writer.close()
            outputs = writer.outputs()
        record = {
            "shard": shard.name,
            "inputs": [shard.input()],
            "outputs": outputs,
            "wanted": wanted["digest"],
            "counts": {"anchors": wanted["anchors"], "units": writer.count},
        }
        return Work({artifact.name: [record]}, documents=len(texts), num_bytes=num_bytes)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (artifact,) = self.artifacts
        made: dict[str, Any] = gathered(run, artifact, but=self)
        for record in records:
            made |= {one["shard"]: one for one in record["records"][artifact.name]}
        for shard, wanted in self._wanted(run):
            if not wanted["file"]:
                made[shard.name] = {
                    "shard": shard.name,
                    "inputs": [shard.input()],
                    "outputs": [],
                    "wanted": wanted["digest"],
                    "counts": {"anchors": 0, "units": 0},
                }
        close(run.folder, artifact, made.values(), shards_digest=run.shards_digest, expected=names(run))
