"""Verdicts of the early rules, which decide who may stay of duplicates: a cache beside the columns, a file a shard.

One query a block of shards; 0.05 to 0.25 ms a MB of text for ten rules. Only new shards are asked when a run grows;
other rules, or other columns, are another cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import read_block
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed, names
from dolma_pipeline.run.stage import Stage
from dolma_pipeline.sql.bits import pack, unpack
from dolma_pipeline.stages.asked import asked_artifact, asked_steps, read_asked
from dolma_pipeline.stages.mixes import asked_of, hidden_stage, judged_of
from dolma_pipeline.stages.reads import edit_reads, given_reads, rule_reads, united
from dolma_pipeline.stages.rules import MIN_CHARS, SourceRules, source_rules, used_sources


class JudgeStage(Stage):
    """The early rules of a mix; it has no section and no command of its own.

    The election of duplicates asks those of the mix `mix` alone. The early rules of other mixes are asked here all the
    same, so that a rule is asked anew only where it, or a column, has changed.

    Args:
        mix: the name of the mix.
    """

    summary = "the rules that are asked before duplicates"

    def __init__(self, mix: str = "mix") -> None:
        self.mix = mix
        self.name = hidden_stage("judge", mix)
        self.after = ("index", "tag") if mix == "mix" else ("judge",)

    def used(self, process: Process) -> bool:
        """Where the recipe has the mix."""
        return self.mix in process.run.recipe.mixes()

    def artifacts(self, process: Process, known: Mapping[str, Artifact]) -> Sequence[Artifact]:
        """`judged`, and the answers of early rules that read the text."""
        mix = self.mix
        rules = {source: source_rules(process, source, mix) for source in used_sources(process)}
        early = {source: one.early for source, one in rules.items()}
        asked = asked_artifact(process, known, "early", early, mix)
        columns = sorted({c for source, one in rules.items() for c in one.columns_of(one.early)})
        edits = edit_reads(process, mix) if any(MIN_CHARS in one.early for one in rules.values()) else ({}, {})
        reads, own = united(rule_reads(process, early, mix), edits, given_reads(process, columns))
        needs = [known["index"], *(known[f"attributes/{c}"] for c in columns if f"attributes/{c}" in known)]
        needs += [asked] if asked else []
        judged = Artifact(judged_of(mix), "judge", reads, own, needs=tuple(needs), growing=True, cache=True)
        return [*([asked] if asked else []), judged]

    def steps(self, process: Process, known: Mapping[str, Artifact], left: Mapping[str, Artifact]) -> Sequence[Step]:
        """The readings of rules that read the text, and one phase."""
        found = asked_steps(process, "early", left, self.mix)
        if judged := left.get(judged_of(self.mix)):
            found.append(Judge((judged,), known.get(asked_of("early", self.mix)), self.mix))
        return found


@dataclass(frozen=True)
class Judge(Phase):
    """Asks the early rules of all documents.

    Args:
        asked: the answers of those that read the text; None if there is none. mix: whose rules they are.
    """

    asked: Artifact | None = None
    mix: str = "mix"

    @property
    def name(self) -> str:
        """`<mix>/judge`."""
        return f"{self.mix}/judge"

    @property
    def needs(self) -> frozenset[str]:
        """What its artifact is made from."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        """`judged`."""
        return frozenset({judged_of(self.mix)})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of the shards that are not judged."""
        done = gathered(run, self.artifacts[0], but=self)
        for block in blocks(shard for shard in indexed(run) if shard.name not in done):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Judge one block."""
        block: Block = task.payload
        artifact = self.artifacts[0]
        rules = source_rules(process, block.shards[0].source, self.mix)
        failed, null, edited = judge(process, rules, block, self.asked)
        records = []
        at = 0
        for shard in block.shards:
            rows = slice(at, at := at + shard.rows)
            table = judged_table(failed[:, rows], null[:, rows], None if edited is None else edited[rows])
            name = f"{artifact.folder}/{shard.name}.parquet"
            file = put_table(process.run.folder, name, table)
            output = output_record(artifact, name, file, rows=shard.rows)
            records.append({"shard": shard.name, "inputs": [shard.input()], "outputs": [output]})
        return Work({artifact.name: records}, documents=block.rows)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        artifact = self.artifacts[0]
        made = gathered(run, artifact, but=self)
        for record in records:
            made |= {one["shard"]: one for one in record["records"][artifact.name]}
        close(run.folder, artifact, made.values(), shards_digest=run.shards_digest, expected=names(run))


def judge(
    process: Process, rules: SourceRules, block: Block, asked: Artifact | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64] | None]:
    """The early rules of a block: failed and NULL, bool[rules, n]; code points of edited texts where they count."""
    index, wanted = rules.wanted(rules.early_columns)
    edits = MIN_CHARS in rules.early
    if edits:
        index = {*index, "chars"}
        wanted = merged(wanted, rules.edit_columns)
    table = read_block(process, block, index=index, wanted=wanted)
    failed = np.zeros((len(rules.early), block.rows), np.bool_)
    null = np.zeros_like(failed)
    place = {name: i for i, name in enumerate(rules.early)}
    some = rules.early_columns
    for name, one_failed, one_null in zip(some.names, *answers(some, table), strict=True):
        failed[place[name]], null[place[name]] = one_failed, one_null
    text = rules.text_rules(rules.early)
    if text and asked is not None:
        asked_failed, asked_null = read_asked(process, asked, block, len(text))
        for i, name in enumerate(text):
            failed[place[name]], null[place[name]] = asked_failed[i], asked_null[i]
    edited = None
    if edits:
        edited = rules.edited_chars(table)
        failed[place[MIN_CHARS]] = edited < rules.min_chars
    return failed, null, edited


def answers(rules: Any, table: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What rules say of rows: failed and NULL, bool[rules, n]."""
    failed, null = rules.bits(table)
    return unpack(failed, len(rules.names)), unpack(null, len(rules.names))


