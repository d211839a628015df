"""The dedupe kind `against`: what of each document stands in a fixed set of other texts.

The set is read once: whole texts, paragraphs, lines, or n-grams of folded words, as hashes (128 bits, of n-grams 64).
It is an exact table, or a Bloom filter whose size follows from its entries and the false-positive rate.
Cost: 24 to 32 bytes an entry in every process; a filter has 29 bits an entry at a rate of 0.000001.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bloom import Bloom, ExactSet, num_hashes
from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.dedup.repeats import joined
from dolma_pipeline.documents import SPANS_TYPE, Batch
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.formats import format_of
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages.dedupe.kinds import TextKind, register_kind
from dolma_pipeline.stages.fixed_files import FixedFile, fixed_files
from dolma_pipeline.stages.index import SCAN, counts_of

NGRAM = 13
RATE = 1e-6
AGAINST_TYPE = pa.struct(
    [pa.field("keep", pa.bool_()), pa.field("coverage", pa.float64()), pa.field("spans", SPANS_TYPE)]
)
"""keep: nothing of the document stands in the set (with unit text: it does not as a whole); coverage: the share of the
document that does, of its words or characters; spans: where."""


class Cut(NamedTuple):
    """The units of n texts.

    rows: text of each. begins, stops: place in it, in words or code points, by which overlaps are seen and coverage is
    measured. starts, ends: of n-grams bytes in the buffer, else code points. hi, lo: hash; of n-grams lo is 0.
    sizes: of each text.
    """

    rows: NDArray[np.int64]
    begins: NDArray[np.int64]
    stops: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    sizes: NDArray[np.int64]


def cut_texts(batch: Batch, config: DedupeStepConfig) -> Cut:
    """The units of a batch's texts."""
    if config.unit == "text":
        whole = text_keys(batch)
        rows = np.flatnonzero(whole.signed)
        sizes = batch.chars
        nothing = np.zeros(len(rows), np.int64)
        return Cut(rows, nothing, sizes[rows], nothing, sizes[rows], whole.hi[rows], whole.lo[rows], sizes)
    if config.unit == "ngram":
        from dolma_pipeline.kernels.ngrams import all_ngrams

        size = config.ngram or NGRAM
        found = all_ngrams(batch.text, ngram=size)
        lo = np.zeros(len(found.keys), np.uint64)
        return Cut(found.rows, found.words, found.words + size, found.starts, found.ends, found.keys, lo, found.sizes)
    from dolma_pipeline.kernels.units import hashed_units

    units = hashed_units(batch.text, by_line=config.unit == "line", min_chars=config.min_unit_chars)
    rows, starts, ends = (column.astype(np.int64) for column in (units.rows, units.starts, units.ends))
    return Cut(rows, starts, ends, starts, ends, units.hi, units.lo, units.chars)


def batch_column(batch: Batch, config: DedupeStepConfig, known: Bloom | ExactSet) -> pa.StructArray:
    """What of a batch's texts is in a set (`AGAINST_TYPE`)."""
    from dolma_pipeline.kernels.spans import point_lists

    units = cut_texts(batch, config)
    hit = known.contains(units.hi, units.lo)
    places = (units.begins[hit], units.stops[hit]), (units.starts[hit], units.ends[hit])
    found = joined(units.rows[hit], *places, num_rows=len(batch))
    share = found.covered / np.maximum(units.sizes, 1)
    ones = np.ones(len(found.rows))
    if config.unit == "ngram":
        spans = batch.spans(found.rows, found.starts, found.ends, ones)
    else:
        spans = point_lists(found.rows, found.starts, found.ends, ones, num_rows=len(batch))
    columns = [pa.array(found.covered == 0), pa.array(share), spans]
    return pa.StructArray.from_arrays(columns, fields=list(AGAINST_TYPE))


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


def files_of(process: Process, config: DedupeStepConfig) -> list[FixedFile]:
    """The files of a step's texts."""
    return fixed_files(process, f"dedupe.steps.{config.name}.texts", config.texts)


