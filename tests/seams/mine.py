"""A user's module, as `modules:` takes it: a document format, two dedupe kinds, a token format, and three stages.

`shout` has a section of its own and counts words in capitals while text is read. `masks` makes span columns once
duplicates are marked, and edits may name them. `unpack` makes the documents of sources that it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.config.keys import Key
from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.documents import SPANS_TYPE, Batch
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.formats import DocumentFormat, Range, Reading, register
from dolma_pipeline.io.jsonl import Report, read_lines
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.run import layout
from dolma_pipeline.run import stage as stages
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import read_block, read_index
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.manifests import read_lines as read_records
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, blocks, indexed, listed, names
from dolma_pipeline.stages.dedupe.kinds import BandKeys, CopyKind, register_kind
from dolma_pipeline.stages.dedupe.span_kinds import SpanKind, Units
from dolma_pipeline.stages.tokens.writers import PartIds, TokenWriter, register_writer
from dolma_pipeline.storage.committed import Output
from dolma_pipeline.tokens.shards import PartInfo

MAGIC = b"SLASHES\n"


class Slashes(DocumentFormat):
    """Texts between slashes, behind a line that says so."""

    name = "slashes"
    endings = (".slashes",)

    def recognizes(self, head: bytes, name: str) -> bool:
        return head.startswith(MAGIC)

    def plan(self, path: str, size: int, split_bytes: int) -> list[Range] | None:
        return None

    def read(self, shard: Shard, *, report: Report, fields: Mapping[str, str]) -> Reading:
        return _Slashes(shard, report=report, fields=fields)


class _Slashes(Reading):
    def __iter__(self) -> Iterator[Batch]:
        with self.open() as file:
            lines = as_lines(file.read())
        yield from read_lines(iter([lines]), path=self.shard.path, shard=self.shard.name, report=self.report)


def as_lines(content: bytes) -> bytes:
    """Such a file as JSON lines."""
    texts = content.removeprefix(MAGIC).decode().strip().split("/")
    rows = [{"id": f"s{i}", "text": text} for i, text in enumerate(texts)]
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


class SameLength(CopyKind):
    """Texts of one length are copies, but for the shortest."""

    name = "same_length"

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        return dict(config.parameters)

    def num_bands(self, config: DedupeStepConfig) -> int:
        return 1

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        chars = read_index(run, shard, ["chars"]).column("chars").to_numpy()
        rows = np.flatnonzero(chars >= config.parameters.get("min_chars", 0))
        rows = rows[np.argsort(chars[rows], kind="stable")]
        return [BandKeys(chars[rows].astype(np.uint64), rows.astype(np.uint32))]


class Lists(TokenWriter):
    """A JSON list of ids a line."""

    name = "lists"
    endings = (".lists", ".origins")

    def write(self, files: Sequence[Output], batches: Iterable[pa.Table], ids: PartIds) -> PartInfo:
        documents = tokens = 0
        for batch in batches:
            for row in batch.select(["origin", "tokens"]).to_pylist():
                files[0].write(orjson.dumps([*row["tokens"], ids.eos], option=orjson.OPT_APPEND_NEWLINE))
                files[1].write(f"{row['origin']}\n".encode())
                documents, tokens = documents + 1, tokens + len(row["tokens"]) + 1
        return PartInfo("", tokens, documents, 0, {}, {}, {}, ())


@dataclass(frozen=True, kw_only=True)
class ShoutConfig:
    """Words in capitals."""

    min_letters: Annotated[int, Key(purpose="shortest word that counts", unit="letters", at_least=1)] = 2


class ShoutStage(stages.Stage):
    """Counts words in capitals, a file a shard."""

    name = "shout"
    summary = "words in capitals"
    section = ShoutConfig
    after = ("index",)
    readings = ("scan",)

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        config = process.run.recipe.sections["shout"]
        assert isinstance(config, ShoutConfig)
        reads = {"shout.min_letters": config.min_letters}
        return [Artifact("shout", "shout", reads, needs=(known["index"],), growing=True)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        return [Shouting(one, one.reads["shout.min_letters"]) for one in left.values()]


@dataclass(frozen=True)
class Shouting(Consumer):
    min_letters: int = 2

    @property
    def reading(self) -> str:
        return "scan"

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        return _Shouting(process, self, shard)


class _Shouting(Feeder):
    def __init__(self, process: Process, consumer: Shouting, shard: ShardAt) -> None:
        self._folder, self._consumer, self._name = process.run.folder, consumer, f"shout/{shard.name}.json"
        self._counts: list[int] = []

    def add(self, feed: Feed) -> None:
        least = self._consumer.min_letters
        for text in feed.batch.strings:
            self._counts.append(sum(word.isupper() and len(word) >= least for word in text.split()))

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        with self._folder.committing(self._name) as file:
            file.write(orjson.dumps(self._counts))
        output = output_record(self._consumer.artifact, self._name, file, rows=read.documents)
        return {"outputs": [output], "counts": {"in": read.documents, "shouts": sum(self._counts)}}


@dataclass(frozen=True, kw_only=True)
class MasksConfig:
    """What is cut out of copies."""

    chars: Annotated[int, Key(purpose="of the beginning of each copy", unit="characters", at_least=1)] = 3
    step: Annotated[str, Key(purpose="the dedupe step whose copies they are")]


MASKS = pa.struct([pa.field("spans", SPANS_TYPE)])


class MasksStage(stages.Stage):
    """The beginning of each copy, as spans; a column that is there once duplicates are marked."""

    name = "masks"
    summary = "spans to cut out of copies"
    section = MasksConfig
    after = ("dedupe",)
    before = ("verdicts",)

    def columns(self, process: Process) -> Mapping[str, pa.StructType]:
        return {"masks": MASKS}

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        config = process.run.recipe.sections["masks"]
        assert isinstance(config, MasksConfig)
        reads = {"masks.chars": config.chars, "masks.step": config.step}
        needs = (known["index"], known[f"attributes/{config.step}"])
        return [Artifact("attributes/masks", "masks", reads, needs=needs)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        return [Masking(tuple(left.values()))] if left else []


@dataclass(frozen=True)
class Masking(Phase):
    @property
    def name(self) -> str:
        return "masks/write"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        return frozenset({"attributes/masks"})

    def tasks(self, run: Run) -> Iterator[Task]:
        for block in blocks(indexed(run)):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        config = process.run.recipe.sections["masks"]
        assert isinstance(config, MasksConfig)
        table = read_block(process, task.payload, index={"chars"}, wanted={config.step: frozenset({"keep"})})
        found = [
            {"spans": [] if kept["keep"] else [{"start": 0, "end": min(config.chars, chars), "score": 1}]}
            for kept, chars in zip(table[config.step].to_pylist(), table["chars"].to_pylist(), strict=True)
        ]
        records, at = [], 0
        for shard in task.payload.shards:
            name = layout.attributes("masks", shard.name)
            with process.run.folder.committing(name) as file:
                writer = attribute_writer(file, "masks", MASKS)
                writer.write_column(pa.array(found[at : at + shard.rows], MASKS))
                writer.close()
            at += shard.rows
            output = output_record(self.artifacts[0], name, file, rows=shard.rows)
            records.append({"shard": shard.name, "inputs": [shard.input()], "outputs": [output]})
        return Work({"attributes/masks": records})

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        made = [one for record in records for one in record["records"]["attributes/masks"]]
        close(run.folder, self.artifacts[0], made, shards_digest=run.shards_digest, expected=names(run))


@dataclass(frozen=True, kw_only=True)
class UnpackConfig:
    """Sources whose documents are made."""

    sources: Annotated[tuple[str, ...], Key(purpose="names of sources", at_least=1)]


class UnpackStage(stages.Stage):
    """Makes JSON lines, in capitals, of files of texts between slashes."""

    name = "unpack"
    summary = "documents of packed files"
    section = UnpackConfig
    before = ("index",)

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        return [
            Artifact("unpacked", "unpack", {"unpack.sources": sorted(self.document_artifacts(process))}, growing=True)
        ]

    def document_artifacts(self, process: Process) -> Mapping[str, str]:
        config = process.run.recipe.sections["unpack"]
        assert isinstance(config, UnpackConfig)
        return dict.fromkeys(config.sources, "unpacked")

    def documents(self, process: Process, shard: ShardAt) -> stages.MadeDocuments:
        def read() -> dict[str, str]:
            return {one["shard"]: one["inputs"][0]["sha256"] for one in read_records(process.run.folder, "unpacked")}

        sha256 = process.kept("unpacked", read)[shard.name]
        return stages.MadeDocuments(f"unpacked/{shard.name}.jsonl", "jsonl", sha256)

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        return [Unpacking(tuple(left.values()), tuple(self.document_artifacts(process)))] if left else []


@dataclass(frozen=True)
class Unpacking(Phase):
    sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "unpack/write"

    @property
    def makes(self) -> frozenset[str]:
        return frozenset({"unpacked"})

    def tasks(self, run: Run) -> Iterator[Task]:
        for shard in listed(run):
            if shard.source in self.sources:
                yield Task(shard.name, shard.shard.bytes, shard)

    def work(self, process: Process, task: Task) -> Work:
        import hashlib

        shard: ShardAt = task.payload
        with open(shard.location, "rb") as source:
            content = source.read()
        name = f"unpacked/{shard.name}.jsonl"
        with process.run.folder.committing(name) as file:
            file.write(as_lines(content.upper()))
        output = output_record(self.artifacts[0], name, file, rows=0)
        inputs = [shard.input(hashlib.sha256(content).hexdigest())]
        return Work({"unpacked": [{"shard": shard.name, "inputs": inputs, "outputs": [output]}]})

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        made = [one for record in records for one in record["records"]["unpacked"]]
        close(run.folder, self.artifacts[0], made, shards_digest=run.shards_digest)


register(Slashes())
register_kind(SameLength())
register_writer(Lists())
for _stage in (ShoutStage(), MasksStage(), UnpackStage()):
    stages.register(_stage)


class Sentences(SpanKind):
    """Sentences, as full stops end them, that stand twice."""

    name = "sentences"
    wide = False

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        return dict(config.parameters)

    def units(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Units, Any]:
        found: list[tuple[int, int, int, int]] = []
        sizes = np.zeros(len(text.offsets) - 1, np.int64)
        for row in range(len(sizes)):
            own = text.data[text.offsets[row] : text.offsets[row + 1]].tobytes().decode()
            sizes[row], at = len(own), 0
            for sentence in own.split(". "):
                if len(sentence) >= config.parameters["at_least"]:
                    key = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:8], "little")
                    found.append((row, at, at + len(sentence), key))
                at += len(sentence) + 2
        rows, starts, ends = (np.array([one[i] for one in found], np.int32) for i in range(3))
        return Units(rows, starts, ends, np.array([one[3] for one in found], np.uint64)), sizes


register_kind(Sentences())