def merged(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of two wishes for columns together; None: all."""
    out = dict(a)
    for label, fields in b.items():
        before = out.get(label, frozenset())
        out[label] = None if fields is None or before is None else frozenset(before) | frozenset(fields)
    return out


def judged_table(
    failed: NDArray[np.bool_], null: NDArray[np.bool_], edited_chars: NDArray[np.int64] | None
) -> pa.Table:
    """`passes`, and the rules as bits: `fail_N` and `null_N`, 64 rules a word, in their order."""
    columns: dict[str, Any] = {"passes": pa.array(~failed.any(axis=0))}
    for name, bits in (("fail", pack(list(failed), failed.shape[1])), ("null", pack(list(null), null.shape[1]))):
        columns |= {f"{name}_{word}": pa.array(bits[:, word]) for word in range(bits.shape[1])}
    if edited_chars is not None:
        columns["edited_chars"] = pa.array(edited_chars)
    return pa.table(columns)


def read_bits(table: pa.Table, num_rules: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Failed and NULL, bool[rules, n], of a table with `fail_N` and `null_N`."""
    found = []
    for name in ("fail", "null"):
        words = [table.column(c).to_numpy() for c in table.column_names if c.startswith(f"{name}_")]
        bits = np.stack(words, axis=1) if words else np.zeros((table.num_rows, 0), np.uint64)
        found.append(unpack(bits, num_rules))
    return found[0], found[1]


def read_judged(run: Run, judged: Artifact, shard: ShardAt) -> pa.Table:
    """The verdicts of a shard's documents."""
    return get_table(run.folder, f"{judged.folder}/{shard.name}.parquet")


def read_passes(run: Run, judged: Artifact, shard: ShardAt) -> NDArray[np.bool_]:
    """Which documents of a shard pass the early rules."""
    table = get_table(run.folder, f"{judged.folder}/{shard.name}.parquet", ["passes"])
    passes: NDArray[np.bool_] = table.column("passes").to_numpy(zero_copy_only=False)
    return passes
