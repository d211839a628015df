"""Rules that read the text itself, asked while it is read; their answers are kept, so another rule asks nothing anew.

`length(text)` is not such a rule: it is `chars`. A file a shard, `cache/asked…/`, with the bits of these rules alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import Fields, given_columns
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import Block, ShardAt
from dolma_pipeline.sql import Rules
from dolma_pipeline.sql.bits import Bits, num_words, unpack
from dolma_pipeline.sql.columns import rule_table
from dolma_pipeline.stages.mixes import asked_of, reading_of
from dolma_pipeline.stages.reads import given_reads, rule_reads, united
from dolma_pipeline.stages.rules import source_rules, split_references, used_sources


def asked_artifact(
    process: Process,
    known: Mapping[str, Artifact],
    when: str,
    rules: Mapping[str, Sequence[str]],
    mix: str = "mix",
) -> Artifact | None:
    """The answers of those of these rules that read the text; None if none does.

    Args:
        when: `early` or `late`. rules: source -> rules. mix: whose rules they are.
    """
    text = {source: source_rules(process, source, mix).text_rules(names) for source, names in rules.items()}
    text = {source: names for source, names in text.items() if names}
    if not text:
        return None
    columns = sorted(
        {c for source, names in text.items() for c in source_rules(process, source, mix).columns_of(names)}
    )
    reads, own = united(rule_reads(process, text, mix), given_reads(process, columns))
    needs = [known["index"], *(known[f"attributes/{c}"] for c in columns if f"attributes/{c}" in known)]
    return Artifact(asked_of(when, mix), "judge", reads, own, needs=tuple(needs), growing=True, cache=True)


def asked_steps(process: Process, when: str, left: Mapping[str, Artifact], mix: str = "mix") -> list[Step]:
    """The consumer that asks them, if its answers are not there."""
    artifact = left.get(asked_of(when, mix))
    if artifact is None:
        return []
    columns: dict[str, Fields] = {}
    for source in used_sources(process):
        names = text_rules(process, source, when, mix)
        if names:
            columns |= split_references(source_rules(process, source, mix).asked(names).references())[1]
    given = {label for source in used_sources(process) for label in given_columns(process, source)}
    labels = tuple((label, None) for label in sorted(columns))
    return [Asking(artifact, when, labels, after_index=bool(given & {*columns}), mix=mix)]


def text_rules(process: Process, source: str, when: str, mix: str = "mix") -> tuple[str, ...]:
    """The rules of a source in a mix that read the text, in order."""
    rules = source_rules(process, source, mix)
    return rules.text_rules(rules.early if when == "early" else rules.late)


@dataclass(frozen=True)
class Asking(Consumer):
    """Asks rules of texts.

    Args:
        when: `early` or `late`. labels: attribute columns that they read.
        after_index: which rows of attributes that were made elsewhere are a range's is known from the index.
        mix: whose rules they are.
    """

    when: str = "early"
    labels: tuple[tuple[str, None], ...] = ()
    after_index: bool = False
    mix: str = "mix"

    @property
    def reading(self) -> str:
        """`scan`: early ones are asked while text is read for the first time. Else `ask` (`<mix>/ask`)."""
        return "scan" if self.when == "early" and not self.after_index else reading_of("ask", self.mix)

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        """What the rules read."""
        return dict(self.labels)

    @property
    def needs(self) -> frozenset[str]:
        """The columns' artifacts; those of taggers may be made in the same reading."""
        return frozenset(need.name for need in self.artifact.needs if self.after_index or need.name != "index")

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        names = text_rules(process, shard.source, self.when, self.mix)
        key = ("asked rules", self.mix, self.when, shard.source)
        rules = process.kept(key, lambda: source_rules(process, shard.source, self.mix).asked(names))
        return _Asking(process, self.artifact, shard, rules)


class _Asking(Feeder):
    def __init__(self, process: Process, artifact: Artifact, shard: ShardAt, rules: Rules) -> None:
        self._folder, self._artifact, self._shard, self._rules = process.run.folder, artifact, shard, rules
        self._found: list[Bits] = []

    def add(self, feed: Feed) -> None:
        documents = pa.Table.from_batches([feed.batch.table])
        for label, column in feed.columns.items():
            documents = documents.append_column(label, column)
        self._found.append(self._rules.bits(rule_table(documents, self._shard.source, self._rules.columns)))

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        columns: dict[str, pa.Array] = {}
        for i, kind in enumerate(("fail", "null")):
            nothing = np.zeros((0, num_words(len(self._rules.names))), np.uint64)
            words = np.concatenate([nothing, *(bits[i] for bits in self._found)])
            columns |= {f"{kind}_{word}": pa.array(words[:, word]) for word in range(words.shape[1])}
        name = f"{self._artifact.folder}/{self._shard.name}.parquet"
        file = put_table(self._folder, name, pa.table(columns))
        return {"outputs": [output_record(self._artifact, name, file, rows=read.documents)]}


def read_asked(
    process: Process, artifact: Artifact, block: Block, num_rules: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What the rules that read the text say of a block: failed and NULL, bool[rules, n]."""
    tables = [get_table(process.run.folder, f"{artifact.folder}/{shard.name}.parquet") for shard in block.shards]
    table = pa.concat_tables(tables)
    found = []
    for kind in ("fail", "null"):
        words = [table.column(c).to_numpy() for c in table.column_names if c.startswith(f"{kind}_")]
        found.append(unpack(np.stack(words, axis=1), num_rules))
    return found[0], found[1]
