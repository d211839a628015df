"""tokenizer: loaded, or trained on a keyed sample of the edited text of documents that pass the rules.

Sample (a reading of its own): of each shard the documents with the smallest keys. Make (one task): the smallest keys
of all shards, in the order of their keys, so the same documents give the same tokenizer on any number of workers.

There is one tokenizer for all mixes of a run: the rules and edits of the one called `mix` decide what it is trained on
(without that one, all documents as they are).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.config.recipe import TokenizerConfig
from dolma_pipeline.errors import ConfigError, DataError, RunError
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.run.stage import Stage, at
from dolma_pipeline.stages.mix.decide import read_verdicts
from dolma_pipeline.stages.mixes import VERDICTS
from dolma_pipeline.stages.reads import edit_reads, given_reads, united
from dolma_pipeline.stages.rules import SourceRules, source_rules, used_sources
from dolma_pipeline.storage.inputs import is_url, location
from dolma_pipeline.tokens.encode import Encoder, encoder
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, parse_tokenizer, tokenizer_text
from dolma_pipeline.tokens.unknown import forewarnings

MAX_SAMPLE_CHARS = 100_000
"""Code points that one document gives to the sample."""

SAMPLE = pa.schema([pa.field("key", pa.uint64()), pa.field("text", pa.string())])


def tokenizer_config(run: Run) -> TokenizerConfig:
    """The recipe's `tokenizer`."""
    assert run.recipe.tokenizer is not None
    return run.recipe.tokenizer


def parsed(process: Process, text: str, *, name: str) -> TokenizerInfo:
    """The tokenizer of a tokenizer.json; whoever has the same text again gets it without its cost (0.2 seconds).

    Args:
        text: JSON. name: what errors call it.
    """
    tokens = tokenizer_config(process.run).special_tokens
    key = ("tokenizer", hashlib.sha256(text.encode()).hexdigest())
    return process.kept(key, lambda: parse_tokenizer(text, special_tokens=tokens, name=name))


def given_text(process: Process) -> str:
    """The text of the tokenizer.json that the recipe names; read once a process."""
    recipe = process.run.recipe
    load = tokenizer_config(process.run).load
    assert load is not None
    path = location(expanded(load), recipe.input_settings())
    return process.kept(("tokenizer.load", load), lambda: tokenizer_text(path))


def run_tokenizer(process: Process) -> TokenizerInfo:
    """The run's tokenizer, once it is made; read once a process."""

    def read() -> TokenizerInfo:
        text = process.run.folder.read(layout.TOKENIZER).decode()
        return parsed(process, text, name=f"{process.run.folder.url}/{layout.TOKENIZER}")

    return process.kept("tokenizer", read)


def run_encoder(process: Process) -> Encoder:
    """The run's tokenizer as a warm encoder, one object a process."""
    return encoder(run_tokenizer(process))


