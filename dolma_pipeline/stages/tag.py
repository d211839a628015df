"""tag: numbers and spans for each document, beside it; nothing is dropped.

A tagger is a consumer of the first reading, so all of them share a batch's tables, and one that is added later reads
alone. A document on which a tagger fails is a null row of that tagger and a line in `failed/attributes/<label>/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dolma_pipeline import assets
from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.run.stage import Stage, at, module_files
from dolma_pipeline.stages.index import SCAN, counts_of, failure_lines
from dolma_pipeline.stages.tagger_files import given_files, short_names


class TagStage(Stage):
    """Attributes by the recipe's taggers."""

    name = "tag"
    summary = "numbers and spans for each document; drops nothing"
    after = ("index",)
    readings = ("scan",)

    def check(self, process: Process) -> Sequence[str]:
        """Every tagger must exist, and be found by workers."""
        config = process.run.recipe.tag
        assert config is not None
        for i, use in enumerate(config.taggers):
            if process.tagger(use).spec.object.__module__ == "__main__":
                raise ConfigError(
                    f"{process.run.recipe.place(f'tag.taggers.{i}')}: tagger '{use.tagger}' is declared in the script "
                    "that is run, where workers do not find it. Put it into a file of its own and name that in "
                    "`modules`."
                )
            with at(process.run.recipe, f"tag.taggers.{i}"):
                process.tagger(use).check(max_memory=process.run.recipe.max_memory)
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """One a tagger."""
        config = process.run.recipe.tag
        assert config is not None
        return [self._artifact(process, use, known["index"]) for use in config.taggers]

    def _artifact(self, process: Process, use: TaggerConfig, index: Artifact) -> Artifact:
        config, tagger = process.run.recipe.tag, process.tagger(use)
        assert config is not None
        files = {name: assets.ASSETS[name].sha256 for name in tagger.assets if name in assets.ASSETS}
        short = short_names(tagger)
        files |= {short[name]: sha256 for name, sha256 in given_files(process, tagger).items()}
        files |= module_files(process, f"tagger {use.name}", tagger.spec.module)
        label = f"tag.taggers.{use.name}"
        reads = {
            f"{label}.tagger": use.tagger,
            **{f"{label}.{name}": _without_folder(value, short) for name, value in tagger.parameters.items()},
            "tag.format": config.format,
        }
        return Artifact(f"attributes/{use.name}", "tag", reads, files=files, needs=(index,), growing=True)

    def columns(self, process: Process) -> Mapping[str, pa.StructType]:
        """The taggers'; of Dolma's files what can be known of them before they are written."""
        config = process.run.recipe.tag
        assert config is not None
        found: dict[str, pa.StructType] = {}
        for use in config.taggers:
            type_ = process.tagger(use).type
            found[use.name] = type_ if config.format == "parquet" else _dolma_type(use.name, type_)
        return found

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """A consumer a tagger."""
        config = process.run.recipe.tag
        assert config is not None
        return [Tagging(left[name], use) for use in config.taggers if (name := f"attributes/{use.name}") in left]


def _without_folder(value: Any, short: Mapping[str, str]) -> Any:
    # A file is the same wherever it lies: its hash says what it is.
    if isinstance(value, tuple):
        return tuple(_without_folder(one, short) for one in value)
    return short.get(value, value) if isinstance(value, str) else value


def _dolma_type(label: str, type_: pa.StructType) -> pa.StructType:
    # A string field's names in Dolma's files depend on its values, so it cannot stand in a rule.
    return pa.struct([pa.field(f"{label}__{f.name}", SPANS_TYPE) for f in type_ if not pa.types.is_string(f.type)])


@dataclass(frozen=True)
class Tagging(Consumer):
    """Writes the attributes of one tagger.

    Args:
        use: the tagger as the recipe uses it.
    """

    use: TaggerConfig | None = None

    @property
    def reading(self) -> str:
        """`scan`."""
        return SCAN

    @property
    def hands_on(self) -> str:
        """Its column; not where its files are Dolma's, in which a column has other fields."""
        assert self.use is not None
        return self.use.name if self.artifact.reads["tag.format"] == "parquet" else ""

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        assert self.use is not None
        return _Tagging(process, self.artifact, self.use, shard, stack)


class _Tagging(Feeder):
    def __init__(
        self, process: Process, artifact: Artifact, use: TaggerConfig, shard: ShardAt, stack: ExitStack
    ) -> None:
        config = process.run.recipe.tag
        assert config is not None
        self._artifact, self._shard, self._folder = artifact, shard, process.run.folder
        self._tagger = process.tagger(use)
        assets.use_given({name: artifact.files[short] for name, short in short_names(self._tagger).items()})
        self._name = layout.attributes(use.name, shard.name, config.format)
        self._file = stack.enter_context(self._folder.committing(self._name))
        self._writer = attribute_writer(self._file, use.name, self._tagger.type, format=config.format)
        self._failures: list[Failure] = []

    def add(self, feed: Feed) -> None:
        batch = feed.batch
        column, failures = self._tagger.attributes(batch)
        self._writer.write(column, batch)
        feed.columns[self._tagger.label] = column
        ids = batch.table.column("id")
        for failure in failures:
            self._failures.append(
                Failure(
                    self._shard.shard.path,
                    failure.reason,
                    line=int(batch.locs[failure.row]),
                    row=batch.first_row + failure.row,
                    id=ids[failure.row].as_py(),
                )
            )

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        self._writer.close()
        if self._failures:
            self._folder.write(layout.failed(self._artifact.name, self._shard.name), failure_lines(self._failures))
        return {
            "outputs": [output_record(self._artifact, self._name, self._file, rows=read.documents)],
            "counts": {**counts_of(read, failed=len(self._failures)), "bytes_in": read.num_bytes},
        }
