"""tokenizer: loaded, or trained on a keyed sample of the edited text of documents that pass the rules.

Sample (a task a shard): the documents with the smallest keys. Train (one task): the smallest keys of all shards,
in the order of their keys, so the same documents give the same tokenizer on any number of workers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dolma_pipeline.config.recipe import TokenizerConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.tables import write_table
from dolma_pipeline.stages.columns import RowReader
from dolma_pipeline.stages.context import Failures, RunContext
from dolma_pipeline.stages.rules import source_rules
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.units import Unit
from dolma_pipeline.tokens.encode import Encoder, encoder
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, load_tokenizer
from dolma_pipeline.tokens.train_bpe import train_bpe
from dolma_pipeline.tokens.unknown import uncounted

MAX_SAMPLE_CHARS = 100_000
"""Code points that one document gives to the sample."""

SAMPLE = pa.schema([pa.field("key", pa.uint64()), pa.field("text", pa.string())])


def tokenizer_config(context: RunContext) -> TokenizerConfig:
    """The recipe's `tokenizer`."""
    assert context.recipe.tokenizer is not None
    return context.recipe.tokenizer


def tokenizer_path(context: RunContext) -> Path:
    """The run's tokenizer, once it is there."""
    return context.path / "tokenizer" / "tokenizer.json"


def run_tokenizer(context: RunContext) -> TokenizerInfo:
    """The run's tokenizer, read once a process."""
    path = tokenizer_path(context)
    return _tokenizer(str(path), tokenizer_config(context).special_tokens, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _tokenizer(path: str, special_tokens: tuple[str, ...], changed: int) -> TokenizerInfo:
    return load_tokenizer(path, special_tokens=special_tokens)


def run_encoder(context: RunContext) -> Encoder:
    """The run's tokenizer as a warm encoder, one object a process."""
    return encoder(run_tokenizer(context))


@dataclass(frozen=True)
class SampleStep(Step):
    """Text to train on, from each shard: at most the whole budget, by key."""

    @property
    def name(self) -> str:
        """`tokenizer/sample`."""
        return "tokenizer/sample"

    def _path(self, shard: str) -> Path:
        return self.context.path / "tokenizer" / ".sample" / f"{shard}.parquet"

    def tasks(self) -> list[Task]:
        """Shards that gave no sample yet; none where the tokenizer is loaded."""
        if tokenizer_config(self.context).load:
            return []
        return [Task(s.name, s.bytes) for s in self.context.shards() if not self._path(s.name).is_file()]

    def work(self, task: Task) -> None:
        """Sample one shard."""
        context, shard = self.context, self.context.shard(task.key)
        rules = source_rules(context, shard.source)
        budget = tokenizer_config(context).sample_bytes
        held = SAMPLE.empty_table()
        for batch, table in RowReader(
            context, shard, rules.columns, Failures(context, "tokenizer", shard), fields=rules.fields
        ):
            texts, _ = rules.edit(table)
            rows = np.flatnonzero(rules.judge(table, texts).passed)
            origins = batch.origins()
            keys = document_key([origins[i] for i in rows.tolist()], seed=context.recipe.seed, purpose="tokenizer")
            found = pa.Table.from_arrays(
                [pa.array(keys), pc.utf8_slice_codeunits(texts.take(pa.array(rows)), 0, MAX_SAMPLE_CHARS)],
                schema=SAMPLE,
            )
            held = pa.concat_tables([held, found])
            if held.nbytes > 2 * budget + 64_000_000:
                held = smallest(held, budget)
            self.progress(len(batch), int(batch.text.offsets[-1] - batch.text.offsets[0]))
        write_table(self._path(shard.name), smallest(held, budget), compression="zstd")


def smallest(sample: pa.Table, num_bytes: int) -> pa.Table:
    """Documents with the smallest keys, in their order, of at most `num_bytes` of text (but one at least)."""
    sample = sample.sort_by("key")
    sums = np.cumsum(pc.binary_length(sample.column("text")).to_numpy())
    return sample.slice(0, max(1, int(np.searchsorted(sums, num_bytes, side="right"))))


@dataclass(frozen=True)
class TrainTokenizerStep(Step):
    """The tokenizer itself: copied or trained; closes the unit `tokenizer`."""

    unit: Unit | None = None

    @property
    def name(self) -> str:
        """`tokenizer/make`."""
        return "tokenizer/make"

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def tasks(self) -> list[Task]:
        """The one task, unless done."""
        return [] if tokenizer_path(self.context).is_file() else [Task("all")]

    @property
    def _warnings_path(self) -> Path:
        return self.context.path / "tokenizer" / ".sample" / "warnings.json"

    def work(self, task: Task) -> None:
        """Load or train."""
        config = tokenizer_config(self.context)
        if config.load:
            text = Path(config.load).read_text(encoding="utf-8")
        else:
            folder = self.context.path / "tokenizer" / ".sample"
            sample = SAMPLE.empty_table()
            for shard in self.context.shards():
                sample = pa.concat_tables([sample, pq.read_table(folder / f"{shard.name}.parquet")])
                if sample.nbytes > 2 * config.sample_bytes + 64_000_000:
                    sample = smallest(sample, config.sample_bytes)
            if sample.num_rows == 0:
                raise DataError(
                    "tokenizer: no document passes mix.where, so there is no text to train on. "
                    "Documents that could not be read, if there are any, are in failed/ with their reason."
                )
            sample = smallest(sample, config.sample_bytes)
            warnings: list[str] = []
            text = train_bpe(
                sample.column("text").to_pylist(),
                vocab_size=config.vocab_size,
                special_tokens=config.special_tokens,
                added_tokens=config.added_tokens,
                report=warnings.append,
            )
            paths.write_bytes(self._warnings_path, orjson.dumps(warnings))
        paths.write_bytes(tokenizer_path(self.context), text.encode())
        self.progress(1, 0)

    def finish(self) -> None:
        """Write the manifest and drop the sample."""
        assert self.unit is not None
        info = run_tokenizer(self.context)
        about = {
            "sha256": info.sha256,
            "vocab_size": info.vocab_size,
            "num_ids": info.num_ids,
            "special": dict(info.special_ids),
            "added": dict(info.added_ids),
        }
        warnings = orjson.loads(self._warnings_path.read_bytes()) if self._warnings_path.is_file() else []
        extra = {"tokenizer": about, "warnings": [*warnings, *uncounted(info)]}
        self.context.records("tokenizer").finish(self.unit.manifest_fields(self.context), extra=extra)
        shutil.rmtree(self.context.path / "tokenizer" / ".sample", ignore_errors=True)
