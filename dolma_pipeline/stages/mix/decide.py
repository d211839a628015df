"""All rules of all documents, once duplicates are marked: verdicts, and every dropped document with its reasons.

A task a block of shards; columns alone. The verdicts of a shard keep a bit a rule, in the order of the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import Fields, read_block
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, blocks, indexed, names
from dolma_pipeline.sql.bits import count_bits, pack
from dolma_pipeline.stages.asked import read_asked
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.judged import answers, judged_table, merged, read_bits, read_judged
from dolma_pipeline.stages.mixes import verdicts_of
from dolma_pipeline.stages.rules import MIN_CHARS, SourceRules, source_rules

DROPPED = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("origin", pa.string()),
        pa.field("rules", pa.list_(pa.string())),
        pa.field("values", pa.string()),
        pa.field("copy_of", pa.string()),
    ]
)
"""A dropped document: its row, id and origin, all rules that dropped it, (JSON) the values that the rules saw, and of a
duplicate the origin of the copy that stays (null otherwise)."""


@dataclass(frozen=True)
class Decide(Phase):
    """Writes verdicts and dropped documents; closes `<mix>/verdicts`.

    Args:
        judged: the verdicts of the early rules. asked: the answers of late rules that read the text, if there are.
        mix: whose rules they are.
    """

    judged: Artifact | None = None
    asked: Artifact | None = None
    mix: str = "mix"

    @property
    def name(self) -> str:
        """`<mix>/decide`."""
        return f"{self.mix}/decide"

    @property
    def needs(self) -> frozenset[str]:
        """What its artifact is made from."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        """`<mix>/verdicts`."""
        return frozenset({verdicts_of(self.mix)})

    def tasks(self, run: Run) -> Iterator[Task]:
        """Blocks of shards."""
        for block in blocks(indexed(run)):
            yield Task(block.key, block.rows, block)

    def work(self, process: Process, task: Task) -> Work:
        """Decide one block."""
        assert self.judged is not None
        block: Block = task.payload
        rules = source_rules(process, block.shards[0].source, self.mix)
        early = [read_judged(process.run, self.judged, shard) for shard in block.shards]
        aligned: dict[tuple[str, str], str] = {}
        table = _values_table(process, rules, block, aligned)
        failed, null, edited = self._all_rules(process, rules, block, pa.concat_tables(early), table)
        fits: dict[str, dict[str, dict[str, int]]] = {}
        for (name, label), by in aligned.items():
            fits.setdefault(name, {})[label] = {by: 1}
        away = np.flatnonzero(failed.any(axis=0))
        dropped = _dropped(process, block, rules, failed, away, table)
        records = []
        at = 0
        for shard in block.shards:
            rows = slice(at, at + shard.rows)
            lengths = None if edited is None else edited[rows]
            lo, hi = np.searchsorted(away, [at, at + shard.rows])
            verdicts = judged_table(failed[:, rows], null[:, rows], lengths)
            one = self._shard(process, shard, verdicts, dropped.slice(lo, hi - lo), table.slice(at, shard.rows))
            one["counts"]["rules"] = count_bits(
                pack(list(failed[:, rows]), shard.rows), pack(list(null[:, rows]), shard.rows), rules.names
            )
            if shard.name in fits:
                one["counts"]["aligned"] = fits[shard.name]
            records.append(one)
            at += shard.rows
        return Work({self.artifacts[0].name: records}, documents=block.rows)

    def _all_rules(
        self, process: Process, rules: SourceRules, block: Block, early: pa.Table, table: pa.Table
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64] | None]:
        """Failed and NULL of all rules in their order, bool[rules, n]; code points of edited texts where they count."""
        found = {name: pair for name, *pair in zip(rules.early, *read_bits(early, len(rules.early)), strict=True)}
        some = rules.late_columns
        if some.names:
            found |= {name: pair for name, *pair in zip(some.names, *answers(some, table), strict=True)}
        text = rules.text_rules(rules.late)
        if text and self.asked is not None:
            said = read_asked(process, self.asked, block, len(text))
            found |= {name: pair for name, *pair in zip(text, *said, strict=True)}
        edited = early.column("edited_chars").to_numpy() if "edited_chars" in early.column_names else None
        if MIN_CHARS in rules.late:
            edited = rules.edited_chars(read_block(process, block, index={"chars"}, wanted=rules.edit_columns))
            found[MIN_CHARS] = [edited < rules.min_chars, np.zeros(block.rows, np.bool_)]
        shape = (len(rules.names), block.rows)
        failed, null = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        for i, name in enumerate(rules.names):
            failed[i], null[i] = found[name]
        return failed, null, edited

    def _shard(
        self, process: Process, shard: ShardAt, verdicts: pa.Table, dropped: pa.Table, table: pa.Table
    ) -> dict[str, Any]:
        artifact, folder = self.artifacts[0], process.run.folder
        passed = verdicts.column("passes").to_numpy(zero_copy_only=False)
        outputs = []
        paths = layout.verdicts(shard.name, self.mix), layout.dropped(shard.name, self.mix)
        for name, one in zip(paths, (verdicts, dropped), strict=True):
            file = put_table(folder, name, one, compression="zstd")
            outputs.append(output_record(artifact, name, file, rows=len(one)))
        sizes = table.column("bytes").to_numpy()
        counts = {
            "in": shard.rows + shard.failed,
            "kept": int(passed.sum()),
            "dropped": len(dropped),
            "failed": shard.failed,
            "bytes_in": shard.num_bytes,
            "bytes_kept": int(sizes[passed].sum()),
        }
        return {"shard": shard.name, "inputs": [shard.input()], "outputs": outputs, "counts": counts}

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (artifact,) = self.artifacts
        made = [one for record in records for one in record["records"][artifact.name]]
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=names(run))


def _values_table(
    process: Process, rules: SourceRules, block: Block, aligned: MutableMapping[tuple[str, str], str]
) -> pa.Table:
    """What is told of dropped documents: ids, the columns that rules look at, and which copy stays.

    aligned: see `read_block`. All columns that rules look at are read here, so of all made elsewhere it is told.
    """
    index, wanted = rules.wanted(rules.all_columns)
    recipe = process.run.recipe
    if rules.late:
        marks: dict[str, Fields] = {
            step.name: frozenset({"keep", "cluster", "jaccard"}) for step in electing_steps(recipe)
        }
        wanted = merged(wanted, marks)
    return read_block(process, block, index={*index, "id", "bytes"}, wanted=wanted, aligned=aligned)


def _dropped(
    process: Process,
    block: Block,
    rules: SourceRules,
    failed: NDArray[np.bool_],
    rows: NDArray[np.int64],
    table: pa.Table,
) -> pa.Table:
    """The dropped documents of a block, in one query (`DROPPED`); rows: of the block, ascending."""
    firsts = np.cumsum([0, *(shard.rows for shard in block.shards)])
    owner = np.searchsorted(firsts, rows, side="right") - 1
    local = rows - firsts[owner]
    places = zip(owner.tolist(), local.tolist(), strict=True)
    names = np.array(rules.names, object)
    why = [names[failed[:, row]].tolist() for row in rows.tolist()]
    guessed = _guessed(process, rules, table, rows)
    values = [
        orjson.dumps(found | guessed.get(i, {}), option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
        for i, found in enumerate(rules.all_columns.values(table, rows))
    ]
    late = [i for i, name in enumerate(rules.names) if name in rules.late]
    by_late: NDArray[np.bool_] = np.zeros(len(rows), np.bool_)
    if late:
        by_late = np.asarray(failed[late].any(axis=0))[rows]
    columns = [
        pa.array(local, pa.int64()),
        table.column("id").take(pa.array(rows)).combine_chunks(),
        pa.array([f"{block.shards[o].name}#{row}" for o, row in places], pa.string()),
        pa.array(why, pa.list_(pa.string())),
        pa.array(values, pa.string()),
        _copies(process, table.take(pa.array(rows)), by_late),
    ]
    return pa.Table.from_arrays(
        [c.cast(f.type) if isinstance(c, pa.Array) else c for c, f in zip(columns, DROPPED, strict=True)],
        schema=DROPPED,
    )


def _guessed(
    process: Process, rules: SourceRules, table: pa.Table, rows: NDArray[np.int64]
) -> dict[int, dict[str, str]]:
    """Number of a dropped document -> what is told of a dedupe step that took it for a copy by estimate."""
    found: dict[int, dict[str, str]] = {}
    for step in electing_steps(process.run.recipe) if rules.late else ():
        column = table.column(step.name).take(pa.array(rows)).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        away = pc.and_(pc.invert(pc.struct_field(column, "keep")), pc.is_null(pc.struct_field(column, "jaccard")))
        for number in pc.indices_nonzero(away.fill_null(False)).to_pylist():
            found.setdefault(number, {})[f"{step.name}.jaccard"] = BY_ESTIMATE
    return found


BY_ESTIMATE = "by estimate: the text of the document that stays was gone before its set was made"


def _copies(process: Process, table: pa.Table, wanted: NDArray[np.bool_]) -> pa.Array:
    """The origin of the copy that stays, of the first step that does not keep a document; null for all others."""
    found = pa.nulls(table.num_rows, pa.string())
    recipe = process.run.recipe
    if not wanted.any():
        return found
    for step in reversed(electing_steps(recipe)):
        column = table.column(step.name).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        away = pc.and_(pc.invert(pc.struct_field(column, "keep")), pa.array(wanted))
        found = pc.if_else(away.fill_null(False), pc.struct_field(column, "cluster"), found)
    return found


def read_verdicts(run: Run, shard: ShardAt, mix: str = "mix") -> NDArray[np.int64]:
    """The rows of a shard that pass all rules of a mix, ascending."""
    passes = get_table(run.folder, layout.verdicts(shard.name, mix), ["passes"]).column("passes")
    return np.flatnonzero(passes.to_numpy(zero_copy_only=False))


def read_verdict_bits(
    run: Run, shard: ShardAt, rules: Sequence[str], mix: str = "mix"
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What each rule of a mix says of each document of a shard: failed and NULL, bool[rules, n]."""
    return read_bits(get_table(run.folder, layout.verdicts(shard.name, mix)), len(rules))