class TokenizerStage(Stage):
    """From text to ids."""

    name = "tokenizer"
    summary = "loaded, or trained on text that passes the rules"
    after = ("index", "tag", "judge", "dedupe", "verdicts")
    readings = ("sample",)

    def check(self, process: Process) -> Sequence[str]:
        """A tokenizer that is loaded must be one, with the special tokens that the recipe names."""
        recipe = process.run.recipe
        config = tokenizer_config(process.run)
        if config.load:
            with at(recipe, "tokenizer.load"):
                path = expanded(config.load)
                if not is_url(path) and not Path(path).is_file():
                    raise ConfigError(f"{config.load}: no such file; give the path of a tokenizer.json.")
                try:
                    text = given_text(process)
                except RunError as error:
                    raise ConfigError(str(error)) from None
                info = parsed(process, text, name=path)
            for name, tokens in recipe.token_sections().items():
                with at(recipe, f"{name}.eos"):
                    if info.special_id(tokens.eos) == info.unknown.id:
                        raise ConfigError(
                            f"the tokenizer writes '{tokens.eos}' for text that it does not know, so it cannot "
                            f"end documents. Name another special token; there are {', '.join(info.special_ids)}."
                        )
            return [f"{config.load}: {text}" for text in forewarnings(info)]
        return ()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`tokenizer`."""
        config = tokenizer_config(process.run)
        plain = {f"tokenizer.{key}": value for key, value in asdict(config).items()}
        if config.load:
            reads = {"tokenizer.special_tokens": list(config.special_tokens)}
            files = {"tokenizer.load": hashlib.sha256(given_text(process).encode()).hexdigest()}
            return [Artifact("tokenizer", "tokenizer", reads, files=files)]
        del plain["tokenizer.load"]
        columns = edit_columns(process)
        reads, own = united((plain, {}), edit_reads(process), given_reads(process, columns))
        names = ["index", VERDICTS, *(f"attributes/{column}" for column in columns)]
        needs = tuple(known[name] for name in names if name in known)
        return [Artifact("tokenizer", "tokenizer", {**reads, "seed": process.run.recipe.seed}, own, needs=needs)]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """A reading for the sample where one is trained, and one phase."""
        if "tokenizer" not in left:
            return []
        artifact = left["tokenizer"]
        if tokenizer_config(process.run).load:
            return [MakeTokenizer((artifact,))]
        wanted = dict.fromkeys(edit_columns(process))
        return [Sampling(artifact, tuple(sorted(wanted)), VERDICTS in known), MakeTokenizer((artifact,))]


def edit_columns(process: Process, mix: str = "mix") -> list[str]:
    """Attribute columns that the edits of a mix read in any source, sorted."""
    found: set[str] = set()
    for source in used_sources(process):
        found |= set(source_rules(process, source, mix).edit_columns)
    return sorted(found)


def edit_fields(process: Process, source: str) -> dict[str, Any]:
    """Attribute columns that the edits of a source read, with their fields."""
    return source_rules(process, source).edit_columns


@dataclass(frozen=True)
class Sampling(Consumer):
    """Text to train on, from each shard: at most the whole budget, by key; kept in the cache.

    Args:
        labels: attribute columns that edits read. verdicts: whether there are rules to pass.
    """

    labels: tuple[str, ...] = ()
    verdicts: bool = False

    @property
    def name(self) -> str:
        """`tokenizer/sample`."""
        return "tokenizer/sample"

    @property
    def reading(self) -> str:
        """`sample`."""
        return "sample"

    @property
    def needs(self) -> frozenset[str]:
        """Verdicts, and the columns that edits read."""
        return frozenset(need.name for need in self.artifact.needs)

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        """What edits read."""
        return dict.fromkeys(self.labels)

    @property
    def records(self) -> bool:
        """No: a sample is not an artifact."""
        return False

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        rows = read_verdicts(process.run, shard) if self.verdicts else np.arange(shard.rows)
        return _Sampling(process, sample_name(process.run, self.artifact, shard.name), shard, rows)


def sample_name(run: Run, artifact: Artifact, shard: str) -> str:
    """A shard's part of the sample; which documents pass depends on all shards."""
    return layout.cache("sample", digest([artifact.whole_digest, run.shards_digest]), f"{shard}.parquet")


class _Sampling(Feeder):
    def __init__(self, process: Process, name: str, shard: ShardAt, rows: np.ndarray) -> None:
        self._process, self._name, self._shard, self._rows = process, name, shard, rows
        self._rules: SourceRules = source_rules(process, shard.source)
        self._budget = tokenizer_config(process.run).sample_bytes
        self._held = SAMPLE.empty_table()
        self.wants_text = len(rows) > 0

    def add(self, feed: Feed) -> None:
        batch = feed.batch
        lo, hi = np.searchsorted(self._rows, [batch.first_row, batch.first_row + len(batch)])
        rows = self._rows[lo:hi] - batch.first_row
        if len(rows) == 0:
            return
        texts = edited_texts(self._rules, feed, rows)
        origins = [f"{self._shard.name}#{row}" for row in self._rows[lo:hi].tolist()]
        keys = document_key(origins, seed=self._process.run.recipe.seed, purpose="tokenizer")
        columns = [pa.array(keys), pc.utf8_slice_codeunits(texts, 0, MAX_SAMPLE_CHARS)]
        self._held = pa.concat_tables([self._held, pa.Table.from_arrays(columns, schema=SAMPLE)])
        if self._held.nbytes > 2 * self._budget + 64_000_000:
            self._held = smallest(self._held, self._budget)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        put_table(self._process.run.folder, self._name, smallest(self._held, self._budget), compression="zstd")
        return {"files": [self._name]}