def _batches(process: Process, file: FixedFile) -> Iterator[Batch]:
    """The documents of a file, all of them, normalized as those of the run are: else equal texts would not meet.

    Raises:
        DataError: one cannot be read, or the file was changed.
    """
    failures: list[Failure] = []
    shard = Shard(file.name, "texts", file.name, format_of(file.location).name)
    normalize = process.run.recipe.normalize
    reader = ShardReader(shard, file.location, report=failures.append, normalize=normalize)
    for batch in reader:
        if failures:
            break
        yield batch
    if failures:
        line = "" if failures[0].line is None else f":{failures[0].line}"
        raise DataError(
            f"{file.location}{line}: {failures[0].reason}. The texts of a step are read whole, or not at all."
        )
    if reader.sha256 != file.sha256:
        raise DataError(f"{file.location}: the file was changed while the run began. Run again.")


@dataclass(frozen=True)
class MakeSet(OneTask):
    """Reads the texts that are looked for."""

    step: DedupeStepConfig | None = None

    @property
    def name(self) -> str:
        """`dedupe/set/<step>`."""
        assert self.step is not None
        return f"dedupe/set/{self.step.name}"

    @property
    def makes(self) -> frozenset[str]:
        """`dedupe/<step>`."""
        return frozenset({self.artifacts[0].name})

    def work(self, process: Process, task: Task) -> Work:
        """Read them all; for a filter twice, since its size follows from the number of units.

        Raises:
            ConfigError: no text has a unit, or the filter is too small. DataError: a file that cannot be read.
        """
        step, (artifact,) = self.step, self.artifacts
        assert step is not None
        files = files_of(process, step)
        table = self._bloom(process, files, step) if step.filter == "bloom" else self._exact(process, files, step)
        name = layout.fixed_set(step.name)
        output = output_record(artifact, name, put_table(process.run.folder, name, table), rows=len(table))
        inputs = [{"path": one.name, "sha256": one.sha256} for one in files]
        return Work({artifact.name: [{"shard": "set", "inputs": inputs, "outputs": [output]}]})

    def _bloom(self, process: Process, files: Sequence[FixedFile], step: DedupeStepConfig) -> pa.Table:
        count = sum(len(cut_texts(batch, step).hi) for file in files for batch in _batches(process, file))
        _check_units(count, step)
        bloom = Bloom.empty(count, step.false_positive_rate or RATE, max_bytes=step.max_bytes)
        for file in files:
            for batch in _batches(process, file):
                units = cut_texts(batch, step)
                bloom.add(units.hi, units.lo)
        return pa.table({"bits": bloom.bits})

    def _exact(self, process: Process, files: Sequence[FixedFile], step: DedupeStepConfig) -> pa.Table:
        held: list[ExactSet] = []
        count = 0
        for file in files:
            for batch in _batches(process, file):
                units = cut_texts(batch, step)
                held.append(ExactSet.of(units.hi, units.lo))
                count += len(held[-1].hi)
                if 4 * 16 * count > process.run.recipe.max_memory:
                    raise ConfigError(
                        f"dedupe.steps.{step.name}: a table of the hashes of `texts` does not fit into max_memory: "
                        f"more than {count:,} units. Set filter: bloom, or a larger max_memory."
                    )
        _check_units(count, step)
        whole = ExactSet.of(np.concatenate([one.hi for one in held]), np.concatenate([one.lo for one in held]))
        return pa.table({"hi": whole.hi} if step.unit == "ngram" else {"hi": whole.hi, "lo": whole.lo})

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (artifact,) = self.artifacts
        made = [one for record in records for one in record["records"][artifact.name]]
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=["set"])


def _check_units(count: int, step: DedupeStepConfig) -> None:
    if count == 0:
        what = {"text": "that is not empty", "ngram": f"of {step.ngram or NGRAM} words"}
        least = what.get(step.unit, f"with a {step.unit} of {step.min_unit_chars} characters")
        raise ConfigError(f"dedupe.steps.{step.name}.texts: there is no text {least}, so nothing can be found.")


def known_set(process: Process, config: DedupeStepConfig, artifact: Artifact) -> Bloom | ExactSet:
    """The set of a step, read once a process."""

    def read() -> Bloom | ExactSet:
        table = get_table(process.run.folder, layout.fixed_set(config.name))
        columns = [table.column(name).to_numpy() for name in table.column_names]
        if config.filter == "bloom":
            return Bloom(columns[0], num_hashes(config.false_positive_rate or RATE))
        return ExactSet(columns[0], columns[1] if len(columns) > 1 else np.zeros(len(columns[0]), np.uint64))

    return process.kept(("fixed set", artifact.digest), read)


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
