"""The dedupe kind `against`: what of each document stands in a fixed set of other texts.

The set is read once: whole texts, paragraphs, lines, or n-grams of folded words, as hashes (128 bits, of n-grams 64).
It is an exact table, or a Bloom filter whose size follows from its entries and the false-positive rate.
Cost: 24 to 32 bytes an entry in every process; a filter has 29 bits an entry at a rate of 0.000001.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bloom import Bloom, ExactSet
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.against_set import RATE, MakeSet, files_of, known_set
from dolma_pipeline.stages.dedupe.against_units import AGAINST_TYPE, NGRAM, batch_column
from dolma_pipeline.stages.dedupe.kinds import TextKind, register_kind
from dolma_pipeline.stages.index import SCAN, counts_of


class AgainstKind(TextKind):
    """What stands in a fixed set of texts."""

    name = "against"
    column = AGAINST_TYPE
    kernels = ("folded", "units", "ngrams", "spans")

    def check(self, config: DedupeStepConfig) -> None:
        """See `DedupeKind.check`: keys that would have no effect are errors."""
        if not config.texts:
            raise ConfigError("kind against needs `texts`: files of documents to look for.")
        if config.ngram is not None and config.unit != "ngram":
            raise ConfigError(f"`ngram` has no effect with unit {config.unit}; leave it out, or set unit: ngram.")
        if config.unit in ("text", "ngram") and config.min_unit_chars != 40:
            raise ConfigError(f"`min_unit_chars` has no effect with unit {config.unit}; leave it out.")
        for key in ("false_positive_rate", "max_bytes"):
            if config.filter == "exact" and getattr(config, key) is not None:
                raise ConfigError(f"`{key}` is of a Bloom filter; leave it out, or set filter: bloom.")

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """What the set and the units depend on."""
        found: dict[str, Any] = {"unit": config.unit, "filter": config.filter}
        if config.unit == "ngram":
            found["ngram"] = config.ngram or NGRAM
        elif config.unit != "text":
            found["min_unit_chars"] = config.min_unit_chars
        if config.filter == "bloom":
            found["false_positive_rate"] = config.false_positive_rate or RATE
        return found

    def artifacts(self, process: Process, config: DedupeStepConfig, index: Artifact) -> list[Artifact]:
        """`dedupe/<step>`, the set, and `attributes/<step>`."""
        settings = {"kind": self.name, **self.settings(config)}
        reads = {f"dedupe.steps.{config.name}.{key}": value for key, value in settings.items()}
        if process.run.recipe.normalize:
            reads["normalize"] = list(process.run.recipe.normalize)
        files = {f"dedupe.steps.{config.name}.texts: {one.name}": one.sha256 for one in files_of(process, config)}
        known = Artifact(f"dedupe/{config.name}", "dedupe", reads, files={**files, "set": "format 1"}, growing=True)
        return [known, Artifact(f"attributes/{config.name}", "dedupe", {}, needs=(known, index), growing=True)]

    def steps(
        self, config: DedupeStepConfig, known: Mapping[str, Artifact], left: Mapping[str, Artifact]
    ) -> list[Step]:
        """A phase that makes the set, and a consumer."""
        found: list[Step] = []
        if made := left.get(f"dedupe/{config.name}"):
            found.append(MakeSet((made,), config))
        if marks := left.get(f"attributes/{config.name}"):
            found.append(Comparing(marks, config, known[f"dedupe/{config.name}"]))
        return found


@dataclass(frozen=True)
class Comparing(Consumer):
    """Writes the column of a step.

    Args:
        known: the artifact that holds the set.
    """

    step: DedupeStepConfig = field(default_factory=lambda: DedupeStepConfig(name="", kind="against"))
    known: Artifact | None = None

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    @property
    def needs(self) -> frozenset[str]:
        """The set."""
        return frozenset({f"dedupe/{self.step.name}"})

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        assert self.known is not None
        return _Comparing(process, self.artifact, self.step, shard, stack, known_set(process, self.step, self.known))


class _Comparing(Feeder):
    def __init__(
        self,
        process: Process,
        artifact: Artifact,
        step: DedupeStepConfig,
        shard: ShardAt,
        stack: ExitStack,
        known: Bloom | ExactSet,
    ) -> None:
        self._artifact, self._step, self._known = artifact, step, known
        self._name = layout.attributes(step.name, shard.name)
        self._file = stack.enter_context(process.run.folder.committing(self._name))
        self._writer = attribute_writer(self._file, step.name, AGAINST_TYPE)
        self._found = 0

    def add(self, feed: Feed) -> None:
        column = batch_column(feed.batch, self._step, self._known)
        self._found += len(column) - int(np.count_nonzero(column.field("keep")))
        self._writer.write(column, feed.batch)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._writer.close()
        return {
            "outputs": [output_record(self._artifact, self._name, self._file, rows=read.documents)],
            "counts": {**counts_of(read), "bytes_in": read.num_bytes, "found": self._found},
        }


register_kind(AgainstKind())