def edited_texts(rules: SourceRules, feed: Feed, rows: np.ndarray) -> pa.StringArray:
    """The edited texts of some rows of a batch."""
    at = pa.array(rows)
    texts = feed.batch.table.column("text").take(at)
    if not rules.edits:
        return texts
    return rules.edit(texts, {column: feed.columns[column].take(at) for column in rules.edit_columns})


def smallest(sample: pa.Table, num_bytes: int) -> pa.Table:
    """Documents with the smallest keys, in their order, of at most `num_bytes` of text (but one at least)."""
    sample = sample.sort_by("key")
    sums = np.cumsum(pc.binary_length(sample.column("text")).to_numpy())
    return sample.slice(0, max(1, int(np.searchsorted(sums, num_bytes, side="right"))))


@dataclass(frozen=True)
class MakeTokenizer(OneTask):
    """The tokenizer itself, one task: copied or trained; closes the artifact `tokenizer`."""

    @property
    def name(self) -> str:
        """`tokenizer/make`."""
        return "tokenizer/make"

    @property
    def needs(self) -> frozenset[str]:
        """The sample, where one is trained; it is asked by `sampled`."""
        return frozenset({"tokenizer/sample"}) if self.artifacts[0].reads.get("tokenizer.train") else frozenset()

    @property
    def makes(self) -> frozenset[str]:
        """`tokenizer`."""
        return frozenset({"tokenizer"})

    def work(self, process: Process, task: Task) -> Work:
        """Load or train; `more` has what the manifest says."""
        run, config, artifact = process.run, tokenizer_config(process.run), self.artifacts[0]
        warnings: list[str] = []
        if config.load:
            text = given_text(process)
        else:
            text = self._trained(process, warnings.append)
        with run.folder.committing(layout.TOKENIZER) as file:
            file.write(text.encode())
        info = parsed(process, text, name=layout.TOKENIZER)
        about = {
            "sha256": info.sha256,
            "vocab_size": info.vocab_size,
            "num_ids": info.num_ids,
            "special": dict(info.special_ids),
            "added": dict(info.added_ids),
        }
        outputs = [output_record(artifact, layout.TOKENIZER, file, rows=0)]
        return Work(
            more={"tokenizer": about, "outputs": outputs, "warnings": warnings}, documents=1, files=[layout.TOKENIZER]
        )

    def _trained(self, process: Process, report: Callable[[str], None]) -> str:
        from dolma_pipeline.tokens.train_bpe import train_bpe

        run, config = process.run, tokenizer_config(process.run)
        sample = SAMPLE.empty_table()
        for shard in indexed(run):
            part = get_table(run.folder, sample_name(run, self.artifacts[0], shard.name))
            sample = pa.concat_tables([sample, part])
            if sample.nbytes > 2 * config.sample_bytes + 64_000_000:
                sample = smallest(sample, config.sample_bytes)
        if sample.num_rows == 0:
            raise DataError(
                "no document passes mix.where, so there is no text to train on. "
                "Documents that could not be read, if there are any, are in failed/ with their reason."
            )
        return train_bpe(
            smallest(sample, config.sample_bytes).column("text").to_pylist(),
            vocab_size=config.vocab_size,
            special_tokens=config.special_tokens,
            added_tokens=config.added_tokens,
            report=report,
        )

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (record,) = records
        close(run.folder, self.artifacts[0], [], shards_digest=run.shards_digest, extra=record["more"])
