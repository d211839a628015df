"""The fixed set of a step of kind `against`: its files are read once, into a table of hashes or a Bloom filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bloom import Bloom, ExactSet, check_size, num_hashes
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.against_units import NGRAM, cut_texts
from dolma_pipeline.stages.fixed_files import FixedFile, fixed_documents, fixed_files

RATE = 1e-6
"""False-positive rate of a filter, where the recipe names none."""
WHOLE = "The texts of a step are"


def files_of(process: Process, config: DedupeStepConfig) -> list[FixedFile]:
    """The files of a step's texts."""
    return fixed_files(process, f"dedupe.steps.{config.name}.texts", config.texts)


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
        count = sum(
            len(cut_texts(batch, step).hi) for file in files for batch in fixed_documents(process, file, whole=WHOLE)
        )
        _check_units(count, step)
        bloom = Bloom.empty(count, step.false_positive_rate or RATE, max_bytes=_most_bytes(process, step))
        for file in files:
            for batch in fixed_documents(process, file, whole=WHOLE):
                units = cut_texts(batch, step)
                bloom.add(units.hi, units.lo)
        return pa.table({"bits": bloom.bits})

    def _exact(self, process: Process, files: Sequence[FixedFile], step: DedupeStepConfig) -> pa.Table:
        held: list[ExactSet] = []
        count = 0
        for file in files:
            for batch in fixed_documents(process, file, whole=WHOLE):
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


def _most_bytes(process: Process, step: DedupeStepConfig) -> int:
    """Of a filter, which every process holds."""
    return process.run.recipe.max_memory if step.max_bytes is None else step.max_bytes


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
            check_size(columns[0].nbytes, _most_bytes(process, config), "that was made before")
            return Bloom(columns[0], num_hashes(config.false_positive_rate or RATE))
        return ExactSet(columns[0], columns[1] if len(columns) > 1 else np.zeros(len(columns[0]), np.uint64))

    return process.kept(("fixed set", artifact.digest), read)
